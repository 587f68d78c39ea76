//! Figures for Prometheus, in its text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::store::{Census, KINDS};

/// Upper ends of the histograms' buckets, in seconds.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Labels of a series, as they are written.
type Labels = String;

#[derive(Debug, Default)]
struct Times {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

#[derive(Debug, Default)]
struct Tables {
    counts: BTreeMap<(&'static str, Labels), u64>,
    times: BTreeMap<(&'static str, Labels), Times>,
}

/// What is counted.
#[derive(Debug, Default)]
pub struct Figures {
    tables: Mutex<Tables>,
    waiting: AtomicU64,
}

impl Figures {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, name: &'static str, labels: Labels, by: u64) {
        *self.tables().counts.entry((name, labels)).or_default() += by;
    }

    fn time(&self, name: &'static str, labels: Labels, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut tables = self.tables();
        let times = tables.times.entry((name, labels)).or_default();
        times.count += 1;
        times.sum += seconds;
        for (bucket, end) in times.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= end);
        }
    }

    /// A request was answered.
    pub fn request(&self, route: &str, status: u16, took: Duration) {
        self.count("requests_total", format!("route=\"{route}\",status=\"{status}\""), 1);
        self.time("request_seconds", format!("route=\"{route}\""), took);
    }

    /// Something had to go from the cache.
    pub fn evicted(&self, kind: &str) {
        self.count("cache_evicted_total", format!("kind=\"{kind}\""), 1);
    }

    /// An embedding was asked for.
    pub fn embedding(&self, model: &str, outcome: &str) {
        self.count("embeddings_total", format!("model=\"{model}\",outcome=\"{outcome}\""), 1);
    }

    /// An embedding was computed.
    pub fn embedded(&self, model: &str, took: Duration) {
        self.time("embedding_seconds", format!("model=\"{model}\""), took);
    }

    /// Masks were computed.
    pub fn predicted(&self, model: &str, took: Duration) {
        self.time("predict_seconds", format!("model=\"{model}\""), took);
    }

    /// The queue was full.
    pub fn rejected(&self) {
        self.count("queue_rejected_total", String::new(), 1);
    }

    /// Work was dropped because nobody waits for it.
    pub fn cancelled(&self) {
        self.count("cancelled_total", String::new(), 1);
    }

    /// A request panicked.
    pub fn panicked(&self) {
        self.count("panics_total", String::new(), 1);
    }

    /// Bytes of bodies came in.
    pub fn uploaded(&self, bytes: u64) {
        self.count("upload_bytes_total", String::new(), bytes);
    }

    /// How many wait for a model.
    pub fn waiting(&self, number: usize) {
        self.waiting.store(number as u64, Ordering::Relaxed);
    }

    /// All of it as text.
    pub fn text(&self, census: Census) -> String {
        let mut out = String::new();
        let mut last = "";
        let tables = self.tables();
        for name in ["cancelled_total", "panics_total", "queue_rejected_total", "upload_bytes_total"] {
            if !tables.counts.contains_key(&(name, String::new())) {
                let _ = writeln!(out, "# TYPE hrseg_{name} counter\nhrseg_{name} 0");
            }
        }
        for ((name, labels), value) in &tables.counts {
            if *name != last {
                let _ = writeln!(out, "# TYPE hrseg_{name} counter");
                last = name;
            }
            let _ = writeln!(out, "hrseg_{name}{} {value}", braced(labels));
        }
        for ((name, labels), times) in &tables.times {
            if *name != last {
                let _ = writeln!(out, "# TYPE hrseg_{name} histogram");
                last = name;
            }
            for (end, count) in BUCKETS.iter().zip(times.buckets) {
                let _ = writeln!(out, "hrseg_{name}_bucket{{{labels},le=\"{end}\"}} {count}");
            }
            let Times { count, sum, .. } = times;
            let _ = writeln!(out, "hrseg_{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "hrseg_{name}_sum{{{labels}}} {sum}\nhrseg_{name}_count{{{labels}}} {count}");
        }
        drop(tables);
        let _ = writeln!(out, "# TYPE hrseg_cache_bytes gauge");
        for (kind, bytes) in KINDS.iter().zip(census.bytes) {
            let _ = writeln!(out, "hrseg_cache_bytes{{kind=\"{kind}\"}} {bytes}");
        }
        let mut gauges = vec![
            ("images", census.images as u64),
            ("videos", census.videos as u64),
            ("queue_waiting", self.waiting.load(Ordering::Relaxed)),
        ];
        gauges.extend(crate::memory::rss_bytes().map(|bytes| ("resident_bytes", bytes)));
        for (name, value) in gauges {
            let _ = writeln!(out, "# TYPE hrseg_{name} gauge\nhrseg_{name} {value}");
        }
        let version = env!("CARGO_PKG_VERSION");
        let _ = writeln!(out, "# TYPE hrseg_build_info gauge\nhrseg_build_info{{version=\"{version}\"}} 1");
        out
    }
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_for_prometheus() {
        let figures = Figures::default();
        figures.request("/v1/info", 200, Duration::from_millis(20));
        figures.request("/v1/info", 200, Duration::from_secs(100));
        let text = figures.text(Census { bytes: [1, 2, 3, 4], images: 5, videos: 6 });
        for line in [
            "hrseg_requests_total{route=\"/v1/info\",status=\"200\"} 2",
            "hrseg_request_seconds_bucket{route=\"/v1/info\",le=\"0.01\"} 0",
            "hrseg_request_seconds_bucket{route=\"/v1/info\",le=\"0.025\"} 1",
            "hrseg_request_seconds_bucket{route=\"/v1/info\",le=\"+Inf\"} 2",
            "hrseg_cache_bytes{kind=\"embedding\"} 3",
            "hrseg_images 5",
            "hrseg_panics_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
