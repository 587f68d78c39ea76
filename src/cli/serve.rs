//! `hrseg serve`: the page and the API.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use seg_checkpoints::{FetchOptions, cached};
use seg_models::registry::{LoadOptions, ModelName};

use super::common::{say, with_unit};
use super::{Common, Outcome, UsageError};
use crate::memory;
use crate::serve::{Handle, Options, Others, Server, Source, new_token, source};

const EXAMPLES: &str = "\
Examples:
  hrseg serve --open
  hrseg serve --model sam2.1-small --weights sam2.1-small=sam2.1_hiera_small.pt --port 9000
  hrseg serve --host 0.0.0.0 --token-file token.txt

The page is at the address that is printed; docs/serve.md tells of the API. Everything stays on this machine.
Ctrl-C lets what runs finish; again ends at once.";

/// Bytes a pixel that an image takes while masks of it are made.
const WORK_A_PIXEL: u64 = 64;
/// What models need for their own maps, whatever the image.
const LEAST_WORK: u64 = 512 << 20;
/// Fewest characters of a token.
const LEAST_TOKEN: usize = 16;

/// A page and an API on your own machine: cut anything out by clicking.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// A model to offer; as often as you like. Without it: mobile-sam and sam+isnet, which are fetched if need be, and what else the cache has
    #[arg(long = "model", value_name = "NAME", value_parser = ModelName::from_str)]
    pub models: Vec<ModelName>,

    /// The checkpoint of a model, or of one that it needs: a file, a folder that has it, or hub:owner/repo/file
    #[arg(long = "weights", value_name = "NAME=FILE", value_parser = parse_weights)]
    pub weights: Vec<(ModelName, String)>,

    /// Where to listen: an address, or localhost
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS", value_parser = parse_host)]
    pub host: IpAddr,

    /// Where to listen; 0 takes a free port
    #[arg(long, default_value_t = 8080, value_name = "N")]
    pub port: u16,

    /// Open the page in your browser
    #[arg(long)]
    pub open: bool,

    /// The token that requests must have, on the first line; without it, and with a host that is not loopback, one is made and printed
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// A name under which browsers reach the server, beside addresses and localhost
    #[arg(long = "allow-host", value_name = "NAME")]
    pub allow_hosts: Vec<String>,

    /// How long an image or video stays after it was last used, in minutes
    #[arg(long, default_value_t = 120, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: u32,

    /// Memory for weights, work and what is kept, together
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_memory: Option<u64>,

    /// Memory for images, embeddings and results together: by default a quarter of --max-memory, else 2G
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub cache_bytes: Option<u64>,

    /// Largest upload of an image
    #[arg(long, default_value = "256M", value_name = "SIZE", value_parser = parse_size)]
    pub max_body: u64,

    /// Largest upload of a video
    #[arg(long, default_value = "1G", value_name = "SIZE", value_parser = parse_size)]
    pub max_video: u64,

    /// Most frames of a video
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_frames: u32,

    /// Requests that may wait for a model
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub queue: u32,

    /// How long a request may take, in seconds; tracking and the whole picture may take longer while you listen
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub time_limit: u32,
}

