//! What training moves (main.py).

use seg_checkpoints::{ParameterGroup, ParameterRules, Treatment};

use super::model::MpgSam2;

/// The modules that begin at random and learn at the whole rate.
const FAST: ParameterGroup = ParameterGroup::new("fusion", 1.0, 5e-4);
/// Everything else, new or not.
const SLOW: ParameterGroup = ParameterGroup::new("base", 0.04, 5e-4);

impl MpgSam2 {
    /// The official training's groups: fusions, `vmtoken`, `mask_linear` and `mask_product` learn at the whole rate, 5e-5 (AdamW), all else at 2e-6, even where it
    /// is new (`visual_ifi`, `meo_linear`, `patch_linear`, the text's layers). The image encoder is frozen. Pre-training takes 1e-5 in place of 2e-6.
    pub fn parameter_rules() -> ParameterRules {
        let (fast, slow) = (Treatment::Trained(FAST), Treatment::Trained(SLOW));
        ParameterRules::new([
            ("visual_model.image_encoder.*", Treatment::Frozen),
            ("*pe_layer.*", Treatment::Frozen), // a buffer
            ("*mask_linear*", fast.clone()),
            ("*mask_product*", fast.clone()),
            ("*vmtoken*", fast.clone()),
            ("*fusion_module*", fast),
            ("*", slow),
        ])
    }
}
