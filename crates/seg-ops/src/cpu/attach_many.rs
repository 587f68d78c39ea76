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

/// Gradients on their way from the function to those that they belong to.
type Kept = Arc<Mutex<Vec<Option<Tensor>>>>;

fn lost(name: &str) -> Error {
    Error::Msg(format!("{name}: the gradients are not there"))
}

/// `value` as a function of all of `of`; see [`attach1`]. `backward(value, gradient)` gives their gradients in the same order, one of each that is tracked and
/// no variable; it brings its own (detached) tensors.
///
/// The value is one of a token, a number that seems to be computed from all of them. Going backwards, the gradients are computed at once and kept until the token is
/// asked for them. The token is a chain, each link of two tensors.
pub(crate) fn attach_many(
    name: &'static str,
    value: Value,
    of: &[&Tensor],
    backward: impl Fn(&Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
) -> Result<Tensor> {
    let places: Vec<usize> = (0..of.len()).filter(|&i| of[i].track_op()).collect();
    let kept: Kept = Arc::new(Mutex::new(vec![None; of.len()]));
    let zero = || Tensor::zeros((), DType::F32, &Device::Cpu);
    let mut token: Option<Tensor> = None;
    for pair in places.chunks(2) {
        let before = token.map_or_else(zero, Ok)?;
        let none = before.clone();
        let (first, second) = (pair[0], pair.get(1).copied());
        let operands = (&before, of[first], second.map_or(&none, |i| of[i]));
        let kept = Arc::clone(&kept);
        let link = Value::new(vec![0f32], ());
        token = Some(attach3(name, link, operands, move |before, _, _, _, _| {
            let mut kept = kept.lock().map_err(|_| lost(name))?;
            let mut take = |i: usize| kept.get_mut(i).and_then(Option::take);
            Ok((Some(before.zeros_like()?), take(first), second.and_then(take)))
        })?);
    }
    let Some(token) = token else { return value.tensor() };
    attach1(name, value, &token, move |token, y, g| {
        let gradients = backward(y, g)?;
        *kept.lock().map_err(|_| lost(name))? = gradients;
        Ok(Some(token.zeros_like()?))
    })
}
