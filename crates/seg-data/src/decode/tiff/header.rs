//! The tags of a page that say how its pixels are stored.

use tiff::tags::{ByteOrder, Tag};

use super::Directory;
use super::codec::Compression;
use super::fault::Fault;
use crate::decode::exif::{self, Turn};

/// The tag of an XMP packet.
const XMP: u16 = 700;

/// What a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Unsigned,
    Signed,
    Float,
}

/// What the first samples of a pixel stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Photometric {
    /// Grey, 0 is white.
    WhiteIsZero,
    /// Grey, 0 is black.
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
}

impl Photometric {
    fn new(value: u64) -> Result<Self, Fault> {
        let unsupported = |what: &str| {
            Err(Fault::Unsupported(format!("its colours are {what}, expected grey, RGB, a palette, YCbCr or CMYK")))
        };
        match value {
            0 => Ok(Self::WhiteIsZero),
            // a mask of transparency is a picture in black and white
            1 | 4 => Ok(Self::BlackIsZero),
            2 => Ok(Self::Rgb),
            3 => Ok(Self::Palette),
            5 => Ok(Self::Cmyk),
            6 => Ok(Self::YCbCr),
            8..=10 => unsupported("CIE L*a*b*"),
            32803 | 34892 => unsupported("a camera's raw data"),
            32844 | 32845 => unsupported("LogLuv"),
            other => unsupported(&format!("of the unknown kind {other}")),
        }
    }

    /// How many samples the colour has.
    pub fn colours(self) -> usize {
        match self {
            Self::WhiteIsZero | Self::BlackIsZero | Self::Palette => 1,
            Self::Rgb | Self::YCbCr => 3,
            Self::Cmyk => 4,
        }
    }
}

/// The alpha channel among the samples behind the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alpha {
    /// Which sample of a pixel.
    pub at: usize,
    /// The colours are multiplied by it.
    pub associated: bool,
}

/// Strips or tiles: a strip is a tile of the picture's width.
#[derive(Debug)]
pub(super) struct Tiles {
    pub width: u32,
    pub height: u32,
    /// Where each begins in the file, and its bytes.
    pub places: Vec<(u64, u64)>,
}

/// A page.
#[derive(Debug)]
pub(super) struct Header {
    pub width: u32,
    pub height: u32,
    /// Of a sample.
    pub bits: u32,
    pub format: Format,
    /// Of a pixel, those behind the colour included.
    pub samples: usize,
    pub photometric: Photometric,
    pub alpha: Option<Alpha>,
    /// Samples behind the colour of which nothing is known.
    pub unknown: usize,
    pub compression: Compression,
    pub predictor: u64,
    /// Each sample in strips or tiles of its own.
    pub planar: bool,
    /// The lowest bit of a byte comes first.
    pub reversed_bits: bool,
    pub big_endian: bool,
    pub turn: Turn,
    pub tiles: Tiles,
    pub jpeg_tables: Option<Vec<u8>>,
    /// All reds, greens, blues.
    pub color_map: Vec<u16>,
    /// Pixels that share a chroma sample, across and down.
    pub subsampling: (u32, u32),
    /// Luma of red, green, blue.
    pub luma: [f32; 3],
    /// Black and white of Y, Cb, Cr.
    pub reference: [f32; 6],
    pub fax_options: u64,
    /// MaxSampleValue, if it is smaller than the type's.
    pub largest: Option<u64>,
    /// An ICC profile.
    pub profile: Option<Vec<u8>>,
    /// Inks become light as in libtiff, not as in Pillow.
    pub libtiff_inks: bool,
}

