//! The model hub.
//!
//! The layout of the cache and the names in it are hf-hub's, so that files are shared with Python. The transfer is our
//! own: hf-hub 0.5 has no time limits, no digest check, no offline switch, and gives a file its final name before
//! anything could be checked.

use super::http::{Http, status_error};
use super::options::FetchOptions;
use super::store::{Expected, Lock, create_parent, publish, verify};
use crate::error::{Error, Result};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use std::path::{Path, PathBuf};

/// A file of a model repository.
#[derive(Debug, Clone, Copy)]
pub struct HubFile<'a> {
    /// `org/repo`
    pub repo: &'a str,
    /// Branch, tag or commit.
    pub revision: &'a str,
    /// Path within the repository.
    pub file: &'a str,
}

/// Something that has the files of model repositories. [`Hub`] is the real one; tests and applications may bring
/// their own.
pub trait HubClient {
    /// The file, if it is there without asking anyone.
    fn cached(&self, file: HubFile<'_>) -> Option<PathBuf>;
    /// The file, downloaded if need be.
    ///
    /// # Errors
    /// [`Error::Source`] or [`Error::Digest`] with the reason.
    fn get(&self, file: HubFile<'_>, size: Option<u64>, sha256: Option<&str>) -> Result<PathBuf>;
}

/// The hub that [`FetchOptions`] describe.
#[derive(Debug)]
pub struct Hub<'a> {
    options: &'a FetchOptions,
}

impl<'a> Hub<'a> {
    /// Makes a client; asks nobody yet.
    pub fn new(options: &'a FetchOptions) -> Self {
        Self { options }
    }

    fn repo(&self, file: HubFile<'_>) -> (Repo, CacheRepo) {
        let repo = Repo::with_revision(file.repo.to_owned(), RepoType::Model, file.revision.to_owned());
        let cache = Cache::new(self.options.hub.cache.clone()).repo(repo.clone());
        (repo, cache)
    }
}

impl HubClient for Hub<'_> {
    fn cached(&self, file: HubFile<'_>) -> Option<PathBuf> {
        let (_, cache) = self.repo(file);
        // a commit given in full has no ref of its own
        let direct = cache.pointer_path(file.revision).join(file.file);
        cache.get(file.file).or_else(|| direct.is_file().then_some(direct))
    }

    fn get(&self, file: HubFile<'_>, size: Option<u64>, sha256: Option<&str>) -> Result<PathBuf> {
        let options = self.options;
        let (repo, cache) = self.repo(file);
        let http = Http::new(options)?;
        let url = format!("{}/{}/resolve/{}/{}", options.hub.endpoint, repo.url(), repo.url_revision(), file.file);
        let token = options.hub.token.as_deref();

        let head = http.ask(true, &url, token, 0, true)?;
        if head.status() >= 400 {
            return Err(status_error(&head, head.status(), token.is_some()));
        }
        let missing = |name: &str| Error::Source(format!("{} sent no usable {name}: not a hub?", options.hub.endpoint));
        let commit = head.header("x-repo-commit").filter(|c| is_name(c)).ok_or_else(|| missing("x-repo-commit"))?;
        let etag = head
            .header("x-linked-etag")
            .or_else(|| head.header("etag"))
            .map(|e| e.trim_start_matches("W/").trim_matches('"'))
            .filter(|e| is_name(e))
            .ok_or_else(|| missing("etag"))?;
        let offered = match head.header("x-linked-size") {
            Some(linked) => linked.parse().ok(),
            None if head.status() == 200 => head.header("content-length").and_then(|l| l.parse().ok()),
            None => None,
        };
        if let (Some(size), Some(offered)) = (size, offered)
            && size != offered
        {
            return Err(Error::Source(format!("the hub's file has {offered} bytes, the published one {size}")));
        }
        // Large files are named by their SHA-256, small ones by git's digest.
        let linked = (etag.len() == 64 && etag.bytes().all(|b| b.is_ascii_hexdigit())).then_some(etag);
        if let (Some(wanted), Some(linked)) = (sha256, linked)
            && !wanted.eq_ignore_ascii_case(linked)
        {
            return Err(Error::Source(format!("the hub's file has SHA-256 {linked}, the published one {wanted}")));
        }

        let blob = cache.blob_path(etag);
        let folder = repo.folder_name();
        let lock = options.hub.cache.join(".locks").join(folder).join(format!("{etag}.lock"));
        let _lock = Lock::take(&lock, options.lock_timeout, || {
            options.reporter.note("waiting for another process that fetches the same file");
        })?;
        if !blob.is_file() {
            create_parent(&blob)?;
            let part = blob.with_file_name(format!("{etag}.incomplete"));
            let size = size.or(offered);
            http.download(&url, token, &part, size, file.file, options)?;
            verify(&part, &format!("{} of {}", file.file, file.repo), Expected { size, sha256: sha256.or(linked) })?;
            publish(&part, &blob)?;
        }
        let pointer = cache.pointer_path(commit).join(file.file);
        point(&blob, &pointer, file.file)?;
        if commit != file.revision {
            cache.create_ref(commit).map_err(Error::io(&pointer, "note the commit for it"))?;
        }
        Ok(pointer)
    }
}

/// Makes `snapshots/<commit>/<file>` lead to `blobs/<etag>`: a relative link as Python makes it, or a copy where links
/// are not allowed.
fn point(blob: &Path, pointer: &Path, file: &str) -> Result<()> {
    if pointer.is_file() {
        return Ok(());
    }
    create_parent(pointer)?;
    // a link that leads nowhere
    let _ = std::fs::remove_file(pointer);
    #[cfg(unix)]
    {
        // snapshots/<commit>/ and one level for each folder in the file's path
        let up = "../".repeat(2 + file.matches('/').count());
        let target = Path::new(&up).join("blobs").join(blob.file_name().unwrap_or_default());
        if std::os::unix::fs::symlink(target, pointer).is_ok() {
            return Ok(());
        }
    }
    let _ = file;
    std::fs::copy(blob, pointer).map(|_| ()).map_err(Error::io(pointer, "write it"))
}

/// A digest or a commit: it becomes a file's name.
fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
