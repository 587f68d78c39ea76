//! What procedural pictures are made of, as a TOML file says it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::background::Ground;
use super::colours::Colour;
use super::kinds::Kind;
use super::sentence::COLOURS;

/// A number, or a range that it is drawn from anew for each picture: in TOML `3` or `[1, 4]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Given", into = "[f64; 2]")]
pub struct Span {
    /// The least.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number, or a range as [low, high]")]
enum Given {
    One(f64),
    Two([f64; 2]),
}

impl From<Given> for Span {
    fn from(given: Given) -> Self {
        match given {
            Given::One(value) => Self::new(value, value),
            Given::Two([low, high]) => Self::new(low, high),
        }
    }
}

impl From<Span> for [f64; 2] {
    fn from(span: Span) -> Self {
        [span.low, span.high]
    }
}

impl Span {
    /// From `low` to `high`.
    pub const fn new(low: f64, high: f64) -> Self {
        Self { low, high }
    }
}

/// What a model is to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// One object a picture, no prompt.
    Salient,
    /// Several objects, of which a prompt means one.
    Prompted,
}

/// What procedural pictures are made of. Every key may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spec {
    /// What is to be learnt.
    pub task: Task,
    /// The longer side in pixels, 32 to 4096.
    pub size: Span,
    /// Width by height, 0.25 to 4.
    pub aspect: Span,
    /// How many objects, 1 to 12; a `salient` picture has one.
    pub objects: Span,
    /// How large an object is: the longer side of its box before it is turned, as a part of the picture's shorter side, 0.05 to 2.
    pub extent: Span,
    /// Width of thin parts (wires, bars, twigs, threads) in pixels, 0.5 to 32.
    pub thin: Span,
    /// How often which kind, as weights.
    pub kinds: BTreeMap<Kind, f64>,
    /// How often which background, as weights.
    pub backgrounds: BTreeMap<Ground, f64>,
    /// The part of objects whose colours are those of what lies behind them, nearly.
    pub alike: f64,
    /// The part of objects that cast a shadow.
    pub shadow: f64,
    /// How far edges of objects fade, in pixels of deviation, 0 to 8; the mask fades with them.
    pub softness: Span,
    /// How much the background is out of focus, in pixels of deviation, 0 to 32.
    pub defocus: Span,
    /// How blurred the finished picture is, in pixels of deviation, 0 to 8; the mask stays sharp.
    pub blur: Span,
    /// Noise of the finished picture, in levels of deviation, 0 to 64.
    pub noise: Span,
    /// The part of pictures that went through JPEG.
    pub compressed: f64,
    /// With which quality, 1 to 100.
    pub quality: Span,
    /// A folder of photos for `backgrounds.photo`.
    pub background_photos: Option<PathBuf>,
    /// A folder of images with transparency for `kinds.cutout`.
    pub cutouts: Option<PathBuf>,
    /// How a `prompted` picture's prompts are made.
    pub prompt: PromptSpec,
    /// How clips are made.
    pub clip: ClipSpec,
}

/// How prompts are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptSpec {
    /// The part of prompts with a box.
    pub boxes: f64,
    /// By how much of its size an edge of the box is moved at most, 0 to 0.5.
    pub jitter: f64,
    /// How many clicks on the object, 0 to 32.
    pub positive: Span,
    /// How many beside it, 0 to 32.
    pub negative: Span,
    /// The part of prompts with a coarse mask.
    pub coarse: f64,
}

/// How clips are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClipSpec {
    /// How many frames, 1 to 256.
    pub frames: Span,
    /// How many shapes, 1 to 12.
    pub shapes: Span,
    /// The part of clips in which what is meant leaves the picture.
    pub leaving: f64,
    /// The part of clips in which another shape has both the colour and the kind of what is meant.
    pub twins: f64,
    /// Colours that shapes have: at least two of the eight that nobody takes for one another.
    #[serde(skip_serializing_if = "all_colours")]
    pub colours: Vec<Colour>,
}

/// So that specifications of before have the digest of before.
fn all_colours(colours: &[Colour]) -> bool {
    colours == COLOURS
}

impl Default for ClipSpec {
    fn default() -> Self {
        Self {
            frames: Span::new(8., 8.),
            shapes: Span::new(2., 5.),
            leaving: 0.15,
            twins: 1.,
            colours: COLOURS.to_vec(),
        }
    }
}

