//! The photometric distortion of SSD's code, which ReferFormer and MPG-SAM 2 took over.

use image::RgbImage;
use rayon::prelude::*;

use crate::training::Dice;

/// How far levels may go; each kind of change happens half of the time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Distortion {
    /// Most levels that are added or taken away.
    pub brightness: f64,
    /// Least and most factor.
    pub contrast: [f64; 2],
    pub saturation: [f64; 2],
    /// Most degrees to either side.
    pub hue: f64,
}

/// What was drawn for one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Drawn {
    added: f32,
    /// Before and behind the change of colours: one of them is 1.
    contrast: [f32; 2],
    saturation: f32,
    hue: f32,
    /// Which channel comes to be which.
    channels: [usize; 3],
}

impl Drawn {
    fn new(by: &Distortion, dice: &mut Dice) -> Self {
        let mut maybe = |range: [f64; 2], without: f64| {
            let (happens, value) = (dice.chance(0.5), dice.between(range[0], range[1]));
            (if happens { value } else { without }) as f32
        };
        let added = maybe([-by.brightness, by.brightness], 0.);
        let contrast = maybe(by.contrast, 1.);
        let saturation = maybe(by.saturation, 1.);
        let hue = maybe([-by.hue, by.hue], 0.);
        let contrast = if dice.chance(0.5) { [contrast, 1.] } else { [1., contrast] };
        let mut channels = [0, 1, 2];
        if dice.chance(0.5) {
            dice.shuffle(&mut channels);
        }
        Self { added, contrast, saturation, hue, channels }
    }

    fn pixel(&self, pixel: [u8; 3]) -> [u8; 3] {
        let levels = pixel.map(|v| (f32::from(v) + self.added) * self.contrast[0]);
        let levels = coloured(levels, self.saturation, self.hue).map(|v| (v * self.contrast[1]).clamp(0., 255.) as u8);
        self.channels.map(|c| levels[c])
    }
}

/// Changes a picture. Levels beyond 0 and 255 are cut, where the original's cast wraps round.
pub(super) fn distort(image: &mut RgbImage, by: &Distortion, dice: &mut Dice) {
    let drawn = Drawn::new(by, dice);
    image.par_chunks_mut(3 << 12).for_each(|chunk| {
        for pixel in chunk.as_chunks_mut::<3>().0 {
            *pixel = drawn.pixel(*pixel);
        }
    });
}

/// With a saturation times and a hue plus, by way of hue, saturation and value. The first channel is taken for blue, as OpenCV's default has it and the original
/// leaves it: the hue goes the other way round.
fn coloured(levels: [f32; 3], times: f32, plus: f32) -> [f32; 3] {
    let [b, g, r] = levels;
    let value = r.max(g).max(b);
    let range = value - r.min(g).min(b);
    if range <= 0. || value.abs() < f32::EPSILON {
        return levels;
    }
    let sixth = 60. / range;
    let hue = if value == r {
        (g - b) * sixth
    } else if value == g {
        (b - r) * sixth + 120.
    } else {
        (r - g) * sixth + 240.
    };
    let saturation = range / value.abs() * times;
    let hue = (hue + plus).rem_euclid(360.) / 60.;
    let (sector, part) = (hue.floor(), hue.fract());
    let low = value * (1. - saturation);
    let falling = value * (1. - saturation * part);
    let rising = value * (1. - saturation * (1. - part));
    let [r, g, b] = match sector as u8 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    };
    [b, g, r]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Place;

    #[test]
    fn colours_go_round_and_come_back() {
        for pixel in [[10., 200., 90.], [255., 0., 0.], [3., 2., 250.], [120., 120., 119.]] {
            let back = coloured(pixel, 1., 0.);
            assert!(back.iter().zip(pixel).all(|(a, b)| (a - b).abs() < 1e-3), "{pixel:?} {back:?}");
        }
        assert_eq!(coloured([80., 80., 80.], 1.5, 18.), [80., 80., 80.]);
        // red, taken for blue, a third of the way round: the other way
        let turned = coloured([200., 0., 0.], 1., 120.);
        assert!(turned[0] < 1. && turned[1] < 1. && turned[2] > 199., "{turned:?}");
        // no saturation is grey
        assert_eq!(coloured([200., 100., 50.], 0., 0.), [200., 200., 200.]);
    }

    #[test]
    fn half_of_all_change_and_none_beyond_what_is_allowed() {
        let by = Distortion { brightness: 32., contrast: [0.5, 1.5], saturation: [0.5, 1.5], hue: 18. };
        let drawn: Vec<Drawn> = (0..400)
            .map(|index| Drawn::new(&by, &mut Dice::new(Place { seed: 1, epoch: 0, index }, "distort")))
            .collect();
        let count = |of: &dyn Fn(&Drawn) -> bool| drawn.iter().filter(|d| of(d)).count();
        for changed in [
            count(&|d| d.added != 0.),
            count(&|d| d.contrast != [1., 1.]),
            count(&|d| d.saturation != 1.),
            count(&|d| d.hue != 0.),
        ] {
            assert!((150..250).contains(&changed), "{changed} of 400");
        }
        assert!(
            drawn.iter().all(|d| d.added.abs() <= 32. && d.hue.abs() <= 18. && (0.5..=1.5).contains(&d.saturation))
        );
        let still = Distortion { brightness: 0., contrast: [1., 1.], saturation: [1., 1.], hue: 0. };
        let mut image = RgbImage::from_fn(9, 9, |x, y| image::Rgb([x as u8 * 20, y as u8 * 20, 77]));
        let before = image.clone();
        let place = |index| Place { seed: 1, epoch: 0, index };
        let index = (0..20).find(|i| {
            let mut dice = Dice::new(place(*i), "distort");
            Drawn::new(&still, &mut dice).channels == [0, 1, 2]
        });
        distort(&mut image, &still, &mut Dice::new(place(index.unwrap()), "distort"));
        let near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= 1;
        assert!(image.as_raw().iter().zip(before.as_raw()).all(near), "nothing changes but by rounding");
    }
}
