//! Clicks, boxes and masks as a user would give them on the frames of a clip (training/model/sam2.py), and what the model makes of them.

use super::ClickPrediction;
use crate::{Result, TrainError};
use candle_core::{DType, Tensor};
use hr_decoders::{PointPrompts, label};
use seg_data::training::Dice;
use seg_models::sam2::video::Sam2VideoModel;
use seg_models::sam2::{Sam2ImageFeatures, SamHeadsOutput};
use seg_ops::Resize;
use std::collections::BTreeSet;
use video_memory::{Direction, MemoryBank, MemoryFrame, Retention};

/// How a user is imitated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interaction {
    /// Part of clips that are prompted by points or boxes; the others by the true mask. Single pictures always are.
    pub points: f64,
    /// Of those, part of frames that begin with a box; the others with a click.
    pub boxes: f64,
    /// Most frames that are prompted at first: the first one, and any others.
    pub first_frames: usize,
    /// Most frames that are corrected by clicks.
    pub corrected_frames: usize,
    /// Clicks on each of them, one after the other, on what is wrong.
    pub corrections: usize,
    /// Part of those clicks that look at the truth alone.
    pub from_truth: f64,
}

impl Interaction {
    /// That of the published fine-tuning (`sam2.1_hiera_b+_MOSE_finetune.yaml`).
    pub const SAM2: Self =
        Self { points: 0.5, boxes: 0.5, first_frames: 2, corrected_frames: 2, corrections: 7, from_truth: 0.1 };
    /// A click on the first frame: what is measured.
    pub const ONE_CLICK: Self =
        Self { points: 1., boxes: 0., first_frames: 1, corrected_frames: 1, corrections: 0, from_truth: 0. };

    /// Who is prompted, and how.
    fn plan(&self, frames: usize, dice: &mut Dice) -> Prompted {
        let single = frames == 1;
        let points = single || dice.chance(self.points);
        let any = |low: usize, high: usize, dice: &mut Dice| low + dice.below((high - low + 1) as u64) as usize;
        let most = |count: usize| if single { 1 } else { count.clamp(1, frames) };
        // a frame at least is left to be followed into
        let first = any(1, most(self.first_frames).min(frames - 1).max(1), dice);
        let corrected = any(first.min(most(self.corrected_frames)), most(self.corrected_frames), dice);
        let mut others: Vec<usize> = (1..frames).collect();
        dice.shuffle(&mut others);
        let order = || std::iter::once(0).chain(others.iter().copied());
        let corrected = if points { order().take(corrected).collect() } else { BTreeSet::new() };
        Prompted { points, first: order().take(first).collect(), corrected }
    }
}

/// Frames with prompts.
#[derive(Clone, Debug, PartialEq)]
struct Prompted {
    points: bool,
    /// The first frame, then any others.
    first: Vec<usize>,
    corrected: BTreeSet<usize>,
}

/// What is said of a frame.
#[derive(Clone, Debug)]
pub struct FramePrediction {
    /// After each click, at the input's size; none where the mask was given.
    pub clicks: Vec<ClickPrediction>,
    /// Logits in the end, `[1, 1, S, S]`.
    pub logits: Tensor,
}

