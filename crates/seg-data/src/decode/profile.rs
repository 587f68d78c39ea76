//! Colour profiles (ICC, and PNG's `cICP`): what a photo's numbers mean, and the same colours in sRGB, which models are trained on.

use std::fmt;
use std::sync::Arc;

use image::RgbImage;
use moxcms::{
    CicpColorPrimaries, CicpProfile, ColorProfile, DataColorSpace, Layout, MatrixCoefficients, ProfileText,
    TransferCharacteristics, Transform8BitExecutor, TransformOptions,
};
use rayon::prelude::*;

use crate::error::{DataError, Result};

/// A conversion that moves no colour by more than this many levels changes nothing that anyone could see.
const SAME: u8 = 2;
/// Pixels of a piece of work.
const PIECE: usize = 1 << 14;

/// What a file has of a profile.
pub(crate) enum StoredProfile {
    Icc(Vec<u8>),
    /// Of a PNG.
    Cicp([u8; 4]),
}

impl StoredProfile {
    /// # Errors
    /// Why it is not used, in words.
    pub fn read(self) -> std::result::Result<ColourProfile, String> {
        match self {
            Self::Icc(icc) => ColourProfile::read(icc),
            Self::Cicp(chunk) => ColourProfile::of_cicp(chunk),
        }
    }
}

/// The colour profile of a photo.
#[derive(Clone)]
pub struct ColourProfile {
    icc: Vec<u8>,
    name: String,
    grey: bool,
    transform: Arc<Transform8BitExecutor>,
    srgb: bool,
}

impl fmt::Debug for ColourProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColourProfile").field("name", &self.name).field("srgb", &self.srgb).finish_non_exhaustive()
    }
}

impl ColourProfile {
    /// Of the bytes of an ICC profile, for RGB or grey.
    ///
    /// # Errors
    /// The reason in words: damaged, or for other colours than red, green and blue.
    fn read(icc: Vec<u8>) -> std::result::Result<Self, String> {
        let profile =
            ColorProfile::new_from_slice(&icc).map_err(|_| "its colour profile is damaged and not used".to_owned())?;
        if profile.cicp.is_some_and(|cicp| {
            matches!(cicp.transfer_characteristics, TransferCharacteristics::Smpte2084 | TransferCharacteristics::Hlg)
        }) {
            return Err(format!(
                "its colour profile '{}' is of high dynamic range: its colours are taken as stored",
                name(&profile)
            ));
        }
        Self::new(icc, name(&profile), &profile)
    }

    /// Of a PNG's `cICP` chunk: primaries, transfer, matrix, range.
    ///
    /// # Errors
    /// The reason in words: colours of high dynamic range, numbers that have no meaning.
    fn of_cicp(chunk: [u8; 4]) -> std::result::Result<Self, String> {
        let [primaries, transfer, matrix, range] = chunk;
        let unused = |why: &str| {
            format!("its colours (cICP {primaries}, {transfer}, {matrix}, {range}) are {why}: they are taken as stored")
        };
        if matches!(transfer, 16 | 18) {
            return Err(unused("of high dynamic range"));
        }
        let known = |e| unused(&format!("not known ({e:?})"));
        let cicp = CicpProfile {
            color_primaries: CicpColorPrimaries::try_from(primaries).map_err(known)?,
            transfer_characteristics: TransferCharacteristics::try_from(transfer).map_err(known)?,
            matrix_coefficients: MatrixCoefficients::Identity,
            full_range: true,
        };
        let name = match (primaries, transfer) {
            (1, 13) => "sRGB".to_owned(),
            (12, 13) => "Display P3".to_owned(),
            _ => format!("cICP {primaries}, {transfer}"),
        };
        if matrix != 0 || range != 1 {
            return Err(unused("not full-range RGB"));
        }
        let profile = ColorProfile::new_from_cicp(cicp);
        let icc = profile.encode().map_err(|_| unused("not known"))?;
        Self::new(icc, name, &profile)
    }

