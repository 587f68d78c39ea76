//! Curves as SVG: a file a data set and kind, a line a model.

use std::fmt::Write as _;
use std::path::Path;

use seg_data::output::{Overwrite, create_folder, write};
use seg_metrics::protocol::Thresholds;

use super::report::Report;

const WIDTH: f64 = 640.;
const HEIGHT: f64 = 480.;
/// Space for the axes and their labels: left, top, right, bottom.
const MARGIN: [f64; 4] = [56., 28., 16., 44.];
/// Colours that stay apart for the colour-blind (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"];

/// A line of a figure.
struct Line<'a> {
    name: &'a str,
    points: Vec<(f64, f64)>,
}

/// Writes the precision-recall, F and E curves of all reports; returns what was written.
pub fn write_curves(reports: &[Report], folder: &Path, overwrite: Overwrite) -> seg_data::Result<Vec<String>> {
    create_folder(folder)?;
    let mut datasets: Vec<&str> = reports.iter().map(|r| r.dataset.as_str()).collect();
    datasets.dedup();
    let mut written = Vec::new();
    for dataset in datasets {
        let of: Vec<&Report> = reports.iter().filter(|r| r.dataset == dataset).collect();
        let figures = [
            (
                "pr",
                "Recall",
                "Precision",
                1.,
                lines(&of, |r| zip(curve(r, "fmeasure.recall")?, curve(r, "fmeasure.precision")?)),
            ),
            ("f", "Threshold", "F-measure", 255., lines(&of, |r| over_thresholds(r, curve(r, "fmeasure.curve")?))),
            ("e", "Threshold", "E-measure", 255., lines(&of, |r| over_levels(curve(r, "emeasure.curve")?))),
        ];
        for (kind, x, y, extent, lines) in figures {
            if lines.is_empty() {
                continue;
            }
            let name = format!("{}.{kind}.svg", file_name(dataset));
            let protocol = &of[0].all.protocol().name;
            let figure = figure(&format!("{dataset} (protocol {protocol})"), (x, y), extent, &lines);
            write(folder.join(&name), figure.as_bytes(), overwrite)?;
            written.push(name);
        }
    }
    Ok(written)
}

fn curve<'a>(report: &'a Report, name: &str) -> Option<&'a [f64]> {
    report.aggregate.curves.get(name).map(Vec::as_slice)
}

fn lines<'a>(reports: &[&'a Report], points: impl Fn(&Report) -> Option<Vec<(f64, f64)>>) -> Vec<Line<'a>> {
    reports.iter().filter_map(|r| Some(Line { name: &r.model, points: points(r)? })).collect()
}

fn zip(x: &[f64], y: &[f64]) -> Option<Vec<(f64, f64)>> {
    Some(x.iter().copied().zip(y.iter().copied()).collect())
}

/// The strictest threshold of these curves comes first.
fn over_levels(curve: &[f64]) -> Option<Vec<(f64, f64)>> {
    Some(curve.iter().enumerate().map(|(i, &v)| ((curve.len() - 1 - i) as f64, v)).collect())
}

fn over_thresholds(report: &Report, curve: &[f64]) -> Option<Vec<(f64, f64)>> {
    match report.all.protocol().fmeasure.thresholds {
        Thresholds::Fractions256 => Some(curve.iter().enumerate().map(|(i, &v)| (i as f64, v)).collect()),
        _ => over_levels(curve),
    }
}

/// A name as part of a file's name.
pub fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || "-_.+".contains(c) { c } else { '_' }).collect()
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A figure with x from 0 to `extent` and y from 0 to 1.
fn figure(title: &str, (x_name, y_name): (&str, &str), extent: f64, lines: &[Line<'_>]) -> String {
    let [left, top, right, bottom] = MARGIN;
    let (w, h) = (WIDTH - left - right, HEIGHT - top - bottom);
    let (px, py) = (|x: f64| left + x / extent * w, |y: f64| top + (1. - y.clamp(0., 1.)) * h);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    let _ = writeln!(out, "<text x=\"{left}\" y=\"18\" font-weight=\"bold\">{}</text>", escape(title));
    for i in 0..=5 {
        let share = f64::from(i) / 5.;
        let (x, y) = (px(share * extent), py(share));
        let _ =
            writeln!(out, "<path d=\"M{left} {y:.1}H{:.1}M{x:.1} {top}V{:.1}\" stroke=\"#ddd\"/>", left + w, top + h);
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{share:.1}</text>", left - 6., y + 4.);
        let value = share * extent;
        let digits = usize::from(extent <= 1.);
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value:.digits$}</text>",
            top + h + 16.
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x_name}</text>",
        left + w / 2.,
        HEIGHT - 8.
    );
    let middle = top + h / 2.;
    let _ = writeln!(
        out,
        "<text x=\"14\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {middle:.1})\">{y_name}</text>"
    );
    for (i, line) in lines.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        // a further round of the same colours is dashed
        let dash = if i >= COLOURS.len() { " stroke-dasharray=\"6 3\"" } else { "" };
        let points: Vec<String> = line
            .points
            .iter()
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .map(|&(x, y)| format!("{:.2},{:.2}", px(x), py(y)))
            .collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>",
            points.join(" ")
        );
        let y = top + h - 10. - 18. * (lines.len() - 1 - i) as f64;
        let _ = writeln!(
            out,
            "<path d=\"M{:.1} {:.1}h22\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/><text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            left + 10.,
            y - 4.,
            left + 38.,
            escape(line.name)
        );
    }
    out.push_str("</svg>\n");
    out
}