/// Runs the verb.
pub fn run(args: &ServeArgs, common: &Common) -> anyhow::Result<Outcome> {
    let token = token(args)?;
    let models = models(args)?;
    let mut limits = common.limits();
    let cache_bytes = args.cache_bytes.or(args.max_memory.map(|most| most / 4)).unwrap_or(2 << 30);
    if let Some(most) = args.max_memory {
        let weights: u64 = models.iter().map(|(_, bytes)| bytes).sum();
        let work = most.saturating_sub(weights).saturating_sub(cache_bytes);
        if work < LEAST_WORK {
            let message = format!(
                "--max-memory {}: the weights take {}, what is kept {} (--cache-bytes), and work needs {}; give more, or fewer models",
                size(most),
                size(weights),
                size(cache_bytes),
                size(LEAST_WORK)
            );
            return Err(UsageError(message).into());
        }
        limits.max_pixels = limits.max_pixels.min(work / WORK_A_PIXEL);
        limits.max_decoded_bytes = limits.max_decoded_bytes.min(work / 2);
    }
    let load = LoadOptions { dtype: common.dtype.dtype(), device: common.device.open()?, ..LoadOptions::default() };
    let weights: BTreeMap<&'static str, String> =
        args.weights.iter().map(|(name, file)| (name.as_str(), file.clone())).collect();
    let sources = models.iter().map(|(name, _)| {
        let weights = weights.clone();
        told(source(*name, load.clone(), move |name| weights.get(name.as_str()).cloned()))
    });
    let options = Options {
        host: args.host,
        port: args.port,
        token: token.clone(),
        allowed_hosts: args.allow_hosts.clone(),
        keep: Duration::from_secs(60 * u64::from(args.keep)),
        cache_bytes,
        max_body: args.max_body,
        max_video: args.max_video,
        max_frames: args.max_frames as usize,
        decode: limits,
        queue: args.queue as usize,
        time_limit: Duration::from_secs(args.time_limit.into()),
        ..Options::default()
    };
    let server = Server::bind(options, sources.collect()).with_context(|| match args.port {
        0 => format!("cannot listen on {}", args.host),
        port => format!("cannot listen on {}, port {port} (--port 0 takes a free one)", args.host),
    })?;
    watch_signals(server.handle())?;
    let shown = if args.host.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { args.host };
    let address = std::net::SocketAddr::new(shown, server.address().port());
    let hash = token.as_ref().map_or(String::new(), |token| format!("#token={token}"));
    let url = format!("http://{address}/{hash}");
    if common.json {
        println!("{}", serde_json::json!({"url": format!("http://{address}/"), "token": token}));
    } else {
        println!("{url}");
    }
    let names: Vec<&str> = models.iter().map(|(name, _)| name.as_str()).collect();
    say(format_args!("loading {}; Ctrl-C ends the server", names.join(", ")));
    if args.open
        && let Err(error) = open::that_detached(&url)
    {
        say(format_args!("note: the browser cannot be opened ({error}); open the address yourself"));
    }
    server.run().context("the server broke off")?;
    Ok(Outcome::Done)
}

/// The same, and says when the model is there.
fn told(Source { name, open }: Source) -> Source {
    let open = move |others: Others<'_>| {
        let loaded = open(others)?;
        say(format_args!("{name} is ready"));
        Ok(loaded)
    };
    Source { name, open: Box::new(open) }
}

