use detail_refine::PreciseInteractorConfig;
use hr_decoders::{PiSamDecoderConfig, PromptEncoderConfig};
use serde::{Deserialize, Serialize};
use vit_encoder::SamVitConfig;

/// Sizes of Pi-SAM.
///
/// Source: segment_anything/build_sam_encoder.py, segment_anything/modeling/mask_decoder_pi.py of lmzpai/pi-sam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PiSamConfig {
    /// SAM's ViT.
    pub image_encoder: SamVitConfig,
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
    fn new(image_encoder: SamVitConfig, decoder: PiSamDecoderConfig) -> Self {
        let size = image_encoder.image_size;
        Self {
            prompt_encoder: PromptEncoderConfig::new(size),
            interactor: Some(PreciseInteractorConfig::new(size)),
            image_encoder,
            decoder,
            rgb_embed_seed: 42,
        }
    }

    /// On SAM's ViT-B: 95 million parameters.
    pub fn vit_b() -> Self {
        Self::new(SamVitConfig::vit_b(), PiSamDecoderConfig::vit_b())
    }

    /// On SAM's ViT-L: 314 million parameters.
    pub fn vit_l() -> Self {
        Self::new(SamVitConfig::vit_l(), PiSamDecoderConfig::vit_l())
    }

    /// On SAM's ViT-H: 643 million parameters.
    pub fn vit_h() -> Self {
        Self::new(SamVitConfig::vit_h(), PiSamDecoderConfig::vit_h())
    }

    /// On a ViT of any sizes, whose patches are of 16 pixels.
    pub fn with_encoder(image_encoder: SamVitConfig) -> Self {
        let decoder = PiSamDecoderConfig { vit_dim: image_encoder.embed_dim, ..PiSamDecoderConfig::vit_b() };
        Self::new(image_encoder, decoder)
    }

    /// The same with a pixel embedding of another seed.
    pub fn rgb_embed_seed(self, seed: u64) -> Self {
        Self { rgb_embed_seed: seed, ..self }
    }

    /// The same for a square input of another size, in pixels: a multiple of 16.
    pub fn with_image_size(self, image_size: usize) -> Self {
        Self {
            prompt_encoder: PromptEncoderConfig::new(image_size),
            interactor: self.interactor.map(|_| PreciseInteractorConfig::new(image_size)),
            image_encoder: SamVitConfig { image_size, ..self.image_encoder },
            ..self
        }
    }

    /// Without the Precise Interactor: what the authors' first stage of training saves.
    pub fn without_interactor(self) -> Self {
        Self { interactor: None, ..self }
    }

    /// Side of the square input, in pixels.
    pub fn image_size(&self) -> usize {
        self.image_encoder.image_size
    }
}
