use detail_refine::PreciseInteractorConfig;
use hr_decoders::{PiSamDecoderConfig, PromptEncoderConfig};
use serde::{Deserialize, Serialize};
use vit_encoder::{SamVitConfig, TinyVitConfig};

use crate::sam::SamEncoderConfig;

/// Sizes of Pi-SAM.
///
/// Source: segment_anything/build_sam_encoder.py, segment_anything/modeling/mask_decoder_pi.py of lmzpai/pi-sam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PiSamConfig {
    /// SAM's ViT, or MobileSAM's TinyViT.
    pub image_encoder: SamEncoderConfig,
    /// Side of the square input, in pixels.
    pub image_size: usize,
    /// SAM's prompt encoder, which gets boxes only.
    pub prompt_encoder: PromptEncoderConfig,
    /// The high-resolution mask decoder.
    pub decoder: PiSamDecoderConfig,
    /// The Precise Interactor; `None` for decoders that were trained and saved without it.
    pub interactor: Option<PreciseInteractorConfig>,
    /// Seed of torch's generator that made the pixel embedding, for files that do not hold it: the authors neither train nor save it, so a decoder belongs to
    /// the seed that it was trained with. Their training script takes 42 plus the rank.
    pub rgb_embed_seed: u64,
}

impl PiSamConfig {
    fn new(image_encoder: SamEncoderConfig, image_size: usize, vit_dim: usize) -> Self {
        Self {
            image_size,
            prompt_encoder: PromptEncoderConfig::new(image_size),
            interactor: Some(PreciseInteractorConfig::new(image_size)),
            image_encoder,
            decoder: PiSamDecoderConfig { vit_dim, ..PiSamDecoderConfig::vit_b() },
            rgb_embed_seed: 42,
        }
    }

    /// On SAM's ViT-B: 95 million parameters.
    pub fn vit_b() -> Self {
        Self::with_encoder(SamVitConfig::vit_b())
    }

    /// On SAM's ViT-L: 314 million parameters.
    pub fn vit_l() -> Self {
        Self::with_encoder(SamVitConfig::vit_l())
    }

    /// On SAM's ViT-H: 643 million parameters.
    pub fn vit_h() -> Self {
        Self::with_encoder(SamVitConfig::vit_h())
    }

    /// On a ViT of any sizes, whose patches are of 16 pixels.
    pub fn with_encoder(image_encoder: SamVitConfig) -> Self {
        let (size, dim) = (image_encoder.image_size, image_encoder.embed_dim);
        Self::new(SamEncoderConfig::Vit(image_encoder), size, dim)
    }

    /// On MobileSAM's TinyViT: 11 million parameters. Nobody has published it: where the decoder of the paper sees a ViT's first global block, it sees what
    /// leaves TinyViT's first stage of attention.
    pub fn mobile() -> Self {
        Self::with_tiny_vit(TinyVitConfig::mobile_sam(), 1024)
    }

    /// On a TinyViT of any sizes.
    pub fn with_tiny_vit(image_encoder: TinyVitConfig, image_size: usize) -> Self {
        let [_, _, early, _] = image_encoder.embed_dims;
        Self::new(SamEncoderConfig::TinyVit(image_encoder), image_size, early)
    }

    /// The same with a pixel embedding of another seed.
    pub fn rgb_embed_seed(self, seed: u64) -> Self {
        Self { rgb_embed_seed: seed, ..self }
    }

    /// The same for a square input of another size, in pixels: a multiple of 16.
    pub fn with_image_size(self, image_size: usize) -> Self {
        let image_encoder = match self.image_encoder {
            SamEncoderConfig::Vit(vit) => SamEncoderConfig::Vit(SamVitConfig { image_size, ..vit }),
            tiny @ SamEncoderConfig::TinyVit(_) => tiny,
        };
        Self {
            prompt_encoder: PromptEncoderConfig::new(image_size),
            interactor: self.interactor.map(|_| PreciseInteractorConfig::new(image_size)),
            image_encoder,
            image_size,
            ..self
        }
    }

    /// Without the Precise Interactor: what the authors' first stage of training saves.
    pub fn without_interactor(self) -> Self {
        Self { interactor: None, ..self }
    }

    /// Side of the square input, in pixels.
    pub fn image_size(&self) -> usize {
        self.image_size
    }
}
