//! `hrseg evaluate`: predictions against ground truths.

mod args;
mod measure;
mod pairs;
mod plots;
mod reading;
mod report;
mod sequences;
mod sheet;
mod table;
mod video;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use seg_data::DecodeLimits;
use seg_data::output::{Overwrite, write_with};
use seg_metrics::{Accumulator, Evaluator};

pub use args::EvaluateArgs;
use args::{Action, MergeArgs, Named, OutputArgs};
use pairs::Pairs;
use reading::Found;
use report::{Orphans, Part, Parts, Report};

use super::common::say;
use super::progress::Progress;
use super::{Common, Outcome, UsageError};

/// Runs the verb.
pub fn run(args: &EvaluateArgs, common: &Common) -> anyhow::Result<Outcome> {
    if let Some(Action::Merge(merge)) = &args.action {
        return join(merge, &common.limits());
    }
    check_outputs(&args.output)?;
    if let Some(task) = args.davis {
        return video::run(args, task, &common.limits());
    }
    let runs = runs(args)?;
    let evaluator = Evaluator::new(args.protocol.clone(), &args.metrics.0);
    if evaluator.metrics().is_empty() {
        let known: Vec<&str> = args.protocol.metrics.iter().map(|m| m.name()).collect();
        let message = format!("protocol {} has none of these metrics, it has {}", args.protocol.name, known.join(", "));
        return Err(UsageError(message).into());
    }
    let mut progress = Progress::new(runs.iter().map(|run| run.found.len()).sum(), false);
    let limits = common.limits();
    let mut reports = Vec::new();
    for run in &runs {
        let mut all = Accumulator::new(args.protocol.clone(), evaluator.metrics().to_vec(), args.output.curves);
        let mut found = Found::default();
        let failed = measure::measure(&run.found, &evaluator, &limits, &mut all, &mut found, &mut progress)?;
        reports.push(Report {
            model: run.model.to_owned(),
            dataset: run.dataset.to_owned(),
            aggregate: all.aggregate()?,
            all,
            failed: failed.into_iter().collect(),
            orphans: Orphans { pred: run.found.lone_preds.clone(), gt: run.found.lone_gts.clone() },
            found,
            shard: args.shard.map(|shard| shard.to_string()),
            curves: args.output.curves,
        });
    }
    drop(progress);
    let pairs: Vec<&Pairs> = runs.iter().map(|run| &run.found).collect();
    write_reports(&reports, &pairs, &args.output, &limits)
}

/// A model and a data set.
struct Run<'a> {
    model: &'a str,
    dataset: &'a str,
    found: Pairs,
}

/// Every model on every data set, with its pairs.
fn runs(args: &EvaluateArgs) -> anyhow::Result<Vec<Run<'_>>> {
    for list in [&args.pred, &args.gt] {
        if let Some(twice) = list.iter().enumerate().find(|(i, named)| list[..*i].iter().any(|o| o.name == named.name))
        {
            let name = &twice.1.name;
            return Err(UsageError(format!("two folders are called {name:?}: give them names, NAME=DIR")).into());
        }
    }
    let mut runs = Vec::new();
    for gt in &args.gt {
        for pred in &args.pred {
            let folder = predictions(pred, gt, args.gt.len());
            let mut found = Pairs::of(&folder, &gt.folder).map_err(|e| UsageError(e.to_string()))?;
            for note in found.notes.iter().filter(|_| args.shard.is_none_or(|shard| shard.index == 1)) {
                say(format_args!("note: {note}"));
            }
            if let Some(shard) = args.shard {
                found.retain(|i| shard.has(i));
                if shard.index > 1 {
                    // the first part tells them
                    (found.lone_preds, found.lone_gts) = (Vec::new(), Vec::new());
                }
            }
            runs.push(Run { model: &pred.name, dataset: &gt.name, found });
        }
    }
    Ok(runs)
}

fn predictions(pred: &Named, gt: &Named, datasets: usize) -> std::path::PathBuf {
    if datasets > 1 { pred.folder.join(&gt.name) } else { pred.folder.clone() }
}

