//! The `hrseg` command: one verb a job.

mod bench;
mod common;
mod data;
mod evaluate;
mod mgd;
mod photo;
mod progress;
mod recipe;
mod segment;
#[cfg(feature = "serve")]
mod serve;
mod shard;
mod trace;
mod track;
mod train;
mod verify;
mod weights;

use std::process::ExitCode;

use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::memory;

pub use common::{Common, DeviceArg, DtypeArg};

/// How a verb ended when it did not break off with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done: exit code 0.
    Done,
    /// Some inputs failed, the others are done: exit code 1.
    SomeFailed,
}

/// An error in how the command was called, found after the arguments were parsed: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// An error that another process of the same job tells: exit code 1, and no message.
#[derive(Debug, thiserror::Error)]
#[error("told by another process")]
pub struct ToldElsewhere;

/// Cut out any object, down to the wires and hairs: from a click, a box or a coarse mask.
#[derive(Debug, Parser)]
#[command(
    name = "hrseg",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  hrseg segment photo.jpg --point 500,375\n  hrseg weights list\n\n\
                  Results go to stdout, messages to stderr.\n\
                  Exit codes: 0 all done, 1 something failed (the rest is done), 2 wrong use."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Masks, cut-outs, overlays and RLE of images
    Segment(Box<segment::SegmentArgs>),
    /// Masks of objects through a video
    Track(Box<track::TrackArgs>),
    /// A page and an API on your own machine: cut anything out by clicking
    #[cfg(feature = "serve")]
    Serve(Box<serve::ServeArgs>),
    /// Every metric of the field, for folders of masks or of video frames
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Train a system on your own pictures, or on made-up ones
    Train(Box<train::TrainArgs>),
    /// Recipes for `train`, made of other programs' configurations
    Recipe(recipe::RecipeArgs),
    /// What a training would see of a data set, and what is wrong with it
    Data(data::DataArgs),
    /// List, fetch, inspect and convert checkpoints
    Weights(weights::WeightsArgs),
    /// Compare the models with the official outputs
    Verify(verify::VerifyArgs),
    /// Time a model on this machine
    Bench(bench::BenchArgs),
}

impl Cli {
    fn run(&self) -> anyhow::Result<Outcome> {
        let trace = self.common.apply()?;
        let outcome = match &self.verb {
            Verb::Segment(args) => segment::run(args, &self.common),
            Verb::Track(args) => track::run(args, &self.common),
            #[cfg(feature = "serve")]
            Verb::Serve(args) => serve::run(args, &self.common),
            Verb::Evaluate(args) => evaluate::run(args, &self.common),
            Verb::Train(args) => train::run(args, &self.common),
            Verb::Recipe(args) => recipe::run(args, &self.common),
            Verb::Data(args) => data::run(args, &self.common),
            Verb::Weights(args) => weights::run(args, &self.common),
            Verb::Verify(args) => verify::run(args, &self.common),
            Verb::Bench(args) => bench::run(args, &self.common, trace.as_ref()),
        }?;
        if let (Some(trace), Some(path)) = (&trace, &self.common.trace) {
            trace.write(path)?;
            let runs = match &self.verb {
                Verb::Bench(args) => args.runs as usize,
                _ => 1,
            };
            let table = trace.table(runs, 30);
            common::say(format_args!("\n{table}\n{} has every layer: open it in Perfetto", path.display()));
        }
        Ok(outcome)
    }
}

/// `--json` of every verb but `evaluate`, where it takes a file.
fn json_flag() -> Arg {
    let flag = Arg::new("json").long("json").action(ArgAction::SetTrue).global(true);
    flag.help("Results as JSON on stdout").help_heading("Common options")
}

/// Runs the command with the process's arguments.
pub fn main() -> ExitCode {
    // `--help` of a verb would otherwise list the common options first
    let matches = Cli::command()
        .mut_subcommands(|verb| {
            let verb = verb.next_help_heading("Options");
            if verb.get_name() == "evaluate" { verb } else { verb.arg(json_flag()) }
        })
        .get_matches();
    let mut cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let verb = matches.subcommand().map(|(_, verb)| verb);
    cli.common.json = verb.and_then(|verb| verb.try_get_one("json").ok().flatten().copied()).unwrap_or(false);
    let result = cli.run();
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::SomeFailed) => ExitCode::from(1),
        Err(error) if broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<ToldElsewhere>() => ExitCode::from(1),
        Err(error) => {
            common::say(format_args!("error: {}", common::in_one_line(&error)));
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

/// Whether the reader of our output went away (`hrseg … | head`), which is no failure.
fn broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe))
}
