//! Which prompts a model takes.

use seg_models::registry::{ModelKind, ModelName};
use seg_models::{Point, Prompts};

/// What a model is asked, by kind of prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Clicks on or off the object.
    pub points: bool,
    /// A box.
    pub bbox: bool,
    /// A mask.
    pub mask: bool,
    /// Pi-SAM's clicks on errors of the mask of the box.
    pub refine: bool,
    /// Candidates in place of one mask.
    pub multimask: bool,
}

impl Asked {
    /// Of `prompts`, with the clicks on errors beside them.
    pub fn of(prompts: &Prompts, refine: &[Point]) -> Self {
        Self {
            points: !prompts.points.is_empty(),
            bbox: prompts.bbox.is_some(),
            mask: prompts.mask.is_some(),
            refine: !refine.is_empty(),
            multimask: prompts.multimask,
        }
    }
}

/// What the prompts are called where the user gives them.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// A click.
    pub point: &'static str,
    /// A box.
    pub bbox: &'static str,
    /// A mask.
    pub mask: &'static str,
    /// A click on an error.
    pub refine: &'static str,
    /// Candidates.
    pub multimask: &'static str,
    /// The model.
    pub model: &'static str,
}

impl Words {
    /// The options of the command.
    pub const OPTIONS: Self = Self {
        point: "--point",
        bbox: "--box",
        mask: "--mask",
        refine: "--refine",
        multimask: "--multimask",
        model: "--model",
    };

    /// What a file of prompts has.
    pub const FILE: Self = Self {
        point: "clicks",
        bbox: "a box",
        mask: "a mask",
        refine: "correct clicks",
        multimask: "candidates",
        model: "--model",
    };

    /// The fields of a request.
    pub const FIELDS: Self = Self {
        point: "`points`",
        bbox: "`box`",
        mask: "`mask`",
        refine: "`refine`",
        multimask: "`multimask`",
        model: "`model`",
    };
}

/// Refuses prompts that `model` cannot follow, and a model without the prompts it needs.
///
/// # Errors
/// One line that says what to give instead, in the user's `words`.
pub fn check(model: ModelName, asked: Asked, words: &Words) -> Result<(), String> {
    let Asked { points, bbox, mask, refine, multimask } = asked;
    let Words { point: a_point, bbox: a_box, mask: a_mask, refine: a_refine, multimask: candidates, model: a_model } =
        words;
    let pi_sam = matches!(model, ModelName::PiSam(_));
    let refuse = |given: bool, message: String| if given { Err(message) } else { Ok(()) };
    let needs_prompt = || format!("{model} needs to be told what to cut out: give {a_point}, {a_box} or {a_mask}");
    refuse(refine && !pi_sam, format!("{model} cannot {a_refine}: that is Pi-SAM's way"))?;
    match model.kind() {
        ModelKind::PromptFree => refuse(
            points || bbox || mask || multimask,
            format!(
                "{model} takes no prompts: it cuts out what it was trained to find. To cut out one object, use {a_model} sam+isnet"
            ),
        ),
        ModelKind::TwoStage => {
            refuse(multimask, format!("{model} gives one mask: leave out {candidates}"))?;
            refuse(
                mask && (points || bbox),
                format!("{a_mask} is the coarse mask itself: leave out {a_point} and {a_box}"),
            )?;
            refuse(!(points || bbox || mask), needs_prompt())
        }
        ModelKind::Promptable if pi_sam => {
            refuse(
                points,
                format!(
                    "{model}'s clicks correct the mask of a box: give {a_box}, and {a_refine} instead of {a_point}"
                ),
            )?;
            refuse(multimask, format!("{model} gives one mask: leave out {candidates}"))?;
            refuse(!(bbox || mask), format!("{model} begins with a box: give {a_box}, or {a_mask} to take its extent"))
        }
        ModelKind::Referring => Err(format!(
            "{model} looks for what a sentence says, in a video: hrseg track FRAMES --model {model} --text ..."
        )),
        ModelKind::Promptable => refuse(!(points || bbox || mask), needs_prompt()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_prompts() {
        let none = Asked::default();
        let click = Asked { points: true, ..none };
        let boxed = Asked { bbox: true, ..none };
        let refined = Asked { refine: true, ..boxed };
        let told = |model: &str, asked| check(model.parse().unwrap(), asked, &Words::FIELDS);
        for (model, asked) in [
            ("mobile-sam", click),
            ("mobile-sam", Asked { multimask: true, ..boxed }),
            ("sam+isnet", click),
            ("sam+isnet", Asked { mask: true, ..none }),
            ("is-net", none),
            ("pi-sam-b", refined),
        ] {
            assert_eq!(told(model, asked), Ok(()), "{model} {asked:?}");
        }
        for (model, asked, word) in [
            ("mobile-sam", none, "`points`"),
            ("mobile-sam", refined, "`refine`"),
            ("is-net", boxed, "`model` sam+isnet"),
            ("sam+isnet", Asked { mask: true, ..click }, "`mask` is the coarse mask"),
            ("sam+isnet", Asked { multimask: true, ..click }, "`multimask`"),
            ("pi-sam-b", click, "`refine` instead of `points`"),
            ("pi-sam-b", none, "`box`"),
            ("mpg-sam2", none, "sentence"),
        ] {
            let message = told(model, asked).unwrap_err();
            assert!(message.contains(word), "{model} {asked:?}: {message}");
        }
    }
}
