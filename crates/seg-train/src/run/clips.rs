//! Scores of held-out clips: J and F, as for videos.

use super::measure::HELD_OUT;
use super::pictures::{self, ClipRow};
use super::{Run, Scores};
use crate::learners::clip_inputs_at;
use crate::recipe::{Recipe, ValidationPart};
use crate::{Result, TrainError};
use candle_core::{DType, Tensor};
use seg_data::GrayImage;
use seg_data::training::{ClipExample, ClipExamples, Place};
use seg_metrics::Plane;
use seg_metrics::video::{Decay, ObjectMask, ObjectScores, Statistics};
use seg_ops::Resize;
use std::collections::BTreeMap;

/// Means over clips of their means over frames, by the names that `hrseg evaluate` has for them.
pub(super) fn scores(clips: &[ObjectScores]) -> Scores {
    let mean = |of: &dyn Fn(&ObjectScores) -> f64| clips.iter().map(of).sum::<f64>() / clips.len().max(1) as f64;
    let statistics = |values: &[f64]| Statistics::new(values, Decay::Exact);
    let (j, f) = (mean(&|clip| statistics(&clip.j).mean), mean(&|clip| statistics(&clip.f).mean));
    let values = [
        ("J&F-Mean", (j + f) / 2.),
        ("J-Mean", j),
        ("J-Recall", mean(&|clip| statistics(&clip.j).recall)),
        ("F-Mean", f),
        ("F-Recall", mean(&|clip| statistics(&clip.f).recall)),
    ];
    let values: BTreeMap<String, f64> = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Scores { values, examples: clips.len() as u64 }
}

/// Refuses a protocol of pictures: clips have the one of J and F.
pub(super) fn check_protocol(recipe: &Recipe) -> Result<()> {
    let protocol = &recipe.validation.protocol;
    if *protocol == ValidationPart::default().protocol {
        return Ok(());
    }
    let problem = format!("protocol is {protocol:?}, and clips are measured by J and F alone: leave it out");
    Err(TrainError::Recipe { recipe: "[validation]".into(), problem })
}

/// Measures held-out clips, and writes pictures of the first.
pub(super) fn measured(run: &Run, clips: &dyn ClipExamples, step: u64) -> Result<(Scores, Vec<String>)> {
    let count = clips.len().unwrap_or(u64::MAX).min(run.recipe.validation.examples);
    let (mut all, mut notes, mut shown) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..count {
        let place = Place { seed: HELD_OUT, epoch: 0, index };
        let read = clips.clip(place).map_err(TrainError::from).and_then(|clip| {
            let inputs = clip_inputs_at(run.learner.as_ref(), &run.plain.apply_to_clip(clip.clone(), place)?, place)?;
            Ok((clip, inputs))
        });
        let (clip, inputs) = match read {
            Ok(read) => read,
            Err(error) => {
                notes.push(format!("{error}; not measured"));
                continue;
            }
        };
        let answers = masks(&run.learner.predict(&inputs)?, &clip)?;
        all.push(compared(&answers, &clip.masks)?);
        if shown.len() < run.recipe.validation.pictures {
            let ClipExample { sentence, frames, masks, .. } = clip;
            shown.push(ClipRow { sentence, frames, truths: masks, answers });
        }
    }
    if !shown.is_empty() {
        pictures::write_clips(&run.out.join("pictures").join(format!("step-{step:08}.png")), &shown)?;
    }
    if all.is_empty() {
        return Err(run.nothing_read());
    }
    Ok((scores(&all), notes))
}

/// Logits `[T, 1, h, w]`, enlarged to the clip's frames: inside is above 0.
fn masks(logits: &Tensor, clip: &ClipExample) -> Result<Vec<GrayImage>> {
    let one = |(at, frame): (usize, &seg_data::RgbImage)| {
        let (width, height) = frame.dimensions();
        let logits = logits.narrow(0, at, 1)?.to_dtype(DType::F32)?;
        let sized = seg_ops::resize(&logits, (height as usize, width as usize), &Resize::bilinear())?;
        let inside = sized.gt(0f64)?.flatten_all()?.to_vec1::<u8>()?;
        let mask = GrayImage::from_raw(width, height, inside.into_iter().map(|v| 255 * v).collect());
        mask.ok_or(TrainError::Count { what: "pixels of a mask", got: 0, expected: (width * height) as usize })
    };
    clip.frames.iter().enumerate().map(one).collect()
}

/// J and F of every frame.
fn compared(answers: &[GrayImage], truths: &[GrayImage]) -> Result<ObjectScores> {
    let mut scores = ObjectScores { proposal: 1, j: Vec::new(), f: Vec::new() };
    for (answer, truth) in answers.iter().zip(truths) {
        let object = |mask: &GrayImage| -> Result<ObjectMask> {
            let plane = Plane::new(mask, mask.width() as usize, mask.height() as usize)?;
            Ok(ObjectMask::new(seg_metrics::bits::BitMask::above(plane, 127)))
        };
        let (j, f) = object(answer)?.scores(&object(truth)?);
        scores.j.push(j);
        scores.f.push(f);
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_are_means_of_their_frames() -> Result<()> {
        let mask = |columns: u32| GrayImage::from_fn(64, 48, |x, _| [if x < columns { 255 } else { 0 }].into());
        // exact, half, and nothing where nothing is
        let clip = compared(&[mask(20), mask(10), mask(0)], &[mask(20), mask(20), mask(0)])?;
        assert_eq!(clip.j, [1., 0.5, 1.]);
        assert_eq!((clip.f[0], clip.f[2]), (1., 1.));
        let wrong = compared(&[mask(20), mask(20)], &[mask(0), mask(0)])?;
        let scores = scores(&[clip.clone(), wrong]);
        assert!((scores.values["J-Mean"] - 2.5 / 6.).abs() < 1e-12 && scores.examples == 2);
        assert!((scores.values["J-Recall"] - 1. / 3.).abs() < 1e-12);
        let (j, f) = (scores.values["J-Mean"], scores.values["F-Mean"]);
        assert_eq!(scores.values["J&F-Mean"], (j + f) / 2.);
        Ok(())
    }
}
