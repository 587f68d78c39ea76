//! Keeping gradients from growing too large.

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Var};

/// Scales the gradients of `vars` down until their norm, all of them seen as one vector, is `max_norm` at most (torch's `clip_grad_norm_`). Returns the norm that
/// they had. Variables without a gradient are passed over.
///
/// # Errors
/// Besides candle's, a norm that is no number, which no scale would help.
pub fn clip_grad_norm<'v>(
    grads: &mut GradStore,
    vars: impl IntoIterator<Item = &'v Var>,
    max_norm: f64,
) -> Result<f64> {
    let vars: Vec<&Var> = vars.into_iter().collect();
    let mut squares = 0.;
    for grad in vars.iter().filter_map(|var| grads.get(var)) {
        squares += grad.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
    }
    let norm = squares.sqrt();
    if !norm.is_finite() {
        candle_core::bail!("clipping gradients: their norm is {norm}, expected a number");
    }
    let scale = super::clip_factor(norm, max_norm);
    if scale < 1. {
        for var in vars {
            if let Some(grad) = grads.remove(var) {
                grads.insert(var, (grad * scale)?);
            }
        }
    }
    Ok(norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    #[test]
    fn one_norm_for_all() -> Result<()> {
        let vars = [Var::new(1f64, &Device::Cpu)?, Var::new(&[1f64, 1.], &Device::Cpu)?, Var::new(0f64, &Device::Cpu)?];
        let slopes = Tensor::new(&[0f64, 4.], &Device::Cpu)?;
        let loss = ((vars[0].as_tensor() * 3.)? + (vars[1].as_tensor() * slopes)?.sum_all()?)?;
        let mut grads = loss.backward()?;
        let norm = clip_grad_norm(&mut grads, &vars, 10.)?;
        assert!((norm - 5.).abs() < 1e-12 && grads.get(&vars[0]).unwrap().to_scalar::<f64>()? == 3.);
        clip_grad_norm(&mut grads, &vars, 0.5)?;
        assert!((grads.get(&vars[0]).unwrap().to_scalar::<f64>()? - 0.3).abs() < 1e-6);
        assert!((grads.get(&vars[1]).unwrap().to_vec1::<f64>()?[1] - 0.4).abs() < 1e-6);
        assert!(grads.get(&vars[2]).is_none());
        grads.insert(&vars[0], Tensor::new(f64::NAN, &Device::Cpu)?);
        assert!(clip_grad_norm(&mut grads, &vars, 1.).is_err());
        Ok(())
    }
}
