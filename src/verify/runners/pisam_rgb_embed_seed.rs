//! `pisam_rgb_embed_seed`: Pi-SAM's pixel embedding, made again from torch's seed.

use super::{Result, Run};
use candle_core::Tensor;
use seg_models::pi_sam::{PiSamConfig, RgbEmbed};
use std::collections::BTreeSet;

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let case = run.case;
    // outputs are called vit_b.seed42.rgb_embed.0.weight
    let parts = |name: &str| -> Option<(String, u64)> {
        let (vit, rest) = name.split_once(".seed")?;
        Some((vit.to_owned(), rest.split_once('.')?.0.parse().ok()?))
    };
    let wanted: BTreeSet<(String, u64)> = case.output_names().filter_map(parts).collect();
    for (vit, seed) in wanted {
        let config = match vit.as_str() {
            "vit_b" => PiSamConfig::vit_b(),
            "vit_l" => PiSamConfig::vit_l(),
            "vit_h" => PiSamConfig::vit_h(),
            other => {
                return Err(case.field_error("outputs", format!("{other:?}, expected vit_b, vit_l or vit_h")).into());
            }
        };
        for (name, values) in RgbEmbed::seeded(&config.rgb_embed_seed(seed)) {
            let name = format!("{vit}.seed{seed}.rgb_embed.{name}");
            let Some(output) = case.output(&name) else { continue };
            run.checks.tensor(&name, &Tensor::from_vec(values, output.shape.as_slice(), run.device)?);
        }
    }
    Ok(())
}
