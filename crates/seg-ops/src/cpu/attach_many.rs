//! Gradients for a value of any number of tensors: candle's operations take three at most.

use super::{Value, attach1, attach3};
use crate::error::Result;
use candle_core::{DType, Device, Error, Tensor};
use std::sync::{Arc, Mutex};

/// A weight and perhaps a bias, detached and contiguous: what a backward pass brings along.
pub(super) struct Detached(pub Tensor, pub Option<Tensor>);

impl Detached {
    pub fn of((weight, bias): (&Tensor, Option<&Tensor>)) -> Result<Self> {
        let plain = |t: &Tensor| t.detach().contiguous();
        Ok(Self(plain(weight)?, bias.map(plain).transpose()?))
    }
}

/// What a backward pass reads, kept for the first one alone: it is let go as soon as it has been read, and another pass through the same graph computes it again.
pub(super) struct ForOnePass(Mutex<Option<Tensor>>);

impl ForOnePass {
    /// `None`: nothing is kept, and every pass computes it.
    pub fn new(kept: Option<Tensor>) -> Self {
        Self(Mutex::new(kept))
    }

    /// What is kept, or else `again()`.
    pub fn take_or(&self, again: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        let kept = self.0.lock().ok().and_then(|mut kept| kept.take());
        kept.map_or_else(again, Ok)
    }
}

/// Gradients on their way from the function to those that they belong to.
type Kept = Arc<Mutex<Vec<Option<Tensor>>>>;

fn lost(name: &str) -> Error {
    Error::Msg(format!("{name}: the gradients are not there"))
}

/// `value` as a function of all of `of` that are there; see [`attach1`]. `backward(tracked, value, gradient)` gives their gradients in the same order, one of each that is
/// tracked and no variable; those of others are let go at once. It brings its own (detached) tensors.
pub(crate) fn attach_many<const N: usize>(
    name: &'static str,
    value: Value,
    of: [Option<&Tensor>; N],
    backward: impl Fn([bool; N], &Tensor, &Tensor) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
) -> Result<Tensor> {
    let tracked = of.map(|t| t.is_some_and(Tensor::track_op));
    attach_list(name, value, &of, move |y, g| Ok(backward(tracked, y, g)?.into()))
}

/// [`attach_many`] for a number of tensors that only a run tells.
///
/// The value is one of a token, a number that seems to be computed from all of them. Going backwards, the gradients are computed at once and kept until the token is
/// asked for them. The token is a chain, each link of two tensors.
pub(crate) fn attach_list(
    name: &'static str,
    value: Value,
    of: &[Option<&Tensor>],
    backward: impl Fn(&Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
) -> Result<Tensor> {
    let tracked: Vec<bool> = of.iter().map(|t| t.is_some_and(Tensor::track_op)).collect();
    let places = of.iter().enumerate().filter_map(|(i, t)| t.filter(|_| tracked[i]).map(|t| (i, t)));
    let places: Vec<(usize, &Tensor)> = places.collect();
    let kept: Kept = Arc::new(Mutex::new(vec![None; of.len()]));
    let zero = || Tensor::zeros((), DType::F32, &Device::Cpu);
    let mut token: Option<Tensor> = None;
    for pair in places.chunks(2) {
        let before = token.map_or_else(zero, Ok)?;
        let none = before.clone();
        let ((first, a), second) = (pair[0], pair.get(1).copied());
        let operands = (&before, a, second.map_or(&none, |(_, b)| b));
        let kept = Arc::clone(&kept);
        let link = Value::new(vec![0f32], ());
        let second = second.map(|(i, _)| i);
        token = Some(attach3(name, link, operands, move |before, _, _, _, _| {
            let mut kept = kept.lock().map_err(|_| lost(name))?;
            let mut take = |i: usize| kept.get_mut(i).and_then(Option::take);
            Ok((Some(before.zeros_like()?), take(first), second.and_then(take)))
        })?);
    }
    let Some(token) = token else { return value.tensor() };
    attach1(name, value, &token, move |token, y, g| {
        let gradients =
            backward(y, g)?.into_iter().zip(&tracked).map(|(gradient, tracked)| gradient.filter(|_| *tracked));
        *kept.lock().map_err(|_| lost(name))? = gradients.collect();
        Ok(Some(token.zeros_like()?))
    })
}
