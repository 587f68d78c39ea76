//! Sizes of MGD-SAM2.

use detail_refine::DetailRefinementConfig;
use hiera_encoder::{HieraConfig, ImageEncoderConfig, TopDown};
use hr_decoders::{MaskDecoderConfig, ObjectScore};
use multiview_fusion::McemConfig;
use sam_adapters::MpAdapterConfig;
use serde::{Deserialize, Serialize};

/// How the views go through the encoder. The numbers are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewOrder {
    /// All at once: the quicker way.
    #[default]
    Together,
    /// One after another through every block: less memory.
    Sequential,
}

/// MGD-SAM2's sizes (configs/*.yaml, models/sam.py).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MgdSam2Config {
    /// SAM 2's encoder.
    pub image_encoder: ImageEncoderConfig,
    /// The adapters in its trunk.
    pub mpadapter: MpAdapterConfig,
    /// SAM 2's decoder with one mask besides the single one.
    pub mask_decoder: MaskDecoderConfig,
    /// The views' exchange behind the decoder's transformer.
    pub mcem: McemConfig,
    /// What makes the mask exact.
    pub detail_enhance: DetailRefinementConfig,
    /// Side of the square input that is split into views, in pixels.
    pub image_size: usize,
}

impl MgdSam2Config {
    /// On a trunk of the given sizes.
    pub fn new(trunk: HieraConfig) -> Self {
        Self {
            mpadapter: MpAdapterConfig::new(&trunk),
            // the official file leaves out how levels are enlarged, and so gets bilinear interpolation
            image_encoder: ImageEncoderConfig { fpn_interp: TopDown::Bilinear, ..ImageEncoderConfig::new(trunk) },
            mask_decoder: MaskDecoderConfig {
                num_multimask_outputs: 1,
                iou_prediction_use_sigmoid: false,
                object_score: ObjectScore::Linear,
                dynamic_multimask: None,
                ..MaskDecoderConfig::sam2()
            },
            mcem: McemConfig::mgd_sam2(),
            detail_enhance: DetailRefinementConfig::mgd_sam2(),
            image_size: 1024,
        }
    }

    /// The published model. Its list of global blocks is 10, 12, 16, unlike SAM 2's, whose block 20 is windowed here.
    pub fn base_plus() -> Self {
        Self::new(HieraConfig { global_att_blocks: vec![10, 12, 16], ..HieraConfig::base_plus() })
    }

    /// The same on SAM 2's smallest trunk; no weights were published.
    pub fn tiny() -> Self {
        Self::new(HieraConfig::tiny())
    }

    /// The same on SAM 2's second trunk; no weights were published.
    pub fn small() -> Self {
        Self::new(HieraConfig::small())
    }

    /// The same on SAM 2's largest trunk; no weights were published.
    pub fn large() -> Self {
        Self::new(HieraConfig::large())
    }

    /// Keys that official files have and nothing reads, as beginnings.
    pub fn unused(&self) -> Vec<String> {
        self.mpadapter.unused().into_iter().map(|name| format!("image_encoder.trunk.mpadapter.{name}")).collect()
    }
}
