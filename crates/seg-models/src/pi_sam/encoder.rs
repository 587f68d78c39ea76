//! SAM's encoders with Pi-SAM's embedding of the pixels.

use std::collections::HashMap;

use candle_core::{Device, Module, Result, Tensor};
use candle_nn::VarBuilder;
use hr_decoders::{PromptEncoder, PromptEncoderConfig};
use seg_layers::{Conv2d, Observer, Unobserved, trace};
use seg_ops::Conv2dParams;
use vit_encoder::SamVitConfig;

use super::config::PiSamConfig;
use super::torch_random::TorchGenerator;
use crate::sam::{SamEncoderConfig, SamImageEncoder};

/// Pi-SAM's embedding of the pixels: two convolutions without anything between them, which the authors leave at their random beginning.
///
/// Keys: `0.{weight,bias}` (1 × 1, 3 → 8), `1.{weight,bias}` (3 × 3, 8 → 8).
#[derive(Clone, Debug)]
pub struct RgbEmbed {
    conv1: Conv2d,
    conv2: Conv2d,
}

impl RgbEmbed {
    /// Reads the embedding with `channels` channels; `vb` is at `rgb_embed`.
    pub fn new(channels: usize, vb: VarBuilder) -> Result<Self> {
        let same = Conv2dParams { padding: 1, ..Default::default() };
        Ok(Self {
            conv1: Conv2d::new(3, channels, 1, Conv2dParams::default(), vb.pp("0"))?,
            conv2: Conv2d::new(channels, channels, 3, same, vb.pp("1"))?,
        })
    }

    /// The embedding as the authors' `SamEncoder` has it after `torch.manual_seed(seed)`, by its keys: what stands before it in the construction takes its
    /// numbers from the generator first. (TinyViT takes none: with it there is no published one to meet.)
    pub fn seeded(cfg: &PiSamConfig) -> [(&'static str, Vec<f32>); 4] {
        let channels = cfg.decoder.pixel_channels();
        let mut generator = TorchGenerator::new(cfg.rgb_embed_seed);
        let encoder = match &cfg.image_encoder {
            SamEncoderConfig::Vit(vit) => encoder_numbers(vit),
            SamEncoderConfig::TinyVit(_) => 0,
        };
        generator.skip(encoder + prompt_encoder_numbers(&cfg.prompt_encoder));
        // kaiming_uniform_ with a = √5, the bias within the same bound
        let bound = |inputs: usize| (inputs as f64).sqrt().recip();
        let mut take = |n: usize, inputs: usize| generator.uniform(n, bound(inputs));
        [
            ("0.weight", take(3 * channels, 3)),
            ("0.bias", take(channels, 3)),
            ("1.weight", take(9 * channels * channels, 9 * channels)),
            ("1.bias", take(channels, 9 * channels)),
        ]
    }

    /// [`RgbEmbed::seeded`] as tensors on the CPU.
    ///
    /// # Errors
    /// Candle's.
    pub fn seeded_tensors(cfg: &PiSamConfig) -> Result<HashMap<String, Tensor>> {
        let channels = cfg.decoder.pixel_channels();
        let tensor = |(name, values): (&str, Vec<f32>)| {
            let shape: &[usize] = match name {
                "0.weight" => &[channels, 3, 1, 1],
                "1.weight" => &[channels, channels, 3, 3],
                _ => &[channels],
            };
            Ok((name.to_owned(), Tensor::from_vec(values, shape, &Device::Cpu)?))
        };
        Self::seeded(cfg).into_iter().map(tensor).collect()
    }

    /// [`RgbEmbed::seeded`] as a module, with the type and device of `vb`.
    fn from_seed(cfg: &PiSamConfig, vb: &VarBuilder) -> Result<Self> {
        let tensors = Self::seeded_tensors(cfg)?;
        Self::new(cfg.decoder.pixel_channels(), VarBuilder::from_tensors(tensors, vb.dtype(), vb.device()))
    }

    /// Normalised images `[B, 3, S, S]` to `[B, 8, S, S]`.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let _span = trace::module("rgb_embed");
        self.conv2.forward(&self.conv1.forward(images)?)
    }
}

/// Random numbers that the construction of SAM's ViT takes: those of its linear layers and convolutions; norms and position tables have none.
fn encoder_numbers(cfg: &SamVitConfig) -> u64 {
    let (dim, hidden, out) = (cfg.embed_dim, cfg.mlp_ratio * cfg.embed_dim, cfg.out_channels);
    let linear = |from: usize, to: usize| from * to + to;
    let block = linear(dim, 3 * dim) + linear(dim, dim) + linear(dim, hidden) + linear(hidden, dim);
    let patch = linear(3 * cfg.patch_size * cfg.patch_size, dim);
    (patch + cfg.depth * block + dim * out + 9 * out * out) as u64
}

