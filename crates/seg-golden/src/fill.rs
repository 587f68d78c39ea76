//! The fill rule: every weight follows from its name alone.
//!
//! A name is hashed (FNV-1a, 64 bits), the hash seeds a SplitMix64 sequence, and the name's ending together with the
//! shape says how the uniform numbers become weights. The same rule in any language gives the same bits, so a case
//! needs no weight file.

use candle_core::{DType, Device, Shape, Tensor};
use rayon::prelude::*;

/// Elements that one task fills: large enough to hide the cost of a task, small enough to share evenly.
const CHUNK: usize = 1 << 16;
/// The constant kernel in Pi-SAM's boundary operator, which is not filled.
const LAPLACIAN: &str = "interact_2.bnd_op.laplacian_kernel";
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// FNV-1a, 64 bits, of the bytes of `text`.
///
/// ```
/// assert_eq!(seg_golden::fill::fnv1a64("a"), 0xaf63_dc4c_8601_ec8c);
/// ```
pub fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Element `index` of the sequence of `seed`, as the integer `k` of `u = k / 2^24`.
#[inline]
fn bits24(seed: u64, index: u64) -> u32 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN_GAMMA));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as u32
}

/// Element `index` of the sequence of `seed`, in `[0, 1)`. Exact in `f32` too: there are 24 bits.
#[inline]
pub(crate) fn unit(seed: u64, index: usize) -> f64 {
    f64::from(bits24(seed, index as u64)) / f64::from(1u32 << 24)
}

/// The first `n` uniform numbers in `[0, 1)` of `name` (salt included by the caller).
pub fn uniform(name: &str, n: usize) -> Vec<f64> {
    let seed = fnv1a64(name);
    (0..n).map(|i| unit(seed, i)).collect()
}

/// How the uniform numbers of a tensor become its values.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    /// `offset + scale * (u - centre)`
    Affine { offset: f64, scale: f64, centre: f64 },
    /// `(2u - 1) * bound`
    Symmetric { bound: f64 },
    /// All zeros: the step counter of a batch norm.
    Zero,
}

impl Rule {
    /// The rule for a tensor called `name` (without salt) of shape `dims`.
    fn of(name: &str, dims: &[usize]) -> Self {
        let affine = |offset, scale, centre| Self::Affine { offset, scale, centre };
        if name.ends_with("running_var") {
            affine(0.5, 1.0, 0.0)
        } else if name.ends_with("running_mean") {
            affine(0.0, 0.2, 0.5)
        } else if name.ends_with("num_batches_tracked") {
            Self::Zero
        } else if dims.len() < 2 {
            if name.ends_with(".weight") { affine(1.0, 0.2, 0.5) } else { affine(0.0, 0.1, 0.5) }
        } else if name.ends_with("weight") {
            let fan_in: usize = dims[1..].iter().product();
            Self::Symmetric { bound: (3.0 / fan_in as f64).sqrt() }
        } else {
            affine(0.0, 1.0, 0.5)
        }
    }

    #[inline]
    fn value(self, u: f64) -> f64 {
        match self {
            Self::Affine { offset, scale, centre } => offset + scale * (u - centre),
            Self::Symmetric { bound } => (2.0 * u - 1.0) * bound,
            Self::Zero => 0.0,
        }
    }
}

/// The values of the tensor `name` with shape `dims`, row-major, under `salt`: computed in `f64`, rounded once.
pub fn fill(name: &str, dims: &[usize], salt: &str) -> Vec<f32> {
    let n: usize = dims.iter().product();
    if name.ends_with(LAPLACIAN) {
        // -1 all around, 8 in the middle of each 3x3 kernel
        return (0..n).map(|i| if i % 9 == 4 { 8.0 } else { -1.0 }).collect();
    }
    let rule = Rule::of(name, dims);
    let seed = fnv1a64(&format!("{salt}{name}"));
    let mut values = vec![0f32; n];
    // One loop a rule, so that the compiler sees no branch in it.
    match rule {
        Rule::Zero => {}
        Rule::Affine { .. } => fill_with(&mut values, seed, |u| rule.value(u) as f32),
        Rule::Symmetric { bound } => fill_with(&mut values, seed, |u| ((2.0 * u - 1.0) * bound) as f32),
    }
    values
}

