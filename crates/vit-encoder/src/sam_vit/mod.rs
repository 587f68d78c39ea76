//! SAM's image encoder (arXiv 2304.02643): a plain vision transformer whose attention is inside windows, but for four
//! blocks. Maps are channels last inside.

mod block;
mod config;
mod positions;

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, Epilogue, Observer, Unobserved, conv::nhwc, trace};

pub use block::SamVitBlock;
pub use config::SamVitConfig;

use crate::neck::Neck;

/// SAM's ViT with its neck: normalised images to image embeddings
/// (segment_anything/modeling/image_encoder.py, `ImageEncoderViT`).
///
/// Images may have any size that patches divide. At the size of the checkpoint's position tables, 1024×1024 for the
/// official files, the numbers are the official ones; at others the absolute positions are interpolated bicubically
/// and the relative ones of the global blocks linearly.
///
/// Keys: `patch_embed.proj`, `pos_embed [1, S, S, C]`, `blocks.N`, `neck.{0..3}`.
#[derive(Clone, Debug)]
pub struct ImageEncoderViT {
    patch_embed: Conv2d,
    patch_size: usize,
    pos_embed: Tensor,
    blocks: Vec<SamVitBlock>,
    neck: Neck,
}

impl ImageEncoderViT {
    /// Reads the encoder; `vb` is at `image_encoder` of an official file.
    pub fn new(cfg: &SamVitConfig, vb: VarBuilder) -> Result<Self> {
        let (grid, patch) = (cfg.grid(), cfg.patch_size);
        if patch == 0 || grid == 0 || cfg.window_size == 0 {
            candle_core::bail!(
                "SAM's ViT: images of {}, patches of {patch}, windows of {}: expected at least one patch an image and \
                 one patch a window",
                cfg.image_size,
                cfg.window_size
            );
        }
        if let Some(index) = cfg.global_attn_indexes.iter().find(|&&i| i >= cfg.depth) {
            candle_core::bail!("SAM's ViT: global attention in block {index}, expected one of the {}", cfg.depth);
        }
        let window = |i: usize| if cfg.global_attn_indexes.contains(&i) { 0 } else { cfg.window_size };
        Ok(Self {
            patch_embed: Conv2d::new(3, cfg.embed_dim, patch, nhwc(patch, 0), vb.pp("patch_embed.proj"))?,
            patch_size: patch,
            pos_embed: vb.get((1, grid, grid, cfg.embed_dim), "pos_embed")?,
            blocks: (0..cfg.depth)
                .map(|i| SamVitBlock::new(cfg, window(i), vb.pp("blocks").pp(i)))
                .collect::<Result<_>>()?,
            neck: Neck::new(cfg.embed_dim, cfg.out_channels, vb.pp("neck"))?,
        })
    }

    /// Normalised images `[B, 3, H, W]` to image embeddings `[B, 256, H/16, W/16]`, a view of channels-last memory.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        self.run(images, &mut Unobserved, |_| ())
    }

    /// As [`ImageEncoderViT::forward`], and the outputs of the global blocks, `[B, H/16, W/16, C]` each, in their
    /// order: the intermediate embeddings that HQ-SAM and Pi-SAM build on.
    pub fn forward_with_intermediates(&self, images: &Tensor) -> Result<(Tensor, Vec<Tensor>)> {
        let mut intermediates = Vec::new();
        let embeddings = self.run(images, &mut Unobserved, |x| intermediates.push(x.clone()))?;
        Ok((embeddings, intermediates))
    }

    /// As [`ImageEncoderViT::forward`]; the observer sees `patch_embed`, `pos_added`, `block{i}` (`[B, H/16, W/16, C]`),
    /// `block{i}.attn` (by window, see [`SamVitBlock::forward_with`]), `neck1` and `image_embeddings`.
    pub fn forward_with(&self, images: &Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        self.run(images, observer, |_| ())
    }

    fn run(&self, images: &Tensor, observer: &mut dyn Observer, mut global: impl FnMut(&Tensor)) -> Result<Tensor> {
        let patch = self.patch_size;
        let (_, channels, height, width) = images.dims4()?;
        if channels != 3 || height == 0 || width == 0 || !height.is_multiple_of(patch) || !width.is_multiple_of(patch) {
            candle_core::bail!(
                "SAM's ViT: images of shape {:?}, expected [B, 3, H, W] with H and W multiples of {patch}",
                images.shape()
            );
        }
        let mut x = self.embed(&images.permute((0, 2, 3, 1))?, observer)?; // [B, H/16, W/16, C]
        for (i, block) in self.blocks.iter().enumerate() {
            let _block = trace::part("blocks", i);
            x = block.forward_with(x, &format!("block{i}"), observer)?;
            if block.is_global() {
                global(&x);
            }
        }
        self.neck.forward_with(&x, observer)
    }

    /// Patches with their positions, `[B, H, W, 3]` to `[B, H/16, W/16, C]`.
    fn embed(&self, images: &Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let (b, height, width, _) = images.dims4()?;
        let (h, w) = (height / self.patch_size, width / self.patch_size);
        if observer.wants("patch_embed") {
            observer.observe("patch_embed", &self.patch_embed.forward(images)?)?;
        }
        let positions = positions::absolute(&self.pos_embed, (h, w))?;
        let positions = positions.broadcast_as((b, h, w, positions.dim(3)?))?;
        let x = self.patch_embed.forward_with(images, Epilogue::NONE.with_residual(&positions))?;
        observer.observe("pos_added", &x)?;
        Ok(x)
    }
}
