//! `hrseg data`: what a training would see of a data set, and pictures that are made.

mod check;
mod make;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Common, Outcome};

/// Arguments of `hrseg data`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  hrseg data check my-photos -o sheet.png
  hrseg data check DIS5K --layout dis5k --split DIS-TR
  hrseg data make procedural -o made --count 100")]
pub struct DataArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read every picture and mask, and say what a training would see and what is wrong
    Check(CheckArgs),
    /// Write the pictures, masks and prompts that a training on `procedural` would see into a folder
    Make(MakeArgs),
}

/// Arguments of `hrseg data check`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  hrseg data check my-photos -o sheet.png
  hrseg data check DIS5K --layout dis5k --split DIS-TR
  hrseg data check my-photos --json > check.json
  hrseg data check procedural:spec.toml -o sheet.png         the first pictures that would be made

Without --layout: folders side by side such as im and gt, images and masks, or any two whose files have the same
stems; parts such as train and test in folders of their own; or pictures and masks in one folder (a.jpg with a.png,
or a.jpg with a_mask.png).

Exit codes: 0 all is well, 1 something is wrong (a line each on stderr), 2 wrong use.")]
pub struct CheckArgs {
    /// The data set, or one part of it; or `procedural` with or without `:SPEC.toml`, to see what is made on the fly
    #[arg(value_name = "DIR|procedural[:SPEC.toml]")]
    dir: PathBuf,
    /// Where the folders are, by the name of a public data set: dis5k, dis-sam, hrsod, uhrsd, davis-s, duts, hku-is, cod10k, camo,
    /// nc4k, mas3k, rmas, eorssd, orssd
    #[arg(long, value_name = "NAME")]
    layout: Option<String>,
    /// Only this part, such as train or DIS-TR; otherwise all that are there
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Draw pairs into this PNG: each picture with its mask over it, and the mask; a red frame where something is wrong
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Most pairs to draw; of pictures that are made on the fly so many are looked at
    #[arg(long, default_value_t = 24, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=600))]
    draw: u32,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

/// Arguments of `hrseg data make`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  hrseg data make procedural -o made --count 100
  hrseg data make procedural:scenes.toml -o held --seed 7

Writes im/0000.png … and gt/0000.png …, where the specification asks for prompts coarse/0000.png … and prompts.json (for
each picture a box, left, top, right, bottom, and clicks, x, y and 1 on the object or 0 off it): a folder that
`hrseg train --data` takes, and that other programs can be measured on.")]
pub struct MakeArgs {
    /// `procedural`, or `procedural:SPEC.toml`
    #[arg(value_name = "procedural[:SPEC.toml]")]
    data: String,
    /// Folder for the results, made if it is not there
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// How many pictures
    #[arg(long, default_value_t = 24, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Others for another seed
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Write over files that are there already
    #[arg(long)]
    force: bool,
}

/// Runs `hrseg data`.
pub fn run(args: &DataArgs, common: &Common) -> anyhow::Result<Outcome> {
    match &args.action {
        Action::Check(args) => check::run(args, common),
        Action::Make(args) => make::run(args),
    }
}
