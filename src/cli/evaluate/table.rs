//! The results as tables: terminal, Markdown, LaTeX, CSV.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::report::{Report, hash};

/// A column of the table.
struct Column {
    /// Name of the result.
    name: &'static str,
    head: &'static str,
    latex: &'static str,
    digits: usize,
    up: bool,
}

const fn column(name: &'static str, head: &'static str, latex: &'static str, digits: usize, up: bool) -> Column {
    Column { name, head, latex, digits, up }
}

/// Headline results in the order in which papers on high-resolution segmentation print them.
const COLUMNS: [Column; 19] = [
    column("fmeasure.max", "maxF", r"$F_\beta^{mx}$", 4, true),
    column("fmeasure.mean", "meanF", r"$F_\beta^{m}$", 4, true),
    column("fmeasure.adp", "adpF", r"$F_\beta^{a}$", 4, true),
    column("wfm_beta1", "wF", r"$F_\beta^\omega$", 4, true),
    column("wfm_beta0.3", "wF(.3)", r"$F_{.3}^\omega$", 4, true),
    column("mae", "MAE", r"$M$", 4, false),
    column("smeasure.sm", "S", r"$S_\alpha$", 4, true),
    column("emeasure.mean", "meanE", r"$E_\phi^m$", 4, true),
    column("emeasure.max", "maxE", r"$E_\phi^{mx}$", 4, true),
    column("emeasure.adp", "adpE", r"$E_\phi^{a}$", 4, true),
    column("hce", "HCE", r"$HCE_\gamma$", 1, false),
    column("fmeasure_v2.iou.dynamic_mean", "mIoU", r"mIoU", 4, true),
    column("fmeasure_v2.dice.dynamic_mean", "mDice", r"mDice", 4, true),
    column("fmeasure_v2.ber.binary", "BER", r"BER", 4, false),
    column("mask_iou", "IoU", r"IoU", 4, true),
    column("boundary_iou", "BIoU", r"BIoU", 4, true),
    column("mba", "mBA", r"mBA", 4, true),
    column("msiou.binary", "MSIoU", r"MSIoU", 4, true),
    column("context_measure", "CM", r"CM", 4, true),
];

fn columns(reports: &[Report]) -> Vec<&'static Column> {
    let present = |c: &&Column| reports.iter().any(|r| r.aggregate.values.contains_key(c.name));
    COLUMNS.iter().filter(present).collect()
}

fn cell(report: &Report, column: &Column) -> String {
    match report.aggregate.values.get(column.name) {
        Some(value) if value.is_nan() => "NaN".to_owned(),
        Some(value) => format!("{value:.*}", column.digits),
        None => "-".to_owned(),
    }
}

/// For a terminal.
pub fn text(reports: &[Report]) -> String {
    let columns = columns(reports);
    let mut rows = vec![["model", "data set", "pairs"].map(str::to_owned).to_vec()];
    rows[0].extend(columns.iter().map(|c| c.head.to_owned()));
    for report in reports {
        let mut row = vec![report.model.clone(), report.dataset.clone(), report.all.len().to_string()];
        row.extend(columns.iter().map(|c| cell(report, c)));
        rows.push(row);
    }
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let padded: Vec<String> =
            cells.map(|(i, (text, &w))| if i < 2 { format!("{text:<w$}") } else { format!("{text:>w$}") }).collect();
        let _ = writeln!(out, "{}", padded.join("  ").trim_end());
    }
    out.push_str(&footer(reports));
    out
}

/// The protocol, and what keeps a number from being what it seems.
fn footer(reports: &[Report]) -> String {
    let mut out = String::new();
    let protocols: BTreeSet<_> = reports
        .iter()
        .map(|r| format!("{} ({})", r.all.protocol().name, hash(r.all.protocol(), r.all.metrics())))
        .collect();
    let _ = writeln!(out, "protocol {}", protocols.into_iter().collect::<Vec<_>>().join(", "));
    for report in reports {
        let name = format!("{} on {}", report.model, report.dataset);
        if let Some(shard) = &report.shard {
            let _ = writeln!(out, "{name}: part {shard} of the pairs");
        }
        for (metric, n) in &report.aggregate.undefined {
            let _ = writeln!(out, "{name}: {metric} is undefined for {n} of {} pairs", report.all.len());
        }
        for (what, stems) in [("predictions", &report.orphans.pred), ("ground truths", &report.orphans.gt)] {
            if !stems.is_empty() {
                let shown = stems.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
                let more = if stems.len() > 5 { ", ..." } else { "" };
                let _ = writeln!(out, "{name}: {} {what} without a partner: {shown}{more}", stems.len());
            }
        }
        if !report.failed.is_empty() {
            let _ = writeln!(out, "{name}: {} pairs failed", report.failed.len());
        }
    }
    out
}

