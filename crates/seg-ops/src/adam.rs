//! Adam's step, weights and both moments in one pass.

use crate::cpu::simd;
use crate::error::{OpError, Result};
use crate::float::Float;
use candle_core::{CpuStorage, DType, InplaceOp1, InplaceOp2, Layout, Tensor};
use rayon::prelude::*;
use std::sync::Mutex;

/// Numbers of one step of Adam, of one weight tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate, 0 or more.
    pub lr: f64,
    /// Decay of the first moment, in 0..1.
    pub beta1: f64,
    /// Decay of the second moment, in 0..1.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Weight decay, 0 or more.
    pub weight_decay: f64,
    /// Whether the weight itself decays (AdamW), by `lr · weight_decay`; or the decay is added to the gradient (Adam's L2 penalty).
    pub decoupled: bool,
    /// Which step this is for the weight, from 1: the moments' start at zero is made up for.
    pub step: u64,
    /// Factor on the gradient: what is left of it after clipping, over the number of passes that it is the sum of.
    pub grad_scale: f64,
}

/// One step of Adam or AdamW (torch's `Adam`, `AdamW`): `weight`, `first` and `second` (the running means of the gradient and of its square) are
/// written in place; all four tensors have one shape and one type, f32 or f64. The tensors must not share memory.
///
/// On the CPU it is one threaded pass, with the same bits for any number of threads; elsewhere candle's own operations do it.
///
/// # Errors
/// Shapes or types that differ.
pub fn adam_step(weight: &Tensor, grad: &Tensor, first: &Tensor, second: &Tensor, step: &AdamStep) -> Result<()> {
    for (tensor, other) in [("grad", grad), ("first", first), ("second", second)] {
        if other.shape() != weight.shape() {
            let expected = format!("the weight's, {:?}", weight.dims());
            return Err(OpError::Shape { op: NAME, tensor, got: other.dims().to_vec(), expected }.into());
        }
        if other.dtype() != weight.dtype() {
            let expected = format!("the weight's type, {:?}", weight.dtype());
            return Err(OpError::DType { op: NAME, tensor, got: other.dtype(), expected }.into());
        }
    }
    let grad = grad.contiguous()?;
    match (weight.device().is_cpu(), weight.dtype()) {
        (true, DType::F32) => on_cpu::<f32>(weight, &grad, first, second, step),
        (true, DType::F64) => on_cpu::<f64>(weight, &grad, first, second, step),
        (true, got) => Err(OpError::DType { op: NAME, tensor: "weight", got, expected: "f32 or f64".into() }.into()),
        (false, _) => composed(weight, &grad, first, second, step),
    }
}

const NAME: &str = "adam_step";

/// By candle's operations, one after the other.
fn composed(weight: &Tensor, grad: &Tensor, first: &Tensor, second: &Tensor, s: &AdamStep) -> Result<()> {
    let f = Factors::new(s);
    let mut grad = (grad * s.grad_scale)?;
    if f.penalty != 0. {
        grad = (grad + (weight.detach() * f.penalty)?)?;
    }
    let m = ((first * s.beta1)? + (&grad * (1. - s.beta1))?)?;
    let v = ((second * s.beta2)? + (grad.sqr()? * (1. - s.beta2))?)?;
    let moved = (&m * f.rate)?.div(&((v.sqrt()? * f.root)? + s.eps)?)?;
    let next = ((weight.detach() * f.keep)? - moved)?;
    for (target, value) in [(first, m), (second, v), (weight, next)] {
        let value = value.contiguous()?;
        target.slice_set(&value.flatten_all()?.reshape(target.shape())?, 0, 0)?;
    }
    Ok(())
}

/// What is the same for all numbers of a tensor.
struct Factors {
    /// Of the weight: what decay leaves of it.
    keep: f64,
    /// Of the weight, added to the gradient.
    penalty: f64,
    /// Of the first moment: the learning rate, its start made up for.
    rate: f64,
    /// Of the root of the second moment: its start made up for.
    root: f64,
}

