//! Keeping the rows of weights apart.

use crate::{Result, TrainError};
use candle_core::{DType, Tensor};

/// `Σ |W·Wᵀ − I|` over all weights, each seen as `[outputs, rest]`: a scalar, before its factor (DIS-SAM's is 1e-8).
///
/// DIS-SAM takes every parameter whose name does not contain `bias`, the batch norms' scales included: as a column `[C, 1]`.
///
/// # Errors
/// No weights at all.
pub fn orthogonality<'a>(weights: impl IntoIterator<Item = &'a Tensor>) -> Result<Tensor> {
    let mut terms = Vec::new();
    for weight in weights {
        let rows = weight.dims().first().copied().unwrap_or(1);
        let flat = weight.reshape((rows, ()))?;
        let identity = Tensor::eye(rows, DType::F32, weight.device())?.to_dtype(weight.dtype())?;
        terms.push((flat.matmul(&flat.t()?)? - identity)?.abs()?.sum_all()?);
    }
    if terms.is_empty() {
        return Err(TrainError::Count { what: "weights to keep orthogonal", got: 0, expected: 1 });
    }
    Ok(Tensor::stack(&terms, 0)?.sum_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn by_hand_and_by_difference_quotients() -> Result<()> {
        let device = Device::Cpu;
        // rows (1, 2) and (0, 1): products 5, 2, 2, 1; less the identity 4, 2, 2, 0
        let weight = Var::new(&[[1f64, 2.], [0.1, 1.]], &device)?;
        let column = Tensor::new(&[2f64, 0.5], &device)?; // products 4, 1, 1, 0.25: 3, 1, 1, 0.75
        let loss = |w: &Tensor| orthogonality([w, &column])?.to_scalar::<f64>().map_err(TrainError::from);
        assert!((loss(&Tensor::new(&[[1f64, 2.], [0., 1.]], &device)?)? - (8. + 5.75)).abs() < 1e-12);
        let grads = orthogonality([weight.as_tensor()])?.backward()?;
        let grad = grads.get(&weight).expect("a gradient").flatten_all()?.to_vec1::<f64>()?;
        for (i, grad) in grad.iter().enumerate() {
            let moved = |step: f64| -> Result<f64> {
                let mut values = weight.flatten_all()?.to_vec1::<f64>()?;
                values[i] += step;
                loss(&Tensor::from_vec(values, (2, 2), &device)?)
            };
            let quotient = (moved(1e-6)? - moved(-1e-6)?) / 2e-6;
            assert!((quotient - grad).abs() < 1e-6, "{i}: {quotient} {grad}");
        }
        assert!(orthogonality([]).is_err());
        Ok(())
    }
}
