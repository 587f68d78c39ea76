//! IS-Net (arXiv 2203.03041): the salient object of an image, cut out to its finest parts, without any prompt.

mod map;
mod predictor;
pub mod transforms;

pub use map::ProbabilityMap;
pub use predictor::IsNetPredictor;

use std::path::Path;

use candle_nn::VarBuilder;
use detail_refine::{IsNet, IsNetConfig};
use seg_checkpoints::{Checkpoint, LoadPolicy, LoadReport, load_strict};

use crate::error::Result;
use crate::registry::LoadOptions;

/// Loads an IS-Net of either form strictly; `model` is its name in the manifest, which a refusal compares with what the
/// file looks like.
pub(crate) fn load_net(
    cfg: &IsNetConfig,
    model: &str,
    path: &Path,
    options: &LoadOptions,
) -> Result<(IsNet, LoadReport)> {
    let checkpoint = Checkpoint::open(path)?;
    let build = |vb: VarBuilder<'static>| IsNet::new(cfg, vb);
    let policy = LoadPolicy::strict().expect(model);
    Ok(load_strict(&checkpoint, options.dtype, &options.device, &policy, build)?)
}
