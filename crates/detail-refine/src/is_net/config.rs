//! Sizes of IS-Net and of its ground-truth encoder.

use crate::rsu::RsuConfig;
use serde::{Deserialize, Serialize};

/// Sizes of [`IsNet`](crate::IsNet).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsNetConfig {
    /// Channels of the input: 3 (RGB), or 5 in DIS-SAM (RGB, coarse mask, box).
    pub in_channels: usize,
    /// Channels of the first convolution.
    pub stem: usize,
    /// `stage1` to `stage6`.
    pub encoder: [RsuConfig; 6],
    /// `stage1d` to `stage5d`.
    pub decoder: [RsuConfig; 5],
}

impl IsNetConfig {
    /// IS-Net as published (arXiv 2203.03041): RGB in.
    pub const fn is_net() -> Self {
        Self {
            in_channels: 3,
            stem: 64,
            encoder: [
                RsuConfig::pooled(7, 32, 64),
                RsuConfig::pooled(6, 32, 128),
                RsuConfig::pooled(5, 64, 256),
                RsuConfig::pooled(4, 128, 512),
                RsuConfig::dilated(256, 512),
                RsuConfig::dilated(256, 512),
            ],
            decoder: [
                RsuConfig::pooled(7, 16, 64),
                RsuConfig::pooled(6, 32, 64),
                RsuConfig::pooled(5, 64, 128),
                RsuConfig::pooled(4, 128, 256),
                RsuConfig::dilated(256, 512),
            ],
        }
    }

    /// DIS-SAM's second stage (arXiv 2401.00248): RGB, coarse mask and box in.
    pub const fn dis_sam() -> Self {
        Self { in_channels: 5, ..Self::is_net() }
    }
}

/// Sizes of [`IsNetGtEncoder`](crate::IsNetGtEncoder).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsNetGtConfig {
    /// Channels of the input, a mask: 1.
    pub in_channels: usize,
    /// Channels of the first convolution.
    pub stem: usize,
    /// `stage1` to `stage6`.
    pub encoder: [RsuConfig; 6],
}

impl IsNetGtConfig {
    /// As published: its features have the widths of IS-Net's.
    pub const fn published() -> Self {
        Self {
            in_channels: 1,
            stem: 16,
            encoder: [
                RsuConfig::pooled(7, 16, 64),
                RsuConfig::pooled(6, 16, 64),
                RsuConfig::pooled(5, 32, 128),
                RsuConfig::pooled(4, 32, 256),
                RsuConfig::dilated(64, 512),
                RsuConfig::dilated(64, 512),
            ],
        }
    }
}
