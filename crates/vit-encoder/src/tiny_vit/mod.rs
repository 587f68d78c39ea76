//! TinyViT (arXiv 2207.10666) as MobileSAM (arXiv 2306.14289) uses it: an image encoder of SAM's shape with 5 million
//! parameters. Maps are channels last inside.

mod block;
mod config;
mod conv;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Observer, Unobserved, trace};

pub use block::{TinyVitBlock, offset_index};
pub use config::TinyVitConfig;
pub use conv::{MbConv, PatchEmbed, PatchMerging};

use crate::neck::Neck;

/// A stage of transformer blocks and, but for the last stage, the [`PatchMerging`] behind it.
///
/// Keys: `blocks.N`, `downsample`.
#[derive(Clone, Debug)]
pub struct BasicLayer {
    blocks: Vec<TinyVitBlock>,
    downsample: Option<PatchMerging>,
}

impl BasicLayer {
    /// Reads `depth` blocks of `dim` channels, and the way to `out_dim` channels where there is one.
    pub fn new(
        dim: usize,
        depth: usize,
        num_heads: usize,
        window: usize,
        mlp_ratio: usize,
        out_dim: Option<usize>,
        vb: VarBuilder,
    ) -> Result<Self> {
        Ok(Self {
            blocks: (0..depth)
                .map(|i| TinyVitBlock::new(dim, num_heads, window, mlp_ratio, vb.pp("blocks").pp(i)))
                .collect::<Result<_>>()?,
            downsample: match out_dim {
                Some(out_dim) => Some(PatchMerging::new(dim, out_dim, vb.pp("downsample"))?),
                None => None,
            },
        })
    }

    /// `[B, H, W, C]` to `[B, H', W', C']`; the observer sees `{name}.block{i}` and `{name}` as `[B, L, C]`.
    pub fn forward_with(&self, mut x: Tensor, name: &str, observer: &mut dyn Observer) -> Result<Tensor> {
        for (i, block) in self.blocks.iter().enumerate() {
            let _block = trace::part("blocks", i);
            x = block.forward_with(x, &format!("{name}.block{i}"), observer)?;
        }
        if let Some(downsample) = &self.downsample {
            x = downsample.forward(x)?;
        }
        observer.observe(name, &x.flatten(1, 2)?)?;
        Ok(x)
    }
}

/// The first stage: MBConv blocks and the [`PatchMerging`] behind them.
#[derive(Clone, Debug)]
struct ConvLayer {
    blocks: Vec<MbConv>,
    downsample: PatchMerging,
}

/// TinyViT with SAM's neck: normalised images to image embeddings.
///
/// Keys: `patch_embed`, `layers.{0..3}`, `neck.{0..3}`; an official file also has the classifier's `norm_head` and
/// `head`, which are not used.
#[derive(Clone, Debug)]
pub struct TinyVit {
    patch_embed: PatchEmbed,
    conv_layer: ConvLayer,
    layers: Vec<BasicLayer>,
    neck: Neck,
}

impl TinyVit {
    /// Keys of an official file that belong to the classifier it was distilled with.
    pub const UNUSED_PREFIXES: [&'static str; 2] = ["norm_head.", "head."];

    /// Reads the encoder; `vb` is at `image_encoder` of an official file.
    pub fn new(cfg: &TinyVitConfig, vb: VarBuilder) -> Result<Self> {
        let dims = cfg.embed_dims;
        let layers = vb.pp("layers");
        let first = layers.pp(0);
        let conv_layer = ConvLayer {
            blocks: (0..cfg.depths[0])
                .map(|i| MbConv::new(dims[0], cfg.mbconv_expand_ratio, first.pp("blocks").pp(i)))
                .collect::<Result<_>>()?,
            downsample: PatchMerging::new(dims[0], dims[1], first.pp("downsample"))?,
        };
        let out_dim = |stage: usize| dims.get(stage + 1).copied();
        Ok(Self {
            patch_embed: PatchEmbed::new(3, dims[0], vb.pp("patch_embed"))?,
            conv_layer,
            layers: (1..dims.len())
                .map(|i| {
                    let (heads, window) = (cfg.num_heads[i], cfg.window_sizes[i]);
                    BasicLayer::new(dims[i], cfg.depths[i], heads, window, cfg.mlp_ratio, out_dim(i), layers.pp(i))
                })
                .collect::<Result<_>>()?,
            neck: Neck::new(dims[3], cfg.out_channels, vb.pp("neck"))?,
        })
    }

    /// Normalised images `[B, 3, H, W]` to image embeddings `[B, 256, H/16, W/16]`, a view of channels-last memory. The images are freed behind the
    /// first layer.
    pub fn forward(&self, images: Tensor) -> Result<Tensor> {
        self.forward_with(images, &mut Unobserved)
    }

    /// As [`TinyVit::forward`], and the map behind the first stage of attention, `[B, H/16, W/16, C]` (160 channels in MobileSAM): what is seen of the
    /// image before it is a matter of objects, as a ViT's first global block is.
    pub fn forward_with_early(&self, images: Tensor, observer: &mut dyn Observer) -> Result<(Tensor, Tensor)> {
        let mut early = None;
        let embeddings = self.run(images, observer, Some(&mut early))?;
        match early {
            Some(early) => Ok((embeddings, early)),
            None => candle_core::bail!("TinyViT: no stage of attention, expected at least one"),
        }
    }

    /// As [`TinyVit::forward`]; the observer sees `patch_embed` and `layer0.block{i}` (channels first),
    /// `layer0.downsample`, `layer{i}.block{j}`, `layer{i}` (`[B, L, C]`), `layer{i}.block{j}.attn` (by window), `neck1`
    /// and `image_embeddings`.
    pub fn forward_with(&self, images: Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        self.run(images, observer, None)
    }

    fn run(
        &self,
        images: Tensor,
        observer: &mut dyn Observer,
        mut early: Option<&mut Option<Tensor>>,
    ) -> Result<Tensor> {
        let mut x = self.patch_embed.forward(images.permute((0, 2, 3, 1))?)?; // [B, H/4, W/4, 64]
        observer.observe("patch_embed", &x.permute((0, 3, 1, 2))?)?;
        for (i, block) in self.conv_layer.blocks.iter().enumerate() {
            let _block = trace::part("layers.0.blocks", i);
            x = block.forward(x)?;
            observer.observe(&format!("layer0.block{i}"), &x.permute((0, 3, 1, 2))?)?;
        }
        x = self.conv_layer.downsample.forward(x)?; // [B, H/8, W/8, 128]
        observer.observe("layer0.downsample", &x.flatten(1, 2)?)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let _layer = trace::part("layers", i + 1);
            x = layer.forward_with(x, &format!("layer{}", i + 1), observer)?;
            if let Some(early) = early.take() {
                *early = Some(x.clone());
            }
        }
        self.neck.forward_with(&x, observer) // of [B, H/16, W/16, 320]
    }
}