/// Markdown.
pub fn markdown(reports: &[Report]) -> String {
    let columns = columns(reports);
    let arrow = |c: &Column| if c.up { "↑" } else { "↓" };
    let heads: Vec<String> = columns.iter().map(|c| format!("{} {}", c.head, arrow(c))).collect();
    let mut out = format!("| model | data set | pairs | {} |\n| --- | --- | ---:", heads.join(" | "));
    out.push_str(&" | ---:".repeat(columns.len()));
    out.push_str(" |\n");
    for report in reports {
        let cells: Vec<String> = columns.iter().map(|c| cell(report, c)).collect();
        let names = (report.model.replace('|', "\\|"), report.dataset.replace('|', "\\|"));
        let _ = writeln!(out, "| {} | {} | {} | {} |", names.0, names.1, report.all.len(), cells.join(" | "));
    }
    let _ = write!(out, "\n{}", footer(reports));
    out
}

/// A LaTeX tabular with the best value of each data set in bold; needs the package booktabs.
pub fn latex(reports: &[Report]) -> String {
    let columns = columns(reports);
    let escape = |text: &str| text.replace('\\', r"\textbackslash ").replace('_', r"\_").replace(['&', '%', '#'], " ");
    let arrow = |c: &Column| if c.up { r"$\uparrow$" } else { r"$\downarrow$" };
    let heads: Vec<String> = columns.iter().map(|c| format!("{} {}", c.latex, arrow(c))).collect();
    let mut out = footer(reports).lines().map(|line| format!("% {line}\n")).collect::<String>();
    let _ = writeln!(out, r"\begin{{tabular}}{{ll{}}}", "r".repeat(columns.len()));
    let _ = writeln!(out, "\\toprule\nmodel & data set & {} \\\\\n\\midrule", heads.join(" & "));
    for report in reports {
        let best = |c: &Column| {
            let rivals = reports.iter().filter(|r| r.dataset == report.dataset);
            let values: Vec<f64> = rivals.filter_map(|r| r.aggregate.values.get(c.name).copied()).collect();
            let own = report.aggregate.values.get(c.name).copied().unwrap_or(f64::NAN);
            values.len() > 1 && values.iter().all(|&v| if c.up { own >= v } else { own <= v })
        };
        let cells: Vec<String> = columns
            .iter()
            .map(|c| if best(c) { format!(r"\textbf{{{}}}", cell(report, c)) } else { cell(report, c) })
            .collect();
        let _ = writeln!(out, "{} & {} & {} \\\\", escape(&report.model), escape(&report.dataset), cells.join(" & "));
    }
    out.push_str("\\bottomrule\n\\end{tabular}\n");
    out
}

/// A row a pair and, with an empty stem, one for the data set.
pub fn csv(reports: &[Report], out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let mut names: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    for report in reports {
        for name in report.all.columns().iter().chain(report.aggregate.values.keys()).map(String::as_str) {
            if seen.insert(name) {
                names.push(name);
            }
        }
    }
    writeln!(out, "model,dataset,protocol,hash,stem,{}", names.join(","))?;
    for report in reports {
        let protocol = report.all.protocol();
        let head = format!(
            "{},{},{},{}",
            field(&report.model),
            field(&report.dataset),
            field(&protocol.name),
            hash(protocol, report.all.metrics())
        );
        for measured in report.all.pairs() {
            let measured = measured.map_err(std::io::Error::other)?;
            let numbers: std::collections::HashMap<&str, f64> = measured.numbers().collect();
            let cells: Vec<String> =
                names.iter().map(|n| numbers.get(n).map_or(String::new(), f64::to_string)).collect();
            writeln!(out, "{head},{},{}", field(measured.stem), cells.join(","))?;
        }
        let values = &report.aggregate.values;
        let cells: Vec<String> = names.iter().map(|n| values.get(*n).map_or(String::new(), f64::to_string)).collect();
        writeln!(out, "{head},,{}", cells.join(","))?;
    }
    Ok(())
}

/// A field of CSV, quoted where it must be.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
