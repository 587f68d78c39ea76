//! Whether pictures can be made of a specification.

use std::collections::HashSet;

use super::background::Ground;
use super::colours::Colour;
use super::kinds::Kind;
use super::sentence::COLOURS;
use super::spec::{Span, Spec, Task};
use crate::error::one_line;
use crate::{DataError, Result};

impl Spec {
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
            ("clip.twins", self.clip.twins),
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
        let colours = &self.clip.colours;
        let known = |colour: &Colour| COLOURS.contains(colour);
        if colours.iter().collect::<HashSet<_>>().len() != colours.len().max(2) || !colours.iter().all(known) {
            let names = COLOURS.map(Colour::name).join(", ");
            return Err(check.wrong(
                "clip.colours",
                format!("{colours:?}"),
                format!("two or more of {names}, each once"),
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
    fn wrong(&self, key: &str, found: impl Into<Box<str>>, expected: impl Into<Box<str>>) -> DataError {
        DataError::Spec { name: self.name.into(), key: key.into(), found: found.into(), expected: expected.into() }
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
