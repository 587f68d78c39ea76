//! From ONNX's names back to those of the PyTorch modules.

use super::Node;
use crate::dtype::FileDtype;
use crate::error::Fault;
use crate::read::{Index, Placed};
use std::collections::BTreeMap;

/// What torch's exporter calls a weight that it has changed, so that its own name is lost.
const LOST: &str = "onnx::";
/// Epsilon of torch's batch norms.
const EPS: f64 = 1e-5;

/// New names of those initialisers whose own name is lost: of a convolution's weight and bias, which keep their shape, the
/// module's path stands in the node's name (`/stage1/rebnconvin/conv_s1/Conv`).
pub(super) fn of_modules(nodes: &[Node]) -> BTreeMap<&str, String> {
    let mut names = BTreeMap::new();
    for node in nodes.iter().filter(|n| matches!(n.op.as_str(), "Conv" | "ConvTranspose")) {
        let Some((path, _op)) = node.name.trim_start_matches('/').rsplit_once('/') else { continue };
        let path = path.replace('/', ".");
        for (input, part) in node.inputs.iter().skip(1).zip(["weight", "bias"]) {
            if input.starts_with(LOST) {
                names.entry(input.as_str()).or_insert_with(|| format!("{path}.{part}"));
            }
        }
    }
    names
}

/// IS-Net's exporter folds each batch norm `bn_s1` into the convolution `conv_s1` before it: puts batch norms there that
/// change nothing, as long as not a single one is there.
pub(super) fn restore_batch_norms(index: &mut Index) -> Result<(), Fault> {
    if index.tensors.keys().any(|name| name.contains(".bn_s1.")) {
        return Ok(());
    }
    let folded: Vec<(String, usize)> = index
        .tensors
        .iter()
        .filter_map(|(name, placed)| {
            let module = name.strip_suffix(".conv_s1.bias")?;
            Some((format!("{module}.bn_s1"), *placed.shape.first()?))
        })
        .collect();
    for (norm, channels) in &folded {
        let parts = [("weight", (1. + EPS).sqrt()), ("bias", 0.), ("running_mean", 0.), ("running_var", 1.)];
        for (part, value) in parts {
            let constant = Placed::constant(FileDtype::F32, vec![*channels], value)?;
            index.tensors.insert(format!("{norm}.{part}"), constant);
        }
    }
    if !folded.is_empty() {
        index
            .notes
            .push(format!("{} batch norms were folded into convolutions: identities stand for them", folded.len()));
    }
    Ok(())
}
