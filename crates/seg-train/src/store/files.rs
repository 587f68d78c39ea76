//! Folders and files of checkpoints.

use crate::{Result, TrainError};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Folders within `folder` whose names are numbers, smallest first.
pub(super) fn numbered(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TrainError::io(folder, "read it")(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(TrainError::io(folder, "read it"))?;
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Removes a folder with what is in it; one that is not there is no error.
pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(TrainError::io(path, "remove it")(error)),
        _ => Ok(()),
    }
}

/// Flushes a file or folder to the disk. Where folders cannot be opened (Windows) there is nothing to do.
pub(super) fn sync(path: &Path) -> Result<()> {
    match File::open(path) {
        Ok(file) => file.sync_all().map_err(TrainError::io(path, "flush it to the disk")),
        Err(error) if path.is_dir() && error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(TrainError::io(path, "open it")(error)),
    }
}
