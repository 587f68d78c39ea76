//! What a camera and a file do to a picture.

use image::codecs::jpeg::JpegEncoder;

use super::blur::blurred;
use super::spec::{Span, Spec};
use crate::training::Dice;
use crate::{DataError, DecodeLimits, Result, RgbImage, decode_image};

/// A number of a range.
pub(super) fn draw(span: Span, dice: &mut Dice) -> f64 {
    dice.between(span.low, span.high)
}

/// A whole number of a range, each as likely as the others.
pub(super) fn draw_whole(span: Span, dice: &mut Dice) -> u64 {
    let (low, high) = (span.low.ceil() as u64, span.high.floor() as u64);
    low + dice.below(high.saturating_sub(low) + 1)
}

/// What is drawn for one picture, or for all frames of a clip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finish {
    blur: f64,
    noise: f64,
    quality: Option<u8>,
}

impl Finish {
    pub fn new(spec: &Spec, dice: &mut Dice) -> Self {
        let (blur, noise, quality) = (draw(spec.blur, dice), draw(spec.noise, dice), draw(spec.quality, dice));
        Self { blur, noise, quality: dice.chance(spec.compressed).then_some(quality as u8) }
    }

    /// Blur, then noise, then compression.
    pub fn apply(&self, mut image: RgbImage, dice: &mut Dice) -> Result<RgbImage> {
        if self.blur >= 0.1 {
            image = blurred(&image, self.blur)?;
        }
        if self.noise >= 0.1 {
            grain(&mut image, self.noise, dice);
        }
        let Some(quality) = self.quality else { return Ok(image) };
        let mut bytes = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
        image
            .write_with_encoder(encoder)
            .map_err(|e| DataError::Encode { what: "a procedural picture as JPEG".into(), reason: e.to_string() })?;
        Ok(decode_image(&bytes, "a procedural picture", &DecodeLimits::default())?.image)
    }
}

/// Normal noise, stronger where it is light, partly the same in all channels.
fn grain(image: &mut RgbImage, sigma: f64, dice: &mut Dice) {
    // drawn from many numbers that are drawn once: a picture needs millions
    let numbers: Vec<f32> = (0..4096).map(|_| (dice.normal() * sigma) as f32).collect();
    let mut state = dice.bits() | 1;
    for p in image.pixels_mut() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let at = |k: u32| numbers[(state >> (12 * k)) as usize & 4095];
        let all = at(0) * 0.8;
        for c in 0..3 {
            let value = f32::from(p[c as usize]);
            p[c as usize] = (value + (all + at(c + 1) * 0.6) * (0.7 + value / 425.) + 0.5) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Place;

    #[test]
    fn noise_and_blur_have_the_strength_asked_for() {
        let mut dice = Dice::new(Place { seed: 1, epoch: 0, index: 0 }, "finish");
        let gray = RgbImage::from_pixel(100, 100, image::Rgb([128; 3]));
        let finish = Finish { blur: 0., noise: 6., quality: None };
        let noisy = finish.apply(gray.clone(), &mut dice).unwrap();
        let square = noisy.as_raw().iter().map(|v| (f64::from(*v) - 128.).powi(2)).sum::<f64>() / 30_000.;
        assert!((5. ..7.).contains(&square.sqrt()), "{}", square.sqrt());
        let calm = Finish { blur: 3., ..finish }.apply(noisy.clone(), &mut dice).unwrap();
        assert_ne!(calm, noisy);
        let packed = Finish { blur: 0., noise: 0., quality: Some(20) }.apply(noisy.clone(), &mut dice).unwrap();
        assert_eq!(packed.dimensions(), (100, 100));
        assert_ne!(packed, noisy);
        assert_eq!(Finish { blur: 0., noise: 0., quality: None }.apply(gray.clone(), &mut dice).unwrap(), gray);
    }

    #[test]
    fn whole_numbers_reach_both_ends() {
        let mut dice = Dice::new(Place { seed: 1, epoch: 0, index: 0 }, "whole");
        let mut seen = [false; 4];
        (0..100).for_each(|_| seen[draw_whole(Span::new(1., 3.), &mut dice) as usize] = true);
        assert_eq!(seen, [false, true, true, true]);
        assert_eq!(draw_whole(Span::new(2., 2.), &mut dice), 2);
    }
}
