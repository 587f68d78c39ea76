//! Interpolation weights along one axis, by PyTorch's rules and in its precision.

use crate::float::Float;
use crate::{Interpolation, Resize};

/// For each output position the first input position and as many weights as every output has (`taps`, zero-filled).
pub(crate) struct Weights<T> {
    pub input: usize,
    pub taps: usize,
    pub first: Vec<usize>,
    pub weights: Vec<T>,
}

impl<T: Float> Weights<T> {
    /// `scale` is the factor the caller gave (output over input), if the coordinates are to follow it rather than the sizes.
    pub fn new(input: usize, output: usize, r: &Resize, scale: Option<f64>) -> Self {
        let ratio = match scale {
            _ if r.align_corners && r.mode != Interpolation::Nearest => {
                if output > 1 {
                    T::of_usize(input - 1) / T::of_usize(output - 1)
                } else {
                    T::ZERO
                }
            }
            Some(s) if s > 0. => T::of(1. / s),
            _ => T::of_usize(input) / T::of_usize(output),
        };
        match (r.mode, r.antialias) {
            (Interpolation::Nearest, _) => Self::nearest(input, output, ratio),
            (Interpolation::Bilinear, false) => Self::linear(input, output, ratio, r.align_corners),
            (Interpolation::Bicubic, false) => Self::cubic(input, output, ratio, r.align_corners),
            (mode, true) => Self::antialiased(input, output, ratio, mode),
        }
    }

    /// As a dense `[output, input]` matrix, row after row.
    pub fn dense(&self) -> Vec<T> {
        let mut m = vec![T::ZERO; self.first.len() * self.input];
        for (o, &first) in self.first.iter().enumerate() {
            for (t, &w) in self.row(o).iter().enumerate() {
                m[o * self.input + first + t] += w;
            }
        }
        m
    }

    /// The reverse map: for each input position the outputs it went to, which stand in one piece because `first` never falls.
    pub fn transposed(&self) -> Self {
        let outputs = self.first.len();
        let mut range = vec![(usize::MAX, 0); self.input];
        for (o, &first) in self.first.iter().enumerate() {
            for (t, &w) in self.row(o).iter().enumerate() {
                if w != T::ZERO {
                    let r = &mut range[first + t];
                    *r = (r.0.min(o), o);
                }
            }
        }
        let taps = range.iter().map(|r| (r.1 + 1).saturating_sub(r.0)).max().unwrap_or(1).clamp(1, outputs);
        let first: Vec<usize> = range.iter().map(|r| r.0.min(outputs - taps)).collect();
        let mut weights = vec![T::ZERO; self.input * taps];
        for (o, &start) in self.first.iter().enumerate() {
            for (t, &w) in self.row(o).iter().enumerate() {
                if w != T::ZERO {
                    let i = start + t;
                    weights[i * taps + o - first[i]] = w;
                }
            }
        }
        Self { input: outputs, taps, first, weights }
    }

    /// The weights of output `o`.
    pub fn row(&self, o: usize) -> &[T] {
        &self.weights[o * self.taps..(o + 1) * self.taps]
    }

    /// From pairs of position and weight per output; positions may repeat (clamped at the border).
    fn from_taps(input: usize, output: usize, taps: usize, mut f: impl FnMut(usize, &mut dyn FnMut(usize, T))) -> Self {
        let taps = taps.min(input);
        let mut this = Self { input, taps, first: Vec::with_capacity(output), weights: vec![T::ZERO; output * taps] };
        let mut pairs = Vec::with_capacity(taps);
        for o in 0..output {
            pairs.clear();
            f(o, &mut |i, w| pairs.push((i, w)));
            let lowest = pairs.iter().map(|p| p.0).min().unwrap_or(0);
            // so that all taps lie inside the input
            let first = lowest.min(input - taps);
            this.first.push(first);
            for &(i, w) in &pairs {
                this.weights[o * taps + i - first] += w;
            }
        }
        this
    }

    fn nearest(input: usize, output: usize, ratio: T) -> Self {
        Self::from_taps(input, output, 1, |o, put| {
            let i = (ratio * T::of_usize(o)).floor().as_f64() as usize;
            put(i.min(input - 1), T::ONE);
        })
    }

