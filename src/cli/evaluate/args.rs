//! What `hrseg evaluate` is told.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use seg_metrics::{Metric, PROTOCOLS, Protocol};

use crate::cli::shard::Shard;

const EXAMPLES: &str = "\
Examples:
  hrseg evaluate --pred masks --gt DIS-VD/gt
  hrseg evaluate --pred ours=runs/a --pred theirs=runs/b --gt DIS-VD/gt --metrics standard,hce --plots plots
  hrseg evaluate --pred runs/a --gt TE1=DIS-TE1/gt --gt TE2=DIS-TE2/gt     predictions in runs/a/TE1 and runs/a/TE2
  hrseg evaluate --pred masks --gt gt --protocol birefnet --json scores.json --csv scores.csv
  hrseg evaluate --pred masks --gt gt --shard 1/4 --json part1.json        and so on to 4/4, then
  hrseg evaluate merge part*.json --json scores.json
  hrseg evaluate --pred results --gt DAVIS/Annotations/480p --davis semi-supervised

A prediction and a ground truth belong together when their names without the ending are equal; <stem>.mask.png of
`hrseg segment` counts as <stem>. Files that have no partner are listed. With several --gt, each --pred has a folder of
the data set's name.

Exit code 1 when a pair could not be measured or a file has no partner; the others are measured all the same.";

/// Every metric of the field, for folders of masks or of video frames.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct EvaluateArgs {
    #[command(subcommand)]
    pub action: Option<Action>,

    /// Predictions: 8-bit masks or probabilities; several are several models
    #[arg(long, required = true, value_name = "[NAME=]DIR", value_parser = Named::from_str)]
    pub pred: Vec<Named>,

    /// Ground truths; several are several data sets
    #[arg(long, required = true, value_name = "[NAME=]DIR", value_parser = Named::from_str)]
    pub gt: Vec<Named>,

    /// Whose definitions: default (clean), pysodmetrics, dis, birefnet, mgd-sam2, saliency_toolbox, mvanet
    #[arg(long, default_value = "default", value_name = "NAME", value_parser = parse_protocol)]
    pub protocol: Protocol,

    /// What to measure: `standard` (MAE, S, E, F, weighted F), `all`, or names: mae, mse, smeasure, emeasure, fmeasure, wfm,
    /// fmeasure_v2, auc, threshold125, smoothed, hce, boundary_iou, mask_iou, biou, mba, msiou, context_measure,
    /// size_invariance
    #[arg(long, default_value = "all", value_name = "LIST", value_parser = MetricList::from_str)]
    pub metrics: MetricList,

    /// Part i of n of the pairs, counted from 1: for `hrseg evaluate merge`
    #[arg(long, value_name = "I/N", value_parser = Shard::from_str)]
    pub shard: Option<Shard>,

    /// Video: a folder a film, in it a PNG a frame in which a pixel's number is its object (of a palette the index, 0 is no object);
    /// scored by the rules of
    #[arg(long, value_enum, value_name = "TASK", conflicts_with_all = ["protocol", "metrics", "shard", "csv", "markdown", "latex", "plots", "curves"])]
    pub davis: Option<VideoTask>,

    #[command(flatten)]
    pub output: OutputArgs,
}

/// Where results go.
#[derive(Args, Clone, Debug)]
pub struct OutputArgs {
    /// Everything as JSON to FILE; `-` is stdout
    #[arg(long, value_name = "FILE", id = "json")]
    pub json: Option<PathBuf>,

    /// A row a pair, and one for the mean, to FILE (not with --davis; nor are --markdown, --latex, --plots, --shard)
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// The table in Markdown to FILE
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,

    /// The table in LaTeX to FILE
    #[arg(long, value_name = "FILE")]
    pub latex: Option<PathBuf>,

    /// Precision-recall, F and E curves (SVG) and the worst cases (PNG, SVG; not by merge, which sees no images) to DIR
    #[arg(long, value_name = "DIR")]
    pub plots: Option<PathBuf>,

    /// Pairs on the sheet of worst cases, by mean absolute error
    #[arg(long, default_value_t = 12, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=400))]
    pub worst: u16,

    /// Curves of every pair in the JSON
    #[arg(long)]
    pub curves: bool,

    /// Write over files that are there already
    #[arg(long)]
    pub force: bool,
}

/// What else `hrseg evaluate` does.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Join the JSON files of shards
    Merge(MergeArgs),
}

/// Arguments of `hrseg evaluate merge`.
#[derive(Args, Clone, Debug)]
pub struct MergeArgs {
    /// JSON files of `--shard`, all of one evaluation
    #[arg(required = true, value_name = "FILE")]
    pub parts: Vec<PathBuf>,

    #[command(flatten)]
    pub output: OutputArgs,
}

/// The rules of a video evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VideoTask {
    /// DAVIS 2017 for models that were given the objects of the first frame, which have the same numbers in the prediction: all
    /// frames but the first and the last count.
    SemiSupervised,
    /// DAVIS 2017 for models that found the objects themselves: their numbers are matched to the true ones, all frames count, and
    /// pixels of 255 in the ground truth do not.
    Unsupervised,
    /// The benchmark of SAM 2 (SA-V): as semi-supervised, but an object counts from the frame on in which it appears. A film may
    /// also have a folder an object, in it a mask a frame.
    SaV,
}

/// A folder with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub folder: PathBuf,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((name, folder)) = text.split_once('=')
            && !name.is_empty()
            && !folder.is_empty()
            && !Path::new(text).exists()
        {
            return Ok(Self { name: name.to_owned(), folder: folder.into() });
        }
        let folder = PathBuf::from(text);
        // a link has a name of its own; `.` and `..` have none
        let full = match folder.file_name() {
            Some(_) => folder.clone(),
            None => folder.canonicalize().unwrap_or_else(|_| folder.clone()),
        };
        let name = full.file_name().map_or_else(|| text.to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Self { name, folder })
    }
}

/// A selection of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricList(pub Vec<Metric>);

impl FromStr for MetricList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Vec::new();
        for name in text.split(',').map(str::trim) {
            match name {
                "all" => all.extend(Metric::ALL),
                "standard" => all.extend(Metric::STANDARD),
                _ => all.push(Metric::named(name).ok_or_else(|| {
                    let known: Vec<&str> = Metric::ALL.iter().map(|m| m.name()).collect();
                    format!("no metric {name:?}, expected standard, all, or of {}", known.join(", "))
                })?),
            }
        }
        Ok(Self(all))
    }
}

fn parse_protocol(name: &str) -> Result<Protocol, String> {
    Protocol::named(name).ok_or_else(|| format!("expected one of {}", PROTOCOLS.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_names() {
        assert_eq!("mae, hce".parse::<MetricList>().unwrap().0, [Metric::Mae, Metric::Hce]);
        assert_eq!("standard".parse::<MetricList>().unwrap().0.len(), 5);
        assert!("mea".parse::<MetricList>().unwrap_err().contains("boundary_iou"));
        let named: Named = "ours=some/where".parse().unwrap();
        assert_eq!((named.name.as_str(), named.folder.as_path()), ("ours", Path::new("some/where")));
        assert_eq!("some/where".parse::<Named>().unwrap().name, "where");
        assert_eq!("some/where/".parse::<Named>().unwrap().name, "where");
        assert!(!".".parse::<Named>().unwrap().name.contains('.'));
    }
}
