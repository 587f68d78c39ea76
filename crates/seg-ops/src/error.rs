//! What can be wrong with a call, said with names and numbers.

use candle_core::{DType, Tensor};

/// Why an operation refused its arguments. It reaches the caller inside a [`candle_core::Error`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// A tensor has another shape than the operation needs.
    #[error("{op}: `{tensor}` has shape {got:?}, expected {expected}")]
    Shape {
        /// Operation.
        op: &'static str,
        /// Argument.
        tensor: &'static str,
        /// Shape of the argument.
        got: Vec<usize>,
        /// Shape that would have been right, in words.
        expected: String,
    },
    /// A number among the parameters makes no sense.
    #[error("{op}: parameter `{name}` is {got}, expected {expected}")]
    Parameter {
        /// Operation.
        op: &'static str,
        /// Parameter.
        name: &'static str,
        /// Its value.
        got: String,
        /// Values that would have been right, in words.
        expected: String,
    },
    /// A tensor's element type does not fit.
    #[error("{op}: `{tensor}` is {got:?}, expected {expected}")]
    DType {
        /// Operation.
        op: &'static str,
        /// Argument.
        tensor: &'static str,
        /// Its type.
        got: DType,
        /// The right type, in words.
        expected: String,
    },
    /// Processes that compute together no longer do.
    #[error("processes that compute together: {problem}")]
    Group {
        /// What happened.
        problem: String,
    },
    /// A tensor that this call needs was not given.
    #[error("{op}: `{tensor}` is missing, expected {expected}")]
    Missing {
        /// Operation.
        op: &'static str,
        /// Argument.
        tensor: &'static str,
        /// What should have been given, and why.
        expected: String,
    },
}

impl From<OpError> for candle_core::Error {
    fn from(e: OpError) -> Self {
        Self::wrap(e)
    }
}

pub(crate) type Result<T> = candle_core::Result<T>;

pub(crate) fn shape_error<T>(
    op: &'static str,
    name: &'static str,
    t: &Tensor,
    expected: impl Into<String>,
) -> Result<T> {
    Err(OpError::Shape { op, tensor: name, got: t.dims().to_vec(), expected: expected.into() }.into())
}

pub(crate) fn parameter_error<T>(
    op: &'static str,
    name: &'static str,
    got: impl std::fmt::Display,
    expected: impl Into<String>,
) -> Result<T> {
    Err(OpError::Parameter { op, name, got: got.to_string(), expected: expected.into() }.into())
}

/// `t` must be of a floating type that the operations know.
pub(crate) fn check_float(op: &'static str, name: &'static str, t: &Tensor) -> Result<()> {
    match t.dtype() {
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => Ok(()),
        got => Err(OpError::DType { op, tensor: name, got, expected: "f32, f64, f16 or bf16".into() }.into()),
    }
}

/// `t` must have the type (and the device) of `x`.
pub(crate) fn check_like(op: &'static str, name: &'static str, t: &Tensor, x: &Tensor) -> Result<()> {
    if t.dtype() != x.dtype() {
        let expected = format!("{:?} like the first argument", x.dtype());
        return Err(OpError::DType { op, tensor: name, got: t.dtype(), expected }.into());
    }
    if !t.device().same_device(x.device()) {
        let expected = format!("the first argument's device, {:?}", x.device().location());
        return parameter_error(op, name, format!("on {:?}", t.device().location()), expected);
    }
    Ok(())
}

/// `t` must be a vector of `n` elements, of `x`'s type.
pub(crate) fn check_vector(op: &'static str, name: &'static str, t: &Tensor, n: usize, x: &Tensor) -> Result<()> {
    check_like(op, name, t, x)?;
    if t.dims() != [n] {
        return shape_error(op, name, t, format!("[{n}]"));
    }
    Ok(())
}

/// Counts and steps of which there is no 0.
pub(crate) fn check_positive(op: &'static str, values: &[(&'static str, usize)]) -> Result<()> {
    match values.iter().find(|(_, value)| *value == 0) {
        Some((name, value)) => parameter_error(op, name, value, "1 or more"),
        None => Ok(()),
    }
}

/// A kernel of `kh × kw` taps, those of `weight`, must have any.
pub(crate) fn check_taps(op: &'static str, weight: &Tensor, (kh, kw): (usize, usize)) -> Result<()> {
    if kh == 0 || kw == 0 {
        return shape_error(op, "weight", weight, "a kernel of at least 1 × 1");
    }
    Ok(())
}

/// A kernel of `kh × kw` taps must fit into a padded image of `h × w` pixels, that of `x`.
pub(crate) fn check_reach(
    op: &'static str,
    x: &Tensor,
    (h, w): (usize, usize),
    (kh, kw): (usize, usize),
    padding: usize,
    dilation: usize,
) -> Result<()> {
    for (len, k) in [(h, kh), (w, kw)] {
        let reach = dilation * (k - 1) + 1;
        if len == 0 || len + 2 * padding < reach {
            let least = reach.saturating_sub(2 * padding).max(1);
            return shape_error(op, "x", x, format!("at least {least} pixels along an axis of {k} taps"));
        }
    }
    Ok(())
}

/// `t` must have exactly the shape `dims`, and `x`'s type.
pub(crate) fn check_dims(op: &'static str, name: &'static str, t: &Tensor, dims: &[usize], x: &Tensor) -> Result<()> {
    check_like(op, name, t, x)?;
    if t.dims() != dims {
        return shape_error(op, name, t, format!("{dims:?}"));
    }
    Ok(())
}
