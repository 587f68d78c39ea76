//! `hrseg recipe`: recipes of other programs as ours.

mod mgd;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use seg_data::output::{Overwrite, write};
use seg_train::recipe::Recipe;

use super::common::say;
use super::train::recipes;
use super::{Common, Outcome, UsageError};

/// Arguments of `hrseg recipe`.
#[derive(Args, Debug)]
pub struct RecipeArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// MGD-SAM2's training configuration (YAML) as a recipe for `hrseg train`
    ///
    /// What the configuration says and the published code does not look at is named, and what has no place in a recipe, too. Exit code 1: it has keys that
    /// nobody knows; they are named, and the recipe is written without them.
    #[command(
        after_help = "Example:\n  hrseg recipe convert configs/mine.yaml -o mine.toml\n  hrseg train mine.toml --data my_pictures --dry-run"
    )]
    Convert {
        /// The YAML file
        file: PathBuf,
        /// The recipe to write; without it, it goes to stdout
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
}

/// Larger files are no configurations.
const MOST_BYTES: u64 = 1 << 20;

/// Runs the verb.
pub fn run(args: &RecipeArgs, common: &Common) -> anyhow::Result<Outcome> {
    let Action::Convert { file, output, force } = &args.action;
    let name = file.display();
    let usage = |problem: String| UsageError(format!("{name}: {problem}"));
    let size = std::fs::metadata(file).map_err(|error| usage(format!("cannot read it: {error}")))?.len();
    if size > MOST_BYTES {
        return Err(usage(format!("{size} bytes, expected a configuration of at most {MOST_BYTES}")).into());
    }
    let text = std::fs::read_to_string(file).map_err(|error| usage(format!("cannot read it: {error}")))?;
    let converted = mgd::converted(&text).map_err(usage)?;
    let recipe = recipes::read("mgd-sam2-dis", &converted.changes)
        .map_err(|error| usage(format!("makes no recipe: {error}")))?;
    let recipe = text_of(&recipe, &file.file_name().unwrap_or_default().to_string_lossy(), &converted)?;
    let told = |what: &[String], kind: &str| what.iter().for_each(|line| say(format_args!("{kind}: {line}")));
    told(&converted.notes, "note");
    let unknown: Vec<String> =
        converted.unknown.iter().map(|key| format!("{name}: {key}: nobody knows this key")).collect();
    told(&unknown, "warning");
    match output {
        Some(path) => {
            let overwrite = if *force { Overwrite::Replace } else { Overwrite::Refuse };
            write(path, recipe.as_bytes(), overwrite)
                .with_context(|| "the recipe is not written; --force replaces a file that is there")?;
        }
        None if common.json => {}
        None => std::io::stdout().lock().write_all(recipe.as_bytes())?,
    }
    if common.json {
        let outcome = serde_json::json!({
            "recipe": output.is_none().then_some(recipe), "output": output, "notes": converted.notes, "unknown": converted.unknown,
        });
        writeln!(std::io::stdout().lock(), "{outcome}")?;
    }
    Ok(if converted.unknown.is_empty() { Outcome::Done } else { Outcome::SomeFailed })
}

/// The recipe, with what was said about it as comments.
fn text_of(recipe: &Recipe, from: &str, converted: &mgd::Converted) -> anyhow::Result<String> {
    let from: String = from.chars().filter(|c| !c.is_control()).collect();
    let mut text = format!("# MGD-SAM2, made of {from} by `hrseg recipe convert`\n");
    let unknown = converted.unknown.iter().map(|key| format!("left out: {key}"));
    for line in converted.notes.iter().cloned().chain(unknown) {
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        text.push_str(&format!("# {line}\n"));
    }
    text.push('\n');
    text.push_str(&recipe.to_toml()?);
    Ok(text)
}
