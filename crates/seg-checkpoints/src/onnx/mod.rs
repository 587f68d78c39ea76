//! ONNX models as checkpoints: their initialisers, under the names of the PyTorch modules that they were exported from.
//!
//! Only the weights are read, never run. The file is walked by positions (`onnx.proto3` of onnx/onnx), so that tensors stay
//! where they are until a model asks for them.

mod external;
mod names;
mod nodes;
mod proto;
mod tensors;

use crate::error::{Fault, shorten};
use crate::read::{Index, Placed, Reader, skip};
use nodes::Node;
use proto::{Message, Value};
use std::collections::BTreeMap;
use std::path::Path;
use tensors::{Data, Initialiser};

/// Initialisers and nodes of a graph at most: the largest published models have some ten thousand.
const MAX_PARTS: usize = 1 << 20;

/// Reads the directory of the ONNX model at `path`, and those of the files beside it that its data is in.
pub(crate) fn index(reader: &Reader, path: &Path) -> Result<Index, Fault> {
    let mut graph = None;
    let mut model = Message::whole(reader);
    while let Some((field, value)) = model.field()? {
        // ModelProto: 7 graph
        if let (7, Value::Bytes { at, len }) = (field, value)
            && graph.replace((at, len)).is_some()
        {
            return Err(Fault::malformed("an ONNX model with two graphs"));
        }
    }
    let Some((at, len)) = graph else {
        return Err(Fault::NotACheckpoint("it looks like ONNX, but has no graph".into()));
    };
    let (mut nodes, mut tensors) = (Vec::new(), Vec::new());
    let mut message = model.part(at, len);
    while let Some((field, value)) = message.field()? {
        // GraphProto: 1 node, 5 initializer
        match (field, value) {
            (1, Value::Bytes { at, len }) => {
                let (node, constant) = nodes::node(&mut message.part(at, len))?;
                tensors.extend(constant);
                nodes.push(node);
            }
            (5, Value::Bytes { at, len }) => tensors.push(tensors::tensor(&mut message.part(at, len))?),
            _ => continue,
        }
        if nodes.len().max(tensors.len()) > MAX_PARTS {
            return Err(Fault::limit(format!("an ONNX graph of more than {MAX_PARTS} nodes or tensors")));
        }
    }
    if let Some(node) = nodes.iter().find(|node| node.domain == nodes::ONE_PROCESSOR) {
        let found = format!("weights in the layout of one processor (node '{}')", shorten(&node.name));
        return Err(Fault::Unsupported(format!(
            "{found}, as onnxruntime saves them at ORT_ENABLE_ALL; save with ORT_ENABLE_EXTENDED, or give the model before it was optimised"
        )));
    }
    named(&nodes, tensors, path)
}

/// The tensors under the names of their modules.
fn named(nodes: &[Node], tensors: Vec<Initialiser>, path: &Path) -> Result<Index, Fault> {
    let mut index = Index::default();
    let mut files = external::Files::beside(path);
    let aliases = names::Aliases::new(nodes);
    let renamed = names::of_modules(nodes, &aliases);
    let weights = names::of_weights(nodes, &aliases);
    let (mut own, mut nameless) = (0, 0);
    let mut stored: BTreeMap<String, Placed> = BTreeMap::new();
    for (stored_as, data) in tensors {
        let name = renamed.get(stored_as.as_str()).cloned().unwrap_or_else(|| stored_as.clone());
        if names::is_lost(&name) {
            match weights.contains(stored_as.as_str()) {
                true => nameless += 1,
                false => {
                    own += 1;
                    continue;
                }
            }
        }
        let placed = match data {
            Data::Skipped(why) => {
                skip(&mut index.skipped, name, why);
                continue;
            }
            Data::Here(placed) => placed,
            Data::Elsewhere(place, placed) => {
                index.elsewhere.insert(name.clone(), files.check(&name, &place, &placed)?);
                placed
            }
        };
        stored.insert(stored_as, placed.clone());
        if let Some(_twice) = index.tensors.insert(name.clone(), placed) {
            return Err(Fault::malformed(format!("two tensors are called '{}'", shorten(&name))));
        }
    }
    index.files = files.into_readers();
    names::give_aliases(nodes, &aliases, &stored, &renamed, &mut index);
    names::restore_batch_norms(nodes, &mut index)?;
    if own > 0 {
        index.notes.push(format!("{own} constants of the exporter's own left out"));
    }
    if nameless > 0 {
        index.notes.push(format!(
            "{nameless} weights have lost their names (batch norms were folded, or products transposed, and the nodes have no paths of \
             modules, as up to torch 1.12): export again with torch 2, or with do_constant_folding=False"
        ));
    }
    Ok(index)
}
