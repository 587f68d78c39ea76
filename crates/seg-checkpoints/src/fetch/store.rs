//! Files on disk: digests, locks, and giving a file its final name only when it is whole.

use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a fetched file must be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expected<'a> {
    pub size: Option<u64>,
    pub sha256: Option<&'a str>,
}

/// SHA-256 of a file, in lower-case hexadecimal.
///
/// # Errors
/// [`Error::Io`] when it cannot be read.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path, "open it"))?;
    let mut hasher = Sha256::new();
    let mut buf = vec![0u8; 1 << 20];
    loop {
        match file.read(&mut buf).map_err(Error::io(path, "read it"))? {
            0 => break,
            n => hasher.update(&buf[..n]),
        }
    }
    Ok(hex::encode(hasher.finalize()))
}

/// Checks a part; a wrong one is deleted.
pub(crate) fn verify(part: &Path, what: &str, expected: Expected<'_>) -> Result<()> {
    let len = part.metadata().map_err(Error::io(part, "look at it"))?.len();
    let mut detail = None;
    if let Some(size) = expected.size.filter(|&s| s != len) {
        detail = Some(format!("it should have {size} bytes and has {len}"));
    } else if let Some(wanted) = expected.sha256 {
        let found = sha256_file(part)?;
        if !found.eq_ignore_ascii_case(wanted) {
            detail = Some(format!("its SHA-256 should be {wanted} and is {found}"));
        }
    }
    match detail {
        None => Ok(()),
        Some(detail) => {
            std::fs::remove_file(part).map_err(Error::io(part, "delete it"))?;
            Err(Error::Digest { what: what.to_owned(), detail })
        }
    }
}

/// Gives a checked part its final name. It survives a power cut: content first, name second, folder last.
pub(crate) fn publish(part: &Path, to: &Path) -> Result<()> {
    let file = File::options().write(true).open(part).map_err(Error::io(part, "open it"))?;
    file.sync_all().map_err(Error::io(part, "write it to the disk"))?;
    drop(file);
    std::fs::rename(part, to).map_err(Error::io(to, "put the file there"))?;
    sync_folder(to);
    Ok(())
}

/// Folders can be synced on Unix only, and some network disks refuse: a best effort.
pub(crate) fn sync_folder(of: &Path) {
    if cfg!(unix)
        && let Some(parent) = of.parent()
        && let Ok(folder) = File::open(parent)
    {
        let _ = folder.sync_all();
    }
}

/// Held while a file is fetched, so that two processes do not fetch it twice.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock on `path` (a file of its own, which stays) for at most `timeout`.
    pub fn take(path: &Path, timeout: Duration, waiting: impl FnOnce()) -> Result<Self> {
        create_parent(path)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(Error::io(path, "make a lock file"))?;
        let start = Instant::now();
        let mut waiting = Some(waiting);
        loop {
            match fs4::FileExt::try_lock(&file) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(fs4::TryLockError::WouldBlock) if start.elapsed() < timeout => {
                    if let Some(say) = waiting.take() {
                        say();
                    }
                    std::thread::sleep(Duration::from_millis(200));
                }
                Err(fs4::TryLockError::WouldBlock) => {
                    return Err(Error::Source(format!(
                        "another process has been fetching the same file for more than {} s (lock {})",
                        timeout.as_secs(),
                        path.display()
                    )));
                }
                Err(fs4::TryLockError::Error(source)) => {
                    return Err(Error::Io { path: path.to_path_buf(), action: "lock it", source });
                }
            }
        }
    }
}

/// Makes the folder that a file will be in.
pub(crate) fn create_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            std::fs::create_dir_all(parent).map_err(Error::io(parent, "make the folder"))
        }
        _ => Ok(()),
    }
}

/// `name.part` beside `name`.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}
