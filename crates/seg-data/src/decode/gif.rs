//! GIF: its frames on their canvas, as Pillow lays them.
//!
//! | what the format leaves open | here |
//! | --- | --- |
//! | around a first frame that is smaller than the canvas | the transparent colour if the frame has one, else colour 0 |
//! | a first frame that sticks out of the canvas | the canvas grows |
//! | a later frame that sticks out | what sticks out is left out (Pillow grows the picture) |
//! | "restore to background" | the transparent colour if the frame has one, else the background colour |
//! | "restore to previous" at the first frame | the transparent colour if it has one, else nothing |
//! | a frame that says nothing about its disposal | as the frame before it |

use std::io::Cursor;

use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, DisposalMethod, Frame, MemoryLimit};
use image::{DynamicImage, Rgba, RgbaImage};

use super::canvas::{Place, crop, lay, paste};
use super::gif_blocks::{self, Blocks};
use super::{DecodeLimits, Decoded, Turn};
use crate::error::{DataError, Result, one_line};

/// Bytes a pixel of the canvas: itself, what was there before, what is given out, and the frame's indices.
const BYTES_A_PIXEL: u64 = 13;

/// The first frame on its canvas.
pub(super) fn decode(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<Decoded> {
    let mut frames = Frames::open(bytes, name, limits)?;
    let first = frames.next().ok_or_else(|| empty(name))?;
    let pixels = match (first?, frames.transparent) {
        (pixels, true) => DynamicImage::ImageRgba8(pixels),
        (pixels, false) => DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(pixels).into_rgb8()),
    };
    let mut notes = Vec::new();
    if frames.count > 1 {
        notes.push(format!("an animation of {} frames; only the first is used", frames.count));
    }
    if let Some(Place { left, top, width, height }) =
        frames.first.filter(|p| !p.covers((pixels.width(), pixels.height())))
    {
        let (w, h) = (pixels.width(), pixels.height());
        notes.push(format!("its picture of {width}x{height} pixels lies at {left},{top} on a canvas of {w}x{h}"));
    }
    Ok(Decoded { pixels, turn: Turn::NONE, profile: None, notes })
}

/// The first frame as OpenCV reads it: where it is transparent, and around it, lies the background colour, black without a palette of
/// the file's own.
pub(super) fn opencv(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<Decoded> {
    let mut frames = Frames::open(bytes, name, limits)?;
    let palette = frames.decoder.global_palette().unwrap_or(&[0; 3]);
    frames.backdrop = Some(Rgba(colour(palette, frames.background, None)));
    let pixels = frames.next().ok_or_else(|| empty(name))??;
    let pixels = DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(pixels).into_rgb8());
    Ok(Decoded { pixels, turn: Turn::NONE, profile: None, notes: Vec::new() })
}

/// All frames in order, RGBA, each as large as the canvas.
pub(crate) struct Frames<'b> {
    decoder: Decoder<Cursor<Vec<u8>>>,
    name: &'b str,
    limits: &'b DecodeLimits,
    canvas: RgbaImage,
    background: usize,
    disposal: DisposalMethod,
    /// What is laid on the canvas before the next frame.
    pending: Option<(Place, RgbaImage)>,
    /// Where the first frame lies.
    first: Option<Place>,
    /// Whether the first frame has a transparent colour.
    transparent: bool,
    /// What lies under the first frame, seen where it is transparent; by default nothing does.
    backdrop: Option<Rgba<u8>>,
    /// Whole frames in the file.
    count: usize,
}

