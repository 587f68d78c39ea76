//! Hierarchical Multi-view Interaction Module (arXiv 2503.23786, section 3.4; models/sam2/modeling/sam/mask_decoder.py of sevenshr/MGD-SAM2).

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, Epilogue, LayerNorm, bands, conv, trace};
use seg_ops::Resize;

use crate::ViewGrid;

/// Brings what the local views know at a coarser level to this level's global view, and from there to its locals.
///
/// Keys: `locpre2glb`, `fuse1`, `glb2loc`, `fuse2`, `fuse3.{0,2}`.
#[derive(Clone, Debug)]
pub struct Hmim {
    grid: ViewGrid,
    locpre2glb: Conv2d,
    fuse1: PairFusion,
    glb2loc: Conv2d,
    fuse2: PairFusion,
    norm: LayerNorm,
    fuse3: Conv2d,
}

/// A 1×1 convolution over the channels of two maps side by side, added to one of them. The maps are never copied together.
///
/// Keys: `weight [C, 2C, 1, 1]`, `bias [C]`.
#[derive(Clone, Debug)]
struct PairFusion {
    weight: Tensor, // split at every call, so that gradients reach it
    bias: Tensor,
}

impl PairFusion {
    fn new(dim: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight: vb.get((dim, 2 * dim, 1, 1), "weight")?, bias: vb.get(dim, "bias")? })
    }

    /// `first` and `second` `[B, H, W, C]` to `residual + conv([first, second])`.
    fn forward(&self, first: &Tensor, second: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let dim = self.bias.dim(0)?;
        let _span = trace::sized_layer(|| {
            let rows = first.elem_count() / dim.max(1);
            (format!("conv2d 1x1 {} -> {dim}", 2 * dim), trace::product_flops(rows, dim, 2 * dim))
        });
        let half = |i: usize| self.weight.narrow(1, i * dim, dim)?.flatten_from(1)?.contiguous(); // [C, C]
        let sum = seg_ops::linear(second, &half(1)?, Some(&self.bias), Epilogue::NONE.with_residual(residual))?;
        seg_ops::linear(first, &half(0)?, None, Epilogue::NONE.with_residual(&sum))
    }
}

impl Hmim {
    /// Reads the module for maps of `dim` channels; `vb` is at `sam_mask_decoder.new_fusion1` or `.new_fusion2` of an official file.
    pub fn new(dim: usize, grid: ViewGrid, vb: VarBuilder) -> Result<Self> {
        const EPS: f64 = 1e-6;
        let depthwise = |name: &str| Conv2d::new(dim, dim, 3, conv::depthwise_nhwc(dim, 3, 1), vb.pp(name));
        Ok(Self {
            grid,
            locpre2glb: depthwise("locpre2glb")?,
            fuse1: PairFusion::new(dim, vb.pp("fuse1"))?,
            glb2loc: depthwise("glb2loc")?,
            fuse2: PairFusion::new(dim, vb.pp("fuse2"))?,
            norm: LayerNorm::new(dim, EPS, vb.pp("fuse3.0"))?,
            fuse3: Conv2d::new(dim, dim, 1, conv::nhwc(1, 0), vb.pp("fuse3.2"))?,
        })
    }

    /// Views of this level `[(n² + 1)·B, h, w, C]` and the joined locals of the coarser one, of the size of this level's global: `[B, h, w, C]`. All
    /// channels last. Returns the views, of the same shape; [`Hmim::joined`] makes of them what the next finer level wants.
    pub fn forward(&self, views: Tensor, coarser: &Tensor) -> Result<Tensor> {
        let _hmim = trace::module("hmim");
        let (locals, globals) = self.grid.parts(&views)?;
        let joined = self.grid.join(&locals)?; // [B, n·h, n·w, C]
        drop((locals, views));
        let globals = self.fuse1.forward(&globals, &self.locpre2glb.forward(coarser)?, &globals)?;
        let size = (joined.dim(1)?, joined.dim(2)?);
        let support = self.glb2loc.forward(&seg_ops::resize_nhwc(&globals, size, &Resize::bilinear())?)?;
        let joined = self.fuse2.forward(&support, &joined, &joined)?;
        drop(support);
        let views = Tensor::cat(&[self.grid.split(&joined)?, globals], 0)?;
        drop(joined);
        let fuse = |views: Tensor| self.fuse3.forward(&seg_ops::gelu(&self.norm.forward(&views)?)?);
        match bands::rows(&views, 1)? {
            Some(rows) => bands::map(views, rows, fuse),
            None => fuse(views),
        }
    }

    /// The locals of `views` put together, `[B, n·h, n·w, C]`.
    pub fn joined(&self, views: &Tensor) -> Result<Tensor> {
        self.grid.join(&self.grid.parts(views)?.0)
    }
}
