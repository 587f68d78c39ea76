//! Sizes of SAM 2 with its memory, as recipes say them.

use super::parts::Trunk;
use crate::{Result, TrainError};
use hiera_encoder::HieraConfig;
use seg_models::sam2::video::Sam2VideoConfig;
use seg_models::sam2::{Sam2Config, Sam2Version};

/// What may be said, in a system's own part `model`.
pub(super) struct Sizes<'r> {
    pub trunk: Option<&'r Trunk>,
    pub image_size: Option<usize>,
    /// Channels of all but the trunk, a multiple of 64; 256 as published.
    pub width: Option<usize>,
    /// Layers of the memory attention.
    pub memory_layers: Option<usize>,
}

impl Sizes<'_> {
    /// SAM 2 of these sizes, on `otherwise` where no trunk is said.
    pub(super) fn sam2(&self, version: Sam2Version, otherwise: HieraConfig) -> Result<Sam2Config> {
        let mut sam2 = Sam2Config::new(version, self.trunk.map_or(otherwise, Trunk::config));
        sam2.image_size = self.image_size.unwrap_or(sam2.image_size);
        if let Some(width) = self.width {
            if width == 0 || !width.is_multiple_of(64) {
                let problem = format!("width is {width}, expected a multiple of 64");
                return Err(TrainError::Recipe { recipe: "[model]".into(), problem });
            }
            let transformer = &mut sam2.mask_decoder.transformer;
            transformer.mlp_dim = transformer.mlp_dim * width / transformer.embedding_dim;
            transformer.embedding_dim = width;
            sam2.image_encoder.d_model = width;
        }
        Ok(sam2)
    }

    /// Its memory.
    pub(super) fn memory(&self, config: &mut Sam2VideoConfig) {
        let attention = &mut config.memory.attention;
        if let Some(width) = self.width {
            attention.dim_feedforward = attention.dim_feedforward * width / attention.d_model;
            attention.d_model = width;
            config.memory.encoder.in_dim = width;
        }
        attention.num_layers = self.memory_layers.unwrap_or(attention.num_layers);
    }
}
