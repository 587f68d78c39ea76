//! `hrseg bench`: how long a model takes on this machine.

use std::io::Write as _;
use std::str::FromStr;
use std::time::Instant;

use anyhow::Context as _;
use candle_core::Device;
use clap::Args;
use seg_data::{GrayImage, RgbImage};
use seg_models::Prompts;
use seg_models::registry::{LoadOptions, ModelKind, ModelName, Segmenter};
use serde::Serialize;

use super::memory::{peak_rss_bytes, rss_bytes};
use super::mgd::MgdArgs;
use super::trace::Trace;
use super::{Common, Outcome, UsageError};

const EXAMPLES: &str = "\
Examples:
  hrseg bench --model sam2-tiny --size 1024 --threads 2 --json
  hrseg bench --train is-net --set data.batch=1 --runs 3

A run encodes one image of --size x --size pixels and decodes one click in it (Pi-SAM: a box), pre- and post-processing
included; the first, warming run is not counted. Models without prompts have no decoding; of two-stage models the second
stage is timed, on a given mask. Times are in seconds, memory in bytes.
Without --weights the parameters are made up: the time does not depend on their values.

Of a training, steps of the optimiser are timed, on made-up pictures of the network's size; the first one, which is slower, is not counted.";

/// Time a model on this machine: encoding an image, decoding a click, and the most memory it took.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// Model; `hrseg weights list` shows all names
    #[arg(long, value_name = "NAME", value_parser = ModelName::from_str, required_unless_present = "train")]
    pub model: Option<ModelName>,

    /// A recipe in place of a model: how long a step of its training takes
    #[arg(long, value_name = "RECIPE", conflicts_with_all = ["model", "size", "weights"])]
    pub train: Option<String>,

    /// Change a value of the recipe: data.batch=1
    #[arg(long, value_name = "KEY=VALUE", requires = "train")]
    pub set: Vec<String>,

    /// Side of the square network input, in pixels: a multiple of 32; by default that of the model's checkpoints
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(64..=4096))]
    pub size: Option<u32>,

    /// Counted runs
    #[arg(long, default_value_t = 5, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,

    /// A checkpoint, in place of made-up parameters (not with another --size)
    #[arg(long, value_name = "FILE")]
    pub weights: Option<std::path::PathBuf>,

    #[command(flatten)]
    pub mgd: MgdArgs,
}

#[derive(Serialize)]
struct Report {
    model: String,
    size: u32,
    threads: usize,
    dtype: &'static str,
    device: String,
    /// Encoding and decoding together.
    median_s: f64,
    encode_median_s: f64,
    decode_median_s: f64,
    runs_s: Vec<f64>,
    /// With the model loaded and nothing computed yet.
    loaded_rss_bytes: Option<u64>,
    peak_rss_bytes: Option<u64>,
}

/// Runs the verb.
pub fn run(args: &BenchArgs, common: &Common, trace: Option<&Trace>) -> anyhow::Result<Outcome> {
    if let Some(recipe) = &args.train {
        return super::train::time(recipe, &args.set, args.runs, common);
    }
    let name = args.model.context("--model or --train is missing")?;
    let official = name.image_size() as u32;
    let size = args.size.unwrap_or(official);
    if !size.is_multiple_of(32) {
        return Err(UsageError(format!("--size {size}: expected a multiple of 32")).into());
    }
    if args.weights.is_some() && size != official {
        return Err(UsageError(format!("--weights with --size {size}: checkpoints are for {official} pixels")).into());
    }
    args.mgd.check(name).map_err(UsageError)?;
    if name.kind() == ModelKind::Referring {
        let message = format!("{} segments videos, not images: time it with `hrseg track --trace FILE`", name);
        return Err(UsageError(message).into());
    }
    let device = common.device.open()?;
    let model = model(name, args, size, common, &device)?;
    let loaded_rss_bytes = rss_bytes();
    let image = pattern(size);
    let at = |part: f32| size as f32 * part;
    let prompts = match name {
        ModelName::PiSam(_) => Prompts::bbox([at(0.2), at(0.2), at(0.8), at(0.8)]),
        _ => Prompts::point(at(0.4), at(0.4)),
    };
    let mut encode = Vec::with_capacity(args.runs as usize);
    let mut decode = Vec::with_capacity(args.runs as usize);
    for run in 0..=args.runs {
        let (encoded, total) = once(&model, &image, &prompts, &device)?;
        tracing::info!("run {run}: encoding {encoded:.3} s, decoding {:.3} s", total - encoded);
        if let (0, Some(trace)) = (run, trace) {
            trace.clear();
        }
        if run > 0 {
            encode.push(encoded);
            decode.push(total - encoded);
        }
    }
    let runs_s: Vec<f64> = encode.iter().zip(&decode).map(|(e, d)| e + d).collect();
    let report = Report {
        model: name.to_string(),
        size,
        threads: common.threads_used(),
        dtype: common.dtype.name(),
        device: device_name(&device),
        median_s: median(&runs_s),
        encode_median_s: median(&encode),
        decode_median_s: median(&decode),
        runs_s,
        loaded_rss_bytes,
        peak_rss_bytes: peak_rss_bytes(),
    };
    if common.json {
        writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&report)?)?;
    } else {
        print_report(&report)?;
    }
    Ok(Outcome::Done)
}

