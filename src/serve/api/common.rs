//! What requests name: pictures, masks, clicks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use seg_data::rle::CocoRle;
use seg_data::{GrayImage, Rle};
use seg_models::registry::ModelName;
use seg_models::{ImageEmbedding, Point};
use serde::{Deserialize, Serialize};

use crate::pipeline::{Photo, Pipeline};
use crate::serve::App;
use crate::serve::events::{Stage, Teller};
use crate::serve::item::{Fingerprint, Item, Kept, Picture, What};
use crate::serve::problem::{Code, Problem, Result};
use crate::serve::queue::Turn;
use crate::serve::route::Ctx;
use crate::serve::steps::counted;

/// Most clicks of one request.
const MOST_CLICKS: usize = 256;

/// A mask in COCO's compressed form.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunLengths {
    /// Height and width in pixels.
    pub size: [u32; 2],
    /// The compressed string.
    pub counts: String,
}

impl From<&Rle> for RunLengths {
    fn from(rle: &Rle) -> Self {
        let CocoRle { size, counts } = rle.to_coco();
        Self { size, counts }
    }
}

impl RunLengths {
    /// Read, of at most `most` pixels.
    pub fn read(&self, most: u64) -> Result<Rle> {
        let [height, width] = self.size;
        if u64::from(height) * u64::from(width) > most || height == 0 || width == 0 {
            let detail = format!("the mask is {width}x{height}, expected 1 to {most} pixels (--max-pixels)");
            return Err(Problem::new(Code::InvalidPrompt, detail).at("mask.rle.size"));
        }
        Rle::from_string(&self.counts, width, height)
            .map_err(|error| Problem::new(Code::InvalidPrompt, error.to_string()).at("mask.rle"))
    }
}

/// A mask that is sent, or that an earlier answer gave.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MaskRef {
    /// The mask itself.
    Rle(RunLengths),
    /// The name of a result.
    Result(String),
}

/// A click: x, y, and 1 (on the object) or 0 (not on it).
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub struct Click(f32, f32, u8);

/// Clicks as models take them.
pub fn clicks(given: &[Click], field: &str) -> Result<Vec<Point>> {
    if given.len() > MOST_CLICKS {
        let detail = format!("{} clicks, expected at most {MOST_CLICKS}", given.len());
        return Err(Problem::new(Code::InvalidPrompt, detail).at(field));
    }
    let click = |(i, &Click(x, y, label)): (usize, &Click)| match label {
        0 | 1 => Ok(Point { x, y, positive: label == 1 }),
        _ => {
            let detail = format!("label {label}, expected 1 (on the object) or 0 (not on it)");
            Err(Problem::new(Code::InvalidRequest, detail).at(format!("{field}[{i}][2]")))
        }
    };
    given.iter().enumerate().map(click).collect()
}

/// The picture that a request is about.
#[derive(Clone)]
pub struct Seen {
    pub item: Arc<Item>,
    /// 0 of images.
    pub frame: usize,
    pub picture: Arc<Picture>,
}

impl<Q> Ctx<Q> {
    /// The image or video that the path names.
    ///
    /// # Errors
    /// When it is not there (any more).
    pub fn item(&self, video: bool) -> Result<Arc<Item>> {
        let found = self.app.store.item(self.param("id"));
        let right = |item: &Arc<Item>| matches!(item.what, What::Video(_)) == video;
        let what = if video { "video" } else { "image" };
        found.filter(right).ok_or_else(|| Problem::unknown_id(what))
    }

    /// The image or frame that the path names, decoded.
    ///
    /// # Errors
    /// When it is not there (any more), or the frame cannot be read.
    pub async fn picture(&self) -> Result<Seen> {
        let Some(n) = self.params.get("n") else {
            let item = self.item(false)?;
            let What::Image(picture) = &item.what else { return Err(Problem::unknown_id("image")) };
            let picture = Arc::clone(picture);
            return Ok(Seen { item, frame: 0, picture });
        };
        let item = self.item(true)?;
        let video = item.video()?;
        let frame = n.parse().ok().filter(|frame: &usize| *frame < video.frames.len());
        let frame = frame.ok_or_else(|| {
            let last = video.frames.len() - 1;
            Problem::new(Code::UnknownId, format!("there is no such frame, expected 0 to {last}"))
        })?;
        let (app, of) = (Arc::clone(&self.app), Arc::clone(&item));
        let picture = match self.app.store.frame(&item.id, frame) {
            Some(picture) => picture,
            None => self.aside(move || app.frame(&of, frame)).await?,
        };
        Ok(Seen { item, frame, picture })
    }
}

