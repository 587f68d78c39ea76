//! ONNX models as checkpoints: their initialisers, under the names of the PyTorch modules that they were exported from.
//!
//! Only the weights are read, never run. The file is walked by positions (`onnx.proto3` of onnx/onnx), so that tensors stay
//! where they are until a model asks for them.

mod names;
mod proto;

use crate::dtype::FileDtype;
use crate::error::{Fault, shorten};
use crate::read::{Index, Placed, Reader};
use proto::{Message, Value};

/// Initialisers and nodes of a graph at most: the largest published models have some ten thousand.
const MAX_PARTS: usize = 1 << 20;
/// Axes of a tensor at most.
const MAX_AXES: usize = 16;
/// Inputs of a node that are looked at: input, weight, bias.
const INPUTS: usize = 3;

/// What is of interest in a node.
#[derive(Debug, Default)]
struct Node {
    name: String,
    op: String,
    inputs: Vec<String>,
}

/// An initialiser: its name and place, or why it is left out.
type Initialiser = (String, Result<Placed, String>);

/// Reads the directory of an ONNX model.
pub(crate) fn index(reader: &Reader) -> Result<Index, Fault> {
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
            (1, Value::Bytes { at, len }) => nodes.push(node(&mut message.part(at, len))?),
            (5, Value::Bytes { at, len }) => tensors.push(tensor(&mut message.part(at, len))?),
            _ => continue,
        }
        if nodes.len().max(tensors.len()) > MAX_PARTS {
            return Err(Fault::limit(format!("an ONNX graph of more than {MAX_PARTS} nodes or tensors")));
        }
    }
    let mut index = Index::default();
    let renamed = names::of_modules(&nodes);
    for (name, placed) in tensors {
        let name = renamed.get(name.as_str()).cloned().unwrap_or(name);
        match placed {
            Err(why) => index.notes.push(format!("skipped '{}': {why}", shorten(&name))),
            Ok(placed) => {
                if let Some(_twice) = index.tensors.insert(name.clone(), placed) {
                    return Err(Fault::malformed(format!("two tensors are called '{}'", shorten(&name))));
                }
            }
        }
    }
    names::restore_batch_norms(&mut index)?;
    Ok(index)
}

/// NodeProto: 1 input, 3 name, 4 op_type.
fn node(message: &mut Message<'_>) -> Result<Node, Fault> {
    let mut node = Node::default();
    while let Some((field, value)) = message.field()? {
        let Value::Bytes { at, len } = value else { continue };
        match field {
            1 if node.inputs.len() < INPUTS => node.inputs.push(message.text(at, len)?),
            3 => node.name = message.text(at, len)?,
            4 => node.op = message.text(at, len)?,
            _ => {}
        }
    }
    Ok(node)
}

/// TensorProto: 1 dims, 2 data_type, 4 float_data, 8 name, 9 raw_data, 10 double_data, 13 external_data, 14 data_location.
fn tensor(message: &mut Message<'_>) -> Result<Initialiser, Fault> {
    let (mut name, mut dims, mut code) = (String::new(), Vec::new(), 0);
    let (mut data, mut elsewhere) = (None, false);
    while let Some((field, value)) = message.field()? {
        match (field, value) {
            (1, Value::Number(dim)) => dims.push(dim),
            (1, Value::Bytes { at, len }) => dims.extend(message.numbers(at, len, MAX_AXES)?),
            (2, Value::Number(value)) => code = value,
            (8, Value::Bytes { at, len }) => name = message.text(at, len)?,
            // packed numbers of a fixed width lie as raw data does
            (4 | 9 | 10, Value::Bytes { at, len }) => data = Some((field, at, len)),
            (13, _) | (14, Value::Number(1)) => elsewhere = true,
            _ => {}
        }
        if dims.len() > MAX_AXES {
            return Err(Fault::limit(format!("a tensor of more than {MAX_AXES} axes")));
        }
    }
    let shown = shorten(&name);
    let too_large = |_| Fault::malformed(format!("tensor '{shown}': shape {dims:?} is too large"));
    let shape: Vec<usize> = dims.iter().map(|&d| usize::try_from(d)).collect::<Result<_, _>>().map_err(too_large)?;
    if elsewhere {
        return Ok((name, Err("its data is in another file".into())));
    }
    let Some(dtype) = dtype(code) else {
        return Ok((name, Err(format!("elements of ONNX type {code} are not supported"))));
    };
    let fits = |field| match field {
        4 => dtype == FileDtype::F32,
        10 => dtype == FileDtype::F64,
        _ => true,
    };
    match data {
        Some((field, at, len)) if fits(field) => {
            let placed = Placed::contiguous(dtype, shape, at, len).map_err(|f| match f {
                Fault::Malformed(m) => Fault::Malformed(format!("tensor '{shown}': {m}")),
                other => other,
            })?;
            Ok((name, Ok(placed)))
        }
        _ if shape.contains(&0) => {
            let placed = Placed::contiguous(dtype, shape, 0, 0)?;
            Ok((name, Ok(placed)))
        }
        _ => Ok((name, Err("its numbers are not stored as plain bytes".into()))),
    }
}

/// TensorProto.DataType.
fn dtype(code: u64) -> Option<FileDtype> {
    Some(match code {
        1 => FileDtype::F32,
        2 => FileDtype::U8,
        3 => FileDtype::I8,
        4 => FileDtype::U16,
        5 => FileDtype::I16,
        6 => FileDtype::I32,
        7 => FileDtype::I64,
        9 => FileDtype::Bool,
        10 => FileDtype::F16,
        11 => FileDtype::F64,
        12 => FileDtype::U32,
        13 => FileDtype::U64,
        16 => FileDtype::BF16,
        _ => return None,
    })
}
