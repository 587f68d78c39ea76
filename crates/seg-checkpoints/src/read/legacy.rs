//! torch's container before 1.6: five pickles one after the other (magic number, protocol, system, object, storage
//! keys), then each storage as 8 bytes of element count and its elements.

use super::torch_zip::place;
use super::{Index, Reader};
use crate::error::{Fault, shorten};
use crate::pickle::{self, Id, Node, Tree};
use std::collections::HashMap;

pub(super) fn index(reader: &Reader) -> Result<Index, Fault> {
    let mut at = 0;
    let mut next = || -> Result<Tree, Fault> {
        let (tree, end) = pickle::parse(reader, at..reader.len(), 0)?;
        at = end;
        Ok(tree)
    };
    next()?; // the magic number, which brought us here
    let protocol = next()?;
    if protocol.int(protocol.root) != Some(1001) {
        return Err(Fault::Unsupported("this version of torch's old format (expected protocol 1001)".into()));
    }
    let system = next()?;
    if lookup(&system, "little_endian").is_some_and(|v| *system.node(v) == Node::Bool(false)) {
        return Err(Fault::Unsupported("big-endian numbers".into()));
    }
    let object = next()?;
    let keys = next()?;
    let state = pickle::state_dict(&object)?;

    // Storages follow in the order of the keys; their element size is in the object's pickle.
    let sizes = element_sizes(&object);
    let mut places = HashMap::new();
    let mut offset = at;
    for &key in keys.seq(keys.root).ok_or_else(|| Fault::malformed("the list of storages is not a list"))? {
        let key = keys.str(key).ok_or_else(|| Fault::malformed("a storage's key is not a string"))?;
        let mut count = [0u8; 8];
        reader.read_at(offset, &mut count)?;
        let size = *sizes
            .get(key)
            .ok_or_else(|| Fault::malformed(format!("storage '{}' belongs to no tensor", shorten(key))))?;
        let len = u64::from_le_bytes(count).checked_mul(size).ok_or_else(|| {
            Fault::malformed(format!("storage '{}' claims more bytes than can be counted", shorten(key)))
        })?;
        let begin = offset + 8;
        offset = begin.saturating_add(len);
        if offset > reader.len() {
            return Err(Fault::Truncated { expected: offset, actual: reader.len() });
        }
        places.insert(key.to_owned(), (begin, len));
    }
    let mut index = Index { nested: state.nested, notes: state.notes, skipped: state.skipped, ..Index::default() };
    for (name, raw) in state.tensors {
        let placed = place(&name, raw, &object, |key| {
            let storage = places.get(key).copied();
            storage.ok_or_else(|| Fault::malformed(format!("storage '{}' is not in the file", shorten(key))))
        })?;
        index.tensors.insert(name, placed);
    }
    Ok(index)
}

fn lookup(tree: &Tree, key: &str) -> Option<Id> {
    match tree.node(tree.root) {
        Node::Dict(pairs) => pairs.iter().find(|(k, _)| tree.str(*k) == Some(key)).map(|&(_, v)| v),
        _ => None,
    }
}

/// Bytes an element of every storage that the pickle names, by key.
fn element_sizes(tree: &Tree) -> HashMap<&str, u64> {
    let size = |node: &Node| match node {
        Node::Persistent(id) => match tree.seq(*id)? {
            [_, class, key, ..] => {
                let (_, class) = tree.global(*class)?;
                // complex, quantised: skipped as tensors, but their bytes must be stepped over
                let size = match class {
                    "ComplexDoubleStorage" => 16,
                    "ComplexFloatStorage" => 8,
                    "QInt32Storage" => 4,
                    "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => 1,
                    _ => crate::dtype::FileDtype::from_storage(class)?.size() as u64,
                };
                Some((tree.str(*key)?, size))
            }
            _ => None,
        },
        _ => None,
    };
    tree.nodes.iter().filter_map(size).collect()
}
