//! `hrseg data make`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use seg_data::output::{Overwrite, write, write_png};
use seg_data::training::{Example, Place};
use serde_json::{Map, Value, json};

use super::super::common::say;
use super::super::progress::Progress;
use super::{MakeArgs, Outcome};
use crate::cli::UsageError;
use crate::cli::train::data::{made, procedural};

/// Writes the first pictures that a specification makes.
pub(super) fn run(args: &MakeArgs) -> anyhow::Result<Outcome> {
    let Some(spec) = procedural(&args.data) else {
        let problem = format!("{}: expected procedural or procedural:SPEC.toml", args.data);
        return Err(UsageError(problem).into());
    };
    let examples = made(spec, None)?;
    let overwrite = if args.force { Overwrite::Replace } else { Overwrite::Refuse };
    let file = |folder: &str, name: String| -> anyhow::Result<PathBuf> {
        let folder = args.output.join(folder);
        std::fs::create_dir_all(&folder).with_context(|| format!("{}: cannot make the folder", folder.display()))?;
        Ok(folder.join(name))
    };
    let (mut prompts, mut progress) = (Map::new(), Progress::new(args.count as usize, false).of("pictures"));
    for index in 0..u64::from(args.count) {
        let Example { image, mask, prompt, .. } = examples.example(Place { seed: args.seed, epoch: 0, index })?;
        let name = format!("{index:04}.png");
        write_png(file("im", name.clone())?, &image, overwrite)?;
        write_png(file("gt", name.clone())?, &mask, overwrite)?;
        if let Some(prompt) = prompt {
            if let Some(coarse) = &prompt.coarse {
                write_png(file("coarse", name.clone())?, coarse, overwrite)?;
            }
            let clicks: Vec<Value> = prompt.clicks.iter().map(|(x, y, on)| json!([x, y, u8::from(*on)])).collect();
            prompts.insert(name, json!({"box": prompt.bounds, "clicks": clicks}));
        }
        progress.step();
    }
    drop(progress);
    if !prompts.is_empty() {
        let text = serde_json::to_vec_pretty(&Value::Object(prompts))?;
        write(args.output.join("prompts.json"), &text, overwrite)?;
    }
    say(format_args!("{}: {}", args.output.display(), contents(&args.output, args.count)));
    Ok(Outcome::Done)
}

/// What is in the folder now.
fn contents(folder: &Path, count: u32) -> String {
    let more = |name: &str| if folder.join(name).exists() { format!(", {name}") } else { String::new() };
    format!("{count} pictures in im, their masks in gt{}{}", more("coarse"), more("prompts.json"))
}
