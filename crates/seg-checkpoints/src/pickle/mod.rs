//! A reader for the part of Python's pickle language that `torch.save` writes, in every protocol (0 to 5).
//!
//! A pickle is a program. This reader runs no Python and calls nothing: it builds a plain tree of values, in which a
//! call that the program asks for stays a note ("call this name with these arguments"). `torch` then recognises the
//! few calls that describe a tensor; all others stay notes.

mod machine;
mod numpy;
mod source;
mod step;
mod text;
mod torch;
mod tree;
mod values;

pub(crate) use machine::parse;
pub(crate) use torch::{Data, RawTensor, state_dict};
pub(crate) use tree::{Bytes, Id, Node, Tree};
pub use values::from_pickle;

/// Most that is kept of a pickle's names and texts, in bytes; what arrays hold stays in the file. SAM's whole pickle has
/// 80 kB, an optimiser's state a few MB.
const MAX_KEPT: usize = 64 << 20;
/// Longest text that is kept, in bytes.
const MAX_SHORT: u64 = 1 << 16;
/// Most instructions that are carried out; also bounds memory, as each makes at most one value.
const MAX_OPS: usize = 8 << 20;
/// Deepest nesting of unfinished lists, dictionaries and tuples.
const MAX_MARKS: usize = 512;
/// Deepest nesting of dictionaries that is searched for tensors.
const MAX_DEPTH: usize = 32;
/// Longest name of a tensor, in bytes: names are copied, and one text may be named many times.
const MAX_NAME: usize = 1024;
/// Most axes of a tensor, for the same reason.
const MAX_RANK: usize = 32;
