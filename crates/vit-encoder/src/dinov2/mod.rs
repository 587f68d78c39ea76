//! DINOv2 (arXiv 2304.07193): a plain vision transformer trained without labels, whose features many dense tasks take as they are. Tokens are
//! channels last inside.

mod block;
mod config;
mod positions;

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, Epilogue, LayerNorm, Observer, Unobserved, conv::nhwc, trace};

pub use config::{DinoKeys, DinoV2Config, FeedForward, PositionInterpolation};
pub use positions::resample_position_table;

use block::Block;

/// What DINOv2 makes of images.
#[derive(Clone, Debug)]
pub struct DinoFeatures {
    /// The class token, `[B, C]`.
    pub class_token: Tensor,
    /// The patches' tokens, `[B, C, H/14, W/14]`: a view of channels-last memory.
    pub patch_tokens: Tensor,
}

/// DINOv2's vision transformer (dinov2/models/vision_transformer.py, `DinoVisionTransformer`; timm's `vit_*_patch14_dinov2`).
///
/// Images may have any size that patches divide. At the size of the position table the numbers are the official ones; at others the
/// table is interpolated as the configuration says.
///
/// Keys: `patch_embed.proj`, `cls_token [1, 1, C]`, `pos_embed [1, 1 + G², C]`, `register_tokens [1, R, C]` (or `reg_token`), `blocks.N`,
/// `norm`.
#[derive(Clone, Debug)]
pub struct DinoV2 {
    patch_embed: Conv2d,
    cls_token: Tensor,               // [1, 1, C]
    register_tokens: Option<Tensor>, // [1, R, C]
    pos_embed: Tensor,               // [1, 1 + G², C] or [1, G², C]
    blocks: Vec<Block>,
    norm: Option<LayerNorm>,
    cfg: DinoV2Config,
}

