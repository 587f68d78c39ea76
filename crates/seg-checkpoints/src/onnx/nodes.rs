//! What is of interest in the nodes of a graph.

use super::proto::{Message, Value};
use super::tensors::{self, Data, Initialiser, MAX_AXES};
use crate::error::Fault;

/// Inputs of a node that are looked at: input, weight, bias.
const INPUTS: usize = 3;
/// The domain of operators on maps and weights in blocks of channels.
pub(super) const ONE_PROCESSOR: &str = "com.microsoft.nchwc";

/// A node.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub name: String,
    pub op: String,
    pub domain: String,
    pub inputs: Vec<String>,
    /// The first output.
    pub output: String,
    /// A transposition's order of axes; empty: the reverse.
    pub axes: Vec<u64>,
}

/// NodeProto: 1 input, 2 output, 3 name, 4 op_type, 5 attribute, 7 domain. A constant's tensor comes beside it.
pub(super) fn node(message: &mut Message<'_>) -> Result<(Node, Option<Initialiser>), Fault> {
    let mut node = Node::default();
    let mut attributes = Vec::new();
    while let Some((field, value)) = message.field()? {
        let Value::Bytes { at, len } = value else { continue };
        match field {
            1 if node.inputs.len() < INPUTS => node.inputs.push(message.text(at, len)?),
            2 if node.output.is_empty() => node.output = message.text(at, len)?,
            3 => node.name = message.text(at, len)?,
            4 => node.op = message.text(at, len)?,
            5 if attributes.len() < MAX_AXES => attributes.push((at, len)),
            7 => node.domain = message.text(at, len)?,
            _ => {}
        }
    }
    let mut constant = None;
    if matches!(node.op.as_str(), "Constant" | "Transpose") {
        for (at, len) in attributes {
            constant = attribute(&mut message.part(at, len), &mut node)?.or(constant);
        }
    }
    let constant = constant.map(|data| (node.output.clone(), data));
    Ok((node, constant))
}

/// AttributeProto: 1 name, 5 t, 8 ints.
fn attribute(message: &mut Message<'_>, node: &mut Node) -> Result<Option<Data>, Fault> {
    let (mut name, mut tensor, mut numbers) = (String::new(), None, Vec::new());
    while let Some((field, value)) = message.field()? {
        match (field, value) {
            (1, Value::Bytes { at, len }) => name = message.text(at, len)?,
            (5, Value::Bytes { at, len }) => tensor = Some((at, len)),
            (8, Value::Number(number)) if numbers.len() < MAX_AXES => numbers.push(number),
            (8, Value::Bytes { at, len }) if node.op == "Transpose" => numbers = message.numbers(at, len, MAX_AXES)?,
            _ => {}
        }
    }
    match (name.as_str(), tensor) {
        ("perm", _) => node.axes = numbers,
        ("value", Some((at, len))) => return Ok(Some(tensors::tensor(&mut message.part(at, len))?.1)),
        _ => {}
    }
    Ok(None)
}