impl<'b> Frames<'b> {
    /// # Errors
    /// A file without a frame, a header that is none, a canvas over the limits.
    pub fn open(bytes: &[u8], name: &'b str, limits: &'b DecodeLimits) -> Result<Self> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::Indexed);
        if let Some(most) = std::num::NonZeroU64::new(limits.max_decoded_bytes) {
            options.set_memory_limit(MemoryLimit::Bytes(most));
        }
        let Blocks { bytes, frames: count, cut } = gif_blocks::scan(bytes);
        if count == 0 && !cut {
            return Err(empty(name));
        }
        let decoder = options.read_info(Cursor::new(bytes.into_owned())).map_err(|e| error(&e, name))?;
        let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
        limits.check_header(name, width, height, BYTES_A_PIXEL * u64::from(width) * u64::from(height))?;
        let background = decoder.bg_color().unwrap_or(0);
        let canvas = RgbaImage::new(width, height);
        let disposal = DisposalMethod::Any;
        let (pending, first, transparent, backdrop) = (None, None, false, None);
        Ok(Self { decoder, name, limits, canvas, background, disposal, pending, first, transparent, backdrop, count })
    }

    fn frame(&mut self) -> Result<Option<RgbaImage>> {
        let Some(frame) = self.decoder.read_next_frame().map_err(|e| error(&e, self.name))?.cloned() else {
            return Ok(None);
        };
        let [left, top, width, height] = [frame.left, frame.top, frame.width, frame.height].map(u32::from);
        let place = Place { left, top, width, height };
        let hole = frame.transparent.map(usize::from);
        let palette =
            frame.palette.clone().or_else(|| self.decoder.global_palette().map(<[u8]>::to_vec)).unwrap_or_default();
        let colour = |index: usize| Rgba(colour(&palette, index, hole));
        if frame.dispose != DisposalMethod::Any {
            self.disposal = frame.dispose;
        }
        let is_first = self.first.is_none();
        if is_first {
            let (width, height) = (self.canvas.width().max(left + width), self.canvas.height().max(top + height));
            self.limits.check_header(self.name, width, height, BYTES_A_PIXEL * u64::from(width) * u64::from(height))?;
            self.canvas = RgbaImage::from_pixel(width, height, self.backdrop.unwrap_or(colour(hole.unwrap_or(0))));
            (self.first, self.transparent) = (Some(place), hole.is_some());
        }
        if let Some((place, picture)) = self.pending.take() {
            paste(&mut self.canvas, place, &picture);
        }
        self.pending = match (self.disposal, is_first) {
            (DisposalMethod::Background, _) => {
                Some((place, self.plain(place, colour(hole.unwrap_or(self.background)))))
            }
            (DisposalMethod::Previous, true) => hole.map(|hole| (place, self.plain(place, colour(hole)))),
            (DisposalMethod::Previous, false) => Some((place, crop(&self.canvas, place))),
            _ => None,
        };
        self.draw(&frame, place, hole.filter(|_| !is_first || self.backdrop.is_some()), colour);
        Ok(Some(self.canvas.clone()))
    }

    /// A picture of one colour for what of `place` is on the canvas.
    fn plain(&self, place: Place, colour: Rgba<u8>) -> RgbaImage {
        let width = place.width.min(self.canvas.width().saturating_sub(place.left));
        RgbaImage::from_pixel(width, place.height.min(self.canvas.height().saturating_sub(place.top)), colour)
    }

    /// `keep`: the index that leaves what is there.
    fn draw(&mut self, frame: &Frame<'_>, place: Place, keep: Option<usize>, colour: impl Fn(usize) -> Rgba<u8>) {
        lay(&mut self.canvas, place, |x, y, under| {
            let at = y as usize * place.width as usize + x as usize;
            match frame.buffer.get(at).map(|index| usize::from(*index)) {
                Some(index) if Some(index) != keep => colour(index),
                _ => under,
            }
        });
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<RgbaImage>;

    fn next(&mut self) -> Option<Self::Item> {
        self.frame().transpose()
    }
}

/// Without a palette an index is a grey level.
fn colour(palette: &[u8], index: usize, hole: Option<usize>) -> [u8; 4] {
    let [r, g, b] = match palette.get(3 * index..3 * index + 3) {
        Some(rgb) => [rgb[0], rgb[1], rgb[2]],
        None if palette.is_empty() => [index as u8; 3],
        None => [0; 3],
    };
    [r, g, b, if hole == Some(index) { 0 } else { 255 }]
}

fn empty(name: &str) -> DataError {
    DataError::Decode { name: name.to_owned(), format: "GIF", reason: "it holds no picture".into() }
}

fn error(e: &DecodingError, name: &str) -> DataError {
    let name = name.to_owned();
    match e {
        DecodingError::UnexpectedEof => DataError::cut(name, "GIF"),
        DecodingError::Io(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => DataError::cut(name, "GIF"),
        DecodingError::MemoryLimit => DataError::TooLarge {
            name,
            what: "the memory for decoding",
            value: "more than allowed".into(),
            limit: "max_decoded_bytes".into(),
        },
        _ => DataError::Decode { name, format: "GIF", reason: one_line(&e.to_string()) },
    }
}
