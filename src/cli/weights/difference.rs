//! `hrseg weights difference` and `apply`: what a training moved as a small file, and back.

use std::path::{Path, PathBuf};

use clap::Args;
use seg_checkpoints::{BaseNames, Checkpoint, apply_difference, base_of, write_difference};
use serde_json::json;

use super::{Common, Outcome, UsageError, options, print};
use crate::cli::common::refuse_to_replace;

/// Arguments of `hrseg weights difference`.
#[derive(Args, Debug)]
pub struct DifferenceArgs {
    /// What was learnt
    learnt: PathBuf,
    /// What it was learnt from: a name that `list` prints, or a file
    #[arg(long, value_name = "NAME|FILE")]
    base: String,
    /// What the base calls the tensors, where not the same: encoder.=image_encoder.trunk., several separated by commas
    #[arg(long, value_name = "PREFIX=PREFIX", default_value = "", hide_default_value = true)]
    names: String,
    /// Matrices and kernels in 16 bits
    #[arg(long)]
    half: bool,
    /// The file to write
    #[arg(short, long)]
    output: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

/// Arguments of `hrseg weights apply`.
#[derive(Args, Debug)]
pub struct ApplyArgs {
    /// What `difference` wrote
    difference: PathBuf,
    /// What it was taken from, where that is a file of your own
    #[arg(long, value_name = "NAME|FILE")]
    base: Option<String>,
    /// The whole weights to write
    #[arg(short, long)]
    output: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

/// A base by its name in the manifest, or a file; and what to call it.
fn base(given: &str) -> anyhow::Result<(Checkpoint, String)> {
    let path = Path::new(given);
    if path.exists() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok((Checkpoint::open(path)?, name));
    }
    Ok((Checkpoint::open(seg_checkpoints::fetch(super::known(given)?, &options()?)?.path)?, given.to_owned()))
}

/// Runs `hrseg weights difference`.
pub fn take(args: &DifferenceArgs, common: &Common) -> anyhow::Result<Outcome> {
    refuse_to_replace(&args.output, args.force)?;
    let names = BaseNames::parse(&args.names).map_err(|e| UsageError(e.to_string()))?;
    let learnt = Checkpoint::open(&args.learnt)?;
    let (from, called) = base(&args.base)?;
    let report = write_difference(&learnt, (&from, &called), &names, args.half, &args.output)?;
    let bytes = args.output.metadata().map_or(0, |m| m.len());
    if common.json {
        let row = json!({"to": args.output, "base": called, "moved": report.moved, "unmoved": report.unmoved, "bytes": bytes});
        return print(&serde_json::to_string_pretty(&row)?);
    }
    print(&format!(
        "{}: {} tensors that moved, {bytes} bytes; {} are those of {}",
        args.output.display(),
        report.moved,
        report.unmoved,
        called
    ))
}

/// Runs `hrseg weights apply`.
pub fn apply(args: &ApplyArgs, common: &Common) -> anyhow::Result<Outcome> {
    refuse_to_replace(&args.output, args.force)?;
    let difference = Checkpoint::open(&args.difference)?;
    let name = base_of(&difference).ok_or_else(|| {
        UsageError(format!(
            "{}: no difference to other weights, expected what `hrseg weights difference` writes",
            args.difference.display()
        ))
    })?;
    let (from, _) = base(args.base.as_deref().unwrap_or(name))?;
    apply_difference(&difference, &from, &args.output)?;
    if common.json {
        return print(&serde_json::to_string_pretty(&json!({"to": args.output, "base": name}))?);
    }
    print(&args.output.display().to_string())
}
