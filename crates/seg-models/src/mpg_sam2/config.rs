use beit3_encoder::Beit3Config;
use hr_decoders::FusionConfig;
use serde::{Deserialize, Serialize};

use crate::sam2::video::{Sam2VideoConfig, TrackingConfig};
use crate::sam2::{Sam2Config, Sam2Version};

/// Sizes of MPG-SAM 2.
///
/// Source: models/evf_sam.py and models/sam2/modeling/sam/mask_decoder.py of rongfu-dsb/MPG-SAM2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MpgSam2Config {
    /// The encoder of images and text.
    pub beit3: Beit3Config,
    /// SAM 2 with its memory.
    pub sam2: Sam2VideoConfig,
    /// The prior generator's transformer layer.
    pub prior: FusionConfig,
    /// The fusions before the mask decoder.
    pub fusion: FusionConfig,
}

impl MpgSam2Config {
    /// MPG-SAM 2 on any SAM 2 and BEiT-3.
    pub fn new(beit3: Beit3Config, mut sam2: Sam2Config) -> Self {
        // the single mask is taken as it is
        sam2.mask_decoder.dynamic_multimask = None;
        let fusion = FusionConfig { dim: sam2.image_encoder.d_model, num_heads: 8, ffn_dim: 1024 };
        let prior = FusionConfig { dim: beit3.embed_dim, num_heads: 8, ffn_dim: 4 * beit3.embed_dim };
        let mut sam2 = Sam2VideoConfig::new(sam2);
        sam2.memory.mask.binarize_mask_from_pts = false;
        sam2.tracking = TrackingConfig { fill_hole_area: 0, ..TrackingConfig::default() };
        Self { beit3, sam2, prior, fusion }
    }

    /// The published model, Hiera-L with BEiT-3 large: 919 million parameters.
    pub fn large() -> Self {
        Self::new(Beit3Config::large(), Sam2Config::large(Sam2Version::V2_0))
    }

    /// The small model of the authors' readme, Hiera-T with BEiT-3 base: 274 million parameters.
    pub fn tiny() -> Self {
        Self::new(Beit3Config::base(), Sam2Config::tiny(Sam2Version::V2_0))
    }

    /// Refuses parts that do not fit together.
    pub fn validate(&self) -> candle_core::Result<()> {
        self.beit3.validate()?;
        let (beit3, prior) = (self.beit3.embed_dim, self.prior.dim);
        if prior != beit3 {
            candle_core::bail!("MPG-SAM 2: a prior of {prior} channels on BEiT-3 of {beit3}, expected the same");
        }
        let (sam2, fusion) = (self.sam2.sam2.image_encoder.d_model, self.fusion.dim);
        if fusion != sam2 {
            candle_core::bail!("MPG-SAM 2: fusions of {fusion} channels on SAM 2 of {sam2}, expected the same");
        }
        Ok(())
    }
}
