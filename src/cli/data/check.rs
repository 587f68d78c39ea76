//! `hrseg data check`.

use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use seg_data::DataError;
use seg_data::output::{Overwrite, write_png};
use seg_data::training::folders::{self, Pairs, Reading, Report, SamePictures, Sheet};
use seg_data::training::{Examples, Place};
use serde_json::json;

use super::super::common::{refuse_to_replace, say};
use super::super::progress::Progress;
use super::{CheckArgs, Common, Outcome};
use crate::cli::UsageError;
use crate::cli::train::data::{made, procedural};

pub(super) fn run(args: &CheckArgs, common: &Common) -> anyhow::Result<Outcome> {
    check_output(args)?;
    if let Some(spec) = args.dir.to_str().and_then(procedural) {
        return drawn(args, made(spec, None)?.as_ref(), common);
    }
    let parts = parts(args).map_err(usage)?;
    let reading = Reading { limits: common.limits(), ..Reading::default() };
    let total = parts.iter().map(|pairs| pairs.pairs.len()).sum();
    let progress = Mutex::new(Progress::new(total, false).of("pairs"));
    let (mut reports, mut seen) = (Vec::new(), Vec::new());
    for (i, pairs) in parts.iter().enumerate() {
        let step = || progress.lock().unwrap_or_else(PoisonError::into_inner).step();
        let (report, more) = folders::check(pairs, i, &reading, step);
        reports.push(report);
        seen.extend(more);
    }
    drop(progress);
    let names: Vec<&str> = reports.iter().map(|report| report.split.as_str()).collect();
    let same = folders::same_pictures(&seen, &names);
    let sheet = match &args.out {
        None => None,
        Some(out) => Some((out, draw(args, &parts, &reports, &reading)?)),
    };
    if common.json {
        print(&serde_json::to_string_pretty(&as_json(&reports, &same, sheet.as_ref()))?)?;
    } else {
        let mut text = reports.iter().map(describe).collect::<Vec<_>>().join("\n\n");
        if let Some((out, sheet)) = &sheet {
            text += &format!("\n\n{}, row by row:", out.display());
            text.extend(sheet.rows.iter().map(|row| format!("\n  {}", row.join("   "))));
        }
        print(&text)?;
    }
    let mut wrong = false;
    for report in &reports {
        let split = &report.split;
        report.notes().iter().for_each(|note| say(format_args!("note: {split}: {note}")));
        for problem in report.problems() {
            say(format_args!("error: {split}: {problem}"));
            wrong = true;
        }
    }
    if let Some(line) = across(&same) {
        say(format_args!("error: {line}"));
        wrong = true;
    }
    Ok(if wrong { Outcome::SomeFailed } else { Outcome::Done })
}

/// What is made on the fly: the first pictures of it.
fn drawn(args: &CheckArgs, examples: &dyn Examples, common: &Common) -> anyhow::Result<Outcome> {
    if args.layout.is_some() || args.split.is_some() {
        return Err(UsageError("pictures that are made on the fly have no --layout and no --split".into()).into());
    }
    let mut progress = Progress::new(args.draw as usize, false).of("pictures");
    let mut made = Vec::new();
    for index in 0..u64::from(args.draw) {
        made.push(examples.example(Place { seed: 0, epoch: 0, index })?);
        progress.step();
    }
    drop(progress);
    let mut inside: Vec<f64> = made
        .iter()
        .map(|e| e.mask.as_raw().iter().filter(|v| **v > 127).count() as f64 / e.mask.as_raw().len().max(1) as f64)
        .collect();
    inside.sort_by(f64::total_cmp);
    let at = |part: f64| inside[((inside.len() - 1) as f64 * part) as usize];
    let inside = [0., 0.25, 0.5, 0.75, 1.].map(at);
    let coarse = made.iter().filter(|e| e.prompt.as_ref().is_some_and(|p| p.coarse.is_some())).count();
    let sheet = match &args.out {
        None => None,
        Some(out) => {
            let sheet = folders::sheet_of(&made)?;
            write_png(out, &sheet.image, if args.force { Overwrite::Replace } else { Overwrite::Refuse })?;
            Some((out, sheet))
        }
    };
    if common.json {
        let sheet = sheet.map(|(out, sheet)| json!({"file": out, "rows": sheet.rows}));
        let row = json!({"pictures": made.len(), "with_coarse_mask": coarse, "inside": inside, "sheet": sheet});
        print(&serde_json::to_string_pretty(&row)?)?;
        return Ok(Outcome::Done);
    }
    let [least, lower, median, upper, most] = inside.map(percent);
    let mut text = format!("made on the fly, without end; of the first {}:", made.len());
    text += &format!("\n  inside    least {least}, quartiles {lower}, {median}, {upper}, most {most}");
    text += &format!("\n  prompts   {coarse} with a coarse mask");
    text.extend(
        sheet.map(|(out, _)| format!("\n\n{}: each picture with its mask over it, and the mask", out.display())),
    );
    print(&text)?;
    Ok(Outcome::Done)
}

