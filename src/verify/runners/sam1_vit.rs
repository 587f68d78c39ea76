//! `sam1_vit`: SAM ViT-B, L or H at its own size, the encoder's maps and the masks of a box.

use super::sam1_model::{check_boxes, named_config, watched_embeddings};
use super::{Result, Run};
use crate::verify::weights::Weights;
use seg_models::sam::Sam;

/// What the case calls the boxes.
const BOXES: &str = "box (input frame)";

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let weights = Weights::of(run.case, "sam")?;
    let sam = Sam::new(&named_config(run.case)?, weights.var_builder(run.device))?;
    weights.check(run.checks, &[]);
    let embeddings = watched_embeddings(run, &sam)?;
    check_boxes(run, BOXES, &sam, &embeddings)
}
