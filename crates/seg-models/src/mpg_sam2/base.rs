//! What training starts from: SAM 2's and BEiT-3's own published files.

use std::path::Path;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use seg_checkpoints::{Checkpoint, identify};

use crate::base_files::{self, BaseFiles, sam_2_0};
use crate::error::{Error, Result};

/// The weights of SAM 2.0 (such as `sam2_hiera_large.pt`) and BEiT-3 (such as `beit3_large_patch16_224.pth`) under the names that they have in
/// MPG-SAM 2.
#[derive(Clone)]
pub struct MpgBaseWeights {
    sam2: Checkpoint,
    beit3: Checkpoint,
}

/// Where the two files' names stand in the model.
const SAM2: &str = "visual_model.";
const BEIT3: &str = "mm_extractor.";

impl MpgBaseWeights {
    /// Parts of `visual_model.sam_mask_decoder` that SAM 2 does not have: exactly what its file lacks.
    pub const NEW_IN_DECODER: [&'static str; 4] = [
        "visual_model.sam_mask_decoder.vtlfusion_module.",
        "visual_model.sam_mask_decoder.mmfusion_module.",
        "visual_model.sam_mask_decoder.objfusion_module.",
        "visual_model.sam_mask_decoder.patch_linear.",
    ];

    /// Opens both files.
    ///
    /// # Errors
    /// A file that cannot be read, a `sam2` that is certainly not SAM 2.0, a `beit3` that is not BEiT-3.
    pub fn open(sam2: &Path, beit3: &Path) -> Result<Self> {
        let sam2 = sam_2_0(sam2)?;
        let beit3 = Checkpoint::open(beit3)?;
        let found = identify(&beit3);
        if found.as_ref().is_none_or(|found| found.model() != "beit3") {
            let found = found.map_or_else(|| "no known model".into(), |found| found.to_string());
            let expected = "BEiT-3 (such as beit3_large_patch16_224.pth)";
            return Err(Error::OtherBase { path: beit3.path().to_path_buf(), found, expected });
        }
        Ok(Self { sam2, beit3 })
    }

    /// A builder at the root of the model's state dict: the two encoders, SAM 2's decoder and memory from the files, what is new from `rest`. A tensor
    /// that a file should have and lacks is an error.
    pub fn var_builder(&self, rest: VarBuilder<'static>, dtype: DType, device: &Device) -> VarBuilder<'static> {
        base_files::var_builder(self.clone(), rest, dtype, device)
    }
}

impl BaseFiles for MpgBaseWeights {
    fn find(&self, name: &str) -> Option<(&Checkpoint, String)> {
        if Self::NEW_IN_DECODER.iter().any(|part| name.starts_with(part)) {
            return None;
        }
        let of = |file, prefix| name.strip_prefix(prefix).map(|key| (file, key.to_owned()));
        of(&self.sam2, SAM2).or_else(|| of(&self.beit3, BEIT3))
    }
}