/// An object of a clip, prompted as `rules` say and followed through all frames: `frames` are T inputs `[1, 3, S, S]`, `masks [T, 1, S, S]` the truth (0 or 1).
/// Predictions are in the frames' order.
///
/// Prompted frames come first, as in the official training; the memory holds them wherever they lie in the clip. Gradients pass through the memory.
///
/// # Errors
/// Besides candle's, no frames, or masks of another shape.
pub fn segment_clip(
    model: &Sam2VideoModel,
    frames: &[Tensor],
    masks: &Tensor,
    rules: &Interaction,
    dice: &mut Dice,
) -> Result<Vec<FramePrediction>> {
    if frames.is_empty() {
        return Err(TrainError::Count { what: "frames of the clip", got: 0, expected: 1 });
    }
    let side = model.image_model().image_size();
    crate::error::expect_shape("masks", masks, &[frames.len(), 1, side, side])?;
    let truth = masks.flatten_from(1)?.to_dtype(DType::F32)?.to_vec2::<f32>()?.into_iter();
    let truth: Vec<Vec<bool>> = truth.map(|mask| mask.into_iter().map(|v| v > 0.5).collect()).collect();
    let plan = rules.plan(frames.len(), dice);
    let mut bank = MemoryBank::new(&model.config().memory.bank, Retention::Everything);
    let mut predictions: Vec<Option<FramePrediction>> = vec![None; frames.len()];
    let rest = (0..frames.len()).filter(|t| !plan.first.contains(t));
    for t in plan.first.iter().copied().chain(rest) {
        let features = model.image_model().encode_image(frames[t].clone())?;
        let user = User { model, rules, side, truth: &truth[t] };
        let begins = plan.first.contains(&t);
        let pix_feat = match begins {
            true => features.image_embed.clone(),
            false => model.pix_feat_with_mem(&features, &bank, Some((t, Direction::Forward, Some(frames.len()))))?,
        };
        let (heads, clicks) = match begins && !plan.points {
            true => (model.use_mask_as_output(&features, &masks.narrow(0, t, 1)?)?, Vec::new()),
            false => user.prompt((&features, &pix_feat), begins, plan.corrected.contains(&t), dice)?,
        };
        let memory = MemoryFrame {
            maskmem_features: Some(model.memory().encode_exact(
                &features.vision_features,
                &heads.high_res_masks,
                &heads.object_score_logits,
                // whether that counts, the model's settings say
                begins || plan.corrected.contains(&t),
            )?),
            obj_ptr: heads.obj_ptr,
            object_score_logits: heads.object_score_logits,
            pred_masks: None,
        };
        match begins || plan.corrected.contains(&t) {
            true => bank.insert_conditioning(t, memory),
            false => bank.insert_tracked(t, memory),
        }
        predictions[t] = Some(FramePrediction { clicks, logits: heads.high_res_masks });
    }
    Ok(predictions.into_iter().flatten().collect())
}

/// Who looks at a frame and clicks.
struct User<'a> {
    model: &'a Sam2VideoModel,
    rules: &'a Interaction,
    side: usize,
    truth: &'a [bool],
}

