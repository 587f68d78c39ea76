//! What a load found: the model's wishes against the file's contents.

use crate::error::shorten;
use crate::identify::Identity;
use candle_core::DType;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

/// A tensor whose shape in the file is not the one the model asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeMismatch {
    /// The tensor's name.
    pub name: String,
    /// What the model asks for.
    pub expected: Vec<usize>,
    /// What the file has.
    pub got: Vec<usize>,
}

/// A tensor whose element type cannot stand for the one the model asks for (whole numbers for fractions or the other
/// way round; conversions among floating-point types are no mismatch).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeMismatch {
    /// The tensor's name.
    pub name: String,
    /// What the model asks for.
    pub expected: DType,
    /// What the file has.
    pub got: crate::FileDtype,
}

/// The result of comparing what a model requested with what a file holds. `Display` gives a short text of several
/// lines, [`LoadReport::summary`] one line.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LoadReport {
    /// The file.
    pub path: PathBuf,
    /// The model that the caller wanted, by its name in the manifest.
    pub expected: Option<String>,
    /// The model that the file looks like.
    pub identity: Option<Identity>,
    /// How many tensors were loaded.
    pub loaded: usize,
    /// Requested, not in the file, and not optional.
    pub missing: Vec<String>,
    /// Requested, not in the file, and optional: the model got zeros.
    pub zero_filled: Vec<String>,
    /// Asked about (`contains_tensor`), not in the file, and not requested: the model does without.
    pub absent: Vec<String>,
    /// In the file, not requested, and not known to be unused.
    pub extra: Vec<String>,
    /// In the file, not requested, and known to be unused.
    pub ignored: Vec<String>,
    /// Of another shape.
    pub mis_shaped: Vec<ShapeMismatch>,
    /// Of another kind of type.
    pub mis_typed: Vec<TypeMismatch>,
    /// In the file, and not read: the tensor's name, and as what it is there (`a sparse tensor`). They are among `missing` when the model asks
    /// for them, and else among `extra` or `ignored`.
    pub skipped: BTreeMap<String, String>,
    /// Prefix taken off every name in the file (`module.`), if any; a note says so, too.
    pub stripped_prefix: Option<String>,
    /// The key under which the state dict was found, if not at the top.
    pub nested_key: Option<String>,
    /// Remarks that are no errors.
    pub notes: Vec<String>,
    /// The file is of another model than `expected`.
    pub wrong_model: bool,
    /// Those of the notes that say why so much is missing.
    pub(crate) hints: Vec<String>,
    /// Extra tensors are accepted.
    pub(crate) extra_allowed: bool,
}

/// How many names a message lists before it only counts.
const LISTED: usize = 3;

impl LoadReport {
    /// Whether the model can be used: nothing required is missing or misfit, and nothing is in excess.
    pub fn is_ok(&self) -> bool {
        !self.wrong_model
            && self.missing.is_empty()
            && self.mis_shaped.is_empty()
            && self.mis_typed.is_empty()
            && (self.extra_allowed || self.extra.is_empty())
    }

    /// One line: what the file looks like, what was expected, and the first few of each kind of misfit.
    pub fn summary(&self) -> String {
        let mut text = match (&self.identity, &self.expected) {
            (Some(i), Some(e)) if self.wrong_model => format!("looks like {i}, expected {e}"),
            (Some(i), Some(e)) if !self.is_ok() => format!("looks like {i}, but does not fit {e}"),
            (Some(i), None) if !self.is_ok() => format!("looks like {i}, but does not fit this model"),
            (None, Some(e)) if !self.is_ok() => format!("does not look like any known model, expected {e}"),
            (None, None) if !self.is_ok() => "does not fit this model".to_owned(),
            _ => format!("{} tensors loaded", self.loaded),
        };
        let mut parts = self.misfits(if self.extra_allowed { "unused" } else { "unexpected" });
        if self.is_ok() {
            push_part(&mut parts, "optional and missing", &self.zero_filled, |n| shorten(n));
        }
        if !self.missing.is_empty() {
            parts.extend(self.hints.iter().cloned());
        }
        if !parts.is_empty() {
            let _ = write!(text, ": {}", parts.join("; "));
        }
        text
    }
}

impl LoadReport {
    /// What is missing, misfit or in excess, which is called `extra`: a phrase for each kind that there is.
    fn misfits(&self, extra: &str) -> Vec<String> {
        let mut parts = Vec::new();
        push_part(&mut parts, "missing", &self.unread_first(&self.missing), |n| self.named(n));
        push_part(&mut parts, "of another shape", &self.mis_shaped, |m| {
            format!("{}: {:?} instead of {:?}", shorten(&m.name), m.got, m.expected)
        });
        push_part(&mut parts, "of another type", &self.mis_typed, |m| {
            format!("{}: {} instead of {:?}", shorten(&m.name), m.got, m.expected)
        });
        push_part(&mut parts, extra, &self.unread_first(&self.extra), |n| self.named(n));
        parts
    }

    /// The names with those first that are there and not read: they are the ones to say something about.
    fn unread_first<'n>(&self, names: &'n [String]) -> Vec<&'n String> {
        let (unread, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| self.skipped.contains_key(*name));
        unread.into_iter().chain(others).collect()
    }

    /// A name, and why it is not read, if it is there.
    fn named(&self, name: &str) -> String {
        match self.skipped.get(name) {
            Some(what) => format!("{}: there, but as {what}, which is not read", shorten(name)),
            None => shorten(name),
        }
    }
}

fn push_part<T>(parts: &mut Vec<String>, what: &str, items: &[T], show: impl Fn(&T) -> String) {
    if items.is_empty() {
        return;
    }
    let listed = items.iter().take(LISTED).map(show).collect::<Vec<_>>().join(", ");
    let more = if items.len() > LISTED { ", …" } else { "" };
    parts.push(format!("{} {what} ({listed}{more})", items.len()));
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.path.display())?;
        match (&self.identity, &self.expected) {
            (Some(i), Some(e)) => writeln!(f, "  looks like {i}; wanted {e}")?,
            (Some(i), None) => writeln!(f, "  looks like {i}")?,
            (None, Some(e)) => writeln!(f, "  does not look like any known model; wanted {e}")?,
            (None, None) => {}
        }
        if let Some(key) = &self.nested_key {
            writeln!(f, "  state dict found under '{key}'")?;
        }
        writeln!(f, "  {} tensors loaded", self.loaded)?;
        let mut parts = self.misfits("unexpected");
        push_part(&mut parts, "optional, missing, set to zero", &self.zero_filled, |n| shorten(n));
        push_part(&mut parts, "absent, the model does without", &self.absent, |n| shorten(n));
        push_part(&mut parts, "known to be unused", &self.ignored, |n| shorten(n));
        for part in parts.iter().chain(&self.notes) {
            writeln!(f, "  {part}")?;
        }
        Ok(())
    }
}
