//! Resizing feature maps and masks.

use crate::error::{Result, check_float, parameter_error, shape_error};
use crate::narrow::{is_half, wide};
use crate::{Layout, composed, cpu};
use candle_core::Tensor;

/// How values between pixels are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The pixel at or before the position (PyTorch's "nearest").
    Nearest,
    /// Between two pixels an axis.
    Bilinear,
    /// Between four pixels an axis: Keys' kernel, A = -0.75, or -0.5 with antialiasing.
    Bicubic,
}

/// Parameters of [`resize()`], those of PyTorch's `F.interpolate`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resize {
    /// Interpolation.
    pub mode: Interpolation,
    /// Widen the filter when shrinking, as PIL does; not for [`Interpolation::Nearest`].
    pub antialias: bool,
    /// Let the centres of the corner pixels fall on each other; not for [`Interpolation::Nearest`].
    pub align_corners: bool,
    /// The factors (height, width) if the caller of PyTorch gave `scale_factor` and left `recompute_scale_factor` off: then coordinates follow the
    /// factors. `None`: they follow the sizes.
    pub scale: Option<(f64, f64)>,
}

impl Resize {
    const fn new(mode: Interpolation) -> Self {
        Self { mode, antialias: false, align_corners: false, scale: None }
    }

    /// The pixel at or before the position.
    pub const fn nearest() -> Self {
        Self::new(Interpolation::Nearest)
    }

    /// Between two pixels an axis.
    pub const fn bilinear() -> Self {
        Self::new(Interpolation::Bilinear)
    }

    /// Between four pixels an axis.
    pub const fn bicubic() -> Self {
        Self::new(Interpolation::Bicubic)
    }

    /// With a filter that widens when shrinking.
    #[must_use]
    pub const fn antialiased(self) -> Self {
        Self { antialias: true, ..self }
    }

    /// With the corner pixels' centres on each other.
    #[must_use]
    pub const fn align_corners(self) -> Self {
        Self { align_corners: true, ..self }
    }

    /// With coordinates that follow the factors (height, width) instead of the sizes.
    #[must_use]
    pub const fn with_scale(self, height: f64, width: f64) -> Self {
        Self { scale: Some((height, width)), ..self }
    }
}

/// Resizes `[B, C, H, W]` to `[B, C, h, w]`, with the numbers of PyTorch's `F.interpolate`.
///
/// # Errors
/// If an image or the wanted size is empty, or `resize` asks for antialiasing or aligned corners with nearest pixels.
pub fn resize(x: &Tensor, size: (usize, usize), resize: &Resize) -> Result<Tensor> {
    check("resize", Layout::Nchw, x, size, resize)?;
    if is_half(x) {
        return cpu::resize::resize(&wide(x)?, size, resize)?.to_dtype(x.dtype());
    }
    let f = if x.device().is_cpu() { cpu::resize::resize } else { composed::resize };
    f(x, size, resize)
}

/// [`resize`] of channels-last maps: `[B, H, W, C]` to `[B, h, w, C]`.
///
/// # Errors
/// As there.
pub fn resize_nhwc(x: &Tensor, size: (usize, usize), resize: &Resize) -> Result<Tensor> {
    check("resize_nhwc", Layout::Nhwc, x, size, resize)?;
    if is_half(x) {
        return cpu::resize_concat::resize_nhwc(&wide(x)?, size, resize)?.to_dtype(x.dtype());
    }
    let f = if x.device().is_cpu() { cpu::resize_concat::resize_nhwc } else { composed::resize_nhwc };
    f(x, size, resize)
}

fn check(op: &'static str, layout: Layout, x: &Tensor, (h, w): (usize, usize), resize: &Resize) -> Result<()> {
    check_float(op, "x", x)?;
    let (_, _, ih, iw) = layout.dims(op, "x", x)?;
    if ih == 0 || iw == 0 {
        return shape_error(op, "x", x, "at least 1 × 1 pixels");
    }
    if h == 0 || w == 0 {
        return parameter_error(op, "size", format!("{h} × {w}"), "at least 1 × 1 pixels");
    }
    if resize.mode == Interpolation::Nearest && (resize.antialias || resize.align_corners) {
        let expected = "bilinear or bicubic with these";
        return parameter_error(op, "mode", "nearest with antialias or align_corners", expected);
    }
    if let Some((sh, sw)) = resize.scale
        && !(sh.is_finite() && sw.is_finite() && sh > 0. && sw > 0.)
    {
        return parameter_error(op, "scale", format!("({sh}, {sw})"), "two positive factors");
    }
    Ok(())
}