/// Seconds until the image is encoded, and until the mask is there.
fn once(model: &Segmenter, image: &RgbImage, prompts: &Prompts, device: &Device) -> anyhow::Result<(f64, f64)> {
    let start = Instant::now();
    let encoded = match model {
        Segmenter::Promptable(model) => {
            let embedding = model.embed(image)?;
            device.synchronize()?;
            let encoded = start.elapsed().as_secs_f64();
            model.predict(&embedding, prompts)?.mask(0)?; // waits for the device
            Some(encoded)
        }
        Segmenter::PromptFree(model) => {
            model.predict(image)?;
            None
        }
        Segmenter::TwoStage(second) => {
            second.refine_mask(image, &disc(image.width())?)?;
            None
        }
    };
    let total = start.elapsed().as_secs_f64();
    Ok((encoded.unwrap_or(total), total))
}

/// A mask in the middle of a square image.
pub(super) fn disc(size: u32) -> seg_data::Result<GrayImage> {
    let side = size as usize;
    let inside = seg_golden::inputs::ellipse((0.5, 0.5), (1. / 3., 1. / 3.), side, side);
    seg_data::mask::from_binary(&inside, size, size)
}

fn model(name: ModelName, args: &BenchArgs, size: u32, common: &Common, device: &Device) -> anyhow::Result<Segmenter> {
    let dtype = common.dtype.dtype();
    let options = LoadOptions { dtype, device: device.clone(), ..args.mgd.options() };
    match &args.weights {
        Some(path) => Ok(name.open(path, None, &options)?.0),
        None => {
            let vb = seg_golden::GeneratedWeights::new("bench").var_builder(dtype, device);
            name.build(size as usize, &options, vb).context("cannot build the model")
        }
    }
}

fn print_report(report: &Report) -> std::io::Result<()> {
    let runs: Vec<String> = report.runs_s.iter().map(|s| format!("{s:.3}")).collect();
    let mut out = std::io::stdout().lock();
    let Report { model, size, device, threads, dtype, .. } = report;
    writeln!(out, "{model} at {size} on {device}, {threads} threads, {dtype}")?;
    writeln!(out, "  encode   {:>8.3} s", report.encode_median_s)?;
    writeln!(out, "  decode   {:>8.3} s", report.decode_median_s)?;
    writeln!(out, "  together {:>8.3} s  (median of {})", report.median_s, runs.join(" "))?;
    if let (Some(peak), Some(loaded)) = (report.peak_rss_bytes, report.loaded_rss_bytes) {
        writeln!(
            out,
            "  memory   {:>8.2} GB at most, {:.2} with the model loaded",
            peak as f64 / 1e9,
            loaded as f64 / 1e9
        )?;
    }
    Ok(())
}

fn device_name(device: &Device) -> String {
    match device {
        Device::Cpu => "cpu".into(),
        Device::Cuda(_) => "cuda".into(),
        Device::Metal(_) => "metal".into(),
    }
}

/// A picture with something in it, so that no code path is skipped.
pub(super) fn pattern(size: u32) -> RgbImage {
    RgbImage::from_fn(size, size, |x, y| {
        let inside = (x / 32 + y / 32) % 2 == 0;
        let shade = (x * 255 / size) as u8;
        image::Rgb(if inside { [shade, 128, 255 - shade] } else { [32, shade / 2, 64] })
    })
}

/// The middle value, or the mean of the two middle ones; 0 for none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert_eq!(median(&[3., 1., 2.]), 2.);
        assert_eq!(median(&[4., 1., 2., 3.]), 2.5);
        assert_eq!(median(&[]), 0.);
    }
}
