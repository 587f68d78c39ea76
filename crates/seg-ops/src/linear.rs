//! The product with a weight matrix.

use crate::error::{Result, check_float, check_like, check_vector, shape_error};
use crate::narrow::{is_half, wide, wide_option};
use crate::{Epilogue, composed, cpu};
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
    if is_half(x) {
        let (x32, weight, bias) = (wide(x)?, wide(weight)?, wide_option(bias)?);
        return epilogue.widened(|e| cpu::product::linear(&x32, &weight, bias.as_ref(), e))?.to_dtype(x.dtype());
    }
    let f = if x.device().is_cpu() { cpu::product::linear } else { composed::linear };
    f(x, weight, bias, epilogue)
}