impl Header {
    pub fn read(directory: &mut Directory<'_>) -> Result<Self, Fault> {
        let (width, height) = directory.dimensions()?;
        let photometric = Photometric::new(number(directory, Tag::PhotometricInterpretation, 1)?)?;
        let bits = numbers(directory, Tag::BitsPerSample)?.first().map_or(1, |b| *b as u32);
        let samples = number(directory, Tag::SamplesPerPixel, 1)? as usize;
        let format = match numbers(directory, Tag::SampleFormat)?.first() {
            None | Some(1 | 4) => Format::Unsigned,
            Some(2) => Format::Signed,
            Some(3) => Format::Float,
            Some(5 | 6) => return Err(Fault::Unsupported("its samples are complex numbers".into())),
            Some(other) => return Err(Fault::Damaged(format!("its samples are of the unknown format {other}"))),
        };
        let colours = photometric.colours();
        let Some(behind) = samples.checked_sub(colours) else {
            return Err(Fault::Damaged(format!("it has {samples} samples a pixel, of a colour of {colours}")));
        };
        let mut extra = numbers(directory, Tag::ExtraSamples)?;
        // writers that leave the tag out mean alpha, as Pillow takes it too
        if extra.is_empty() && behind == 1 && photometric == Photometric::Rgb {
            extra = vec![2];
        }
        let alpha = extra.iter().take(behind).position(|kind| matches!(kind, 1 | 2));
        let alpha = alpha.map(|i| Alpha { at: colours + i, associated: extra[i] == 1 });
        let compression = Compression(number(directory, Tag::Compression, 1)?);
        let largest = match numbers(directory, Tag::MaxSampleValue)?.first() {
            Some(&max) if bits < 64 && max > 0 && max < (1 << bits) - 1 => Some(max),
            _ => None,
        };
        let floats = |directory: &mut Directory<'_>, tag| match directory.find_tag(Tag::Unknown(tag)) {
            Ok(Some(value)) => value.into_f64_vec().ok(),
            _ => None,
        };
        let luma = floats(directory, 529).and_then(|v| v.try_into().ok()).unwrap_or([0.299, 0.587, 0.114]);
        let reference =
            floats(directory, 532).and_then(|v| v.try_into().ok()).unwrap_or([0., 255., 128., 255., 128., 255.]);
        let subsampling = match (photometric, &numbers(directory, Tag::ChromaSubsampling)?[..]) {
            (Photometric::YCbCr, [h, v]) => (*h as u32, *v as u32),
            (Photometric::YCbCr, _) => (2, 2),
            _ => (1, 1),
        };
        let jpeg_tables = directory.find_tag(Tag::JPEGTables)?.map(|v| v.into_u8_vec()).transpose()?;
        let color_map = match photometric {
            Photometric::Palette => directory.get_tag_u16_vec(Tag::ColorMap)?,
            _ => Vec::new(),
        };
        let told = directory.find_tag(Tag::Orientation)?.is_some();
        let orientation = told.then(|| number(directory, Tag::Orientation, 1)).transpose()?;
        let xmp = directory.find_tag(Tag::Unknown(XMP)).ok().flatten().and_then(|v| v.into_u8_vec().ok());
        let turn = Turn::new(orientation.map(|n| n.min(255) as u8), xmp.and_then(|packet| exif::in_xmp(&packet)));
        Ok(Self {
            width,
            height,
            bits,
            format,
            samples,
            photometric,
            alpha,
            unknown: behind - usize::from(alpha.is_some()),
            compression,
            predictor: number(directory, Tag::Predictor, 1)?,
            planar: number(directory, Tag::PlanarConfiguration, 1)? == 2 && samples > 1,
            reversed_bits: number(directory, Tag::FillOrder, 1)? == 2,
            big_endian: directory.byte_order() == ByteOrder::BigEndian,
            turn,
            tiles: Tiles::read(directory, (width, height))?,
            jpeg_tables,
            color_map,
            subsampling,
            luma: luma.map(|v: f64| v as f32),
            reference: reference.map(|v: f64| v as f32),
            fax_options: number(directory, Tag::Unknown(292), 0)?,
            largest,
            libtiff_inks: false,
            profile: directory.find_tag(Tag::IccProfile).ok().flatten().and_then(|v| v.into_u8_vec().ok()),
        })
    }

    /// Bytes of a sample when it is unpacked.
    pub fn sample_bytes(&self) -> usize {
        match self.bits {
            0..=8 => 1,
            9..=16 => 2,
            17..=32 => 4,
            _ => 8,
        }
    }

    /// Whether the samples are levels of 9 to 16 bits.
    pub fn is_words(&self) -> bool {
        self.format == Format::Unsigned && self.sample_bytes() == 2 && self.photometric != Photometric::Palette
    }

    /// Samples of a pixel that lie together in a strip or tile.
    pub fn together(&self) -> usize {
        if self.planar { 1 } else { self.samples }
    }

    /// Bytes that decoding takes: the samples, what is made of them, and a row of tiles.
    pub fn memory(&self) -> u64 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        let samples = (self.samples * self.sample_bytes()) as u64;
        let across = u64::from(self.width.div_ceil(self.tiles.width.max(1)));
        let tile =
            u64::from(self.tiles.width) * u64::from(self.tiles.height) * (self.together() * self.sample_bytes()) as u64;
        let made = 4 * self.sample_bytes().min(2) as u64;
        pixels.saturating_mul(samples.saturating_add(made)).saturating_add(tile.saturating_mul(across.min(4)))
    }

    /// Bytes of a stored row of a strip or tile.
    pub fn row_bytes(&self) -> usize {
        (self.tiles.width as usize * self.together() * self.bits as usize).div_ceil(8)
    }

    /// A strip without compression that has all rows is as many strips of fewer: work for all threads.
    pub fn split(&mut self) {
        const ROWS: u32 = 64;
        let planes = if self.planar { self.samples } else { 1 };
        let whole =
            self.tiles.places.len() == planes && self.tiles.width == self.width && self.tiles.height == self.height;
        if !whole || self.compression != Compression::NONE || self.subsampling != (1, 1) {
            return;
        }
        let step = u64::from(ROWS) * self.row_bytes() as u64;
        let parts = u64::from(self.height.div_ceil(ROWS));
        let part = |(at, length): (u64, u64)| {
            (0..parts).map(move |i| (at.saturating_add(i * step), length.saturating_sub(i * step).min(step)))
        };
        self.tiles.places = self.tiles.places.iter().copied().flat_map(part).collect();
        self.tiles.height = ROWS;
    }

    /// Refuses what cannot be read, in words.
    pub fn check(&self) -> Result<(), Fault> {
        let unsupported = |what: String| Err(Fault::Unsupported(what));
        self.compression.check(self.fax_options)?;
        let whole = matches!(self.bits, 8 | 16 | 32 | 64);
        match (self.format, self.bits) {
            (Format::Unsigned, 1..=16 | 32 | 64)
            | (Format::Signed, 8 | 16 | 32 | 64)
            | (Format::Float, 16 | 32 | 64) => {}
            (Format::Float, bits) => {
                return unsupported(format!("its samples are floats of {bits} bits, expected 16, 32 or 64"));
            }
            (_, bits) => return unsupported(format!("its samples have {bits} bits, expected 1 to 16, 32 or 64")),
        }
        match self.predictor {
            1 => {}
            2 if whole => {}
            3 if self.format == Format::Float => {}
            other => return unsupported(format!("predictor {other} of samples of {} bits", self.bits)),
        }
        let colours = self.photometric.colours();
        let grey = matches!(self.photometric, Photometric::WhiteIsZero | Photometric::BlackIsZero);
        if grey && self.unknown > 1 {
            return unsupported(format!(
                "it has {} samples a pixel and calls one of them grey, expected grey, grey with alpha or RGB",
                self.samples
            ));
        }
        if matches!(self.photometric, Photometric::YCbCr | Photometric::Palette) && self.format != Format::Unsigned {
            return unsupported(format!("{:?} of numbers that are no levels", self.photometric));
        }
        if self.photometric == Photometric::YCbCr && self.compression != Compression::JPEG {
            let (h, v) = self.subsampling;
            let known = matches!(h, 1 | 2 | 4) && matches!(v, 1 | 2 | 4);
            if self.bits != 8 || !known || (self.planar && (h, v) != (1, 1)) || ((h, v) != (1, 1) && self.samples != 3)
            {
                return unsupported(format!(
                    "YCbCr of {} bits, subsampled {h}x{v}, {} samples",
                    self.bits, self.samples
                ));
            }
        }
        if self.compression.is_picture() && self.bits != 8 {
            return unsupported(format!("{} compression of samples of {} bits", self.compression.name(), self.bits));
        }
        if self.compression == Compression::JPEG
            && !matches!((self.photometric, self.together()), (Photometric::Cmyk, 1) | (_, 1 | 3))
        {
            return unsupported(format!("JPEG compression of {} samples a pixel", self.samples));
        }
        if self.photometric == Photometric::Palette
            && (self.color_map.is_empty() || !self.color_map.len().is_multiple_of(3))
        {
            return Err(Fault::Damaged(format!(
                "its palette has {} numbers, expected 3 a colour",
                self.color_map.len()
            )));
        }
        debug_assert!(colours <= self.samples);
        let planes = if self.planar { self.samples } else { 1 };
        let across = self.width.div_ceil(self.tiles.width) as usize;
        let expected = across * self.height.div_ceil(self.tiles.height) as usize * planes;
        if self.tiles.places.len() < expected {
            let found = self.tiles.places.len();
            return Err(Fault::Damaged(format!("it has {found} strips or tiles, expected {expected}")));
        }
        Ok(())
    }
}

