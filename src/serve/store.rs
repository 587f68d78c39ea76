//! What clients have sent and what was computed of it, within a bound of bytes and an age.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use seg_data::GrayImage;
use seg_models::ImageEmbedding;

use super::cache::Cache;
use super::figures::Figures;
use super::item::{Fingerprint, Item, Picture};

/// Under which name something is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Item(String),
    /// A decoded frame of a video.
    Frame(String, usize),
    /// By the name of the model that encodes.
    Embedding(Fingerprint, &'static str),
    /// Probabilities of an item's result.
    Levels(String, String),
}

#[derive(Debug)]
enum Value {
    Item(Arc<Item>),
    Frame(Arc<Picture>),
    Embedding(Arc<ImageEmbedding>),
    Levels(Arc<GrayImage>),
}

/// What is kept, for the figures.
pub const KINDS: [&str; 4] = ["image", "frame", "embedding", "result"];

impl Key {
    fn kind(&self) -> &'static str {
        match self {
            Self::Item(_) => KINDS[0],
            Self::Frame(..) => KINDS[1],
            Self::Embedding(..) => KINDS[2],
            Self::Levels(..) => KINDS[3],
        }
    }

    /// Whether it is worth nothing without the item.
    fn is_of(&self, item: &str) -> bool {
        matches!(self, Self::Frame(id, _) | Self::Levels(id, _) if id == item)
    }
}

/// Everything that is kept.
#[derive(Debug)]
pub struct Store {
    cache: Mutex<Cache<Key, Value>>,
    keep: Duration,
    figures: Arc<Figures>,
}

impl Store {
    /// Of `most` bytes, each item for `keep` after it was last used.
    pub fn new(most: u64, keep: Duration, figures: Arc<Figures>) -> Self {
        Self { cache: Mutex::new(Cache::new(most)), keep, figures }
    }

    fn cache(&self) -> MutexGuard<'_, Cache<Key, Value>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a client has sent.
    pub fn insert(&self, item: Item) -> Arc<Item> {
        let item = Arc::new(item);
        let bytes = item.bytes();
        self.put(Key::Item(item.id.clone()), Value::Item(Arc::clone(&item)), bytes);
        item
    }

    /// What is called `id`; asking keeps it alive.
    pub fn item(&self, id: &str) -> Option<Arc<Item>> {
        let key = Key::Item(id.to_owned());
        let mut cache = self.cache();
        let Value::Item(item) = cache.get(&key)? else { return None };
        let item = Arc::clone(item);
        if item.used().elapsed() > self.keep {
            drop(cache);
            self.remove(id);
            return None;
        }
        item.touch();
        Some(item)
    }

    /// Forgets an item and what hangs on it; whether it was there.
    pub fn remove(&self, id: &str) -> bool {
        let mut cache = self.cache();
        let there = cache.remove(&Key::Item(id.to_owned()));
        let gone = cache.remove_where(|key| key.is_of(id));
        drop(cache);
        // memory and folders of videos are given back without the lock
        drop(gone);
        there.is_some()
    }

    /// Forgets what is too old.
    pub fn sweep(&self) {
        let now = Instant::now();
        let cache = self.cache();
        let keys: Vec<Key> = cache.sizes().map(|(key, _)| key.clone()).collect();
        drop(cache);
        for key in keys {
            let Key::Item(id) = key else { continue };
            let key = Key::Item(id.clone());
            let old = match self.cache().peek(&key) {
                Some(Value::Item(item)) => now.saturating_duration_since(item.used()) > self.keep,
                _ => false,
            };
            if old {
                self.remove(&id);
            }
        }
    }

    fn put(&self, key: Key, value: Value, bytes: u64) {
        let gone = self.cache().put(key, value, bytes);
        self.lost(gone);
    }

    /// An item takes so much more.
    pub fn grow(&self, id: &str, bytes: u64) {
        let gone = self.cache().grow(&Key::Item(id.to_owned()), bytes);
        self.lost(gone);
    }

    fn lost(&self, gone: Vec<(Key, Value)>) {
        for (key, value) in gone {
            self.figures.evicted(key.kind());
            if let Key::Item(id) = &key {
                drop(self.cache().remove_where(|key| key.is_of(id)));
            }
            drop(value);
        }
    }

    /// A frame that is decoded.
    pub fn frame(&self, id: &str, frame: usize) -> Option<Arc<Picture>> {
        match self.cache().get(&Key::Frame(id.to_owned(), frame))? {
            Value::Frame(picture) => Some(Arc::clone(picture)),
            _ => None,
        }
    }

    /// Keeps a frame.
    pub fn put_frame(&self, id: &str, frame: usize, picture: Arc<Picture>) {
        let bytes = picture.bytes();
        self.put(Key::Frame(id.to_owned(), frame), Value::Frame(picture), bytes);
    }

    /// What `model` has seen in a picture.
    pub fn embedding(&self, picture: Fingerprint, model: &'static str) -> Option<Arc<ImageEmbedding>> {
        match self.cache().get(&Key::Embedding(picture, model))? {
            Value::Embedding(embedding) => Some(Arc::clone(embedding)),
            _ => None,
        }
    }

    /// Keeps it.
    pub fn put_embedding(&self, picture: Fingerprint, model: &'static str, embedding: Arc<ImageEmbedding>) {
        let bytes = embedding.bytes() as u64;
        self.put(Key::Embedding(picture, model), Value::Embedding(embedding), bytes);
    }

    /// The probabilities of a soft result.
    pub fn levels(&self, id: &str, result: &str) -> Option<Arc<GrayImage>> {
        match self.cache().get(&Key::Levels(id.to_owned(), result.to_owned()))? {
            Value::Levels(levels) => Some(Arc::clone(levels)),
            _ => None,
        }
    }

    /// Keeps them.
    pub fn put_levels(&self, id: &str, result: &str, levels: Arc<GrayImage>) {
        let bytes = levels.as_raw().len() as u64;
        self.put(Key::Levels(id.to_owned(), result.to_owned()), Value::Levels(levels), bytes);
    }

    /// Seconds that an item stays after it was used.
    pub fn expires_in(&self) -> u64 {
        self.keep.as_secs()
    }

    /// Bytes by kind, and how many images and videos there are.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        let cache = self.cache();
        for (key, bytes) in cache.sizes() {
            let kind = KINDS.iter().position(|kind| *kind == key.kind()).unwrap_or(0);
            census.bytes[kind] += bytes;
            if let (Key::Item(_), Some(Value::Item(item))) = (key, cache.peek(key)) {
                match item.what {
                    super::item::What::Image(_) => census.images += 1,
                    super::item::What::Video(_) => census.videos += 1,
                }
            }
        }
        census
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// In the order of [`KINDS`].
    pub bytes: [u64; KINDS.len()],
    pub images: usize,
    pub videos: usize,
}
