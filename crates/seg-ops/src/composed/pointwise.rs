use super::widen;
use crate::error::Result;
use crate::{Activation, Epilogue};
use candle_core::Tensor;

/// See [`crate::activate`].
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::None => Ok(x.clone()),
        // not candle's relu: its gradient at 0 is 1
        Activation::Relu => x.le(0.)?.where_cond(&x.zeros_like()?, x),
        // not candle's gelu_erf: its gradient is made of constants of six digits
        Activation::Gelu => (x * 0.5)?.mul(&((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.)?),
        // by tanh: 1 / (1 + exp(-x)) has a NaN gradient where exp overflows
        Activation::Sigmoid => x.affine(0.5, 0.)?.tanh()?.affine(0.5, 0.5),
    }
}

/// `residual + scale ⊙ act(x + bias)` with the channels on `axis`.
pub(super) fn finish(x: Tensor, bias: Option<&Tensor>, epilogue: Epilogue<'_>, axis: usize) -> Result<Tensor> {
    let channels_on_axis = |v: &Tensor, like: &Tensor| {
        let mut dims = vec![1; like.rank()];
        dims[axis] = v.elem_count();
        v.reshape(dims)
    };
    let mut y = match bias {
        Some(bias) => x.broadcast_add(&channels_on_axis(bias, &x)?)?,
        None => x,
    };
    y = activate(&y, epilogue.activation)?;
    if let Some(scale) = epilogue.scale {
        y = y.broadcast_mul(&channels_on_axis(scale, &y)?)?;
    }
    match epilogue.residual {
        Some(residual) => y + residual,
        None => Ok(y),
    }
}

/// See [`crate::binary_cross_entropy`].
pub fn binary_cross_entropy(probabilities: &Tensor, target: &Tensor) -> Result<Tensor> {
    let (dtype, probabilities) = (probabilities.dtype(), &widen(probabilities)?);
    let (p, target) = (probabilities.detach(), widen(&target.detach())?);
    let rest = p.affine(-1., 1.)?;
    let log = |p: &Tensor| p.log()?.maximum(-100f64); // ln 0 = −∞ becomes −100
    let value = (&target * log(&p)?)?.add(&(target.affine(-1., 1.)? * log(&rest)?)?)?.neg()?;
    let slope = ((&p - &target)? / (&p * &rest)?.maximum(1e-12)?)?;
    // the value, with the gradient of a line through it
    (value + (probabilities - &p)?.mul(&slope)?)?.mean_all()?.to_dtype(dtype)
}
