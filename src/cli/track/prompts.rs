//! Prompts by frame and object.

use std::collections::BTreeMap;

use anyhow::bail;
use seg_data::{DecodeLimits, Frames, GrayImage, Meaning, labels, load_mask, render};
use seg_models::{MaskPrompt, Prompts};
use sha2::{Digest as _, Sha256};

use super::args::{On, TrackArgs};
use crate::cli::common::say;
use crate::pipeline;

/// What the user points at, frame by frame, object by object.
pub type PromptsByFrame = BTreeMap<usize, BTreeMap<u8, Prompts>>;

/// Gathers the options; masks are read here, so that a wrong file is told at once.
pub fn gather(args: &TrackArgs, limits: &DecodeLimits) -> anyhow::Result<PromptsByFrame> {
    let mut prompts = PromptsByFrame::new();
    for on in &args.points {
        entry(&mut prompts, on).points.push(on.what);
    }
    for on in &args.boxes {
        entry(&mut prompts, on).bbox = Some(on.what);
    }
    for on in &args.masks {
        let labels = labels::load(&on.what, limits)?;
        let mask = match labels.as_ref().and_then(|labels| of_object(labels, on.object)) {
            Some(mask) => mask,
            None => {
                let read = load_mask(&on.what, limits)?;
                // a palette of black and white is a plain mask
                let plain = matches!(read.meaning, Meaning::Levels | Meaning::TwoLevels(_));
                if labels.is_some() && !plain {
                    bail!("{} has no pixel of object {}", on.what.display(), on.object);
                }
                read.notes.iter().for_each(|note| say(format_args!("note: {}: {note}", on.what.display())));
                read.levels
            }
        };
        entry(&mut prompts, on).mask = Some(MaskPrompt::Image(mask));
    }
    Ok(prompts)
}

/// Turns masks with frames that are turned for their orientation, and says so.
pub fn lay_masks(prompts: &mut PromptsByFrame, frames: &Frames) -> anyhow::Result<()> {
    for (frame, objects) in prompts {
        for (object, prompts) in objects.iter_mut().filter(|(_, prompts)| prompts.mask.is_some()) {
            // a frame that is not there or cannot be read is told where it is needed
            let Ok(photo) = frames.photo(*frame) else { continue };
            if let Some(MaskPrompt::Image(mask)) = &prompts.mask
                && let Some((turned, said)) = pipeline::lay(mask, &photo)
            {
                say(format_args!("note: frame {frame}, object {object}: {said}"));
                prompts.mask = turned.map(MaskPrompt::Image).or(prompts.mask.take());
            }
        }
    }
    Ok(())
}

fn entry<'p, T>(prompts: &'p mut PromptsByFrame, on: &On<T>) -> &'p mut Prompts {
    prompts.entry(on.frame).or_default().entry(on.object).or_default()
}

/// 255 where the label is the object's number; none when it is nowhere.
fn of_object(labels: &GrayImage, object: u8) -> Option<GrayImage> {
    labels.pixels().any(|p| p.0[0] == object).then(|| {
        GrayImage::from_fn(labels.width(), labels.height(), |x, y| {
            image::Luma([if labels.get_pixel(x, y).0[0] == object { 255 } else { 0 }])
        })
    })
}

/// The points and boxes of a frame, to be drawn.
pub fn drawn(prompts: Option<&BTreeMap<u8, Prompts>>) -> render::Prompts {
    let all = || prompts.into_iter().flat_map(BTreeMap::values);
    render::Prompts {
        points: all().flat_map(|p| p.points.iter().map(|p| (p.x, p.y, p.positive))).collect(),
        boxes: all().filter_map(|p| p.bbox).collect(),
    }
}

/// The prompts in words, masks by what is in them: a run with other ones is another run.
pub fn fingerprint(args: &TrackArgs, prompts: &PromptsByFrame, frames: usize) -> String {
    let TrackArgs { points, boxes, direction, fill_holes, text, clip, .. } = args;
    let model = args.model();
    if let Some(text) = text {
        return format!("{model} {frames} frames {text:?} {clip:?}");
    }
    let masks: Vec<_> = prompts
        .iter()
        .flat_map(|(frame, objects)| objects.iter().map(move |(object, prompts)| (frame, object, &prompts.mask)))
        .filter_map(|(frame, object, mask)| match mask {
            Some(MaskPrompt::Image(mask)) => Some((frame, object, digest(mask))),
            _ => None,
        })
        .collect();
    format!("{model} {frames} frames {points:?} {boxes:?} {masks:?} {direction:?} {fill_holes}")
}

/// The size and the SHA-256 of a mask's pixels.
fn digest(mask: &GrayImage) -> String {
    format!("{}x{} {}", mask.width(), mask.height(), hex::encode(Sha256::digest(mask.as_raw())))
}
