//! What is told about two stages that do not show the same object.

use seg_models::dis_sam::{Refinement, Source, Verdict};
use serde::Serialize;

/// How the two stages agreed.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct StagesRecord {
    /// Whose answer the exact mask is: `both`, `second` (what it sees in the box), `first` (the coarse mask as it is),
    /// `one-object` (all that the second stage sees in a photo of one object).
    answer: &'static str,
    /// Intersection over union of the coarse mask and what the second stage sees.
    agreement: f64,
    /// Position among the first stage's outputs; null for a mask that was given, or that it was asked for anew.
    candidate: Option<usize>,
    /// The agreement of the first stage's likeliest mask, where that was passed over because it does not agree.
    passed_over: Option<f64>,
}

impl StagesRecord {
    /// None of models whose second stage takes the coarse mask as it comes.
    pub fn new(refined: &Refinement) -> Option<Self> {
        let Verdict { source, agreement, passed_over } = refined.verdict?;
        let answer = match source {
            Source::Both => "both",
            Source::SecondStage => "second",
            Source::FirstStage => "first",
            Source::OneObject => "one-object",
        };
        Some(Self { answer, agreement, candidate: refined.coarse.candidate, passed_over })
    }
}

/// What to tell of the coarse mask in the line for a person.
pub fn told(refined: &Refinement) -> String {
    match refined.verdict.map(|verdict| verdict.source) {
        Some(Source::FirstStage) => "the coarse mask as it is".to_owned(),
        Some(Source::SecondStage) => "the second stage's mask".to_owned(),
        Some(Source::OneObject) => "the photo shows one object: the second stage's mask".to_owned(),
        _ => format!("{:.0} % of the coarse mask's shape kept", 100.0 * refined.agreement()),
    }
}

/// What to tell where the stages disagree. `first` is the first stage's name, none where its mask was given.
pub fn disagreement(refined: &Refinement, first: Option<&str>) -> Option<String> {
    let Verdict { source, agreement, passed_over } = refined.verdict?;
    let found = first.map_or("the given mask".to_owned(), |name| format!("what {name} finds"));
    let told = match (source, passed_over) {
        (Source::Both | Source::OneObject, None) => return None,
        (Source::OneObject, Some(_)) => {
            let name = first.unwrap_or("the first stage");
            return Some(format!(
                "the photo shows one object; all of it is taken, not the part of it that {name} holds likeliest (a box, or a \
                 click with 0 on the rest, picks a part)"
            ));
        }
        (Source::Both, Some(passed_over)) => {
            let taken = match refined.coarse.candidate {
                Some(index) => format!("its mask {index}"),
                None => "what it finds in the box of that".to_owned(),
            };
            format!(
                "{}'s likeliest mask is not what IS-Net sees (IoU {passed_over:.2}); {taken} is taken (IoU {agreement:.2})",
                first.unwrap_or("the first stage")
            )
        }
        (Source::SecondStage, _) => {
            format!("{found} is not what IS-Net sees in the box (IoU {agreement:.2}); what IS-Net sees there is taken")
        }
        (Source::FirstStage, _) => {
            format!("IS-Net does not see {found} (IoU {agreement:.2}); the coarse mask is taken as it is")
        }
    };
    Some(format!("the stages disagree: {told}"))
}