/// How an embedding came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Computed,
    Cached,
    Joined,
}

/// A request's wish for an embedding: while it lives, others that wish the same are said to join it.
pub struct Wish {
    app: App,
    key: (Fingerprint, &'static str),
    joined: bool,
}

impl Wish {
    pub fn new(app: &App, picture: &Picture, encoder: ModelName) -> Self {
        let key = (picture.fingerprint, encoder.as_str());
        let joined = app.wishes(|wishes| {
            let number = wishes.entry(key).or_insert(0);
            *number += 1;
            *number > 1
        });
        Self { app: Arc::clone(app), key, joined }
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        self.app.wishes(|wishes| {
            if let Some(number) = wishes.get_mut(&self.key) {
                *number -= 1;
                if *number == 0 {
                    wishes.remove(&self.key);
                }
            }
        });
    }
}

/// What is being done while an image is encoded.
const ENCODING: &str = "encoding";

/// The embedding that is wished for, from the cache or computed, and how long that took.
pub fn embedding(
    wish: &Wish,
    turn: &Turn,
    pipeline: &Pipeline,
    photo: &Photo,
    teller: &Teller,
) -> Result<(Arc<ImageEmbedding>, Outcome, Duration)> {
    let Wish { app, key: (picture, encoder), joined } = wish;
    turn.check().inspect_err(|_| app.figures.embedding(encoder, "cancelled"))?;
    if let Some(embedding) = app.store.embedding(*picture, encoder) {
        let outcome = if *joined { Outcome::Joined } else { Outcome::Cached };
        app.figures.embedding(encoder, if *joined { "joined" } else { "cached" });
        return Ok((embedding, outcome, Duration::ZERO));
    }
    let (_, model) = pipeline.encoder().ok_or_else(|| Problem::internal("a model without an encoder was to encode"))?;
    teller.stage(&Stage::new(ENCODING))?;
    let start = Instant::now();
    // how many layers there are, the first picture tells
    let (all, line) = (app.layers(encoder), teller.clone());
    let tell = move |begun: usize| {
        // who has gone away is found out where the work is done
        let _ = line.stage(&Stage { done: Some(begun), of: all, ..Stage::new(ENCODING) });
    };
    let (embedding, layers) = counted(tell, || model.embed(photo.seen()));
    let embedding = Arc::new(embedding?);
    let took = start.elapsed();
    app.know_layers(encoder, layers);
    app.figures.embedding(encoder, "computed");
    app.figures.embedded(encoder, took);
    app.store.put_embedding(*picture, encoder, Arc::clone(&embedding));
    Ok((embedding, Outcome::Computed, took))
}

/// The mask that is meant, of any size.
///
/// # Errors
/// A result that is not there, runs that are none.
pub fn referred(app: &App, item: &Item, frame: usize, mask: &MaskRef) -> Result<Referred> {
    match mask {
        MaskRef::Rle(runs) => runs.read(app.options.decode.max_pixels).map(Referred::Sent),
        MaskRef::Result(id) => item.kept(frame, id).map(Referred::Kept).ok_or_else(|| Problem::unknown_id("result")),
    }
}

/// A mask that a request means.
pub enum Referred {
    Sent(Rle),
    Kept(Arc<Kept>),
}

impl Referred {
    /// What is inside.
    pub fn rle(&self) -> &Rle {
        match self {
            Self::Sent(rle) => rle,
            Self::Kept(kept) => &kept.rle,
        }
    }

    /// The same, without the result around it.
    pub fn into_rle(self) -> Rle {
        match self {
            Self::Sent(rle) => rle,
            Self::Kept(kept) => kept.rle.clone(),
        }
    }

    /// A mask of exactly this size.
    ///
    /// # Errors
    /// When it has another.
    pub fn of_size(self, size: (u32, u32)) -> Result<Self> {
        let found = self.rle().dimensions();
        if found == size {
            return Ok(self);
        }
        let detail = format!(
            "the mask is {}x{} pixels, expected the size of the image, {}x{}",
            found.0, found.1, size.0, size.1
        );
        Err(Problem::new(Code::InvalidPrompt, detail).at("mask"))
    }
}

/// 255 inside, 0 outside.
pub fn picture_of(rle: &Rle) -> GrayImage {
    let (width, height) = rle.dimensions();
    let mut levels = rle.decode();
    levels.iter_mut().for_each(|level| *level *= 255);
    GrayImage::from_raw(width, height, levels).unwrap_or_default()
}
