//! An operation ready to be run, with its gradients where they are asked for.

use crate::spec::{Spec, noise};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, Var};

/// From its inputs to its output.
pub type Forward = Box<dyn Fn(&[Tensor]) -> Result<Tensor>>;
/// The output; of a backward pass the gradients of the inputs.
pub type Run = Box<dyn Fn() -> Result<Vec<Tensor>>>;

/// A loss with a given gradient, as PyTorch's `y.backward(gradient)`; what candle spends on adding that gradient to zeros counts.
struct Loss(Tensor);

impl CustomOp1 for Loss {
    fn name(&self) -> &'static str {
        "loss"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.]), ().into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}

pub fn prepare(spec: &Spec, forward: Forward) -> Result<Run> {
    let (mut inputs, learned) = spec.inputs()?;
    if !spec.backward() {
        return Ok(Box::new(move || Ok(vec![forward(&inputs)?])));
    }
    let vars: Vec<Var> = inputs[..learned].iter().map(Var::from_tensor).collect::<Result<_>>()?;
    for (input, var) in inputs.iter_mut().zip(&vars) {
        *input = var.as_tensor().clone();
    }
    let gradient = noise(forward(&inputs)?.dims(), 100)?;
    Ok(Box::new(move || {
        let grads = forward(&inputs)?.apply_op1(Loss(gradient.clone()))?.backward()?;
        let missing = || candle_core::Error::Msg("a gradient is missing".to_owned());
        vars.iter().map(|v| grads.get(v).cloned().ok_or_else(missing)).collect()
    }))
}
