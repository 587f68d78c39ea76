//! From ONNX's names back to those of the PyTorch modules.

use super::nodes::Node;
use crate::dtype::FileDtype;
use crate::error::Fault;
use crate::read::{Index, Placed};
use std::collections::{BTreeMap, BTreeSet};

/// Epsilon of torch's batch norms.
const EPS: f64 = 1e-5;
/// Convolutions and the batch norms behind them, by the names that modules of our models give them.
const NORMS: [(&str, &str); 2] = [("conv_s1", "bn_s1"), ("c", "bn")];

/// What onnxruntime's optimiser writes before the name of a 16-bit weight where it converts it to 32 bits.
const CASTS: [&str; 2] = ["InsertedPrecisionFreeCast_", "InsertedCast_"];

/// Whether a name is the exporter's own, so that the tensor's is lost: `onnx::Conv_12`, `val_104`, `/stage1/Constant_output_0`, `687`,
/// or the optimiser's, before another name.
pub(super) fn is_lost(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.starts_with('/')
        || name.starts_with("onnx::")
        || CASTS.iter().any(|cast| name.starts_with(cast))
        || number(name.strip_prefix("val_").unwrap_or(name))
}

/// Nodes that hand on a tensor under another name.
pub(super) struct Aliases<'n>(BTreeMap<&'n str, &'n Node>);

impl<'n> Aliases<'n> {
    pub fn new(nodes: &'n [Node]) -> Self {
        let hands_on = |node: &&Node| matches!(node.op.as_str(), "Identity" | "Cast");
        let named = |node: &'n Node| (node.output.as_str(), node);
        Self(nodes.iter().filter(hands_on).map(named).collect())
    }

    /// What stands behind `name`.
    fn origin<'a>(&'a self, mut name: &'a str) -> &'a str {
        // a circle has no more steps than there are nodes
        for _ in 0..self.0.len() {
            match self.0.get(name).and_then(|node| node.inputs.first()) {
                Some(input) => name = input,
                None => break,
            }
        }
        name
    }
}

/// Nodes with weights: the operator, and how the module calls the second and third input.
fn has_weights(node: &Node) -> bool {
    matches!(
        node.op.as_str(),
        "Conv" | "ConvTranspose" | "FusedConv" | "Gemm" | "MatMul" | "BatchNormalization" | "LayerNormalization"
    )
}

/// The initialisers that nodes use as weights.
pub(super) fn of_weights<'n>(nodes: &'n [Node], aliases: &'n Aliases<'n>) -> BTreeSet<&'n str> {
    nodes.iter().filter(|n| has_weights(n)).flat_map(|n| &n.inputs).map(|input| aliases.origin(input)).collect()
}

/// New names of those initialisers whose own name is lost: of a convolution's weight and bias, which keep their shape, the
/// module's path stands in the node's name (`/stage1/rebnconvin/conv_s1/Conv`).
pub(super) fn of_modules<'n>(nodes: &'n [Node], aliases: &'n Aliases<'n>) -> BTreeMap<&'n str, String> {
    let mut names = BTreeMap::new();
    for node in nodes.iter().filter(|n| matches!(n.op.as_str(), "Conv" | "ConvTranspose" | "FusedConv")) {
        let Some((path, _op)) = node.name.trim_start_matches('/').rsplit_once('/') else { continue };
        let path = path.replace('/', ".");
        for (input, part) in node.inputs.iter().skip(1).zip(["weight", "bias"]) {
            let origin = aliases.origin(input);
            if is_lost(origin) && is_lost(input) {
                names.entry(origin).or_insert_with(|| format!("{path}.{part}"));
            }
        }
    }
    names
}

/// Tensors that the file has under another name: torch writes equal ones once, and an `Identity` for each of the others; a few
/// exporters transpose a weight on its way.
pub(super) fn give_aliases(
    nodes: &[Node],
    aliases: &Aliases<'_>,
    stored: &BTreeMap<String, Placed>,
    renamed: &BTreeMap<&str, String>,
    index: &mut Index,
) {
    for node in nodes.iter().filter(|n| matches!(n.op.as_str(), "Identity" | "Cast" | "Transpose")) {
        let Some(origin) = node.inputs.first().map(|input| aliases.origin(input)) else { continue };
        let Some(placed) = stored.get(origin).filter(|_| !is_lost(&node.output)) else { continue };
        let placed = match node.op.as_str() {
            "Transpose" => placed.transposed(&node.axes),
            _ => Some(placed.clone()),
        };
        let Some(placed) = placed.filter(|_| !index.tensors.contains_key(&node.output)) else { continue };
        let named = renamed.get(origin).map_or(origin, String::as_str);
        if let Some(&file) = index.elsewhere.get(named) {
            index.elsewhere.insert(node.output.clone(), file);
        }
        index.tensors.insert(node.output.clone(), placed);
    }
}

/// Exporters fold each batch norm (`bn_s1`) into the convolution before it (`conv_s1`): puts batch norms there that change nothing.
/// Where the convolution had no bias of its own (`c`), the norm gets the one that folding made.
pub(super) fn restore_batch_norms(nodes: &[Node], index: &mut Index) -> Result<(), Fault> {
    let mut restored = 0;
    for (conv, norm) in NORMS {
        let suffix = format!(".{conv}.weight");
        let modules: Vec<String> =
            index.tensors.keys().filter_map(|name| name.strip_suffix(&suffix)).map(str::to_owned).collect();
        for module in modules {
            let norm = format!("{module}.{norm}");
            if index.tensors.range(format!("{norm}.")..).next().is_some_and(|(k, _)| k.starts_with(&format!("{norm}.")))
            {
                continue;
            }
            let weight = format!("{module}.{conv}.weight");
            let bias = format!("{module}.{conv}.bias");
            // by the node, whose name for it may be any (`c.weight_bias`)
            let made = nodes.iter().find(|n| n.inputs.get(1) == Some(&weight)).and_then(|n| n.inputs.get(2)).cloned();
            let Some(made) = [Some(bias.clone()), made].into_iter().flatten().find(|b| index.tensors.contains_key(b))
            else {
                continue;
            };
            let (Some(placed), file) = (index.tensors.remove(&made), index.elsewhere.remove(&made)) else { continue };
            let channels = placed.shape.first().copied().unwrap_or(0);
            let own = conv == "conv_s1";
            let to = if own { bias } else { format!("{norm}.bias") };
            if let Some(file) = file {
                index.elsewhere.insert(to.clone(), file);
            }
            index.tensors.insert(to, placed);
            let parts = [("weight", (1. + EPS).sqrt()), ("running_mean", 0.), ("running_var", 1.)];
            for (part, value) in parts.into_iter().chain(own.then_some(("bias", 0.))) {
                let constant = Placed::constant(FileDtype::F32, vec![channels], value)?;
                index.tensors.insert(format!("{norm}.{part}"), constant);
            }
            restored += 1;
        }
    }
    if restored > 0 {
        index.notes.push(format!("{restored} batch norms were folded into convolutions: identities stand for them"));
    }
    Ok(())
}
