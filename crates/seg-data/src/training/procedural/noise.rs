//! Textures: smooth random planes and ramps of colours.

use crate::training::Dice;

/// Random numbers from 0 to 1 that change smoothly: octaves, each finer and weaker than the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    /// Pixels from one random number to the next, along x and y, of the coarsest octave.
    pub cell: [f64; 2],
    pub octaves: u32,
    /// How much weaker each octave is than the one before.
    pub gain: f32,
}

impl Noise {
    /// `width` x `height` values, mean about a half, mostly from 0 to 1.
    pub fn plane(&self, (width, height): (u32, u32), dice: &mut Dice) -> Vec<f32> {
        let mut plane = vec![0.5; (width * height) as usize];
        let ([mut x, mut y], mut strength) = (self.cell, 0.5);
        for _ in 0..self.octaves {
            octave(&mut plane, (width, height), [x.max(1.), y.max(1.)], strength, dice.bits());
            // not exactly half: the grids of two octaves shall not meet
            (x, y, strength) = (x / 1.93, y / 1.93, strength * self.gain);
        }
        plane
    }
}

/// A number from -1 to 1 for a point of a grid.
fn lattice(seed: u64, x: u32, y: u32) -> f32 {
    let mut bits = seed ^ (u64::from(x) << 32 | u64::from(y)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits >> 40) as f32) * (2. / 16_777_216.) - 1.
}

/// Adds `strength` times a smooth plane through random numbers on a grid.
fn octave(plane: &mut [f32], (width, height): (u32, u32), [cell_x, cell_y]: [f64; 2], strength: f32, seed: u64) {
    // where along the grid, and how far to the next point, eased
    let place = |at: u32, cell: f64, shift: u64| {
        let place = f64::from(at) / cell + (shift & 0xff) as f64 / 256.;
        let t = place.fract() as f32;
        (place as u32, t * t * (3. - 2. * t))
    };
    let columns: Vec<(u32, f32)> = (0..width).map(|x| place(x, cell_x, seed)).collect();
    let points = columns.last().map_or(0, |last| last.0 + 2);
    let mut row = vec![0f32; points as usize];
    let mut rows: (u32, Vec<f32>, Vec<f32>) = (u32::MAX, Vec::new(), Vec::new());
    let line = |y: u32| (0..points).map(|x| lattice(seed, x, y) * strength).collect();
    for (y, out) in plane.chunks_exact_mut(width as usize).enumerate().take(height as usize) {
        let (above, t) = place(y as u32, cell_y, seed >> 8);
        if rows.0 != above {
            let first = if rows.0.wrapping_add(1) == above && !rows.2.is_empty() { rows.2 } else { line(above) };
            rows = (above, first, line(above + 1));
        }
        row.iter_mut().zip(rows.1.iter().zip(&rows.2)).for_each(|(v, (a, b))| *v = a + (b - a) * t);
        for (v, &(x, t)) in out.iter_mut().zip(&columns) {
            let (a, b) = (row[x as usize], row[x as usize + 1]);
            *v += a + (b - a) * t;
        }
    }
}

pub(super) type Rgb = [f32; 3];

/// Colours for levels 0 to 1, in 256 steps.
#[derive(Clone, Debug)]
pub(super) struct Ramp(Vec<Rgb>);

impl Ramp {
    /// Evenly through the colours, of which there must be one at least.
    pub fn new(stops: &[Rgb]) -> Self {
        let last = stops.len() - 1;
        let at = |i: usize| {
            let place = i as f32 / 255. * last as f32;
            let (a, b) = (stops[place as usize], stops[(place as usize + 1).min(last)]);
            [0, 1, 2].map(|c| a[c] + (b[c] - a[c]) * place.fract())
        };
        Self((0..256).map(at).collect())
    }

    pub fn colour(&self, level: f32) -> Rgb {
        self.0[(level.clamp(0., 1.) * 255.) as usize]
    }
}

/// Of hue (0 to 1, from red over green and blue), saturation and value (0 to 1).
pub(super) fn hsv(hue: f64, saturation: f64, value: f64) -> Rgb {
    let channel = |shift: f64| {
        let k = (shift + hue.rem_euclid(1.) * 6.) % 6.;
        (255. * (value - value * saturation * k.min(4. - k).clamp(0., 1.))) as f32
    };
    [channel(5.), channel(3.), channel(1.)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Place;

    #[test]
    fn noise_is_smooth_and_even() {
        let mut dice = Dice::new(Place { seed: 1, epoch: 0, index: 0 }, "noise");
        let noise = Noise { cell: [40., 20.], octaves: 1, gain: 0.5 };
        let plane = noise.plane((200, 150), &mut dice);
        let mean = plane.iter().sum::<f32>() / 30_000.;
        assert!((mean - 0.5).abs() < 0.1, "{mean}");
        let steps = plane.chunks_exact(200).flat_map(|row| row.windows(2).map(|p| (p[0] - p[1]).abs()));
        // from one grid point to the next by 1 at most, half as steep again where it is eased
        assert!(steps.fold(0., f32::max) <= 1.5 / 40. + 1e-4);
        let (low, high) = plane.iter().fold((1f32, 0f32), |(l, h), v| (l.min(*v), h.max(*v)));
        assert!(low >= 0. && high <= 1. && high - low > 0.6, "{low} {high}");
    }

    #[test]
    fn colours() {
        assert_eq!(hsv(0., 1., 1.), [255., 0., 0.]);
        assert_eq!(hsv(1. / 3., 1., 1.), [0., 255., 0.]);
        assert_eq!(hsv(0.7, 0., 0.2), [51.; 3]);
        let ramp = Ramp::new(&[[0.; 3], [255.; 3]]);
        assert_eq!((ramp.colour(-1.), ramp.colour(2.)), ([0.; 3], [255.; 3]));
    }
}
