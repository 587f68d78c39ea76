//! Gradients for a value of four tensors: candle's operations take three at most.

use super::{Value, attach2, attach3};
use crate::error::Result;
use candle_core::{Error, Tensor};
use std::sync::{Arc, Mutex};

type Three = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

/// `value` as a function of `a`, `b`, `c` and `d`; see [`super::attach1`]. `backward(value, gradient)` gives the gradients of the first three, and that of
/// `d`; it brings its own (detached) tensors.
///
/// The value is one of `d` and a token, the token one of the other three: going backwards, the gradients of the three are computed together with that of
/// `d`, and kept until the token is asked for them.
pub(super) fn attach4(
    name: &'static str,
    value: Value,
    (a, b, c): (&Tensor, &Tensor, &Tensor),
    d: &Tensor,
    backward: impl Fn(&Tensor, &Tensor) -> Result<(Three, Option<Tensor>)> + Send + Sync + 'static,
) -> Result<Tensor> {
    let kept: Arc<Mutex<Option<Three>>> = Arc::default();
    let lost = move || Error::Msg(format!("{name}: the gradients of the first three tensors are not there"));
    let taken = Arc::clone(&kept);
    let token = attach3(name, Value::new(vec![0_f32], 1), (a, b, c), move |_, _, _, _, _| {
        taken.lock().ok().and_then(|mut three| three.take()).ok_or_else(lost)
    })?;
    let wanted = token.track_op();
    attach2(name, value, &token, d, move |token, _, y, g| {
        let (three, d) = backward(y, g)?;
        *kept.lock().map_err(|_| lost())? = wanted.then_some(three);
        Ok((Some(token.zeros_like()?), d))
    })
}