impl Tiles {
    fn read(directory: &mut Directory<'_>, (width, height): (u32, u32)) -> Result<Self, Fault> {
        let tiled = directory.find_tag(Tag::TileOffsets)?.is_some();
        let (offsets, counts) = match tiled {
            true => (numbers(directory, Tag::TileOffsets)?, numbers(directory, Tag::TileByteCounts)?),
            false => (numbers(directory, Tag::StripOffsets)?, numbers(directory, Tag::StripByteCounts)?),
        };
        let side = |v: u64| u32::try_from(v).unwrap_or(u32::MAX);
        let (width, height) = match tiled {
            true => (side(number(directory, Tag::TileWidth, 0)?), side(number(directory, Tag::TileLength, 0)?)),
            false => (width, side(number(directory, Tag::RowsPerStrip, height.into())?).min(height)),
        };
        if width == 0 || height == 0 {
            return Err(Fault::Damaged(format!("its strips or tiles are of {width}x{height} pixels")));
        }
        Ok(Self { width, height, places: offsets.into_iter().zip(counts).collect() })
    }
}

/// A tag's number, whatever its type, or `default`.
fn number(directory: &mut Directory<'_>, tag: Tag, default: u64) -> Result<u64, Fault> {
    Ok(numbers(directory, tag)?.first().copied().unwrap_or(default))
}

/// All numbers of a tag.
fn numbers(directory: &mut Directory<'_>, tag: Tag) -> Result<Vec<u64>, Fault> {
    Ok(directory.find_tag_unsigned_vec(tag)?.unwrap_or_default())
}
