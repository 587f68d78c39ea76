//! A reader for the part of Python's pickle language that `torch.save` writes.
//!
//! A pickle is a program. This reader runs no Python and calls nothing: it builds a plain tree of values, in which a
//! call that the program asks for stays a note ("call this name with these arguments"). `torch` then recognises the
//! few calls that describe a tensor; all others stay notes.

mod machine;
mod torch;
mod tree;

pub(crate) use machine::parse;
pub(crate) use torch::{RawTensor, state_dict};
pub(crate) use tree::{Id, Node, Tree};

/// Largest pickle that is read, in bytes. SAM's is 80 kB, an optimiser's state a few MB.
pub(crate) const MAX_PICKLE: usize = 64 << 20;
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