/// The parts that were asked for, with their pairs.
fn parts(args: &CheckArgs) -> seg_data::Result<Vec<Pairs>> {
    let layout = args.layout.as_deref().map(folders::named).transpose()?;
    let mut found = folders::find(&args.dir, layout.as_ref())?;
    if let Some(split) = &args.split {
        found = vec![folders::choose(&args.dir, found, Some(split))?];
    }
    found.into_iter().map(Pairs::of).collect()
}

/// What the caller can mend on the command line is wrong use.
fn usage(error: DataError) -> anyhow::Error {
    match error {
        DataError::InputNotFound { .. } | DataError::UnknownLayout { .. } | DataError::WhichSplit { .. } => {
            UsageError(error.to_string()).into()
        }
        _ => error.into(),
    }
}

/// Refuses to begin where the sheet could not be written.
fn check_output(args: &CheckArgs) -> Result<(), UsageError> {
    let Some(out) = &args.out else { return Ok(()) };
    if !out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png")) {
        return Err(UsageError(format!(
            "{}: a PNG is what is drawn, expected a name that ends in .png",
            out.display()
        )));
    }
    refuse_to_replace(out, args.force)?;
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => Err(UsageError(format!("{}: the folder {} does not exist", out.display(), folder.display()))),
        None => Ok(()),
    }
}

/// Draws all parts under each other, and writes them.
fn draw(args: &CheckArgs, parts: &[Pairs], reports: &[Report], reading: &Reading) -> anyhow::Result<Sheet> {
    let each = (args.draw as usize).div_ceil(parts.len().max(1));
    let mut sheets = Vec::new();
    for (pairs, report) in parts.iter().zip(reports) {
        sheets.push(folders::sheet(pairs, report, each, reading)?);
    }
    let sheet = Sheet::stack(sheets);
    let overwrite = if args.force { Overwrite::Replace } else { Overwrite::Refuse };
    if let Some(out) = &args.out {
        write_png(out, &sheet.image, overwrite)?;
    }
    Ok(sheet)
}

fn as_json(
    reports: &[Report],
    same: &[SamePictures],
    sheet: Option<&(&std::path::PathBuf, Sheet)>,
) -> serde_json::Value {
    let parts: Vec<_> = reports
        .iter()
        .map(|report| json!({"report": report, "problems": report.problems(), "notes": report.notes()}))
        .collect();
    let sheet = sheet.map(|(out, sheet)| json!({"file": Path::new(out), "rows": sheet.rows}));
    json!({"parts": parts, "same_pictures": same, "sheet": sheet})
}

/// Pictures that are in several parts, in a line.
fn across(same: &[SamePictures]) -> Option<String> {
    let first = same.iter().take(4).map(|group| {
        let at = group.at.iter().map(|(split, stem)| format!("{split}/{stem}"));
        at.collect::<Vec<_>>().join(" = ")
    });
    let first = first.collect::<Vec<_>>().join(", ");
    let more = if same.len() > 4 { format!(", {} more", same.len() - 4) } else { String::new() };
    match same.len() {
        0 => None,
        1 => Some(format!("1 picture is in several parts: {first}")),
        n => Some(format!("{n} pictures are in several parts: {first}{more}")),
    }
}

/// A part in words.
fn describe(report: &Report) -> String {
    let mut text = format!("{}\n  pictures  {}\n  masks     {}", report.split, report.images, report.masks);
    text += &format!("\n  pairs     {}, of which a training can use {}", report.pairs, report.usable);
    if let Some(sizes) = report.sizes {
        let [least, median, most] = sizes.map(|[w, h]| format!("{w}x{h}"));
        text += &format!("\n  sizes     smallest {least}, median {median}, largest {most}");
    }
    if let Some(inside) = report.inside {
        let [least, lower, median, upper, most] = inside.map(percent);
        text += &format!("\n  inside    least {least}, quartiles {lower}, {median}, {upper}, most {most}");
    }
    let all: u64 = report.levels.iter().sum();
    if all > 0 {
        let part = |range: std::ops::RangeInclusive<usize>| {
            let sum: u64 = report.levels[range].iter().sum();
            percent(sum as f64 / all as f64)
        };
        text += &format!(
            "\n  levels    0: {}, 1-63: {}, 64-127: {}, 128-191: {}, 192-254: {}, 255: {}",
            part(0..=0),
            part(1..=63),
            part(64..=127),
            part(128..=191),
            part(192..=254),
            part(255..=255)
        );
    }
    text
}

fn percent(part: f64) -> String {
    let percent = part * 100.;
    if percent > 0. && percent < 0.1 { "<0.1 %".to_owned() } else { format!("{percent:.1} %") }
}

fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}
