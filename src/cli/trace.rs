//! `--trace`: a Chrome trace of a model's layers, and a table of where the time went.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use seg_data::output::{Overwrite, write};
use seg_layers::trace::TARGET;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// A span that has ended.
struct Event {
    /// Names from the outermost module to this one, joined by `/`.
    path: String,
    start_us: f64,
    duration_us: f64,
    flops: u64,
    is_layer: bool,
}

/// What the spans of [`seg_layers::trace`] tell, collected. Clones share it.
#[derive(Clone)]
pub struct Trace {
    origin: Instant,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Default for Trace {
    fn default() -> Self {
        Self { origin: Instant::now(), events: Arc::default() }
    }
}

/// What a span carries from its beginning to its end.
struct Open {
    path: String,
    flops: u64,
    is_layer: bool,
    start: Option<Instant>,
}

#[derive(Default)]
struct Fields {
    name: String,
    flops: u64,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "name" {
            self.name = format!("{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "name" {
            value.clone_into(&mut self.name);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "flops" {
            self.flops = value;
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Trace {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().target() != TARGET {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let parent = span.parent().and_then(|p| p.extensions().get::<Open>().map(|open| open.path.clone()));
        let path = parent.map_or_else(|| fields.name.clone(), |parent| format!("{parent}/{}", fields.name));
        let is_layer = attributes.metadata().name() == "layer";
        span.extensions_mut().insert(Open { path, flops: fields.flops, is_layer, start: None });
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            open.start = Some(Instant::now());
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let Some(open) = extensions.get_mut::<Open>() else { return };
        let Some(start) = open.start.take() else { return };
        let event = Event {
            path: open.path.clone(),
            start_us: (start - self.origin).as_secs_f64() * 1e6,
            duration_us: start.elapsed().as_secs_f64() * 1e6,
            flops: open.flops,
            is_layer: open.is_layer,
        };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

/// The layers of one place in the model, over all runs.
#[derive(Default)]
struct Row {
    calls: usize,
    seconds: f64,
    flops: u64,
}

impl Trace {
    /// Forgets what was collected: after the warming run.
    pub fn clear(&self) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Writes the trace in Chrome's format: open it in a browser's tracing page or in Perfetto.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let list: Vec<serde_json::Value> = events
            .iter()
            .map(|event| {
                serde_json::json!({
                    "name": event.path.rsplit('/').next(),
                    "cat": if event.is_layer { "layer" } else { "module" },
                    "ph": "X", "pid": 1, "tid": 1,
                    "ts": event.start_us, "dur": event.duration_us,
                    "args": { "path": event.path, "gflop": event.flops as f64 / 1e9 },
                })
            })
            .collect();
        let text = serde_json::json!({ "traceEvents": list, "displayTimeUnit": "ms" }).to_string();
        write(path, text.as_bytes(), Overwrite::Replace)?;
        Ok(())
    }

    /// A table of the layers that took longest, as Markdown: time a run, share, speed. Like parts of a module count as one
    /// (`blocks.*`).
    pub fn table(&self, runs: usize, lines: usize) -> String {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        let top: f64 = events.iter().filter(|e| !e.path.contains('/')).map(|e| e.duration_us / 1e6).sum();
        let mut inside = 0.0;
        for event in events.iter().filter(|e| e.is_layer) {
            let row = rows.entry(without_numbers(&event.path)).or_default();
            row.calls += 1;
            row.seconds += event.duration_us / 1e6;
            row.flops += event.flops;
            inside += event.duration_us / 1e6;
        }
        let mut rows: Vec<(String, Row)> = rows.into_iter().collect();
        rows.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds));
        let left: f64 = rows.iter().skip(lines).map(|(_, row)| row.seconds).sum();
        let hidden = rows.len().saturating_sub(lines);
        rows.truncate(lines);
        let runs = runs.max(1) as f64;
        let share = |seconds: f64| 100.0 * seconds / top.max(f64::MIN_POSITIVE);
        let mut text = String::from("| layer | calls | ms | share | GFLOP/s |\n| --- | ---: | ---: | ---: | ---: |\n");
        for (path, row) in rows {
            let speed = match row.flops {
                0 => String::new(),
                flops => format!("{:.0}", flops as f64 / row.seconds / 1e9),
            };
            let (calls, ms) = (row.calls as f64 / runs, 1e3 * row.seconds / runs);
            text += &format!("| {path} | {calls:.0} | {ms:.1} | {:.1} % | {speed} |\n", share(row.seconds));
        }
        if hidden > 0 {
            text += &format!("| {hidden} more | | {:.1} | {:.1} % | |\n", 1e3 * left / runs, share(left));
        }
        text + &format!("| between layers | | {:.1} | {:.1} % | |\n", 1e3 * (top - inside) / runs, share(top - inside))
    }
}

/// `trunk/blocks.3/linear 96 -> 384` to `trunk/blocks.*/linear 96 -> 384`.
fn without_numbers(path: &str) -> String {
    let part = |part: &str| match part.rsplit_once('.') {
        Some((name, number)) if number.bytes().all(|b| b.is_ascii_digit()) => format!("{name}.*"),
        _ => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use seg_layers::trace;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn layers_are_summed_below_their_modules() {
        let collected = Trace::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(collected.clone()), || {
            let _encode = trace::module("encode");
            for i in 0..3 {
                let _block = trace::part("blocks", i);
                let _layer = trace::layer("linear 2 -> 4", || trace::product_flops(10, 4, 2));
            }
        });
        let table = collected.table(1, 10);
        assert!(table.contains("| encode/blocks.*/linear 2 -> 4 | 3 |"), "{table}");
        let events = collected.events.lock().unwrap();
        assert_eq!(events.iter().map(|e| e.flops).sum::<u64>(), 480);
        assert_eq!(events.len(), 7);
    }
}