/// The same of the prompt encoder: the position matrix and six embeddings (normal), three convolutions (uniform).
fn prompt_encoder_numbers(cfg: &PromptEncoderConfig) -> u64 {
    let (dim, inner) = (cfg.embed_dim, cfg.mask_in_chans);
    let quarter = inner / 4;
    let normals = 7 * TorchGenerator::taken_by_normal(dim);
    let convolutions = 4 * quarter + quarter + 4 * quarter * inner + inner + inner * dim + dim;
    (normals + convolutions) as u64
}

/// What the encoder makes of images.
#[derive(Clone, Debug)]
pub struct PiSamFeatures {
    /// SAM's image embeddings, `[B, C, h, w]`.
    pub image_embeddings: Tensor,
    /// The output of the ViT's first globally attending block, or of TinyViT's first stage of attention, `[B, h, w, D]`.
    pub vit_features: Tensor,
    /// The embedded pixels, `[B, 8, 16h, 16w]`.
    pub rgb_embedding: Tensor,
}

/// Pi-SAM's frozen half (`SamEncoder` of segment_anything/modeling/sam_encoder_box.py): SAM's image and prompt encoder, and the pixel embedding.
///
/// Keys: `image_encoder`, `prompt_encoder` (those of SAM's file), and `rgb_embed`, which is made from [`PiSamConfig::rgb_embed_seed`] where the file lacks
/// it, as the authors' does.
#[derive(Clone, Debug)]
pub struct PiSamEncoder {
    image_encoder: SamImageEncoder,
    prompt_encoder: PromptEncoder,
    rgb_embed: RgbEmbed,
    image_size: usize,
}

impl PiSamEncoder {
    /// Beginnings of keys in SAM's file that nothing here reads.
    pub const UNUSED: [&'static str; 1] = ["mask_decoder."];

    /// Reads the encoder; `vb` is at the root of SAM's state dict.
    pub fn new(cfg: &PiSamConfig, vb: VarBuilder) -> Result<Self> {
        Self::with_pixels(cfg, vb.clone(), vb)
    }

    /// The same with `rgb_embed` below another root.
    pub(super) fn with_pixels(cfg: &PiSamConfig, vb: VarBuilder, pixels: VarBuilder) -> Result<Self> {
        let rgb = pixels.pp("rgb_embed");
        let rgb_embed = if rgb.contains_tensor("0.weight") {
            RgbEmbed::new(cfg.decoder.pixel_channels(), rgb)?
        } else {
            RgbEmbed::from_seed(cfg, &vb)?
        };
        Ok(Self {
            image_encoder: SamImageEncoder::new(&cfg.image_encoder, vb.pp("image_encoder"))?,
            prompt_encoder: PromptEncoder::new(&cfg.prompt_encoder, vb.pp("prompt_encoder"))?,
            rgb_embed,
            image_size: cfg.image_size(),
        })
    }

    /// Side of the square input, in pixels.
    pub fn image_size(&self) -> usize {
        self.image_size
    }

    /// SAM's prompt encoder: give it boxes only, as Pi-SAM was trained.
    pub fn prompt_encoder(&self) -> &PromptEncoder {
        &self.prompt_encoder
    }

    /// The costly part: normalised images `[B, 3, S, S]` to SAM's image embeddings and the early features of [`PiSamFeatures`].
    ///
    /// # Errors
    /// Candle's, and a ViT without globally attending blocks.
    pub fn embed(&self, images: &Tensor) -> Result<(Tensor, Tensor)> {
        match &self.image_encoder {
            SamImageEncoder::Vit(vit) => {
                let (embeddings, intermediates) = vit.forward_with_intermediates(images)?;
                match intermediates.into_iter().next() {
                    Some(first) => Ok((embeddings, first)),
                    None => candle_core::bail!(
                        "Pi-SAM: an image encoder without globally attending blocks, expected at least one"
                    ),
                }
            }
            SamImageEncoder::TinyVit(tiny) => tiny.forward_with_early(images.clone(), &mut Unobserved),
        }
    }

    /// The embedding of the pixels.
    pub fn rgb_embed(&self) -> &RgbEmbed {
        &self.rgb_embed
    }

    /// Normalised images `[B, 3, S, S]` to their features. `observer` gets `image_embeddings`, `interm0` and `rgb_embed`.
    pub fn forward(&self, images: &Tensor, observer: &mut dyn Observer) -> Result<PiSamFeatures> {
        let (_, channels, h, w) = images.dims4()?;
        let size = self.image_size;
        if channels != 3 || (h, w) != (size, size) {
            candle_core::bail!("Pi-SAM: images of shape {:?}, expected [B, 3, {size}, {size}]", images.shape());
        }
        let (image_embeddings, vit_features) = self.embed(images)?;
        let rgb_embedding = self.rgb_embed.forward(images)?;
        observer.observe("image_embeddings", &image_embeddings)?;
        observer.observe("interm0", &vit_features)?;
        observer.observe("rgb_embed", &rgb_embedding)?;
        Ok(PiSamFeatures { image_embeddings, vit_features, rgb_embedding })
    }
}
