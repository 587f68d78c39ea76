//! Files to tensors: positioned reads, one tensor at a time, every length checked before memory is taken.

mod checksum;
mod latin1;
mod layout;
mod legacy;
mod reader;
mod safetensors;
mod sniff;
mod torch_zip;

pub(crate) use checksum::Checksum;
pub(crate) use latin1::Latin1;
pub(crate) use layout::{Placed, ReadError};
pub(crate) use reader::Reader;
pub(crate) use sniff::{Container, sniff};

use crate::Format;
use crate::error::Fault;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Most skipped tensors that are kept by name: a hostile file could make millions.
const MAX_SKIPPED: usize = 1 << 16;

/// What a container holds: where each tensor lies, and what was noticed on the way.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub tensors: BTreeMap<String, Placed>,
    pub metadata: BTreeMap<String, String>,
    /// The key under which the state dict was found, as `a.b`.
    pub nested: Option<String>,
    pub notes: Vec<String>,
    /// Why names may be others than a model asks for, and what to do; told with what is missing.
    pub hints: Vec<String>,
    /// Tensors that are there and not read, and as what: `a sparse tensor`.
    pub skipped: BTreeMap<String, String>,
    /// Further files that tensors are in, and which of them a tensor is in, by its name.
    pub files: Vec<(PathBuf, Reader)>,
    pub elsewhere: BTreeMap<String, usize>,
}

/// Writes down a tensor that is not read, and as what it is there.
pub(crate) fn skip(skipped: &mut BTreeMap<String, String>, name: String, what: String) {
    if skipped.len() < MAX_SKIPPED {
        skipped.insert(name, what);
    }
}

/// Reads the directory of the file at `path`, whose container is known.
pub(crate) fn index(reader: &Reader, container: Container, path: &Path) -> Result<(Index, Format), Fault> {
    match container {
        Container::Safetensors => safetensors::index(reader).map(|i| (i, Format::Safetensors)),
        Container::TorchZip => torch_zip::index(reader).map(|i| (i, Format::TorchZip)),
        Container::Onnx => crate::onnx::index(reader, path).map(|i| (i, Format::Onnx)),
        Container::TorchLegacy => legacy::index(reader).map(|i| (i, Format::TorchLegacy)),
    }
}
