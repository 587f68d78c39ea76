//! Samples of any type to levels of 8 or 16 bits, and what is told when that is a guess.

use rayon::prelude::*;

use super::fault::Fault;
use super::header::{Format, Header};

/// Levels of which the largest is white.
pub(super) enum Levels {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

/// What numbers stand for.
#[derive(Debug, Clone, Copy)]
enum Scale {
    /// This number is white.
    White(f64),
    /// 0 to 255.
    Eight,
    /// 0 to 65535.
    Sixteen,
}

/// Floats may stick out of 0..1 by so much and still mean it: what resampling with negative lobes makes.
const OVERSHOOT: std::ops::RangeInclusive<f64> = -0.5..=1.5;

/// The smallest largest value of floats that are no whole numbers and yet levels of 8 bits.
const BRIGHT: f64 = 16.0;

/// The levels of all samples in `raw`, which are `header.samples` a pixel; what they stand for is judged by the first
/// `colours` of each.
pub(super) fn levels(header: &Header, raw: Vec<u8>, colours: usize, notes: &mut Vec<String>) -> Result<Levels, Fault> {
    match (header.format, header.bits) {
        (Format::Unsigned, 8) => Ok(Levels::Eight(raw)),
        (Format::Unsigned, 1..8) => {
            let steps = (1u32 << header.bits) - 1;
            Ok(Levels::Eight(raw.into_iter().map(|v| ((u32::from(v) * 255 + steps / 2) / steps) as u8).collect()))
        }
        (format, bits) => {
            let number: fn(&[u8]) -> f64 = match (format, bits) {
                (Format::Unsigned, 32) => |v| f64::from(u32::from_ne_bytes(array(v))),
                (Format::Unsigned, _) => |v| u64::from_ne_bytes(array(v)) as f64,
                (Format::Signed, 8) => |v| f64::from(i8::from_ne_bytes(array(v))),
                (Format::Signed, 16) => |v| f64::from(i16::from_ne_bytes(array(v))),
                (Format::Signed, 32) => |v| f64::from(i32::from_ne_bytes(array(v))),
                (Format::Signed, _) => |v| i64::from_ne_bytes(array(v)) as f64,
                (Format::Float, 16) => |v| half::f16::from_ne_bytes(array(v)).to_f64(),
                (Format::Float, 32) => |v| f64::from(f32::from_ne_bytes(array(v))),
                (Format::Float, _) => |v| f64::from_ne_bytes(array(v)),
            };
            let numbers = Numbers { raw: &raw, size: header.sample_bytes(), samples: header.samples, number };
            let range = numbers.range(0..colours);
            let scale = match format {
                Format::Float => float(&range, notes)?,
                _ => integer(&range, format, bits, notes)?,
            };
            Ok(numbers.scaled(colours, scale))
        }
    }
}

/// The same of unsigned samples of 9 to 16 bits.
pub(super) fn words(header: &Header, mut values: Vec<u16>, colours: usize, notes: &mut Vec<String>) -> Levels {
    if header.bits == 16 {
        notes.extend(dark(&values, header.samples, colours, header.largest));
    } else {
        let steps = (1u32 << header.bits) - 1;
        values.par_iter_mut().for_each(|v| *v = ((u32::from(*v) * 65535 + steps / 2) / steps).min(65535) as u16);
    }
    Levels::Sixteen(values)
}

/// The bytes of one sample.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[..N]);
    out
}

struct Numbers<'r> {
    raw: &'r [u8],
    size: usize,
    samples: usize,
    number: fn(&[u8]) -> f64,
}

/// What numbers there are.
struct Range {
    least: f64,
    most: f64,
    whole: bool,
    /// How many are no numbers.
    absent: u64,
    outside: u64,
    count: u64,
}

impl Numbers<'_> {
    /// Of these samples of all pixels.
    fn range(&self, of: std::ops::Range<usize>) -> Range {
        let mut range =
            Range { least: f64::INFINITY, most: f64::NEG_INFINITY, whole: true, absent: 0, outside: 0, count: 0 };
        for pixel in self.raw.chunks_exact(self.size * self.samples) {
            for sample in pixel.chunks_exact(self.size).take(of.end).skip(of.start) {
                let v = (self.number)(sample);
                range.count += 1;
                if v.is_nan() {
                    range.absent += 1;
                    continue;
                }
                range.least = range.least.min(v);
                range.most = range.most.max(v);
                range.whole &= v == v.round();
                range.outside += u64::from(!(0.0..=1.0).contains(&v));
            }
        }
        range
    }

    /// All levels: colours by `scale`, what lies behind them in 0..1 or by it.
    fn scaled(&self, colours: usize, scale: Scale) -> Levels {
        let behind = match self.range(colours..self.samples).most {
            most if most <= 1.0 && matches!(scale, Scale::Eight | Scale::Sixteen) => 1.0,
            _ => scale.white(),
        };
        let values = self.raw.chunks_exact(self.size).enumerate().map(|(i, v)| {
            let white = if i % self.samples < colours { scale.white() } else { behind };
            // what is no number becomes 0
            ((self.number)(v) / white).clamp(0.0, 1.0)
        });
        match scale {
            Scale::Sixteen => Levels::Sixteen(values.map(|v| (v * 65535.0).round() as u16).collect()),
            _ => Levels::Eight(values.map(|v| (v * 255.0).round() as u8).collect()),
        }
    }
}

