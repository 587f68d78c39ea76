//! How to fetch: everything that the environment says, read once and explicit from then on.

use super::report::{Console, Reporter, Silent};
use super::source::SourceKind;
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The hub that hosts models, as its own Python client understands the environment.
#[derive(Clone)]
#[non_exhaustive]
pub struct HubOptions {
    /// `HF_ENDPOINT`, without a slash at the end.
    pub endpoint: String,
    /// The cache shared with Python: `HF_HUB_CACHE`, or `HF_HOME/hub`, or `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// `HF_TOKEN`, or the content of the token file.
    pub token: Option<String>,
}

impl std::fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // the token must not get into logs
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("HubOptions")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &token)
            .finish()
    }
}

/// Where files are looked for and kept, and which sources may be asked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchOptions {
    /// Nothing but caches (`HF_HUB_OFFLINE`).
    pub offline: bool,
    /// The hub.
    pub hub: HubOptions,
    /// Our own cache: `HRSEG_CACHE`, or `$XDG_CACHE_HOME/hrseg`, or the platform's.
    pub cache: PathBuf,
    /// The user's mirrors (`HRSEG_WEIGHTS_MIRROR`, separated by spaces): the file's name is appended. Tried first.
    pub mirrors: Vec<String>,
    /// Kinds of sources in the order to try (`HRSEG_WEIGHTS_SOURCES`, separated by commas); a kind that is not named is
    /// not asked. Empty: mirrors, then the manifest's order.
    pub order: Vec<SourceKind>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest silence of a server during a transfer.
    pub read_timeout: Duration,
    /// Longest run of `pip` or `npm`.
    pub client_timeout: Duration,
    /// Longest wait for another process that fetches the same file.
    pub lock_timeout: Duration,
    /// Certificates to trust in place of the built-in ones (`SSL_CERT_FILE`, PEM).
    pub ca_file: Option<PathBuf>,
    /// Where `pip` and `npm` are looked for (`PATH`).
    pub program_path: OsString,
    /// Hears what happens.
    pub reporter: Arc<dyn Reporter>,
}

const ENDPOINT: &str = "https://huggingface.co";

impl FetchOptions {
    /// From the process's environment, reporting on stderr.
    ///
    /// # Errors
    /// [`Error::Argument`] when a variable has a value that makes no sense.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(|name| std::env::var_os(name))
    }

    /// From variables looked up by `var`.
    ///
    /// # Errors
    /// As [`FetchOptions::from_env`].
    pub fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let set = |name: &str| var(name).filter(|v| !v.is_empty());
        let text = |name: &str| set(name).map(|v| v.to_string_lossy().trim().to_owned()).filter(|v| !v.is_empty());
        let home = set("HOME").or_else(|| set("USERPROFILE")).map(PathBuf::from);
        let user_cache = set("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| home.as_ref().map(|h| h.join(".cache")));
        let no_home = || Error::Argument {
            what: "environment",
            value: "HOME".into(),
            expected: "no home folder is known: set HRSEG_CACHE and HF_HOME to folders that can be written".into(),
        };

        let hf_home = set("HF_HOME").map(PathBuf::from).or_else(|| user_cache.as_ref().map(|c| c.join("huggingface")));
        let hub_cache = set("HF_HUB_CACHE")
            .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
            .map(PathBuf::from)
            .or_else(|| hf_home.as_ref().map(|h| h.join("hub")))
            .ok_or_else(no_home)?;
        let token_file = set("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| hf_home.map(|h| h.join("token")));
        let token = text("HF_TOKEN")
            .or_else(|| text("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| token_file.and_then(|f| std::fs::read_to_string(f).ok()).map(|t| t.trim().to_owned()))
            .filter(|t| !t.is_empty());
        let order = match text("HRSEG_WEIGHTS_SOURCES") {
            None => Vec::new(),
            Some(list) => list.split(',').map(|kind| kind.trim().parse()).collect::<Result<_>>()?,
        };
        let cache = match set("HRSEG_CACHE").map(PathBuf::from) {
            Some(own) => own,
            None => platform_cache(&set, home.as_ref(), user_cache).ok_or_else(no_home)?,
        };
        Ok(Self {
            offline: text("HF_HUB_OFFLINE").is_some_and(|v| is_true(&v)),
            hub: HubOptions {
                endpoint: text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into()).trim_end_matches('/').to_owned(),
                cache: hub_cache,
                token,
            },
            cache,
            mirrors: text("HRSEG_WEIGHTS_MIRROR")
                .map(|m| m.split_whitespace().map(|u| u.trim_end_matches('/').to_owned()).collect())
                .unwrap_or_default(),
            order,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            client_timeout: Duration::from_secs(20 * 60),
            lock_timeout: Duration::from_secs(30 * 60),
            ca_file: set("SSL_CERT_FILE").map(PathBuf::from),
            program_path: set("PATH").unwrap_or_default(),
            reporter: Arc::new(Console::default()),
        })
    }

    /// The same, without a word on stderr.
    pub fn quiet(mut self) -> Self {
        self.reporter = Arc::new(Silent);
        self
    }
}

/// As Python's client reads its switches.
fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
}

fn platform_cache(
    set: &impl Fn(&str) -> Option<OsString>,
    home: Option<&PathBuf>,
    user_cache: Option<PathBuf>,
) -> Option<PathBuf> {
    if cfg!(windows) {
        return set("LOCALAPPDATA").map(|d| PathBuf::from(d).join("hrseg").join("cache"));
    }
    if cfg!(target_os = "macos") && set("XDG_CACHE_HOME").is_none() {
        return home.map(|h| h.join("Library/Caches/hrseg"));
    }
    user_cache.map(|c| c.join("hrseg"))
}