    fn linear(input: usize, output: usize, ratio: T, align_corners: bool) -> Self {
        Self::from_taps(input, output, 2, |o, put| {
            if input == output {
                return put(o, T::ONE);
            }
            let half = T::of(0.5);
            let x = if align_corners { ratio * T::of_usize(o) } else { ratio * (T::of_usize(o) + half) - half };
            let x = x.max(T::ZERO);
            let i = (x.floor().as_f64() as usize).min(input - 1);
            let t = (x - T::of_usize(i)).max(T::ZERO).min(T::ONE);
            put(i, T::ONE - t);
            put((i + 1).min(input - 1), t);
        })
    }

    fn cubic(input: usize, output: usize, ratio: T, align_corners: bool) -> Self {
        let a = T::of(-0.75);
        Self::from_taps(input, output, 4, |o, put| {
            let x = if align_corners {
                ratio * T::of_usize(o)
            } else {
                // in one rounding, unlike the bilinear position: so PyTorch's binaries do it, and far out in a large image the difference shows
                ratio.fma(T::of_usize(o) + T::of(0.5), -T::of(0.5))
            };
            let i = x.floor().as_f64().min((input - 1) as f64);
            let t = (x - T::of(i)).max(T::ZERO).min(T::ONE);
            let distances = [t + T::ONE, t, T::ONE - t, T::ONE - t + T::ONE];
            for (j, d) in distances.into_iter().enumerate() {
                let position = (i + j as f64 - 1.).clamp(0., (input - 1) as f64);
                put(position as usize, cubic_kernel(d, a));
            }
        })
    }

    /// The filter is stretched when shrinking, as in PIL.
    fn antialiased(input: usize, output: usize, ratio: T, mode: Interpolation) -> Self {
        let half = T::of(0.5);
        let reach = T::of(if mode == Interpolation::Bicubic { 2. } else { 1. });
        let (support, inverse) = if ratio >= T::ONE { (reach * ratio, T::ONE / ratio) } else { (reach, T::ONE) };
        let taps = support.as_f64().ceil() as usize * 2 + 1;
        let filter = |d: T| match mode {
            Interpolation::Bicubic => fused_cubic_kernel(d.abs(), T::of(-0.5)),
            _ => (T::ONE - d.abs()).max(T::ZERO),
        };
        let mut row = Vec::with_capacity(taps);
        Self::from_taps(input, output, taps, |o, put| {
            let centre = ratio * (T::of_usize(o) + half);
            let from = ((centre - support + half).as_f64().trunc().max(0.) as usize).min(input - 1);
            let to = ((centre + support + half).as_f64().trunc().max(0.) as usize).clamp(from + 1, input);
            row.clear();
            row.extend((from..to.min(from + taps)).map(|i| filter((T::of_usize(i) - centre + half) * inverse)));
            let total: T = row.iter().copied().sum();
            for (i, &w) in row.iter().enumerate() {
                put(from + i, if total == T::ZERO { w } else { w / total });
            }
        })
    }
}

/// Keys' cubic convolution kernel at distance `d ≥ 0`.
fn cubic_kernel<T: Float>(d: T, a: T) -> T {
    let two = T::of(2.);
    if d <= T::ONE {
        ((a + two) * d - (a + T::of(3.))) * d * d + T::ONE
    } else if d < two {
        ((a * d - T::of(5.) * a) * d + T::of(8.) * a) * d - T::of(4.) * a
    } else {
        T::ZERO
    }
}

/// The same with every product and sum in one rounding, as PyTorch's antialiasing kernels have it.
fn fused_cubic_kernel<T: Float>(d: T, a: T) -> T {
    let two = T::of(2.);
    if d <= T::ONE {
        ((a + two).fma(d, -(a + T::of(3.))) * d).fma(d, T::ONE)
    } else if d < two {
        a.fma(d, -T::of(5.) * a).fma(d, T::of(8.) * a).fma(d, -T::of(4.) * a)
    } else {
        T::ZERO
    }
}
