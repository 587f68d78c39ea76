//! Optimisers: [`Adam`], whose state can be saved, and those that come with DIS-SAM (`IS_Net/swd_optim`).
//!
//! The latter implement [`candle_nn::Optimizer`]. A variable that a backward pass does not reach is left alone, its state too.

mod adai;
mod adam;
mod adam_s;
mod clip;
mod gradients;
mod sgd_s;

pub use adai::{Adai, ParamsAdai, WeightDecay};
pub use adam::{Adam, AdamParams};
pub use adam_s::{AdamS, ParamsAdamS};
pub use clip::clip_grad_norm;
pub use gradients::{Gradients, clip_factor};
pub use sgd_s::{ParamsSgdS, SgdS};

use candle_core::{Result, Tensor, Var};

/// A variable and what an optimiser remembers of it.
#[derive(Debug)]
struct Slot<S> {
    var: Var,
    state: S,
}

/// Slots for the variables that hold floating-point numbers.
fn slots<S>(vars: Vec<Var>, state: impl Fn(&Tensor) -> Result<S>) -> Result<Vec<Slot<S>>> {
    vars.into_iter()
        .filter(|var| var.dtype().is_float())
        .map(|var| Ok(Slot { state: state(var.as_tensor())?, var }))
        .collect()
}

/// `average · beta + value · (1 − beta)`.
fn moving_average(average: &Tensor, value: &Tensor, beta: f64) -> Result<Tensor> {
    (average * beta)? + (value * (1. - beta))?
}

/// Sum of all elements.
fn total(x: &Tensor) -> Result<f64> {
    x.sum_all()?.to_dtype(candle_core::DType::F64)?.to_scalar()
}

/// What is left of a running average's start at zero after `step` steps: `1 − beta^step`.
fn bias_correction(beta: f64, step: u32) -> f64 {
    1. - beta.powi(step as i32)
}
