use serde::{Deserialize, Serialize};
use video_memory::VideoMemoryConfig;

use crate::sam2::{Sam2Config, Sam2Version};

/// A whole SAM 2 with its memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sam2VideoConfig {
    /// The image model.
    pub sam2: Sam2Config,
    /// What video adds to it.
    pub memory: VideoMemoryConfig,
    /// How masks are chosen and cleaned.
    pub tracking: TrackingConfig,
}

/// How masks are chosen and cleaned, as the official builder sets it (sam2/build_sam.py, sam2/configs).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackingConfig {
    /// Fewest points with which the best of three masks is taken; tracking has 0, a box counts as 2.
    pub multimask_min_pt_num: usize,
    /// Most points with which it is.
    pub multimask_max_pt_num: usize,
    /// Holes of at most this many pixels of the low-resolution mask are filled in what is shown; 0 leaves them.
    pub fill_hole_area: u32,
    /// Prompts on a frame that was tracked already make it a conditioning frame. Without it, as the official predictor has
    /// it, such a correction is forgotten when the tracking passes the frame again.
    pub add_all_frames_to_correct_as_cond: bool,
}

impl Default for TrackingConfig {
    fn default() -> Self {
        Self {
            multimask_min_pt_num: 0,
            multimask_max_pt_num: 1,
            fill_hole_area: 8,
            add_all_frames_to_correct_as_cond: false,
        }
    }
}

impl Sam2VideoConfig {
    /// The memory that goes with the image model's release.
    pub fn new(sam2: Sam2Config) -> Self {
        let memory = match sam2.version {
            Sam2Version::V2_0 => VideoMemoryConfig::sam2_0(),
            Sam2Version::V2_1 => VideoMemoryConfig::sam2_1(),
        };
        Self { sam2, memory, tracking: TrackingConfig::default() }
    }
}
