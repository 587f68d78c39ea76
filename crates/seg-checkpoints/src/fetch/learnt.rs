//! Weights that were learnt here: a small difference, which comes with this crate, to published ones.

use super::{FetchOptions, fetch};
use crate::checkpoint::Checkpoint;
use crate::difference::apply_difference;
use crate::error::{Error, Result};
use crate::manifest::find;
use std::path::Path;

/// The differences by name.
const DIFFERENCES: &[(&str, &[u8])] = &[];

/// Brings the base, and writes what it and the difference are together.
pub(super) fn make(name: &str, base: &str, part: &Path, options: &FetchOptions) -> Result<()> {
    let unknown = |what: &str, name: &str| Error::Source(format!("no {what} {name} is known"));
    let (_, bytes) = DIFFERENCES.iter().find(|(known, _)| *known == name).ok_or_else(|| unknown("difference", name))?;
    let base = fetch(find(base).ok_or_else(|| unknown("weights", base))?, options)?;
    let folder = part.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io(folder, "write into it"))?;
    std::io::Write::write_all(&mut file, bytes).map_err(Error::io(file.path(), "write it"))?;
    apply_difference(&Checkpoint::open(file.path())?, &Checkpoint::open(&base.path)?, part)
}
