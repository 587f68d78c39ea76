//! `hrseg weights inspect`.

use std::collections::BTreeMap;
use std::path::Path;

use seg_checkpoints::{Checkpoint, identify};
use serde_json::json;

use super::{Common, Outcome, megabytes, print};

pub(super) fn run(file: &Path, brief: bool, common: &Common) -> anyhow::Result<Outcome> {
    let checkpoint = Checkpoint::open(file)?;
    checkpoint.check()?;
    if common.json {
        return print(&serde_json::to_string_pretty(&as_json(&checkpoint, brief))?);
    }
    let mut text = String::new();
    if !brief {
        let width = checkpoint.keys().map(|name| one_line(name).chars().count()).max().unwrap_or(0);
        for (name, info) in checkpoint.tensors() {
            let name = one_line(name);
            text += &format!("{name:<width$}  {:<5} {:?}\n", info.dtype.as_str(), info.shape);
        }
        text.push('\n');
    }
    let looks = identify(&checkpoint).map_or_else(|| unknown(&checkpoint), |i| i.to_string());
    let types = types(&checkpoint).into_iter().map(|(d, n)| format!("{n} {d}")).collect::<Vec<_>>().join(", ");
    text += &format!("file        {} ({})\n", file.display(), megabytes(checkpoint.file_len()));
    text += &format!("format      {}\n", checkpoint.format());
    text += &format!("looks like  {looks}\n");
    text += &format!("tensors     {} ({types})\n", checkpoint.tensors().len());
    text += &format!("numbers     {} ({})", checkpoint.elements(), megabytes(checkpoint.tensor_bytes()));
    if let Some(key) = checkpoint.nested_key() {
        text += &format!("\nfound under '{key}'");
    }
    if let Some(prefix) = checkpoint.stripped_prefix() {
        text += &format!("\nprefix      '{prefix}' taken off every name");
    }
    for (key, value) in checkpoint.metadata() {
        text += &format!("\nmetadata    {key}: {}", one_line(value));
    }
    for note in checkpoint.notes() {
        text += &format!("\nnote        {note}");
    }
    print(&text)
}

fn as_json(checkpoint: &Checkpoint, brief: bool) -> serde_json::Value {
    let identity = identify(checkpoint);
    let mut value = json!({
        "path": checkpoint.path(),
        "format": checkpoint.format().to_string(),
        "file_bytes": checkpoint.file_len(),
        "looks_like": identity.as_ref().map(|i| i.to_string()),
        "candidates": identity.as_ref().map(|i| i.candidates().to_vec()),
        "partial": identity.as_ref().map(|i| i.is_partial()),
        "tensor_count": checkpoint.tensors().len(),
        "types": types(checkpoint),
        "elements": checkpoint.elements(),
        "tensor_bytes": checkpoint.tensor_bytes(),
        "nested_key": checkpoint.nested_key(),
        "stripped_prefix": checkpoint.stripped_prefix(),
        "skipped": checkpoint.skipped(),
        "transformers": checkpoint.transformers(),
        "metadata": checkpoint.metadata(),
        "notes": checkpoint.notes(),
    });
    if !brief {
        value["tensors"] = checkpoint
            .tensors()
            .iter()
            .map(|(name, info)| json!({"name": name, "dtype": info.dtype.as_str(), "shape": info.shape}))
            .collect();
    }
    value
}

/// What to say of a file that looks like none of our models.
fn unknown(checkpoint: &Checkpoint) -> String {
    match checkpoint.transformers() {
        Some(classes) => format!("transformers' {classes}, of no size that is known here"),
        None => "no known model".to_owned(),
    }
}

/// How many tensors there are of each type.
fn types(checkpoint: &Checkpoint) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for info in checkpoint.tensors().values() {
        *counts.entry(info.dtype.as_str()).or_default() += 1;
    }
    counts
}

/// Names and metadata may hold anything: control characters must not reach the terminal.
fn one_line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(201).collect();
    if clean.chars().count() > 200 { clean.chars().take(197).chain("...".chars()).collect() } else { clean }
}