fn fill_with(values: &mut [f32], seed: u64, value: impl Fn(f64) -> f32 + Sync) {
    values.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
        let first = chunk * CHUNK;
        for (i, v) in out.iter_mut().enumerate() {
            *v = value(unit(seed, first + i));
        }
    });
}

/// [`fill`] as a tensor: `F32`, or `I64` zeros for a batch norm's step counter.
pub fn fill_tensor(name: &str, shape: impl Into<Shape>, salt: &str, device: &Device) -> candle_core::Result<Tensor> {
    let shape = shape.into();
    if name.ends_with("num_batches_tracked") {
        return Tensor::zeros(shape, DType::I64, device);
    }
    let values = fill(name, shape.dims(), salt);
    Tensor::from_vec(values, shape, device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_of_known_names() {
        assert_eq!(fnv1a64(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a64("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a64("a.weight"), 0xde73_ae9d_17c1_3f4e);
        assert_eq!(fnv1a64("input.image"), 0x30cc_f345_9edd_a394);
    }

    #[test]
    fn uniform_of_a_known_name() {
        let u: Vec<f32> = uniform("a.weight", 4).into_iter().map(|u| u as f32).collect();
        assert_eq!(u, [0.670_531_8, 0.229_169_43, 0.903_333_84, 0.977_279_6]);
    }

    #[test]
    fn weights_and_biases_of_known_names() {
        let w = fill("a.weight", &[2, 3], "");
        assert_eq!(w, [0.341_063_62, -0.541_661_14, 0.806_667_7, 0.954_559_2, -0.913_972, -0.543_264_27]);
        let b = fill("b.bias", &[3], "");
        assert_eq!(b, [0.022_644_4, 0.045_965_26, 0.011_789_8].map(|v: f32| nearest(v, &b)));
    }

    /// The filled value that prints as `v` with seven digits: the published values are rounded.
    fn nearest(v: f32, among: &[f32]) -> f32 {
        among.iter().copied().find(|b| (b - v).abs() < 5e-8).unwrap_or(f32::NAN)
    }

    #[test]
    fn endings_choose_the_rule() {
        assert_eq!(fill("bn.num_batches_tracked", &[], ""), [0.0]);
        assert!(fill("bn.running_var", &[64], "").iter().all(|v| (0.5..1.5).contains(v)));
        assert!(fill("bn.running_mean", &[64], "").iter().all(|v| v.abs() <= 0.1));
        assert!(fill("norm.weight", &[64], "").iter().all(|v| (0.9..=1.1).contains(v)));
        assert!(fill("gamma", &[64], "").iter().all(|v| v.abs() <= 0.05));
        assert!(fill("pos_embed", &[1, 64], "").iter().any(|v| v.abs() > 0.3));
        let lap = fill("interact_2.bnd_op.laplacian_kernel", &[1, 1, 3, 3], "");
        assert_eq!(lap, [-1.0, -1.0, -1.0, -1.0, 8.0, -1.0, -1.0, -1.0, -1.0]);
        assert_ne!(fill("a.weight", &[2, 3], "p1"), fill("a.weight", &[2, 3], ""));
    }

    #[test]
    fn chunks_do_not_change_the_sequence() {
        let n = CHUNK * 2 + 77;
        let seed = fnv1a64("long.bias");
        let filled = fill("long.bias", &[n], "");
        for i in [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 76] {
            assert_eq!(filled[i], (0.1 * (unit(seed, i) - 0.5)) as f32);
        }
    }
}
