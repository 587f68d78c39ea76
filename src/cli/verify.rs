//! `hrseg verify`: our numbers against the official ones.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::{Common, DtypeArg, Outcome, UsageError};
use crate::verify::{CaseReport, Status, run_dir};

/// Outputs of a failed case that are printed unless more is asked for with `-v`.
const FAILURES_SHOWN: usize = 5;

const EXAMPLES: &str = "Examples:
  hrseg verify tests/golden
  hrseg verify tests/golden --filter sam2_img
  hrseg verify my_case.json --json";

/// What `--help` says beyond `-h`.
const DETAILS: &str = "\
Each golden case holds what the original PyTorch code gave for weights and inputs that can be generated from their names, \
so nothing is downloaded. Every stored tensor must agree within 2e-4 of its standard deviation plus 1e-3 of the value, or \
within the tolerance that the case gives. A case may also name a checkpoint of your own, with outputs that you dumped from \
the original: docs/verify.md says how.

One line a case: PASS, FAIL or SKIP, the tensor with the largest error as a multiple of what is allowed, seconds. \
Exit code 1 if a case fails.";

/// Arguments of `hrseg verify`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{DETAILS}\n\n{EXAMPLES}"))]
pub struct VerifyArgs {
    /// A folder (all cases below it are run) or one case
    #[arg(value_name = "DIR|CASE.json")]
    path: PathBuf,

    /// Run only the cases whose name contains this
    #[arg(long, value_name = "SUBSTRING")]
    filter: Option<String>,
}

/// Runs the verb.
pub fn run(args: &VerifyArgs, common: &Common) -> anyhow::Result<Outcome> {
    if common.dtype != DtypeArg::F32 {
        return Err(UsageError(format!(
            "verify compares in f32, as the references were made; leave out --dtype {}",
            common.dtype.name()
        ))
        .into());
    }
    let device = common.device.open()?;
    let started = Instant::now();
    let reports = run_dir(&args.path, args.filter.as_deref(), &device).map_err(|e| UsageError(e.to_string()))?;
    let mut count = Count::default();
    let mut out = std::io::stdout();
    for report in reports {
        if common.json {
            // one array, an element at a time: nothing is lost when the run is broken off
            write!(out, "{}\n{}", if count.total() == 0 { "[" } else { "," }, serde_json::to_string(&report)?)?;
        } else {
            writeln!(out, "{}", text(&report, common.verbose > 0))?;
        }
        out.flush()?;
        count.add(report.status);
    }
    if common.json {
        writeln!(out, "{}\n]", if count.total() == 0 { "[" } else { "" })?;
    }
    if count.total() == 0 {
        let filter = args.filter.as_ref().map(|f| format!(" whose name contains \"{f}\"")).unwrap_or_default();
        return Err(UsageError(format!("{}: no cases{filter}", args.path.display())).into());
    }
    let Count { passed, failed, skipped } = count;
    let seconds = started.elapsed().as_secs_f64();
    super::common::say(format_args!("{passed} passed, {failed} failed, {skipped} skipped in {seconds:.1} s"));
    Ok(if failed == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Count {
    fn add(&mut self, status: Status) {
        match status {
            Status::Pass => self.passed += 1,
            Status::Fail => self.failed += 1,
            Status::Skip => self.skipped += 1,
        }
    }

    fn total(&self) -> usize {
        self.passed + self.failed + self.skipped
    }
}

/// The case's line, and below it what differs or was left out.
fn text(report: &CaseReport, all: bool) -> String {
    let mut lines = vec![report.line()];
    let shown = if all { report.failures.len() } else { FAILURES_SHOWN };
    lines.extend(report.failures.iter().take(shown).map(|failure| format!("       {}", failure.describe())));
    let more = report.failures.len().saturating_sub(shown);
    if more > 0 {
        lines.push(format!("       and {more} more; -v lists them"));
    }
    lines.extend(report.left_out.iter().map(|(name, reason)| format!("       {name}: not compared, {reason}")));
    lines.join("\n")
}
