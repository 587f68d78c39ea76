//! `mpg_preproc`: MPG-SAM 2's ways from a frame to its two inputs.

use super::{Result, Run};
use candle_core::Tensor;
use seg_models::mpg_sam2::input::{normalized, squash};

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let photos: Vec<String> = run.case.inputs.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    for name in photos {
        let photo = run.inputs().photo(&name, None)?;
        let key = name.trim_start_matches("input.photo_");
        for side in sides(run, key) {
            let resized = squash(&photo, side)?;
            let tensor = normalized(&resized, run.device)?.squeeze(0)?;
            run.checks.tensor(&format!("{key}.tensor{side}"), &tensor);
            let bytes = Tensor::from_vec(resized.into_raw(), (side, side, 3), run.device)?;
            run.checks.tensor(&format!("{key}.resized{side}_u8"), &bytes);
        }
    }
    Ok(())
}

/// The sides of the inputs that the case stores for the photo `key`.
fn sides(run: &Run<'_, '_>, key: &str) -> Vec<usize> {
    let side = |name: &str| name.strip_prefix(key)?.strip_prefix(".tensor")?.parse().ok();
    run.case.output_names().filter_map(side).collect()
}
