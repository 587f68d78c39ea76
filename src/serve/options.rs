//! What a server is told at its start.

use std::net::IpAddr;
use std::time::Duration;

use seg_data::DecodeLimits;

/// What a server is told at its start.
pub struct Options {
    /// Where to listen.
    pub host: IpAddr,
    /// 0 takes a free one.
    pub port: u16,
    /// Without it everybody who reaches the server may use it.
    pub token: Option<String>,
    /// Names under which browsers reach the server, beside addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// How long what was uploaded stays after it was last used.
    pub keep: Duration,
    /// Memory for images, embeddings and results together, in bytes.
    pub cache_bytes: u64,
    /// Largest upload of an image, in bytes.
    pub max_body: u64,
    /// Largest upload of a video, in bytes.
    pub max_video: u64,
    /// Most frames of a video.
    pub max_frames: usize,
    /// What decoding an image may cost.
    pub decode: DecodeLimits,
    /// Requests that may wait for a model.
    pub queue: usize,
    /// How long a request may take.
    pub time_limit: Duration,
    /// How long running requests may take to finish when the server stops.
    pub grace: Duration,
    /// Over how long a body must bring a thousand bytes a second on average, and how long a client may take nothing of its answer.
    pub patience: Duration,
}

impl Default for Options {
    /// On a free port of the loopback.
    fn default() -> Self {
        Self {
            host: IpAddr::from([127, 0, 0, 1]),
            port: 0,
            token: None,
            allowed_hosts: Vec::new(),
            keep: Duration::from_secs(120 * 60),
            cache_bytes: 2 << 30,
            max_body: 256 << 20,
            max_video: 1 << 30,
            max_frames: 2000,
            decode: DecodeLimits::default(),
            queue: 32,
            time_limit: Duration::from_secs(300),
            grace: Duration::from_secs(30),
            patience: Duration::from_secs(30),
        }
    }
}
