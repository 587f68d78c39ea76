//! Options that every verb has.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use candle_core::{DType, Device};
use clap::{Args, ValueEnum};
use seg_data::DecodeLimits;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::UsageError;
use super::photo::parse_pixels;
use super::trace::Trace;

/// A whole number above 0, alone or with one of these units behind it, in upper or lower case.
pub(super) fn with_unit(text: &str, units: impl IntoIterator<Item = (char, u64)>) -> Option<u64> {
    let in_unit = |(unit, factor): (char, u64)| Some((text.strip_suffix([unit, unit.to_ascii_lowercase()])?, factor));
    let (number, factor) = units.into_iter().find_map(in_unit).unwrap_or((text, 1));
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).filter(|n| *n > 0)
}

/// Prints a line on stderr. Where nobody listens (`2>&1 | head`) it is lost, and the work goes on.
pub(super) fn say(text: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// An error with its causes in one line, none twice: errors of ours have the cause in their own text.
pub(super) fn in_one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.ends_with(&cause) {
            let between = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{between}{cause}");
        }
    }
    text
}

/// Options that every verb has.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Where to compute: auto, cpu, cuda, cuda:N, metal
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE", help_heading = "Common options")]
    pub device: DeviceArg,

    /// Type of weights and activations; half types save memory and are exact only to three digits
    #[arg(long, global = true, value_enum, default_value_t = DtypeArg::F32, help_heading = "Common options")]
    pub dtype: DtypeArg,

    /// Threads; by default RAYON_NUM_THREADS, or all cores
    #[arg(long, global = true, value_name = "N", help_heading = "Common options",
          allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub threads: Option<u32>,

    /// Refuse images and masks of more pixels than this: 150M, 150000000
    #[arg(long, global = true, value_name = "N", default_value = "100M", value_parser = parse_pixels, allow_negative_numbers = true, help_heading = "Common options")]
    pub max_pixels: u64,

    /// Say more; twice says everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Common options")]
    pub verbose: u8,

    /// Write a Chrome trace of the model's layers to FILE, and print where the time went
    #[arg(long, global = true, value_name = "FILE", help_heading = "Common options")]
    pub trace: Option<PathBuf>,

    /// Results as JSON on stdout: an option of the verbs, for `evaluate` has another of this name
    #[arg(skip)]
    pub json: bool,
}

impl Common {
    /// Sets up logging (stderr), the collection of a trace, and the thread pool. Once a process.
    pub(super) fn apply(&self) -> anyhow::Result<Option<Trace>> {
        let level = match self.verbose {
            0 => "warn",
            1 => "info",
            _ => "debug",
        };
        let filter = tracing_subscriber::EnvFilter::try_from_env("HRSEG_LOG")
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
        let colour = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            && std::io::IsTerminal::is_terminal(&std::io::stderr());
        let messages = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(colour)
            .without_time()
            .with_filter(filter);
        let trace = self.trace.as_ref().map(|_| Trace::default());
        // a second call, from a program that embeds the command, keeps the first subscriber
        let _ = tracing_subscriber::registry().with(messages).with(trace.clone()).try_init();
        let threads = self.threads.map(|n| n as usize);
        // models ask for one short operation after the other
        seg_ops::keep_threads_awake(threads.unwrap_or(0));
        if let Some(threads) = threads.filter(|&n| n != rayon::current_num_threads()) {
            let there = rayon::current_num_threads();
            anyhow::bail!("--threads {threads}: rayon's pool was made before, with {there} threads");
        }
        Ok(trace)
    }

    /// What a file may cost before it is refused.
    pub(super) fn limits(&self) -> DecodeLimits {
        DecodeLimits::default().with_max_pixels(self.max_pixels)
    }

    /// How many threads the kernels use.
    pub fn threads_used(&self) -> usize {
        rayon::current_num_threads()
    }
}

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceArg {
    /// The first GPU if this build can use one and there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device by number.
    Cuda(usize),
    /// Apple's GPU.
    Metal,
}

impl FromStr for DeviceArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| "expected auto, cpu, cuda, cuda:N or metal".to_owned()),
        }
    }
}

impl DeviceArg {
    /// Opens the device.
    pub fn open(self) -> anyhow::Result<Device> {
        let missing = |what: &str| {
            UsageError(format!(
                "--device {what}: this build has no {what} support; build it with `--features {what}`, or use --device cpu"
            ))
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(_) if !candle_core::utils::cuda_is_available() => Err(missing("cuda").into()),
            Self::Cuda(n) => Device::new_cuda(n).with_context(|| format!("cannot open CUDA device {n}")),
            Self::Metal if !candle_core::utils::metal_is_available() => Err(missing("metal").into()),
            Self::Metal => Device::new_metal(0).context("cannot open the Metal device"),
            Self::Auto => {
                let gpu = if candle_core::utils::cuda_is_available() {
                    Device::new_cuda(0)
                } else if candle_core::utils::metal_is_available() {
                    Device::new_metal(0)
                } else {
                    return Ok(Device::Cpu);
                };
                Ok(gpu.unwrap_or_else(|error| {
                    tracing::info!("no usable GPU ({error}); computing on the CPU");
                    Device::Cpu
                }))
            }
        }
    }
}

/// Number types of weights and activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DtypeArg {
    /// 32-bit floats: the reference's numbers.
    #[default]
    F32,
    /// 16-bit IEEE floats.
    F16,
    /// bfloat16.
    Bf16,
}

impl DtypeArg {
    /// candle's type.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}

/// Refuses to write over a file without `--force`.
pub fn refuse_to_replace(out: &Path, force: bool) -> Result<(), UsageError> {
    match out.exists() && !force {
        true => Err(UsageError(format!("{} is there already; --force replaces it", out.display()))),
        false => Ok(()),
    }
}
