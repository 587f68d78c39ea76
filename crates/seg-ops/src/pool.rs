//! Pooling.

use crate::cpu::pool::{Kind, pool2d};
use crate::error::{Result, check_float, check_positive, parameter_error, shape_error};
use crate::narrow::{is_half, wide};
use crate::{Layout, composed};
use candle_core::Tensor;

/// Geometry of [`max_pool2d`] and [`avg_pool2d`], the same for both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2dParams {
    /// Side of the window.
    pub kernel: usize,
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Pixels of padding on each side, at most half the kernel.
    pub padding: usize,
    /// Round the output size up: a window may reach over the border.
    pub ceil_mode: bool,
    /// Order of the axes of input and output.
    pub layout: Layout,
}

impl Pool2dParams {
    /// Output size along an axis of `len` pixels (PyTorch's rule: no window begins in the padding behind the image).
    pub(crate) fn output(&self, len: usize) -> usize {
        if self.ceil_mode {
            let out = (len + 2 * self.padding + self.stride - 1 - self.kernel) / self.stride + 1;
            if (out - 1) * self.stride >= len + self.padding { out - 1 } else { out }
        } else {
            (len + 2 * self.padding - self.kernel) / self.stride + 1
        }
    }

    /// Pixels that an axis must have.
    fn least(&self) -> usize {
        // rounded up, a window may reach over the border by less than a stride
        let over = if self.ceil_mode { self.stride - 1 } else { 0 };
        self.kernel.saturating_sub(2 * self.padding + over).max(1)
    }

    /// Pixels of the padded axis that window `o` covers: the mean's divisor.
    pub(crate) fn divisor(&self, o: usize, len: usize) -> usize {
        (o * self.stride + self.kernel).min(len + 2 * self.padding) - o * self.stride
    }

    fn check(&self, op: &'static str, x: &Tensor) -> Result<()> {
        check_float(op, "x", x)?;
        check_positive(op, &[("kernel", self.kernel), ("stride", self.stride)])?;
        if self.padding > self.kernel / 2 {
            return parameter_error(
                op,
                "padding",
                self.padding,
                format!("at most half the kernel, {}", self.kernel / 2),
            );
        }
        let (_, _, h, w) = self.layout.dims(op, "x", x)?;
        let least = self.least();
        if h.min(w) < least {
            return shape_error(
                op,
                "x",
                x,
                format!("at least {least} × {least} pixels for a kernel of {}", self.kernel),
            );
        }
        Ok(())
    }
}

/// The maximum of each window; padding never wins. `[B, C, H, W]` or `[B, H, W, C]` by the layout.
///
/// The gradient goes to the first maximum of a window, row after row, as in PyTorch.
///
/// # Errors
/// If the parameters make no sense, or the window is larger than the padded image.
pub fn max_pool2d(x: &Tensor, p: &Pool2dParams) -> Result<Tensor> {
    p.check("max_pool2d", x)?;
    pool(x, p, Kind::Maximum, composed::max_pool2d)
}

/// The mean of each window, zeros of the padding included. `[B, C, H, W]` or `[B, H, W, C]` by the layout.
///
/// # Errors
/// If the parameters make no sense, or the window is larger than the padded image.
pub fn avg_pool2d(x: &Tensor, p: &Pool2dParams) -> Result<Tensor> {
    p.check("avg_pool2d", x)?;
    pool(x, p, Kind::Mean, composed::avg_pool2d)
}

fn pool(
    x: &Tensor,
    p: &Pool2dParams,
    kind: Kind,
    composed: fn(&Tensor, &Pool2dParams) -> Result<Tensor>,
) -> Result<Tensor> {
    if is_half(x) {
        return pool2d(&wide(x)?, p, kind)?.to_dtype(x.dtype());
    }
    if x.device().is_cpu() { pool2d(x, p, kind) } else { composed(x, p) }
}
