//! `mpg_losses`: MPG-SAM 2's three losses of given logits, and their gradients.

use super::{Result, Run, field, scalar};
use candle_core::{Device, Tensor, Var};
use seg_golden::Case;
use seg_train::mpg_sam2::Objective;
use std::collections::BTreeMap;

/// The sentence's gradient is zero; in the reference rounding leaves up to 2e-4 of it.
const SENTENCE_GRADIENT: f64 = 1e-3;

/// What the predictions should be.
pub(super) struct Targets {
    /// 0 or 1, `[B, T, 1, H, W]`.
    pub(super) masks: Tensor,
    /// 0 for frames without the object, `[B, T]`.
    pub(super) valid: Tensor,
}

impl Targets {
    /// Discs that move to the right from frame to frame and from clip to clip; `empty` says on which frames of a clip there is none.
    pub(super) fn discs(
        [clips, frames, height, width]: [usize; 4],
        empty: impl Fn(usize) -> Vec<usize>,
        device: &Device,
    ) -> Result<Self> {
        let (h, w) = (height as f64, width as f64);
        let mut masks = Vec::with_capacity(clips * frames * height * width);
        let mut valid = Vec::with_capacity(clips * frames);
        for (clip, frame) in (0..clips).flat_map(|b| (0..frames).map(move |t| (b, t))) {
            let shown = !empty(clip).contains(&frame);
            valid.push(f32::from(u8::from(shown)));
            let (cx, cy, r) = (w * (0.4 + 0.05 * (frame + clip) as f64), h * 0.5, 0.22 * h);
            masks.extend((0..height * width).map(|i| {
                let (dx, dy) = ((i % width) as f64 - cx, (i / width) as f64 - cy);
                f32::from(u8::from(shown && dx * dx + dy * dy < r * r))
            }));
        }
        let masks = Tensor::from_vec(masks, (clips, frames, 1, height, width), device)?;
        Ok(Self { masks, valid: Tensor::from_vec(valid, (clips, frames), device)? })
    }
}

/// The numbers between the last `[` and `]` of a description such as `frames [0, 2] empty`.
pub(super) fn frame_list(case: &Case, text: &str) -> Result<Vec<usize>> {
    let inside = text.rsplit_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let numbers = inside.map(|(list, _)| list.split(',').map(str::trim).filter(|part| !part.is_empty()));
    numbers
        .and_then(|parts| parts.map(|part| part.parse().ok()).collect::<Option<Vec<usize>>>())
        .ok_or_else(|| case.field_error("values.targets", format!("{text:?}, expected a list of frames in it")).into())
}

/// Which frames are empty, by clip, of a description that ends in such as `{1: [2], 3: [0, 1]}`.
fn empty_frames(case: &Case, text: &str) -> Result<BTreeMap<usize, Vec<usize>>> {
    let wrong = || case.field_error("values.targets", format!("{text:?}, expected `{{clip: [frames]}}` at its end"));
    let (_, map) = text.rsplit_once('{').ok_or_else(wrong)?;
    let entries = map.split_inclusive(']').filter(|entry| entry.contains('['));
    entries
        .map(|entry| {
            let clip = entry.trim_start_matches([',', ' ']).split(':').next().and_then(|clip| clip.trim().parse().ok());
            Ok((clip.ok_or_else(wrong)?, frame_list(case, entry)?))
        })
        .collect()
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, inputs) = (run.case, run.inputs());
    let shape = inputs.shape("input.pred_masks")?;
    let &[clips, frames, 1, height, width] = shape.as_slice() else {
        let problem = format!("{shape:?}, expected [B, T, 1, H, W]");
        return Err(case.field_error("inputs.input.pred_masks.shape", problem).into());
    };
    let logits = Var::from_tensor(&inputs.noise("input.pred_masks", &shape, 8.)?)?;
    let sentence = Var::from_tensor(&inputs.noise("input.sen_feat", &[clips, frames], 1.)?)?;
    let text: String = field(case, "values.targets", &case.values["targets"])?;
    let empty = empty_frames(case, &text)?;
    let targets = Targets::discs(
        [clips, frames, height, width],
        |clip| empty.get(&clip).cloned().unwrap_or_default(),
        run.device,
    )?;
    let terms = Objective::MPG_SAM2.forward(&logits, &targets.masks, &targets.valid, &sentence)?;

    let expected: BTreeMap<String, f64> = field(case, "values.losses", &case.values["losses"])?;
    let total: f64 = field(case, "values.total", &case.values["total"])?;
    let found = [("loss_mask", &terms.mask), ("loss_dice", &terms.dice), ("loss_sim", &terms.similarity)];
    for (name, term) in found {
        let reference = expected.get(name).copied().unwrap_or(f64::NAN);
        run.checks.number(name, scalar(term)?, reference, 0.);
        let grads = term.backward()?;
        if let Some(grad) = grads.get(&logits) {
            run.checks.tensor(&format!("grad.pred_masks.{name}"), grad);
        }
        if let Some(grad) = grads.get(&sentence) {
            let largest = scalar(&grad.abs()?.max_all()?)?;
            run.checks.number(&format!("{name}: the sentence's gradient"), largest, 0., SENTENCE_GRADIENT);
        }
    }
    run.checks.number("total", scalar(&terms.total)?, total, 0.);
    Ok(())
}
