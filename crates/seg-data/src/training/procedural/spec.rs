//! What procedural pictures are made of, as a TOML file says it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::background::Ground;
use super::kinds::Kind;
use crate::error::one_line;
use crate::{DataError, Result};

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
}

impl Default for ClipSpec {
    fn default() -> Self {
        Self { frames: Span::new(8., 8.), shapes: Span::new(2., 5.), leaving: 0.15 }
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
    pub const NAMES: [&'static str; 3] = ["thin", "objects", "plain"];

    /// One of the specifications that come with the crate.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "thin" => Some(Self::thin()),
            "objects" => Some(Self::objects()),
            "plain" => Some(Self::plain()),
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

    /// Reads and checks a TOML text; `name` is what messages call it.
    ///
    /// # Errors
    /// Text that is not TOML, unknown keys, values of another type or out of range.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let spec: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            DataError::SpecText { name: name.to_owned(), line, reason: one_line(e.message()) }
        })?;
        spec.check(name)?;
        Ok(spec)
    }

    /// Whether pictures can be made of it.
    ///
    /// # Errors
    /// Values out of range, kinds and backgrounds without a weight above 0 or without their folder; the message names key, value and what was expected.
    pub fn check(&self, name: &str) -> Result<()> {
        let check = Check { name };
        check.span("size", self.size, 32., 4096.)?;
        check.span("aspect", self.aspect, 0.25, 4.)?;
        check.span("objects", self.objects, 1., 12.)?;
        check.span("extent", self.extent, 0.05, 2.)?;
        check.span("thin", self.thin, 0.5, 32.)?;
        check.span("softness", self.softness, 0., 8.)?;
        check.span("defocus", self.defocus, 0., 32.)?;
        check.span("blur", self.blur, 0., 8.)?;
        check.span("noise", self.noise, 0., 64.)?;
        check.span("quality", self.quality, 1., 100.)?;
        check.span("prompt.positive", self.prompt.positive, 0., 32.)?;
        check.span("prompt.negative", self.prompt.negative, 0., 32.)?;
        check.span("clip.frames", self.clip.frames, 1., 256.)?;
        check.span("clip.shapes", self.clip.shapes, 1., 12.)?;
        let parts = [
            ("clip.leaving", self.clip.leaving),
            ("alike", self.alike),
            ("shadow", self.shadow),
            ("compressed", self.compressed),
            ("prompt.boxes", self.prompt.boxes),
            ("prompt.coarse", self.prompt.coarse),
        ];
        parts.into_iter().try_for_each(|(key, value)| check.between(key, value, 0., 1.))?;
        check.between("prompt.jitter", self.prompt.jitter, 0., 0.5)?;
        check.weights("kinds", self.kinds.iter().map(|(kind, weight)| (kind.name(), *weight)))?;
        check.weights("backgrounds", self.backgrounds.iter().map(|(ground, weight)| (ground.name(), *weight)))?;
        let asks = |weight: Option<&f64>| weight.is_some_and(|weight| *weight > 0.);
        if asks(self.kinds.get(&Kind::Cutout)) && self.cutouts.is_none() {
            return Err(check.wrong(
                "cutouts",
                "not given",
                "a folder of images with transparency, since kinds.cutout is above 0",
            ));
        }
        if asks(self.backgrounds.get(&Ground::Photo)) && self.background_photos.is_none() {
            return Err(check.wrong(
                "background_photos",
                "not given",
                "a folder of photos, since backgrounds.photo is above 0",
            ));
        }
        let prompt = &self.prompt;
        if self.task == Task::Prompted && prompt.boxes < 1. && prompt.coarse < 1. && prompt.positive.low < 1. {
            let found = format!("{:?}, with prompt.boxes and prompt.coarse below 1", <[f64; 2]>::from(prompt.positive));
            return Err(check.wrong("prompt.positive", found, "at least 1, or a box or a coarse mask in each prompt"));
        }
        Ok(())
    }
}

struct Check<'a> {
    name: &'a str,
}