    fn new(icc: Vec<u8>, name: String, profile: &ColorProfile) -> std::result::Result<Self, String> {
        let from = match profile.color_space {
            DataColorSpace::Rgb => Layout::Rgb,
            DataColorSpace::Gray => Layout::Gray,
            other => return Err(format!("its colour profile '{name}' is for {other:?} colours and not used")),
        };
        let options = TransformOptions { prefer_fixed_point: false, ..TransformOptions::default() };
        let transform = profile
            .create_transform_8bit(from, &ColorProfile::new_srgb(), Layout::Rgb, options)
            .map_err(|_| format!("its colour profile '{name}' cannot be converted to sRGB and is not used"))?;
        let grey = from == Layout::Gray;
        let mut profile = Self { icc, name, grey, transform, srgb: false };
        profile.srgb = profile.moves_nothing();
        Ok(profile)
    }

    /// What the profile calls itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its colours are those of sRGB, to two levels.
    pub fn is_srgb(&self) -> bool {
        self.srgb
    }

    /// The ICC profile's bytes, for files that keep the colours as they are.
    pub fn icc(&self) -> &[u8] {
        &self.icc
    }

    /// The same colours in sRGB, by the profile's own rendering (colours outside of sRGB are cut off).
    ///
    /// # Errors
    /// [`DataError::Size`] when the picture has colours and the profile is for grey.
    pub fn to_srgb(&self, image: &RgbImage) -> Result<RgbImage> {
        let (width, height) = image.dimensions();
        if self.grey && image.pixels().any(|p| p.0[0] != p.0[1] || p.0[0] != p.0[2]) {
            return Err(DataError::size("a picture with a profile for grey", "colours", "grey"));
        }
        let mut out = vec![0; image.as_raw().len()];
        out.par_chunks_mut(3 * PIECE)
            .zip(image.as_raw().par_chunks(3 * PIECE))
            .for_each(|(out, raw)| self.convert(raw, out));
        Ok(RgbImage::from_raw(width, height, out).unwrap_or_default())
    }

    /// `raw` and `out`: as many pixels of 3 bytes. Lengths fit, so that the conversion has nothing to refuse; if it did, the
    /// pixels would stay as they are.
    fn convert(&self, raw: &[u8], out: &mut [u8]) {
        let done = if self.grey {
            let grey: Vec<u8> = raw.iter().copied().step_by(3).collect();
            self.transform.transform(&grey, out)
        } else {
            self.transform.transform(raw, out)
        };
        if done.is_err() {
            out.copy_from_slice(raw);
        }
    }

    fn moves_nothing(&self) -> bool {
        const STEPS: [u8; 9] = [0, 16, 32, 64, 96, 128, 160, 208, 255];
        let colours =
            STEPS.iter().flat_map(|r| STEPS.iter().flat_map(move |g| STEPS.iter().map(move |b| [*r, *g, *b])));
        let raw: Vec<u8> = match self.grey {
            true => (0..=255).flat_map(|v| [v; 3]).collect(),
            false => colours.flatten().collect(),
        };
        let mut out = vec![0; raw.len()];
        self.convert(&raw, &mut out);
        raw.iter().zip(&out).all(|(a, b)| a.abs_diff(*b) <= SAME)
    }
}

fn name(profile: &ColorProfile) -> String {
    let text = match &profile.description {
        Some(ProfileText::PlainString(text)) => text.clone(),
        Some(ProfileText::Localizable(all)) => all
            .iter()
            .find(|text| text.language == "en")
            .or(all.first())
            .map(|text| text.value.clone())
            .unwrap_or_default(),
        Some(ProfileText::Description(text)) => match text.ascii_string.is_empty() {
            true => text.unicode_string.clone(),
            false => text.ascii_string.clone(),
        },
        None => String::new(),
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
    match text.trim() {
        "" => "without a name".to_owned(),
        text => text.to_owned(),
    }
}