/// The token, if one is needed.
fn token(args: &ServeArgs) -> anyhow::Result<Option<String>> {
    let Some(path) = &args.token_file else { return Ok((!args.host.is_loopback()).then(new_token)) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let token = text.lines().next().unwrap_or_default().trim();
    let plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    match token.len() >= LEAST_TOKEN && plain {
        true => Ok(Some(token.to_owned())),
        false => Err(UsageError(format!(
            "{}: the first line is no token, expected at least {LEAST_TOKEN} letters, digits and signs without spaces",
            path.display()
        ))
        .into()),
    }
}

/// What is served, with the sizes of weights as far as they are on this machine.
fn models(args: &ServeArgs) -> anyhow::Result<Vec<(ModelName, u64)>> {
    let fetch = FetchOptions::from_env()?;
    let given = |name: ModelName| args.weights.iter().find(|(of, _)| *of == name).map(|(_, file)| Path::new(file));
    let here = |name: ModelName| match given(name) {
        Some(file) => Some(file.metadata().map_or(0, |meta| meta.len())),
        None => cached(seg_checkpoints::find(name.weights())?, &fetch)?.metadata().ok().map(|meta| meta.len()),
    };
    let mut models: Vec<(ModelName, u64)> = Vec::new();
    let usual = [ModelName::MobileSam, ModelName::SamIsNet];
    let named = if args.models.is_empty() { usual.as_slice() } else { &args.models };
    for name in named {
        if !models.iter().any(|(known, _)| known == name) {
            models.push((*name, here(*name).unwrap_or(0)));
        }
    }
    for (name, _) in &args.weights {
        let wanted = |model: &ModelName| model == name || model.base() == Some(*name);
        if args.models.is_empty() && !models.iter().any(|(known, _)| known == name) {
            models.push((*name, here(*name).unwrap_or(0)));
        } else if !models.iter().any(|(known, _)| wanted(known)) {
            let message = format!("--weights {name}=...: {name} is not among the models that --model names");
            return Err(UsageError(message).into());
        }
    }
    if args.models.is_empty() {
        // of what nobody asked for by name only what leaves room for the rest
        let mut room =
            args.max_memory.map(|most| most / 2).or(memory::free_bytes().map(|free| free / 4)).unwrap_or(2 << 30);
        let mut left_out = Vec::new();
        for name in ModelName::ALL {
            let known = models.iter().any(|(known, _)| *known == name);
            let whole = name.base().is_none_or(|base| here(base).is_some());
            let Some(bytes) = here(name).filter(|_| !known && whole) else { continue };
            match room.checked_sub(bytes) {
                Some(rest) => {
                    room = rest;
                    models.push((name, bytes));
                }
                None => left_out.push(name.as_str()),
            }
        }
        if !left_out.is_empty() {
            say(format_args!("note: for want of memory without {} (--model names them)", left_out.join(", ")));
        }
    }
    Ok(models)
}

/// The first Ctrl-C, or SIGTERM, lets what runs finish; the second Ctrl-C ends the process.
fn watch_signals(handle: Handle) -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        let handle = handle.clone();
        let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM])?;
        std::thread::spawn(move || signals.forever().for_each(|_| handle.stop()));
    }
    ctrlc::set_handler(move || {
        if handle.is_stopping() {
            std::process::exit(130);
        }
        say("\nending: what runs is finished; press Ctrl-C again to end at once");
        handle.stop();
    })
    .context("cannot watch for Ctrl-C")
}

fn parse_weights(text: &str) -> Result<(ModelName, String), String> {
    let (name, file) = text.split_once('=').ok_or("expected NAME=FILE, such as mobile-sam=mobile_sam.pt")?;
    if file.is_empty() {
        return Err("expected a file behind the `=`".into());
    }
    Ok((ModelName::from_str(name.trim()).map_err(|error| error.to_string())?, file.to_owned()))
}

fn parse_host(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        _ => {
            let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            inner.parse().map_err(|_| "expected an address such as 127.0.0.1 or 0.0.0.0, or localhost".to_owned())
        }
    }
}

/// A number of bytes: plain, or in K, M or G of 1024.
fn parse_size(text: &str) -> Result<u64, String> {
    let bytes = with_unit(text, [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)]);
    bytes.ok_or_else(|| "expected a number of bytes, such as 512M or 4G".to_owned())
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0..1024 => format!("{}M", bytes.div_ceil(1 << 20)),
        _ => format!("{:.1}G", bytes as f64 / f64::from(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_weights() {
        assert_eq!(parse_size("512M"), Ok(512 << 20));
        assert_eq!(parse_size("4g"), Ok(4 << 30));
        assert_eq!(parse_size("1000"), Ok(1000));
        for bad in ["", "M", "-1", "1.5G", "0", "99999999999G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_weights("mobile-sam=a=b.pt"), Ok((ModelName::MobileSam, "a=b.pt".into())));
        for bad in ["mobile-sam", "mobile-sam=", "nobody=x"] {
            assert!(parse_weights(bad).is_err(), "{bad}");
        }
        assert!(parse_host("example.com").is_err());
        assert!(parse_host("[::1]").unwrap().is_loopback());
        assert_eq!((size(512 << 20), size(3 << 30)), ("512M".into(), "3.0G".into()));
    }
}
