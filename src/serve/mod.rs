//! The server: a page to cut things out with, and the API that the page uses. See `docs/serve.md`.
//!
//! One thread computes, in the order that [`queue`] gives; files are decoded and packed beside it, a few at a time; everything else only waits. What was sent
//! and what was found in it lies in [`store`], bounded by bytes and age.

mod api;
mod body;
mod cache;
mod cleaned;
mod events;
mod export;
mod figures;
mod guard;
mod ids;
mod input;
mod item;
mod load;
mod models;
mod openapi;
mod options;
mod page;
mod problem;
mod queue;
mod route;
mod router;
mod server;
mod stall;
mod steps;
mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use ids::token as new_token;
pub use load::source;
pub use models::{Loaded, Open, Others, Source};
pub use options::Options;
pub use server::{Handle, Server};

pub(crate) use api::RunLengths;

use figures::Figures;
use guard::Guard;
use item::{Fingerprint, Item, Picture};
use models::Models;
use problem::{Code, Problem, Result};
use queue::Queue;
use store::Store;

use crate::pipeline::Photo;

/// Files that are decoded or packed at a time.
const ASIDE: usize = 2;

/// What all requests share.
pub(crate) type App = Arc<Shared>;

/// What all requests share.
pub(crate) struct Shared {
    pub options: Options,
    pub guard: Guard,
    pub models: Models,
    pub store: Store,
    pub queue: Arc<Queue>,
    pub figures: Arc<Figures>,
    /// Work beside the queue.
    pub aside: Arc<Semaphore>,
    /// Bytes of images that may be on their way in, in KiB.
    uploads: Arc<Semaphore>,
    /// How many wish each embedding.
    wishes: Mutex<HashMap<(Fingerprint, &'static str), usize>>,
    /// Modules and layers of encoders that have run.
    layers: Mutex<HashMap<&'static str, usize>>,
    /// The API's document.
    document: serde_json::Value,
}

/// An upload's size as the semaphore counts it.
fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, MOST_PERMITS)
}

/// Uploads beyond this wait for each other in any case.
const MOST_PERMITS: u32 = 1 << 28;

impl Shared {
    /// The server's state, before any of the models is loaded.
    fn new(options: Options, sources: &[Source]) -> App {
        let figures = Arc::<Figures>::default();
        let together = permits(options.max_body.max(options.cache_bytes / 4));
        let shared = Self {
            guard: Guard::new(options.token.as_deref(), &options.allowed_hosts),
            models: Models::new(sources.iter().map(|source| source.name)),
            store: Store::new(options.cache_bytes, options.keep, Arc::clone(&figures)),
            queue: Arc::new(Queue::new(options.queue, Arc::clone(&figures))),
            aside: Arc::new(Semaphore::new(ASIDE)),
            uploads: Arc::new(Semaphore::new(together as usize)),
            wishes: Mutex::default(),
            layers: Mutex::default(),
            document: openapi::document(&api::routes()),
            figures,
            options,
        };
        Arc::new(shared)
    }

    fn wishes<T>(&self, f: impl FnOnce(&mut HashMap<(Fingerprint, &'static str), usize>) -> T) -> T {
        f(&mut self.wishes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many layers an encoder has, once that is known.
    fn layers(&self, encoder: &str) -> Option<usize> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner).get(encoder).copied()
    }

    fn know_layers(&self, encoder: &'static str, layers: usize) {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner).insert(encoder, layers);
    }

    /// Refuses a body by the length that its head tells.
    fn expect(&self, announced: Option<u64>, most: u64) -> Result<()> {
        match announced.filter(|length| *length > most) {
            Some(length) => {
                let option = if most == self.options.max_video { "--max-video" } else { "--max-body" };
                let detail = format!("the body has {length} bytes, at most {most} are taken ({option})");
                Err(Problem::new(Code::TooLarge, detail))
            }
            None => Ok(()),
        }
    }

    /// Room for an upload that will lie in memory.
    async fn upload_room(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.uploads).acquire_many_owned(permits(bytes));
        match tokio::time::timeout(self.options.time_limit, room).await {
            Ok(permit) => permit.map_err(Problem::internal),
            Err(_) => Err(Problem::new(Code::Busy, "other uploads have not left room for this one").retry_after(5)),
        }
    }

    /// A frame of a video, decoded.
    fn frame(&self, item: &Arc<Item>, frame: usize) -> Result<Arc<Picture>> {
        if let Some(picture) = self.store.frame(&item.id, frame) {
            return Ok(picture);
        }
        let video = item.video()?;
        let loaded = video.frames.photo(frame).map_err(|error| Problem::of_frame(&error))?;
        let picture = Arc::new(Picture::new(Photo::new(loaded, video.colours)));
        self.store.put_frame(&item.id, frame, Arc::clone(&picture));
        Ok(picture)
    }
}
