//! An operation ready to be run, with its gradients where they are asked for.

use crate::spec::Spec;
use candle_core::{Result, Tensor, Var};

/// From its inputs to its output.
pub type Forward = Box<dyn Fn(&[Tensor]) -> Result<Tensor>>;
/// The output; of a backward pass the gradients of the inputs.
pub type Run = Box<dyn Fn() -> Result<Vec<Tensor>>>;

pub fn prepare(spec: &Spec, forward: Forward) -> Result<Run> {
    let (mut inputs, learned) = spec.inputs()?;
    if !spec.backward() {
        return Ok(Box::new(move || Ok(vec![forward(&inputs)?])));
    }
    let vars: Vec<Var> = inputs[..learned].iter().map(Var::from_tensor).collect::<Result<_>>()?;
    for (input, var) in inputs.iter_mut().zip(&vars) {
        *input = var.as_tensor().clone();
    }
    Ok(Box::new(move || {
        // with a gradient of ones, which candle makes
        let grads = forward(&inputs)?.backward()?;
        let missing = || candle_core::Error::Msg("a gradient is missing".to_owned());
        vars.iter().map(|v| grads.get(v).cloned().ok_or_else(missing)).collect()
    }))
}