impl Check<'_> {
    fn wrong(&self, key: &str, found: impl Into<String>, expected: impl Into<String>) -> DataError {
        DataError::Spec {
            name: self.name.to_owned(),
            key: key.to_owned(),
            found: found.into(),
            expected: expected.into(),
        }
    }

    fn between(&self, key: &str, value: f64, low: f64, high: f64) -> Result<()> {
        let holds = (low..=high).contains(&value);
        if holds { Ok(()) } else { Err(self.wrong(key, value.to_string(), format!("a number from {low} to {high}"))) }
    }

    fn span(&self, key: &str, span: Span, low: f64, high: f64) -> Result<()> {
        self.between(key, span.low, low, high)?;
        self.between(key, span.high, low, high)?;
        if span.low > span.high {
            let found = format!("[{}, {}]", span.low, span.high);
            return Err(self.wrong(key, found, "the lower number first"));
        }
        Ok(())
    }

    fn weights<'k>(&self, key: &str, weights: impl Iterator<Item = (&'k str, f64)>) -> Result<()> {
        let mut sum = 0.;
        for (name, weight) in weights {
            self.between(&format!("{key}.{name}"), weight, 0., 1e6)?;
            sum += weight;
        }
        if sum > 0. { Ok(()) } else { Err(self.wrong(key, "nothing above 0", "at least one weight above 0")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Spec::parse(text, "spec.toml").unwrap_err().to_string()
    }

    #[test]
    fn specifications_come_back_from_their_text() {
        for spec in Spec::NAMES.iter().map(|name| Spec::named(name).unwrap()).chain([Spec::default()]) {
            spec.check("named").unwrap();
            assert_eq!(Spec::parse(&toml::to_string(&spec).unwrap(), "spec.toml").unwrap(), spec);
        }
        assert_eq!(Spec::named("thick"), None);
        let given =
            Spec::parse("task = \"prompted\"\nthin = 2\nsize = [64, 96.5]\n[kinds]\nnet = 1", "spec.toml").unwrap();
        assert_eq!((given.thin, given.size), (Span::new(2., 2.), Span::new(64., 96.5)));
        assert_eq!((given.task, given.kinds.len(), given.alike), (Task::Prompted, 1, Spec::default().alike));
    }

    #[test]
    fn errors_name_key_value_and_what_was_expected() {
        assert_eq!(error("size = 16"), "spec.toml: `size` is 16; expected a number from 32 to 4096");
        assert_eq!(error("thin = [4, 1]"), "spec.toml: `thin` is [4, 1]; expected the lower number first");
        assert_eq!(error("noise = nan"), "spec.toml: `noise` is NaN; expected a number from 0 to 64");
        assert_eq!(error("[kinds]\nhair = -1"), "spec.toml: `kinds.hair` is -1; expected a number from 0 to 1000000");
        assert_eq!(
            error("[kinds]\nhair = 0"),
            "spec.toml: `kinds` is nothing above 0; expected at least one weight above 0"
        );
        assert!(error("[kinds]\ncutout = 1").contains("`cutouts` is not given; expected a folder"));
        assert!(error("[backgrounds]\nphoto = 1").contains("`background_photos` is not given; expected a folder"));
        let none = error("task = \"prompted\"\n[prompt]\nboxes = 0.5\ncoarse = 0\npositive = [0, 2]");
        assert!(none.contains("`prompt.positive` is [0.0, 2.0], with"), "{none}");
    }

    #[test]
    fn text_that_is_no_specification_is_told_with_its_line() {
        let unknown = error("size = 64\nsoft = 1");
        assert!(unknown.starts_with("spec.toml, line 2: unknown field `soft`, expected one of"), "{unknown}");
        assert!(error("[kinds]\nwire = 1").contains("unknown variant `wire`, expected one of"));
        assert!(error("thin = \"1\"").contains("line 1: expected a number, or a range as [low, high]"));
        assert!(error("size = = 3").starts_with("spec.toml, line 1: "));
    }
}
