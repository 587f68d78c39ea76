//! How far a model is in its work: the spans of its layers, counted on the thread that computes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use seg_layers::trace::TARGET;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};

/// Between two of the numbers that are told.
const PAUSE: Duration = Duration::from_millis(50);

/// Counts spans; only threads that it is set for see it.
struct Counter<F> {
    begun: Arc<AtomicU64>,
    tell: F,
    told: Mutex<Instant>,
}

impl<F: Fn(usize) + Send + Sync + 'static> Subscriber for Counter<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= PAUSE {
            *told = Instant::now();
            (self.tell)(number as usize);
        }
        Id::from_u64(number)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Does `work`, and says now and then how many modules and layers have begun; their number comes with the result.
pub fn counted<T>(tell: impl Fn(usize) + Send + Sync + 'static, work: impl FnOnce() -> T) -> (T, usize) {
    let begun = Arc::<AtomicU64>::default();
    let counter = Counter { begun: Arc::clone(&begun), tell, told: Mutex::new(Instant::now()) };
    let result = tracing::dispatcher::with_default(&Dispatch::new(counter), work);
    (result, begun.load(Ordering::Relaxed) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_counted_on_this_thread_and_told_now_and_then() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let work = || {
            let _model = seg_layers::trace::module("model");
            for i in 0..4 {
                let _layer = seg_layers::trace::part("layers", i);
                let other = std::thread::spawn(|| drop(seg_layers::trace::module("of others")));
                other.join().unwrap();
                std::thread::sleep(PAUSE);
            }
            7
        };
        let (result, layers) = counted(move |n| heard.lock().unwrap().push(n), work);
        assert_eq!((result, layers), (7, 5));
        let told = told.lock().unwrap();
        assert!(!told.is_empty() && told.is_sorted() && *told.last().unwrap() <= 5, "{told:?}");
        assert_eq!(counted(|_| {}, || seg_layers::trace::module("more")).1, 1);
    }
}