impl User<'_> {
    /// The frame's answer in the end, and all on the way to it.
    fn prompt(
        &self,
        (features, pix_feat): (&Sam2ImageFeatures, &Tensor),
        begins: bool,
        corrects: bool,
        dice: &mut Dice,
    ) -> Result<(SamHeadsOutput, Vec<ClickPrediction>)> {
        let mut points = if begins { self.first(dice) } else { Vec::new() };
        let decode = |points: &[(f32, f32, i64)], before: Option<&Tensor>| -> Result<SamHeadsOutput> {
            let prompts = match points {
                [] => None,
                points => Some(PointPrompts::single(points, pix_feat.device())?),
            };
            Ok(self.model.decode(features, pix_feat, prompts.as_ref(), before)?)
        };
        let mut heads = decode(&points, None)?;
        let mut clicks = vec![self.clicked(&heads)?];
        for _ in 0..if corrects { self.rules.corrections } else { 0 } {
            let answer = match dice.chance(self.rules.from_truth) {
                true => vec![false; self.truth.len()],
                false => {
                    heads.high_res_masks.gt(0f64)?.flatten_all()?.to_vec1::<u8>()?.iter().map(|v| *v > 0).collect()
                }
            };
            points.push(self.click(&answer, dice));
            heads = decode(&points, Some(&heads.low_res_masks))?;
            clicks.push(self.clicked(&heads)?);
        }
        Ok((heads, clicks))
    }

    fn clicked(&self, heads: &SamHeadsOutput) -> Result<ClickPrediction> {
        let masks = seg_ops::resize(&heads.low_res_multimasks, (self.side, self.side), &Resize::bilinear())?;
        Ok(ClickPrediction { masks, ious: heads.ious.clone(), object_scores: heads.object_score_logits.clone() })
    }

    /// A box, or a click on the object.
    fn first(&self, dice: &mut Dice) -> Vec<(f32, f32, i64)> {
        match dice.chance(self.rules.boxes).then(|| self.bounds(dice)).flatten() {
            Some([x0, y0, x1, y1]) => vec![(x0, y0, label::BOX_TOP_LEFT), (x1, y1, label::BOX_BOTTOM_RIGHT)],
            None => vec![self.click(&vec![false; self.truth.len()], dice)],
        }
    }

    /// The mask's box, each edge moved by up to a tenth of the box, and by 20 pixels at most; `None` where there is no mask.
    fn bounds(&self, dice: &mut Dice) -> Option<[f32; 4]> {
        const PART: f64 = 0.1;
        const MOST: f64 = 20.;
        let inside = || self.truth.iter().enumerate().filter(|(_, inside)| **inside).map(|(at, _)| at);
        let (x0, x1) = (inside().map(|at| at % self.side).min()?, inside().map(|at| at % self.side).max()?);
        let (y0, y1) = (inside().min()? / self.side, inside().max()? / self.side);
        let limit = (self.side - 1) as f64;
        let (by_x, by_y) = (((x1 - x0) as f64 * PART).min(MOST), ((y1 - y0) as f64 * PART).min(MOST));
        let mut moved = |edge: usize, by: f64| (edge as f64 + dice.between(-by, by)).clamp(0., limit) as f32;
        Some([moved(x0, by_x), moved(y0, by_y), moved(x1, by_x), moved(y1, by_y)])
    }

    /// Any pixel that the answer has wrong, each as likely; where nothing is wrong, one beside the object.
    fn click(&self, answer: &[bool], dice: &mut Dice) -> (f32, f32, i64) {
        let all = || self.truth.iter().zip(answer).enumerate();
        let wrong: Vec<usize> = all().filter(|(_, (truth, said))| truth != said).map(|(at, _)| at).collect();
        let beside = || all().filter(|(_, (truth, _))| !**truth).map(|(at, _)| at).collect::<Vec<_>>();
        let among = if wrong.is_empty() { beside() } else { wrong };
        let at = dice.pick(&among).copied().unwrap_or_default();
        let on = self.truth.get(at).copied().unwrap_or_default();
        let of_label = if on { label::POSITIVE } else { label::NEGATIVE };
        ((at % self.side) as f32, (at / self.side) as f32, of_label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seg_data::training::Place;

    fn dice(index: u64) -> Dice {
        Dice::new(Place { seed: 3, epoch: 0, index }, "test")
    }

    #[test]
    fn frames_are_prompted_as_published() {
        let mut seen = BTreeSet::new();
        for index in 0..400 {
            let plan = Interaction::SAM2.plan(8, &mut dice(index));
            assert_eq!(plan.first[0], 0);
            assert!(plan.first.iter().all(|t| *t < 8) && (1..=2).contains(&plan.first.len()), "{plan:?}");
            assert_eq!(plan.points, !plan.corrected.is_empty());
            if plan.points {
                // who is prompted at first is corrected, too
                assert!(plan.first.iter().all(|t| plan.corrected.contains(t)) && plan.corrected.len() <= 2, "{plan:?}");
            }
            seen.insert((plan.points, plan.first.len(), plan.corrected.len()));
            let single = Interaction::SAM2.plan(1, &mut dice(index));
            assert_eq!((single.points, single.first, single.corrected.len()), (true, vec![0], 1));
        }
        let all = [(false, 1, 0), (false, 2, 0), (true, 1, 1), (true, 1, 2), (true, 2, 2)];
        assert_eq!(seen, all.into_iter().collect());
    }
}
