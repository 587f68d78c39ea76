//! Sizes of the encoder.

use serde::{Deserialize, Serialize};

/// Hiera's sizes; the presets are SAM 2's four (the same in 2.0 and 2.1).
///
/// Source: sam2/configs/sam2.1/*.yaml, sam2/modeling/backbones/hieradet.py.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HieraConfig {
    /// Channels of the first stage; they double at every stage.
    pub embed_dim: usize,
    /// Attention heads of the first stage; they double at every stage.
    pub num_heads: usize,
    /// Blocks in each of the four stages.
    pub stages: Vec<usize>,
    /// Indices over the whole trunk of the blocks that attend to the whole map.
    pub global_att_blocks: Vec<usize>,
    /// Window side of each stage, in tokens. The first block of a stage still uses the stage before's.
    pub window_spec: Vec<usize>,
    /// Side of the coarse position grid that is stretched over the map.
    pub window_pos_embed_bkg_spatial_size: usize,
}

impl HieraConfig {
    fn preset(embed_dim: usize, num_heads: usize, stages: [usize; 4], global: [usize; 3]) -> Self {
        Self {
            embed_dim,
            num_heads,
            stages: stages.to_vec(),
            global_att_blocks: global.to_vec(),
            window_spec: vec![8, 4, 14, 7],
            window_pos_embed_bkg_spatial_size: 7,
        }
    }

    /// `sam2_hiera_t`: 96 channels, 12 blocks.
    pub fn tiny() -> Self {
        Self::preset(96, 1, [1, 2, 7, 2], [5, 7, 9])
    }

    /// `sam2_hiera_s`: 96 channels, 16 blocks.
    pub fn small() -> Self {
        Self::preset(96, 1, [1, 2, 11, 2], [7, 10, 13])
    }

    /// `sam2_hiera_b+`: 112 channels, 24 blocks.
    pub fn base_plus() -> Self {
        Self { window_pos_embed_bkg_spatial_size: 14, ..Self::preset(112, 2, [2, 3, 16, 3], [12, 16, 20]) }
    }

    /// `sam2_hiera_l`: 144 channels, 48 blocks.
    pub fn large() -> Self {
        Self { window_spec: vec![8, 4, 16, 8], ..Self::preset(144, 2, [2, 6, 36, 4], [23, 33, 43]) }
    }

    /// Number of blocks over all stages.
    pub fn depth(&self) -> usize {
        self.stages.iter().sum()
    }

    /// Channels of each stage's output, first stage first.
    pub fn stage_channels(&self) -> Vec<usize> {
        (0..self.stages.len()).map(|i| self.embed_dim << i).collect()
    }

    /// Channels of each block's input, first block first: a stage's first block still gets the width of the stage before.
    pub fn block_channels(&self) -> Vec<usize> {
        let width =
            |stage: usize, block: usize| self.embed_dim << if block == 0 { stage.saturating_sub(1) } else { stage };
        let of_stage = |(stage, &blocks): (usize, &usize)| (0..blocks).map(move |block| width(stage, block));
        self.stages.iter().enumerate().flat_map(of_stage).collect()
    }

    /// Refuses sizes that cannot be built.
    pub fn validate(&self) -> candle_core::Result<()> {
        let Self { embed_dim, num_heads, stages, window_spec, .. } = self;
        if stages.is_empty() || stages.len() != window_spec.len() || stages.contains(&0) || window_spec.contains(&0) {
            candle_core::bail!(
                "HieraConfig: stages {stages:?} and window_spec {window_spec:?}, expected equally many, all positive"
            );
        }
        if *num_heads == 0 || !embed_dim.is_multiple_of(*num_heads) {
            candle_core::bail!("HieraConfig: embed_dim {embed_dim} is not a multiple of num_heads {num_heads}");
        }
        if let Some(block) = self.global_att_blocks.iter().find(|&&b| b >= self.depth()) {
            candle_core::bail!("HieraConfig: global_att_blocks has {block}, expected below the depth {}", self.depth());
        }
        // such a block has no window to halve when it pools its queries
        let pools = |block: &usize| {
            *block > 0
                && stages
                    .iter()
                    .scan(0, |end, n| {
                        *end += n;
                        Some(*end)
                    })
                    .any(|start| start == *block)
        };
        if let Some(block) = self.global_att_blocks.iter().find(|&b| pools(b)) {
            candle_core::bail!(
                "HieraConfig: global_att_blocks has {block}, the first of a stage, expected a later one"
            );
        }
        Ok(())
    }
}

/// How the neck brings a coarser level to the finer one's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TopDown {
    /// SAM 2.
    #[default]
    Nearest,
    /// MGD-SAM2, whose configuration leaves SAM 2's setting out.
    Bilinear,
}

/// Sizes of the whole image encoder: trunk and neck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEncoderConfig {
    /// The trunk.
    pub trunk: HieraConfig,
    /// Channels of every level of the pyramid.
    pub d_model: usize,
    /// Levels (0 = finest) that receive the coarser level above them.
    pub fpn_top_down_levels: Vec<usize>,
    /// How they receive it.
    pub fpn_interp: TopDown,
    /// How many of the coarsest levels are dropped from the output.
    pub scalp: usize,
}

impl ImageEncoderConfig {
    /// SAM 2's neck on the given trunk.
    pub fn new(trunk: HieraConfig) -> Self {
        Self { trunk, d_model: 256, fpn_top_down_levels: vec![2, 3], fpn_interp: TopDown::Nearest, scalp: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_nonsense_is_named() {
        for cfg in [HieraConfig::tiny(), HieraConfig::small(), HieraConfig::base_plus(), HieraConfig::large()] {
            cfg.validate().unwrap();
        }
        let refusal = |cfg: HieraConfig| cfg.validate().unwrap_err().to_string();
        assert!(
            refusal(HieraConfig { global_att_blocks: vec![12], ..HieraConfig::tiny() }).contains("below the depth 12")
        );
        assert!(
            refusal(HieraConfig { global_att_blocks: vec![3], ..HieraConfig::tiny() }).contains("first of a stage")
        );
        assert!(refusal(HieraConfig { num_heads: 5, ..HieraConfig::tiny() }).contains("multiple of num_heads 5"));
        assert_eq!(HieraConfig::tiny().block_channels(), [96, 96, 192, 192, 384, 384, 384, 384, 384, 384, 384, 768]);
        assert!(refusal(HieraConfig { stages: vec![1, 2], ..HieraConfig::tiny() }).contains("equally many"));
    }
}