impl Default for PromptSpec {
    fn default() -> Self {
        Self { boxes: 1., jitter: 0.08, positive: Span::new(1., 3.), negative: Span::new(0., 2.), coarse: 1. }
    }
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            task: Task::Salient,
            size: Span::new(512., 512.),
            aspect: Span::new(1., 1.),
            objects: Span::new(2., 5.),
            extent: Span::new(0.5, 1.1),
            thin: Span::new(1., 4.),
            kinds: Kind::DRAWN.into_iter().map(|kind| (kind, 1.)).collect(),
            backgrounds: Ground::DRAWN.into_iter().map(|ground| (ground, 1.)).collect(),
            alike: 0.25,
            shadow: 0.4,
            softness: Span::new(0., 0.8),
            defocus: Span::new(0., 3.),
            blur: Span::new(0., 0.8),
            noise: Span::new(0., 8.),
            compressed: 0.5,
            quality: Span::new(50., 95.),
            background_photos: None,
            cutouts: None,
            prompt: PromptSpec::default(),
            clip: ClipSpec::default(),
        }
    }
}

impl Spec {
    /// The names that [`named`](Self::named) knows.
    pub const NAMES: [&'static str; 7] = ["thin", "objects", "plain", "scenes", "clips", "words", "pairs"];

    /// One of the specifications that come with the crate.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "thin" => Some(Self::thin()),
            "objects" => Some(Self::objects()),
            "plain" => Some(Self::plain()),
            "scenes" => Some(Self::scenes()),
            "clips" => Some(Self::clips()),
            "words" => Some(Self::words()),
            "pairs" => Some(Self::pairs()),
            _ => None,
        }
    }

    /// Fine structures that fill the picture, for models that find the object by themselves.
    pub fn thin() -> Self {
        use Kind::{Branches, Fence, Hair, Lattice, Leaves, Net, Spokes, Text, Wires};
        let kinds = [Lattice, Wires, Fence, Hair, Leaves, Spokes, Net, Branches].map(|kind| (kind, 1.));
        let kinds = kinds.into_iter().chain([(Text, 0.3)]).collect();
        Self { size: Span::new(1024., 1024.), extent: Span::new(0.7, 1.3), kinds, ..Self::default() }
    }

    /// Several objects over each other, for promptable models.
    pub fn objects() -> Self {
        Self { task: Task::Prompted, extent: Span::new(0.25, 0.65), ..Self::default() }
    }

    /// Two or three plain shapes of which one is meant: what a small promptable model learns in minutes.
    pub fn scenes() -> Self {
        let (objects, extent) = (Span::new(2., 3.), Span::new(0.25, 0.6));
        Self { task: Task::Prompted, objects, extent, ..Self::plain() }
    }

    /// One plain shape on a calm background, sharp and without noise: what a small model learns in minutes.
    pub fn plain() -> Self {
        use Kind::{Blob, Disc, Polygon, Ring, Star};
        Self {
            size: Span::new(128., 128.),
            extent: Span::new(0.35, 0.9),
            kinds: [Disc, Ring, Polygon, Star, Blob].map(|kind| (kind, 1.)).into_iter().collect(),
            backgrounds: [Ground::Noise, Ground::Gradient].map(|ground| (ground, 1.)).into_iter().collect(),
            alike: 0.,
            noise: Span::new(0., 3.),
            compressed: 0.,
            ..Self::default()
        }
    }

    /// Two or three shapes, sharp, over a smooth background: what a small model learns the words of its sentences on.
    pub fn words() -> Self {
        let none = Span::new(0., 0.);
        let clips = Self::clips();
        Self {
            backgrounds: [(Ground::Gradient, 1.)].into_iter().collect(),
            softness: none,
            blur: none,
            clip: ClipSpec { shapes: Span::new(2., 3.), twins: 0.3, ..clips.clip },
            ..clips
        }
    }

    /// [`Spec::words`] of two shapes, none with the colour and the kind of the other: what a small model learns its first words on.
    pub fn pairs() -> Self {
        let words = Self::words();
        Self { clip: ClipSpec { shapes: Span::new(2., 2.), twins: 0., ..words.clip }, ..words }
    }

    /// Two to four shapes that move over a calm background, in short clips: what a small model learns to follow a sentence on.
    pub fn clips() -> Self {
        Self {
            size: Span::new(128., 128.),
            backgrounds: [Ground::Noise, Ground::Gradient].map(|ground| (ground, 1.)).into_iter().collect(),
            shadow: 0.,
            noise: Span::new(0., 3.),
            compressed: 0.,
            clip: ClipSpec {
                frames: Span::new(4., 4.),
                shapes: Span::new(2., 4.),
                leaving: 0.,
                twins: 0.5,
                ..ClipSpec::default()
            },
            ..Self::default()
        }
    }
}