/// Joins the files of shards.
fn join(args: &MergeArgs, limits: &DecodeLimits) -> anyhow::Result<Outcome> {
    check_outputs(&args.output)?;
    let mut joined: BTreeMap<(String, String), Part> = BTreeMap::new();
    let mut shards: BTreeMap<String, usize> = BTreeMap::new();
    for path in &args.parts {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let parts = Parts::read(&text).map_err(|found| {
            anyhow::anyhow!("{}: {found}, expected a file of `hrseg evaluate --shard I/N --json`", path.display())
        })?;
        let parts = match parts {
            Parts::Several { runs } => runs,
            Parts::One(part) => vec![*part],
        };
        for part in parts {
            *shards.entry(part.shard.clone()).or_default() += 1;
            let key = (part.dataset.clone(), part.model.clone());
            match joined.get_mut(&key) {
                None => {
                    joined.insert(key, part);
                }
                Some(whole) => {
                    whole.state.merge(part.state).with_context(|| path.display().to_string())?;
                    whole.failed.extend(part.failed);
                    whole.orphans.pred.extend(part.orphans.pred);
                    whole.orphans.gt.extend(part.orphans.gt);
                    whole.found.merge(part.found);
                }
            }
        }
    }
    check_complete(&shards)?;
    let reports: Vec<Report> = joined
        .into_values()
        .map(|part| {
            Ok(Report {
                model: part.model,
                dataset: part.dataset,
                aggregate: part.state.aggregate()?,
                all: part.state,
                failed: part.failed,
                orphans: part.orphans,
                found: part.found,
                shard: None,
                curves: args.output.curves,
            })
        })
        .collect::<seg_metrics::Result<_>>()?;
    write_reports(&reports, &[], &args.output, limits)
}

/// Refuses a set of shards that is not whole.
fn check_complete(shards: &BTreeMap<String, usize>) -> Result<(), UsageError> {
    let counts: std::collections::BTreeSet<&str> =
        shards.keys().filter_map(|shard| shard.split_once('/')).map(|(_, count)| count).collect();
    let [count] = counts.into_iter().collect::<Vec<_>>()[..] else {
        return Err(UsageError("the parts are of different divisions, such as 1/2 and 1/3".into()));
    };
    let count: usize = count.parse().unwrap_or(0);
    let missing: Vec<String> =
        (1..=count).map(|i| format!("{i}/{count}")).filter(|shard| !shards.contains_key(shard)).collect();
    if missing.is_empty() { Ok(()) } else { Err(UsageError(format!("parts are missing: {}", missing.join(", ")))) }
}

/// Refuses to begin where a result could not be written.
fn check_outputs(output: &OutputArgs) -> Result<(), UsageError> {
    for (name, file) in [("csv", &output.csv), ("markdown", &output.markdown), ("latex", &output.latex)] {
        if file.as_deref().is_some_and(is_stdout) {
            return Err(UsageError(format!("--{name} -: expected a file; --json alone goes to stdout")));
        }
    }
    let files = [&output.json, &output.csv, &output.markdown, &output.latex];
    for file in files.into_iter().flatten().filter(|file| !is_stdout(file)) {
        if file.exists() && !output.force {
            return Err(UsageError(format!("{} is there already; --force writes over it", file.display())));
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(UsageError(format!("{}: the folder {} does not exist", file.display(), folder.display())));
        }
    }
    let full = |folder: &Path| folder.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if let Some(folder) = output.plots.as_ref().filter(|folder| full(folder) && !output.force) {
        return Err(UsageError(format!("{} is not empty; --force writes over what is there", folder.display())));
    }
    Ok(())
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn overwrite(output: &OutputArgs) -> Overwrite {
    if output.force { Overwrite::Replace } else { Overwrite::Refuse }
}

fn write_reports(
    reports: &[Report],
    pairs: &[&Pairs],
    output: &OutputArgs,
    limits: &DecodeLimits,
) -> anyhow::Result<Outcome> {
    let file = |path: &Option<std::path::PathBuf>, fill: &dyn Fn(&mut dyn Write) -> std::io::Result<()>| {
        path.as_ref().map_or(Ok(()), |path| write_with(path, overwrite(output), |w| fill(w)))
    };
    file(&output.csv, &|w| table::csv(reports, w))?;
    file(&output.markdown, &|w| w.write_all(table::markdown(reports).as_bytes()))?;
    file(&output.latex, &|w| w.write_all(table::latex(reports).as_bytes()))?;
    if let Some(folder) = &output.plots {
        let mut written = plots::write_curves(reports, folder, overwrite(output))?;
        for (report, pairs) in reports.iter().zip(pairs) {
            written.extend(sheet::write_sheet(report, pairs, limits, output.worst.into(), folder, overwrite(output))?);
        }
        say(format_args!("{}: {}", folder.display(), written.join(", ")));
    }
    for report in reports {
        let level = if report.found.nothing_inside() { "error" } else { "note" };
        report.found.notes().iter().for_each(|note| say(format_args!("{level}: {}: {note}", report.dataset)));
    }
    write_results(output, &table::text(reports), |w| report::write_json(reports, w))?;
    Ok(if reports.iter().all(Report::complete) { Outcome::Done } else { Outcome::SomeFailed })
}

/// Writes the JSON to its file, and the table to stdout unless the JSON goes there.
fn write_results(
    output: &OutputArgs,
    text: &str,
    json: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    match &output.json {
        Some(path) if is_stdout(path) => {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            json(&mut out)?;
            out.flush()?;
            return Ok(());
        }
        Some(path) => write_with(path, overwrite(output), json)?,
        None => {}
    }
    writeln!(std::io::stdout().lock(), "{}", text.trim_end())?;
    Ok(())
}
