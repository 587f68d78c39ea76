//! The patches of an image that a convolution multiplies, gathered and scattered.

use crate::error::Result;
use crate::float::Float;
use crate::{Conv2dParams, ConvTranspose2dParams};
use candle_core::Tensor;

/// Sizes of a convolution. For a transposed one, of the convolution that it transposes: its "input" is the larger image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub batch: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub input: (usize, usize),
    pub out: (usize, usize),
    pub kernel: (usize, usize),
    pub stride: usize,
    pub padding: usize,
    pub dilation: usize,
    pub groups: usize,
}

impl Geometry {
    pub fn of_conv(x: &Tensor, weight: &Tensor, p: &Conv2dParams) -> Result<Self> {
        let (batch, inputs, h, w) = p.layout.dims("conv2d", "x", x)?;
        let (outputs, _, kh, kw) = weight.dims4()?;
        Ok(Self {
            batch,
            inputs,
            outputs,
            input: (h, w),
            out: (p.output(h, kh), p.output(w, kw)),
            kernel: (kh, kw),
            stride: p.stride,
            padding: p.padding,
            dilation: p.dilation,
            groups: p.groups,
        })
    }

    pub fn of_transpose(x: &Tensor, weight: &Tensor, p: &ConvTranspose2dParams) -> Result<Self> {
        let (batch, outputs, h, w) = p.layout.dims("conv_transpose2d", "x", x)?;
        let (_, inputs, kh, kw) = weight.dims4()?;
        Ok(Self {
            batch,
            inputs,
            outputs,
            input: (p.output(h, kh), p.output(w, kw)),
            out: (h, w),
            kernel: (kh, kw),
            stride: p.stride,
            padding: p.padding,
            dilation: p.dilation,
            groups: 1,
        })
    }

    /// Output pixels of an image.
    pub fn pixels(&self) -> usize {
        self.out.0 * self.out.1
    }

    /// Elements of a patch of one group.
    pub fn depth(&self) -> usize {
        self.inputs / self.groups * self.kernel.0 * self.kernel.1
    }

    /// Whether the patches are the pixels themselves.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == (1, 1) && self.stride == 1 && self.padding == 0 && self.input == self.out
    }

    /// Row or column of the input that an output's tap reads, if it is not padding.
    #[inline(always)]
    pub fn source(&self, out: usize, tap: usize, len: usize) -> Option<usize> {
        (out * self.stride + tap * self.dilation).checked_sub(self.padding).filter(|&i| i < len)
    }

    /// The output columns `from..to` whose tap `tap` does not read padding.
    pub fn inside(&self, tap: usize) -> (usize, usize) {
        let offset = tap * self.dilation;
        let from = self.padding.saturating_sub(offset).div_ceil(self.stride);
        // the last column reads pixel input - 1 at most
        let to = match (self.input.1 + self.padding).checked_sub(offset + 1) {
            Some(room) => room / self.stride + 1,
            None => 0,
        };
        let to = to.min(self.out.1);
        (from.min(to), to)
    }

    /// Calls `f(row of patches, first element in it, first input element, number)` for the stretches of patches inside the image. Rows are
    /// (channel, tap), a stretch runs along an output row, its input elements are `stride` apart.
    fn stretches(&self, channels: usize, from: usize, n: usize, mut f: impl FnMut(usize, usize, usize, usize)) {
        let (h, w) = self.input;
        let taps = self.kernel.0 * self.kernel.1;
        for tap in 0..taps {
            let (ty, tx) = (tap / self.kernel.1, tap % self.kernel.1);
            let (left, right) = self.inside(tx);
            let mut at = 0;
            while at < n {
                let (oy, ox) = ((from + at) / self.out.1, (from + at) % self.out.1);
                let run = (self.out.1 - ox).min(n - at);
                let (a, b) = (left.max(ox), right.min(ox + run));
                if a < b
                    && let Some(iy) = self.source(oy, ty, h)
                {
                    let ix = a * self.stride + tx * self.dilation - self.padding;
                    for c in 0..channels {
                        f(c * taps + tap, at + a - ox, (c * h + iy) * w + ix, b - a);
                    }
                }
                at += run;
            }
        }
    }

    /// Adds patches, a matrix (channel, tap) × pixel, to where they came from: the planes of one group of one image.
    pub fn scatter_rows<T: Float>(&self, patches: &[T], from: usize, n: usize, x: &mut [T]) {
        let channels = x.len() / (self.input.0 * self.input.1);
        self.stretches(channels, from, n, |row, at, start, count| {
            let y = &patches[row * n + at..][..count];
            if self.stride == 1 {
                for (x, &y) in x[start..start + count].iter_mut().zip(y) {
                    *x += y;
                }
            } else {
                for (x, &y) in x[start..].iter_mut().step_by(self.stride).zip(y) {
                    *x += y;
                }
            }
        });
    }
}
