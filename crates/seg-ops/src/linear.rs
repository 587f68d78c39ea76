//! The product with a weight matrix.

use crate::error::{Result, check_float, check_like, check_vector, shape_error};
use crate::{Epilogue, composed};
use candle_core::Tensor;

/// `x · weightᵀ`, then bias and [`Epilogue`]: `[..., I]` and `[O, I]` give `[..., O]`.
///
/// # Errors
/// If shapes or types do not fit together.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, epilogue: Epilogue<'_>) -> Result<Tensor> {
    const OP: &str = "linear";
    check_float(OP, "x", x)?;
    check_like(OP, "weight", weight, x)?;
    let [outputs, inputs] = *weight.dims() else {
        return shape_error(OP, "weight", weight, "[O, I]");
    };
    if x.dims().last() != Some(&inputs) {
        return shape_error(OP, "x", x, format!("[..., {inputs}], as the weight is [{outputs}, {inputs}]"));
    }
    if let Some(bias) = bias {
        check_vector(OP, "bias", bias, outputs, x)?;
    }
    let mut dims = x.dims().to_vec();
    dims[x.rank() - 1] = outputs;
    epilogue.check(OP, outputs, &dims, x)?;
    composed::linear(x, weight, bias, epilogue)
}
