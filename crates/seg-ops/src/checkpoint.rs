//! Memory for time: what a function computes on its way is not kept for the backward pass, but computed again there.

use crate::cpu::{Data, Value, attach_list, attach1};
use crate::error::Result;
use crate::float::Float;
use candle_core::{DType, Tensor, Var};

/// Which time a function under [`checkpoint`] runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// For its value.
    First,
    /// In the backward pass, for its gradients: what is to happen once (running statistics that move) has happened.
    Again,
}

/// `f(inputs)`, of which inputs and value alone are kept: the backward pass runs `f` a second time. Gradients are those that `f` itself would give, to the bit, of
/// inputs and of all variables that `f` uses; they come from the same backward pass as all others. (What other operations add to an input's gradient may be added in
/// another order: three such terms or more can differ in their last bits.)
///
/// `f` has to compute the same both times, and may use other tensors only if they are variables or constants: gradients of what it has taken from outside and is
/// neither input nor variable are lost. Inputs are detached for it. On another device than the CPU, in 16 bits, and where nothing has a gradient, it is `f` itself.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// let w = Var::new(3f32, &Device::Cpu)?;
/// let x = Var::new(&[1f32, 2.], &Device::Cpu)?;
/// let weight = w.clone();
/// let y = seg_ops::checkpoint(&[x.as_tensor()], move |x, _| x[0].broadcast_mul(&weight)?.exp())?;
/// let grads = y.sum_all()?.backward()?;
/// assert!(grads.get(&x).is_some() && grads.get(&w).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Those of `f`.
pub fn checkpoint(
    inputs: &[&Tensor],
    f: impl Fn(&[Tensor], Pass) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    if inputs.iter().any(|x| !x.device().is_cpu() || !matches!(x.dtype(), DType::F32 | DType::F64)) {
        let inputs: Vec<Tensor> = inputs.iter().map(|x| (*x).clone()).collect();
        return f(&inputs, Pass::First);
    }
    let detached: Vec<Tensor> = inputs.iter().map(|x| x.detach()).collect();
    let value = f(&detached, Pass::First)?;
    let variables: Vec<Tensor> = value.sorted_nodes().into_iter().filter(|node| node.is_variable()).cloned().collect();
    let value = value.detach();
    let tracked: Vec<usize> = (0..inputs.len()).filter(|&i| inputs[i].track_op()).collect();
    if tracked.is_empty() && variables.is_empty() {
        return Ok(value);
    }
    let stored = match value.dtype() {
        DType::F32 => stored::<f32>(&value)?,
        DType::F64 => stored::<f64>(&value)?,
        dtype => candle_core::bail!("checkpoint: a value of {dtype:?} from inputs of f32 or f64"),
    };
    drop(value);
    // everything that wants a gradient
    let of: Vec<Tensor> = tracked.iter().map(|&i| inputs[i].clone()).chain(variables.iter().cloned()).collect();
    attach_list("checkpoint", stored, &of.iter().map(Some).collect::<Vec<_>>(), move |_, grad| {
        let mut inputs = detached.clone();
        let mut leaves = Vec::with_capacity(tracked.len());
        for &i in &tracked {
            let leaf = Var::from_tensor(&detached[i])?;
            inputs[i] = leaf.as_tensor().clone();
            leaves.push(leaf);
        }
        let value = f(&inputs, Pass::Again)?;
        drop(inputs);
        let grad = grad.clone();
        let root = attach1("checkpoint", Value::new(vec![0f32], ()), &value, move |_, _, _| Ok(Some(grad.clone())))?;
        drop(value);
        let mut grads = root.backward()?;
        let mut found = Vec::with_capacity(leaves.len() + variables.len());
        for leaf in &leaves {
            // candle wants one of everything that it comes to
            found.push(Some(grads.remove(leaf).map_or_else(|| leaf.zeros_like(), Ok)?));
        }
        found.extend(variables.iter().map(|variable| grads.remove(variable)));
        Ok(found)
    })
}

/// The elements of a value, for an operation of its own.
fn stored<T: Float>(value: &Tensor) -> Result<Value> {
    let value = value.contiguous()?;
    let data = Data::<T>::contiguous(&value)?;
    Ok(Value::new(data.to_vec(), value.dims()))
}
