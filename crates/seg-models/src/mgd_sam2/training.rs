//! What training moves (train.py).

use seg_checkpoints::{ParameterGroup, ParameterRules, Treatment};

use super::model::MgdSam2;

/// The weights that SAM 2 brings, but for its trunk.
const PRETRAINED: ParameterGroup = ParameterGroup::new("pretrained", 0.1, 1e-5);
/// The weights that begin at random.
const NEW: ParameterGroup = ParameterGroup::new("new", 1.0, 0.0);

impl MgdSam2 {
    /// The official training's groups: the trunk is frozen but for its adapters; neck and decoder learn at a tenth of the rate, what is new in the decoder
    /// and all else at the whole. The official learning rate is 2e-4 (AdamW).
    pub fn parameter_rules() -> ParameterRules {
        let (pretrained, new) = (Treatment::Trained(PRETRAINED), Treatment::Trained(NEW));
        ParameterRules::new([
            ("pe_layer.*", Treatment::Frozen), // a buffer
            ("image_encoder.trunk.*mpadapter*", new.clone()),
            ("image_encoder.trunk.*", Treatment::Frozen),
            ("image_encoder.*", pretrained.clone()),
            ("sam_mask_decoder.*mask_tokens*", new.clone()),
            ("sam_mask_decoder.new*", new.clone()),
            ("sam_mask_decoder.*", pretrained),
            ("*", new),
        ])
    }
}