impl DinoV2 {
    /// Parts of the original files that only training uses.
    pub const UNUSED: [&'static str; 1] = ["mask_token"];

    /// Reads the network; `vb` is at the root of an official file.
    pub fn new(cfg: &DinoV2Config, vb: VarBuilder) -> Result<Self> {
        cfg.validate()?;
        let (grid, dim) = (cfg.grid(), cfg.embed_dim);
        let registers = match cfg.keys {
            DinoKeys::Original => "register_tokens",
            DinoKeys::Timm => "reg_token",
        };
        Ok(Self {
            patch_embed: Conv2d::new(3, dim, cfg.patch_size, nhwc(cfg.patch_size, 0), vb.pp("patch_embed.proj"))?,
            cls_token: vb.get((1, 1, dim), "cls_token")?,
            register_tokens: match cfg.register_tokens {
                0 => None,
                count => Some(vb.get((1, count, dim), registers)?),
            },
            pos_embed: vb.get((1, usize::from(cfg.class_position()) + grid * grid, dim), "pos_embed")?,
            blocks: (0..cfg.depth).map(|i| Block::new(cfg, vb.pp("blocks").pp(i))).collect::<Result<_>>()?,
            norm: match cfg.final_norm {
                true => Some(LayerNorm::new(dim, cfg.layer_norm_eps, vb.pp("norm"))?),
                false => None,
            },
            cfg: cfg.clone(),
        })
    }

    /// The network with its position table interpolated once, to that of square images of `image_size` pixels: what timm's `img_size` does at loading.
    pub fn resampled(mut self, image_size: usize) -> Result<Self> {
        let (grid, _) = self.map_size(image_size, image_size)?;
        let rows = usize::from(self.cfg.class_position()) + grid * grid;
        self.pos_embed = resample_position_table(&self.pos_embed, rows, self.cfg.interpolation)?;
        self.cfg.image_size = image_size;
        Ok(self)
    }

    /// The sizes that it was built with.
    pub fn config(&self) -> &DinoV2Config {
        &self.cfg
    }

    /// Normalised images `[B, 3, H, W]`, sides multiples of the patch, to the tokens behind the last block and the final norm (where there is one).
    pub fn forward(&self, images: &Tensor) -> Result<DinoFeatures> {
        let last = self.blocks.len() - 1;
        let mut features = self.run(images, &[last], self.norm.as_ref(), &mut Unobserved)?;
        features.pop().ok_or_else(|| candle_core::Error::msg("DINOv2: no blocks"))
    }

    /// The tokens behind each of the `blocks` (counted from 0, rising), without the final norm; the observer sees `block{i}` `[B, N, C]`, class token
    /// and registers first. Blocks behind the last one wanted are not computed.
    ///
    /// # Errors
    /// Besides candle's, a block that there is not, and images that patches do not divide.
    pub fn intermediate_layers(
        &self,
        images: &Tensor,
        blocks: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<Vec<DinoFeatures>> {
        if blocks.is_empty() || !blocks.is_sorted_by(|a, b| a < b) || blocks.last() >= Some(&self.blocks.len()) {
            candle_core::bail!(
                "DINOv2: outputs of the blocks {blocks:?}, expected rising numbers below {}",
                self.blocks.len()
            );
        }
        self.run(images, blocks, None, observer)
    }

    fn run(
        &self,
        images: &Tensor,
        wanted: &[usize],
        norm: Option<&LayerNorm>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<DinoFeatures>> {
        let (_, _, height, width) = images.dims4()?;
        let (h, w) = self.map_size(height, width)?;
        let mut x = self.embed(images, (h, w))?; // [B, 1, N, C]
        let mut features = Vec::with_capacity(wanted.len());
        for (i, block) in self.blocks.iter().enumerate().take(wanted.last().map_or(0, |last| last + 1)) {
            {
                let _block = trace::part("blocks", i);
                x = block.forward(x)?;
            }
            observer.observe(&format!("block{i}"), &x.squeeze(1)?)?;
            if wanted.contains(&i) {
                features.push(self.features(&x, (h, w), norm)?);
            }
        }
        Ok(features)
    }

    fn features(&self, x: &Tensor, (h, w): (usize, usize), norm: Option<&LayerNorm>) -> Result<DinoFeatures> {
        let (b, _, tokens, c) = x.dims4()?;
        let x = match norm {
            Some(norm) => norm.forward(x)?,
            None => x.clone(),
        };
        Ok(DinoFeatures {
            class_token: x.narrow(2, 0, 1)?.reshape((b, c))?,
            patch_tokens: x.narrow(2, tokens - h * w, h * w)?.reshape((b, h, w, c))?.permute((0, 3, 1, 2))?,
        })
    }

    /// Patches with their positions behind class token and registers: `[B, 3, H, W]` to `[B, 1, N, C]`.
    fn embed(&self, images: &Tensor, (h, w): (usize, usize)) -> Result<Tensor> {
        let (b, c) = (images.dim(0)?, self.cfg.embed_dim);
        let positions = self.positions((h, w))?.broadcast_as((b, h, w, c))?;
        let patches = self
            .patch_embed
            .forward_with(&images.permute((0, 2, 3, 1))?, Epilogue::NONE.with_residual(&positions))?
            .reshape((b, h * w, c))?;
        let class_token = match self.class_position()? {
            Some(position) => (&self.cls_token + position)?,
            None => self.cls_token.clone(),
        };
        let mut tokens = vec![class_token.broadcast_as((b, 1, c))?];
        if let Some(registers) = &self.register_tokens {
            tokens.push(registers.broadcast_as((b, registers.dim(1)?, c))?);
        }
        tokens.push(patches);
        Tensor::cat(&tokens, 1)?.unsqueeze(1)
    }

    /// The class token's row of the position table, `[1, 1, C]`.
    fn class_position(&self) -> Result<Option<Tensor>> {
        if self.cfg.class_position() { Ok(Some(self.pos_embed.narrow(1, 0, 1)?)) } else { Ok(None) }
    }

    /// The positions of a map of `h × w` patches, `[1, h, w, C]`.
    fn positions(&self, size: (usize, usize)) -> Result<Tensor> {
        let grid = self.cfg.grid();
        let table = self.pos_embed.narrow(1, usize::from(self.cfg.class_position()), grid * grid)?;
        positions::resampled(&table.reshape((1, grid, grid, ()))?, size, self.cfg.interpolation)
    }

    /// Rows and columns of patches of an image.
    fn map_size(&self, height: usize, width: usize) -> Result<(usize, usize)> {
        let patch = self.cfg.patch_size;
        if height == 0 || width == 0 || !height.is_multiple_of(patch) || !width.is_multiple_of(patch) {
            candle_core::bail!("DINOv2: an image of {height} x {width} pixels, expected positive multiples of {patch}");
        }
        Ok((height / patch, width / patch))
    }
}
