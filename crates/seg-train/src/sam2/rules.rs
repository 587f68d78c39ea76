//! Which weights the fine-tuning moves, and how fast (sam2.1_hiera_b+_MOSE_finetune.yaml, training/optimizer.py).

use seg_checkpoints::{ParameterGroup, ParameterRules, Treatment};
use std::borrow::Cow;

/// The groups for a trunk of so many blocks, as parts of the rate 5e-6: the image encoder learns at 3e-6, in the trunk each block at 0.9 of the rate of the one
/// behind it. Weight decay is 0.1, 0 for biases and layer norms.
pub fn parameter_rules(blocks: usize) -> ParameterRules {
    const ENCODER: f64 = 0.6;
    const LAYER: f64 = 0.9;
    const DECAY: f64 = 0.1;
    let group = |name: &str, lr_factor: f64, weight_decay: f64| {
        Treatment::Trained(ParameterGroup { name: Cow::Owned(name.to_owned()), lr_factor, weight_decay })
    };
    let mut rules: Vec<(String, Treatment)> = vec![("*pe_layer.*".into(), Treatment::Frozen)]; // a buffer
    // biases and norms first: the first rule that fits decides
    let mut part = |prefix: &str, norms: bool, name: &str, lr_factor: f64| {
        let plain = group(&format!("{name}, no decay"), lr_factor, 0.);
        rules.push((format!("{prefix}*bias*"), plain.clone()));
        if norms {
            rules.push((format!("{prefix}*norm*"), plain));
        }
        rules.push((format!("{prefix}*"), group(name, lr_factor, DECAY)));
    };
    const TRUNK: &str = "image_encoder.trunk.";
    for block in 0..blocks {
        let factor = ENCODER * LAYER.powi((blocks - block) as i32);
        part(&format!("{TRUNK}blocks.{block}."), true, &format!("block {block}"), factor);
    }
    part(&format!("{TRUNK}pos_embed"), false, "encoder", ENCODER);
    part(&format!("{TRUNK}patch_embed."), false, "patches", ENCODER * LAYER.powi(blocks as i32 + 1));
    part("image_encoder.", true, "encoder", ENCODER);
    // its norms are of maps, which count as other weights do there
    part("memory_encoder.", false, "rest", 1.);
    part("", true, "rest", 1.);
    let none = ParameterRules::new([]);
    rules.into_iter().rev().fold(none, |all, (pattern, treatment)| all.with_first(pattern, treatment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_the_published_fine_tuning() {
        let rules = parameter_rules(24);
        let rate = |name: &str| match rules.treatment(name) {
            Treatment::Trained(group) => (group.lr_factor * 5e-6, group.weight_decay),
            other => panic!("{name}: {other:?}"),
        };
        let near = |(rate, decay): (f64, f64), expected: f64, with: f64| {
            assert!((rate / expected - 1.).abs() < 1e-9 && decay == with, "{rate} {decay}, expected {expected} {with}");
        };
        near(rate("image_encoder.trunk.blocks.23.mlp.layers.0.weight"), 3e-6 * 0.9, 0.1);
        near(rate("image_encoder.trunk.blocks.2.norm1.weight"), 3e-6 * 0.9f64.powi(22), 0.);
        near(rate("image_encoder.trunk.patch_embed.proj.weight"), 3e-6 * 0.9f64.powi(25), 0.1);
        near(rate("image_encoder.trunk.pos_embed_window"), 3e-6, 0.1);
        near(rate("image_encoder.neck.convs.0.conv.bias"), 3e-6, 0.);
        near(rate("memory_attention.layers.0.norm1.weight"), 5e-6, 0.);
        near(rate("memory_encoder.fuser.layers.0.norm.weight"), 5e-6, 0.1);
        near(rate("sam_mask_decoder.iou_token.weight"), 5e-6, 0.1);
        assert_eq!(
            rules.treatment("sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
            &Treatment::Frozen
        );
    }
}
