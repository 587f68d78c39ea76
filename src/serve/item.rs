//! What a client has sent, and what was found in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use seg_data::{Frames, GrayImage, Rle};
use seg_models::registry::ModelName;
use seg_models::{MaskCleanup, Prompts};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::ids;
use super::problem::{Problem, Result};
use crate::pipeline::{Colours, Photo};

/// Most results of an image or video that are remembered; of more the oldest are forgotten.
const MOST_RESULTS: usize = 20_000;

/// What a picture is made of: two of the same share their embeddings.
pub type Fingerprint = [u8; 32];

/// A picture in memory: an image, or a frame of a video.
#[derive(Debug)]
pub struct Picture {
    pub photo: Photo,
    pub fingerprint: Fingerprint,
}

/// An image or a video.
#[derive(Debug)]
pub struct Item {
    pub id: String,
    pub what: What,
    used: Mutex<Instant>,
    found: Mutex<Found>,
}

/// Which of the two.
#[derive(Debug)]
pub enum What {
    Image(Arc<Picture>),
    Video(Box<Video>),
}

/// A video's frames, decoded when they are asked for.
#[derive(Debug)]
pub struct Video {
    pub frames: Frames,
    pub colours: Colours,
    pub size: (u32, u32),
    pub fps: Option<f64>,
    /// Where frames lie that were sent one by one; deleted with this.
    pub _folder: Option<TempDir>,
}

#[derive(Debug, Default)]
struct Found {
    results: HashMap<String, Arc<Kept>>,
    /// From the oldest.
    order: std::collections::VecDeque<String>,
    truths: HashMap<String, Arc<Truth>>,
}

/// A mask that an answer named.
#[derive(Debug)]
pub struct Kept {
    pub id: String,
    pub frame: usize,
    /// What is inside.
    pub rle: Rle,
    /// How to have its probabilities again, of soft ones.
    pub soft: Option<Recipe>,
}

/// What was asked to get a mask.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub model: ModelName,
    /// Without their mask.
    pub prompts: Prompts,
    pub mask: Option<Rle>,
    pub cleanup: MaskCleanup,
}

/// A true mask.
#[derive(Debug)]
pub struct Truth {
    pub frame: usize,
    pub levels: GrayImage,
}

impl Picture {
    pub fn new(photo: Photo) -> Self {
        let seen = photo.seen();
        let mut digest = Sha256::new();
        digest.update(seen.width().to_le_bytes());
        digest.update(seen.as_raw());
        Self { fingerprint: digest.finalize().into(), photo }
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> u64 {
        let Photo { loaded, .. } = &self.photo;
        let own = loaded.image.as_raw().len() + loaded.alpha.as_ref().map_or(0, |alpha| alpha.as_raw().len());
        let converted = if std::ptr::eq(self.photo.seen(), &raw const loaded.image) { 0 } else { loaded.image.len() };
        (own + converted) as u64
    }
}

impl Item {
    pub fn new(what: What) -> Self {
        Self { id: ids::id(), what, used: Mutex::new(Instant::now()), found: Mutex::default() }
    }

    /// The video that it is.
    ///
    /// # Errors
    /// When it is an image.
    pub fn video(&self) -> Result<&Video> {
        match &self.what {
            What::Video(video) => Ok(video),
            What::Image(_) => Err(Problem::unknown_id("video")),
        }
    }

    /// Memory that it takes at first.
    pub fn bytes(&self) -> u64 {
        match &self.what {
            What::Image(picture) => picture.bytes(),
            // names of files
            What::Video(video) => 256 * video.frames.len() as u64,
        }
    }

    /// Somebody asks about it.
    pub fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When somebody did.
    pub fn used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a mask: its name, and the memory that it takes.
    pub fn keep(&self, frame: usize, rle: Rle, soft: Option<Recipe>) -> (String, u64) {
        let bytes = 4 * rle.counts().len() + soft.as_ref().map_or(0, |recipe| recipe.bytes()) + 256;
        let kept = Arc::new(Kept { id: ids::id(), frame, rle, soft });
        let id = kept.id.clone();
        let mut found = self.found();
        found.order.push_back(id.clone());
        found.results.insert(id.clone(), kept);
        if found.order.len() > MOST_RESULTS
            && let Some(oldest) = found.order.pop_front()
        {
            found.results.remove(&oldest);
        }
        (id, bytes as u64)
    }

    /// A mask of a frame by its name.
    pub fn kept(&self, frame: usize, id: &str) -> Option<Arc<Kept>> {
        self.found().results.get(id).filter(|kept| kept.frame == frame).cloned()
    }

    /// Remembers a truth: its name.
    pub fn keep_truth(&self, frame: usize, levels: GrayImage) -> String {
        let id = ids::id();
        self.found().truths.insert(id.clone(), Arc::new(Truth { frame, levels }));
        id
    }

    /// A truth of a frame by its name.
    pub fn truth(&self, frame: usize, id: &str) -> Option<Arc<Truth>> {
        self.found().truths.get(id).filter(|truth| truth.frame == frame).cloned()
    }
}

impl Recipe {
    fn bytes(&self) -> usize {
        self.mask.as_ref().map_or(0, |mask| 4 * mask.counts().len()) + 16 * self.prompts.points.len()
    }
}
