//! One file out of a wheel (zip) or a package (tar.gz). Names within archives are compared, never used as paths.

use crate::error::{Error, Result};
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Largest file taken out when its size is not known beforehand, in bytes.
const MAX_FILE: u64 = 8 << 30;
/// Most bytes that an archive may unfold to on the way to the file.
const MAX_UNFOLDED: u64 = 16 << 30;
/// Most files in an archive.
const MAX_ENTRIES: usize = 200_000;
/// A file may unfold to this many times its packed size; deflate itself ends at about 1030.
const MAX_RATIO: u64 = 200;

/// Takes `member` out of the one archive in `folder`, into `to`. `size` is its length, if known.
pub(crate) fn one_from(folder: &Path, member: &str, size: Option<u64>, to: &Path) -> Result<()> {
    let archive = archive_in(folder)?;
    let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = File::open(&archive).map_err(Error::io(&archive, "open it"))?;
    let limit = size.unwrap_or(MAX_FILE);
    if name.ends_with(".tgz") || name.ends_with(".tar.gz") {
        from_tar_gz(file, &name, member, limit, to)
    } else {
        from_zip(file, &name, member, limit, to)
    }
}

fn archive_in(folder: &Path) -> Result<PathBuf> {
    let read = std::fs::read_dir(folder).map_err(Error::io(folder, "list it"))?;
    let mut found: Vec<PathBuf> = read
        .filter_map(|e| e.ok())
        .map(|e| e.path())
        .filter(|p| {
            let name = p.file_name().unwrap_or_default().to_string_lossy();
            [".whl", ".zip", ".tgz", ".tar.gz"].iter().any(|end| name.ends_with(end))
        })
        .collect();
    match (found.pop(), found.pop()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Error::Source("the client left no package".into())),
        (Some(_), Some(_)) => Err(Error::Source("the client left more than one package".into())),
    }
}

fn broken(name: &str, e: impl std::fmt::Display) -> Error {
    Error::Source(format!("the package {name} is broken: {e}"))
}

fn from_zip(file: File, name: &str, member: &str, limit: u64, to: &Path) -> Result<()> {
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|e| broken(name, e))?;
    if archive.len() > MAX_ENTRIES {
        return Err(broken(name, format!("{} files, the limit is {MAX_ENTRIES}", archive.len())));
    }
    let entry = archive.by_name(member).map_err(|e| match e {
        zip::result::ZipError::FileNotFound => Error::Source(format!("the package {name} has no file {member}")),
        other => broken(name, other),
    })?;
    let (size, packed) = (entry.size(), entry.compressed_size());
    if !entry.is_file() {
        return Err(broken(name, format!("{member} is not a plain file")));
    }
    if size > limit || size > packed.saturating_mul(MAX_RATIO).saturating_add(1 << 20) {
        return Err(broken(
            name,
            format!("{member} claims {size} bytes in {packed} packed ones, expected at most {limit}"),
        ));
    }
    write(entry, name, member, limit, to)
}

fn from_tar_gz(file: File, name: &str, member: &str, limit: u64, to: &Path) -> Result<()> {
    let packed = file.metadata().map_or(0, |m| m.len());
    let most = MAX_UNFOLDED.min(packed.saturating_mul(MAX_RATIO).saturating_add(1 << 20));
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)).take(most));
    for (i, entry) in archive.entries().map_err(|e| broken(name, e))?.enumerate() {
        let entry = entry.map_err(|e| broken(name, e))?;
        if i > MAX_ENTRIES {
            return Err(broken(name, format!("more than {MAX_ENTRIES} files")));
        }
        if entry.path_bytes().as_ref() != member.as_bytes() {
            continue;
        }
        if !entry.header().entry_type().is_file() {
            return Err(broken(name, format!("{member} is not a plain file")));
        }
        if entry.size() > limit {
            return Err(broken(name, format!("{member} has {} bytes, expected at most {limit}", entry.size())));
        }
        return write(entry, name, member, limit, to);
    }
    Err(Error::Source(format!("the package {name} has no file {member}")))
}

fn write(from: impl Read, name: &str, member: &str, limit: u64, to: &Path) -> Result<()> {
    let mut out = File::create(to).map_err(Error::io(to, "write it"))?;
    let mut from = from.take(limit.saturating_add(1));
    let mut buf = vec![0u8; 1 << 17];
    let mut came = 0;
    loop {
        let n = from.read(&mut buf).map_err(|e| broken(name, format!("{member}: {e}")))?;
        if n == 0 {
            return Ok(());
        }
        came += n as u64;
        if came > limit {
            return Err(broken(name, format!("{member} has more than {limit} bytes")));
        }
        std::io::Write::write_all(&mut out, &buf[..n]).map_err(Error::io(to, "write it"))?;
    }
}