impl Factors {
    fn new(s: &AdamStep) -> Self {
        let power = |beta: f64| beta.powf(s.step as f64);
        let (keep, penalty) = match s.decoupled {
            true => (1. - s.lr * s.weight_decay, 0.),
            false => (1., s.weight_decay),
        };
        Self { keep, penalty, rate: s.lr / (1. - power(s.beta1)), root: 1. / (1. - power(s.beta2)).sqrt() }
    }
}

/// Numbers of a piece that one thread works on.
const PIECE: usize = 16 * 1024;

fn on_cpu<T: Float>(weight: &Tensor, grad: &Tensor, first: &Tensor, second: &Tensor, s: &AdamStep) -> Result<()> {
    let f = Factors::new(s);
    written::<T>(first, |m| {
        written::<T>(second, |v| {
            let step = |w: &mut [T], g: &[T]| {
                w.par_chunks_mut(PIECE)
                    .zip(g.par_chunks(PIECE))
                    .zip(m.par_chunks_mut(PIECE).zip(v.par_chunks_mut(PIECE)))
                    .for_each(|((w, g), (m, v))| simd(|| piece(w, g, m, v, s, &f)));
            };
            weight.inplace_op2(grad, &Write2 { with: Mutex::new(Some(step)), marker: std::marker::PhantomData })
        })
    })
}

#[inline(always)]
fn piece<T: Float>(w: &mut [T], g: &[T], m: &mut [T], v: &mut [T], s: &AdamStep, f: &Factors) {
    let of = T::of;
    let (scale, penalty, keep, rate, root) = (of(s.grad_scale), of(f.penalty), of(f.keep), of(f.rate), of(f.root));
    let (b1, b2, c1, c2, eps) = (of(s.beta1), of(s.beta2), of(1. - s.beta1), of(1. - s.beta2), of(s.eps));
    for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
        let g = *g * scale + *w * penalty;
        *m = *m * b1 + g * c1;
        *v = *v * b2 + g * g * c2;
        *w = *w * keep - *m * rate / (v.sqrt() * root + eps);
    }
}

/// Calls `with` with the numbers of a contiguous tensor on the CPU, to be written.
fn written<T: Float>(tensor: &Tensor, with: impl FnOnce(&mut [T]) -> Result<()>) -> Result<()> {
    tensor.inplace_op1(&Write1 { with: Mutex::new(Some(with)), marker: std::marker::PhantomData })
}

struct Write1<T, F> {
    with: Mutex<Option<F>>,
    marker: std::marker::PhantomData<fn(T)>,
}

impl<T: Float, F: FnOnce(&mut [T]) -> Result<()>> InplaceOp1 for Write1<T, F> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        taken(&self.with)?(numbers_mut(storage, layout)?)
    }
}

struct Write2<T, F> {
    with: Mutex<Option<F>>,
    marker: std::marker::PhantomData<fn(T)>,
}

impl<T: Float, F: FnOnce(&mut [T], &[T])> InplaceOp2 for Write2<T, F> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout, other: &CpuStorage, of: &Layout) -> Result<()> {
        let (from, to) = of.contiguous_offsets().ok_or_else(not_whole)?;
        let other = T::elements(other).and_then(|e| e.get(from..to)).ok_or_else(not_whole)?;
        taken(&self.with)?(numbers_mut(storage, layout)?, other);
        Ok(())
    }
}

/// The closure, which is called once.
fn taken<F>(with: &Mutex<Option<F>>) -> Result<F> {
    let with = with.lock().ok().and_then(|mut with| with.take());
    with.ok_or_else(|| candle_core::Error::Msg(format!("{NAME}: called twice")))
}

fn numbers_mut<'s, T: Float>(storage: &'s mut CpuStorage, layout: &Layout) -> Result<&'s mut [T]> {
    let (from, to) = layout.contiguous_offsets().ok_or_else(not_whole)?;
    T::elements_mut(storage).and_then(|e| e.get_mut(from..to)).ok_or_else(not_whole)
}