impl Scale {
    fn white(self) -> f64 {
        match self {
            Self::White(white) => white,
            Self::Eight => 255.0,
            Self::Sixteen => 65535.0,
        }
    }
}

fn integer(range: &Range, format: Format, bits: u32, notes: &mut Vec<String>) -> Result<Scale, Fault> {
    let Range { least, most, .. } = *range;
    let kind = if format == Format::Signed { "signed" } else { "unsigned" };
    if least < 0.0 {
        return Err(Fault::Unsupported(format!(
            "its samples are signed and go from {least} to {most}, expected none below 0"
        )));
    }
    let largest = match format {
        Format::Signed => 2f64.powi(bits as i32 - 1) - 1.0,
        _ => 2f64.powi(bits as i32) - 1.0,
    };
    let small = |levels: u32| {
        format!("its {kind} {bits}-bit samples go up to {most} only and are taken as levels of 0 to {levels}")
    };
    if bits > 8 && most <= 255.0 {
        notes.push(small(255));
        return Ok(Scale::Eight);
    }
    if bits > 16 && most <= 65535.0 {
        notes.push(small(65535));
        return Ok(Scale::Sixteen);
    }
    if most < largest / 4.0 {
        notes.push(format!("its {kind} {bits}-bit samples go up to {most} of {largest}: the picture is dark"));
    } else if format == Format::Signed {
        notes.push(format!("its samples are signed: 0 to {largest} are taken as black to white"));
    }
    Ok(Scale::White(largest))
}

fn float(range: &Range, notes: &mut Vec<String>) -> Result<Scale, Fault> {
    let Range { least, most, whole, absent, outside, count } = *range;
    if absent > 0 {
        notes.push(format!("{absent} of its {count} samples are no numbers (NaN) and are taken as 0"));
    }
    // nothing but absent numbers
    if least > most || (least >= 0.0 && most <= 1.0) {
        return Ok(Scale::White(1.0));
    }
    let (least_shown, most_shown) = (shown(least), shown(most));
    if OVERSHOOT.contains(&least) && OVERSHOOT.contains(&most) && !(whole && least >= 0.0) {
        notes.push(format!("{outside} of its {count} float samples lie outside 0 to 1 (from {least_shown} to {most_shown}) and are cut off"));
        return Ok(Scale::White(1.0));
    }
    let levels = |scale, white: u32, notes: &mut Vec<String>| {
        notes.push(format!("its float samples go up to {most_shown} and are taken as levels of 0 to {white}"));
        Ok(scale)
    };
    match () {
        () if least >= 0.0 && most <= 255.0 && (whole || most >= BRIGHT) => levels(Scale::Eight, 255, notes),
        () if least >= 0.0 && most > 255.0 && most <= 65535.0 => levels(Scale::Sixteen, 65535, notes),
        () => Err(Fault::Unsupported(format!(
            "its float samples go from {least_shown} to {most_shown}, expected 0 to 1, or levels of 0 to 255 or 65535; scale them first"
        ))),
    }
}

/// A number for a message.
fn shown(v: f64) -> f64 {
    if v == v.round() { v } else { format!("{v:.4}").parse().unwrap_or(v) }
}

/// A note on 16-bit samples of which the two highest bits are never used: a camera's 12 or 14 bits, or levels of 8.
pub(in crate::decode) fn dark(values: &[u16], samples: usize, colours: usize, largest: Option<u64>) -> Option<String> {
    const DARK: u16 = 16383;
    let colours = || values.chunks_exact(samples).flat_map(|pixel| &pixel[..colours]);
    // of most pictures the first pixels decide
    if colours().any(|v| *v > DARK) {
        return None;
    }
    let most = colours().max().filter(|v| **v > 0)?;
    let said = largest.map(|max| format!(" (its tags call {max} the largest)")).unwrap_or_default();
    Some(format!("its 16-bit samples go up to {most} of 65535{said}: the picture is dark"))
}
