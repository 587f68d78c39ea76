//! Sizes and switches; the presets are the official ones.

use serde::{Deserialize, Serialize};

/// Sizes of the memory attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryAttentionConfig {
    /// Channels of the frame's features.
    pub d_model: usize,
    /// Channels of the memory.
    pub kv_in_dim: usize,
    /// Number of layers.
    pub num_layers: usize,
    /// Heads of both attentions.
    pub num_heads: usize,
    /// Hidden channels of a layer's MLP.
    pub dim_feedforward: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
}

/// Sizes of the memory encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryEncoderConfig {
    /// Channels of the frame's features.
    pub in_dim: usize,
    /// Channels of the memory.
    pub out_dim: usize,
    /// Halvings of the mask on its way to the features' size.
    pub mask_halvings: usize,
    /// ConvNeXt blocks.
    pub fuser_layers: usize,
}

/// How many past frames a frame looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryBankConfig {
    /// Temporal slots: one for the conditioning frames, the others for the frames before this one.
    pub num_maskmem: usize,
    /// Object pointers looked at, the conditioning frames' not counted.
    pub max_obj_ptrs_in_encoder: usize,
    /// Of the past frames (but the last) only those at a multiple of this are looked at.
    pub memory_temporal_stride: usize,
    /// Conditioning frames looked at, the nearest ones; `None`: all.
    pub max_cond_frames_in_attn: Option<usize>,
    /// Leaves out pointers of conditioning frames that the tracking has not come to yet.
    pub only_obj_ptrs_in_the_past: bool,
}

impl MemoryBankConfig {
    /// How many frames back the oldest memory map lies that a frame looks at.
    pub fn map_reach(&self) -> usize {
        let stride = self.memory_temporal_stride.max(1);
        match self.num_maskmem {
            0 | 1 => 0,
            2 => 1,
            // the second-last frame, rounded to a multiple of the stride, and the others behind it
            slots => 2 + (stride - 1) + (slots - 3) * stride,
        }
    }

    /// How many frames back the oldest object pointer lies that a frame looks at.
    pub fn pointer_reach(&self) -> usize {
        self.max_obj_ptrs_in_encoder.saturating_sub(1)
    }
}

/// Position terms of object pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointerPositions {
    /// None: zeros (2.0).
    Zero,
    /// A sine encoding of the distance in frames through a learned projection, `obj_ptr_tpos_proj` (2.1). With `signed`
    /// a conditioning frame in the future has a negative distance.
    Projected {
        /// Whether distances have a sign.
        signed: bool,
    },
}

/// What becomes of mask logits before the memory encoder sees them: `scale * sigmoid(logits) + bias`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskForMemory {
    /// Factor of the probability.
    pub scale: f64,
    /// Added to it.
    pub bias: f64,
    /// Frames that the user gave prompts for have 0 or 1 in place of the probability.
    pub binarize_mask_from_pts: bool,
}

/// Which frames the bank keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retention {
    /// Conditioning frames for good; of the others what lies within reach of the frame tracked last, of a conditioning
    /// frame, or of one named by [`crate::MemoryBank::keep_around`]: maps within [`MemoryBankConfig::map_reach`], pointers within [`MemoryBankConfig::pointer_reach`]. The
    /// memory grows with the number of prompts, not with the length of the video.
    #[default]
    Reach,
    /// Everything, as the official code does: half a megabyte a frame at 1024 pixels.
    Everything,
}

/// The whole memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoMemoryConfig {
    /// Memory attention.
    pub attention: MemoryAttentionConfig,
    /// Memory encoder.
    pub encoder: MemoryEncoderConfig,
    /// The bank.
    pub bank: MemoryBankConfig,
    /// Position terms of object pointers.
    pub pointer_positions: PointerPositions,
    /// A learned term on the memory of frames without the object, `no_obj_embed_spatial` (2.1).
    pub no_obj_embed_spatial: bool,
    /// How masks enter the memory encoder.
    pub mask: MaskForMemory,
}

impl VideoMemoryConfig {
    /// SAM 2 of July 2024 (sam2/configs/sam2/*.yaml); all sizes have the same memory.
    pub fn sam2_0() -> Self {
        Self { pointer_positions: PointerPositions::Zero, no_obj_embed_spatial: false, ..Self::sam2_1() }
    }

    /// SAM 2.1 (sam2/configs/sam2.1/*.yaml); all sizes have the same memory.
    pub fn sam2_1() -> Self {
        Self {
            attention: MemoryAttentionConfig {
                d_model: 256,
                kv_in_dim: 64,
                num_layers: 4,
                num_heads: 1,
                dim_feedforward: 2048,
                rope_theta: 10_000.0,
            },
            encoder: MemoryEncoderConfig { in_dim: 256, out_dim: 64, mask_halvings: 4, fuser_layers: 2 },
            bank: MemoryBankConfig {
                num_maskmem: 7,
                max_obj_ptrs_in_encoder: 16,
                memory_temporal_stride: 1,
                max_cond_frames_in_attn: None,
                only_obj_ptrs_in_the_past: true,
            },
            pointer_positions: PointerPositions::Projected { signed: true },
            no_obj_embed_spatial: true,
            mask: MaskForMemory { scale: 20.0, bias: -10.0, binarize_mask_from_pts: true },
        }
    }
}