fn not_whole() -> candle_core::Error {
    candle_core::Error::Msg(format!("{NAME}: weights and moments must be contiguous, and of the weight's type"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    const STEP: AdamStep = AdamStep {
        lr: 0.01,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.1,
        decoupled: true,
        step: 1,
        grad_scale: 1.,
    };

    fn example<T: Float + candle_core::WithDType>(seed: f64) -> Result<Tensor> {
        let values: Vec<T> = (0..3 * PIECE / 2).map(|i| <T as Float>::of((i as f64 * 0.37 + seed).sin())).collect();
        Tensor::new(values, &Device::Cpu)?.reshape((3, PIECE / 2))
    }

    /// The same by single numbers, as the paper writes it.
    fn naive(w: &mut [f64], g: &[f64], m: &mut [f64], v: &mut [f64], s: &AdamStep) {
        for i in 0..w.len() {
            let mut g = g[i] * s.grad_scale;
            if s.decoupled {
                w[i] -= s.lr * s.weight_decay * w[i];
            } else {
                g += s.weight_decay * w[i];
            }
            m[i] = s.beta1 * m[i] + (1. - s.beta1) * g;
            v[i] = s.beta2 * v[i] + (1. - s.beta2) * g * g;
            let (m, v) = (m[i] / (1. - s.beta1.powi(s.step as i32)), v[i] / (1. - s.beta2.powi(s.step as i32)));
            w[i] -= s.lr * m / (v.sqrt() + s.eps);
        }
    }

    fn close<T: Float + candle_core::WithDType>(
        tolerance: f64,
        by: fn(&Tensor, &Tensor, &Tensor, &Tensor, &AdamStep) -> Result<()>,
    ) -> Result<()> {
        for decoupled in [true, false] {
            let weight = Var::from_tensor(&example::<T>(0.)?)?;
            let (first, second) = (weight.zeros_like()?, weight.zeros_like()?);
            let flat = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
            let (mut w, mut m, mut v) = (flat(&weight)?, flat(&first)?, flat(&second)?);
            for step in 1..=3 {
                let grad = example::<T>(step as f64)?;
                let s = AdamStep { step, decoupled, grad_scale: 0.5, ..STEP };
                naive(&mut w, &flat(&grad)?, &mut m, &mut v, &s);
                by(&weight, &grad, &first, &second, &s)?;
            }
            for (ours, right) in [(flat(&weight)?, &w), (flat(&first)?, &m), (flat(&second)?, &v)] {
                let off = ours.iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0., f64::max);
                assert!(off < tolerance, "decoupled {decoupled}: {off}");
            }
        }
        Ok(())
    }

    #[test]
    fn steps_are_adams() -> Result<()> {
        close::<f32>(3e-6, adam_step)?;
        close::<f64>(1e-12, adam_step)?;
        close::<f64>(1e-12, composed)
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() -> Result<()> {
        let with = |threads: usize| -> Result<Vec<f32>> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            let (weight, grad) = (example::<f32>(0.)?, example::<f32>(1.)?);
            let (first, second) = (example::<f32>(2.)?, example::<f32>(3.)?.sqr()?);
            pool.install(|| adam_step(&weight, &grad, &first, &second, &STEP))?;
            weight.flatten_all()?.to_vec1()
        };
        let one = with(1)?;
        for threads in [2, 7] {
            assert_eq!(
                with(threads)?.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
                one.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            );
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused() -> Result<()> {
        let t = |n: usize| Tensor::zeros(n, DType::F32, &Device::Cpu);
        let message = adam_step(&t(3)?, &t(2)?, &t(3)?, &t(3)?, &STEP).unwrap_err().to_string();
        assert!(message.contains("grad") && message.contains("[3]"), "{message}");
        let message = adam_step(&t(3)?, &t(3)?, &t(3)?.to_dtype(DType::F64)?, &t(3)?, &STEP).unwrap_err().to_string();
        assert!(message.contains("first"), "{message}");
        let half = t(3)?.to_dtype(DType::F16)?;
        assert!(adam_step(&half, &half, &half.copy()?, &half.copy()?, &STEP).is_err());
        Ok(())
    }
}
