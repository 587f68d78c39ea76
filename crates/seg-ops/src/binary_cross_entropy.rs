//! Binary cross-entropy of probabilities.

use crate::error::{Result, check_float, check_like, shape_error};
use crate::narrow::{is_half, wide};
use crate::{composed, cpu};
use candle_core::Tensor;

/// Binary cross-entropy of probabilities, each with each target, averaged over everything: a scalar.
///
/// `probabilities` and `target` have one shape and lie in 0..1. As in torch's `BCELoss`, a logarithm is never below −100 and the gradient's denominator `p(1−p)`
/// never below 1e-12, so that saturated probabilities stay finite. The target gets no gradient. The sum is taken in f64.
///
/// # Errors
/// If shapes or types do not fit together.
pub fn binary_cross_entropy(probabilities: &Tensor, target: &Tensor) -> Result<Tensor> {
    const OP: &str = "binary_cross_entropy";
    check_float(OP, "probabilities", probabilities)?;
    check_like(OP, "target", target, probabilities)?;
    if probabilities.dims() != target.dims() {
        return shape_error(OP, "target", target, format!("{:?}, as the probabilities", probabilities.dims()));
    }
    if is_half(probabilities) {
        let loss = cpu::binary_cross_entropy::binary_cross_entropy(&wide(probabilities)?, &wide(target)?)?;
        return loss.to_dtype(probabilities.dtype());
    }
    if !probabilities.device().is_cpu() {
        return composed::binary_cross_entropy(probabilities, target);
    }
    cpu::binary_cross_entropy::binary_cross_entropy(probabilities, target)
}
