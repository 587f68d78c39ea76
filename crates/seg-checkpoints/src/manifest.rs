//! The weights manifest: the published checkpoints, how to know them, and where they can be had.

use crate::error::Fault;
use crate::fetch::Source;
use serde::Deserialize;
use std::path::Path;
use std::sync::LazyLock;

/// One published checkpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Entry {
    /// The model's name in every command.
    pub name: String,
    /// The model's family.
    pub family: String,
    /// The file's name.
    pub file: String,
    /// The file's length in bytes, when known.
    pub size: Option<u64>,
    /// The file's SHA-256 in lower-case hexadecimal, when known.
    pub sha256: Option<String>,
    /// The licence of the weights.
    pub licence: String,
    /// The authors' page.
    pub home: String,
    /// Where it can be had, in the order to try.
    pub sources: Vec<Source>,
    /// How to get it by hand.
    pub by_hand: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    weights: Vec<Entry>,
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    // The file is part of this crate and a test parses it, so that the default is never seen.
    parse(include_str!("manifest.toml")).unwrap_or_default()
});

fn parse(text: &str) -> Result<Vec<Entry>, toml::de::Error> {
    toml::from_str::<Manifest>(text).map(|m| m.weights)
}

/// All published checkpoints that are known, in the order of the manifest.
pub fn manifest() -> &'static [Entry] {
    &ENTRIES
}

/// The checkpoint of a model.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|e| e.name == name)
}

/// Adds the published file's length, when a file of a known name is damaged and of another length.
pub(crate) fn with_published_size(fault: Fault, path: &Path, len: u64) -> Fault {
    let Fault::Malformed(detail) = &fault else { return fault };
    let published = path.file_name().and_then(|n| ENTRIES.iter().find(|e| n == e.file.as_str())).and_then(|e| e.size);
    match published {
        Some(expected) if len < expected => Fault::Truncated { expected, actual: len },
        Some(expected) if len > expected => {
            Fault::Malformed(format!("{detail}; the published file has {expected} bytes, this one {len}"))
        }
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_is_sound() {
        let entries = parse(include_str!("manifest.toml")).unwrap();
        let mut names: Vec<_> = entries.iter().map(|e| &e.name).collect();
        names.sort();
        names.dedup();
        assert_eq!((names.len(), entries.len()), (24, 24), "names are unique");
        for e in &entries {
            if let Some(digest) = &e.sha256 {
                assert!(
                    digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
                    "{}",
                    e.name
                );
            }
            assert!(!e.by_hand.is_empty() && !e.licence.is_empty() && !e.file.contains(['/', '\\']), "{}", e.name);
        }
    }
}
