//! A video being tracked.

use candle_core::{Device, Tensor};
use hr_decoders::PointPrompts;
use seg_layers::trace;
use seg_ops::Resize;
use std::collections::{BTreeMap, BTreeSet};
use video_memory::{Direction, MemoryBank, MemoryFrame, Retention, TrackedFrames};

use super::masks::{FrameMasks, ObjectMask};
use super::model::Sam2VideoModel;
use super::object::{Pending, TrackedObject};
use super::predictor::{Sam2VideoPredictor, VideoFrame};
use crate::error::{Error, Result};
use crate::promptable::{MaskPrompt, Prompts, check_mask_shape, labelled_points};

/// How a session remembers.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Frames of the video. Position terms of object pointers depend on it in videos of less than 16 frames; `None`
    /// (a stream) counts as 16 or more.
    pub num_frames: Option<usize>,
    /// What is kept of past frames.
    pub retention: Retention,
    /// Where memories are kept; `None`: where the model computes. The CPU saves GPU memory.
    pub storage: Option<Device>,
}

/// A video being tracked, object by object. Frames are handed in as they come, in any order that makes sense: prompts on some
/// of them, then [`VideoSession::track`] for each from the first prompted one on, or backwards.
///
/// The memory does not grow with the video ([`Retention::Reach`]): at most six maps behind the last frame and six
/// on both sides of each prompted frame are kept for an object.
#[derive(Clone, Debug)]
pub struct VideoSession<'a> {
    predictor: &'a Sam2VideoPredictor,
    pub(super) options: SessionOptions,
    pub(super) objects: Vec<TrackedObject>,
}

impl<'a> VideoSession<'a> {
    pub(super) fn new(predictor: &'a Sam2VideoPredictor, options: SessionOptions) -> Self {
        Self { predictor, options, objects: Vec::new() }
    }

    /// The predictor.
    pub fn predictor(&self) -> &'a Sam2VideoPredictor {
        self.predictor
    }

    /// The objects' numbers, in the order in which they were added.
    pub fn objects(&self) -> Vec<u32> {
        self.objects.iter().map(|object| object.id).collect()
    }

    /// The first frame with prompts that tell what an object is: where tracking starts.
    pub fn first_prompted_frame(&self) -> Option<usize> {
        self.objects.iter().filter_map(TrackedObject::first_frame).min()
    }

    /// What the bank of `object` holds; `None` for an object that is not there.
    pub fn bank(&self, object: u32) -> Option<&MemoryBank> {
        self.objects.iter().find(|o| o.id == object).map(|o| &o.bank)
    }

    /// Prompts for `object` on frame `index`, in pixels of the frame; the object is added if it is new, at any time. They replace
    /// those given for it on this frame before, whose mask they start from. A mask stands alone; it is taken as it is.
    /// `multimask` of the prompts is not looked at: with a single click the best of three masks is taken.
    ///
    /// # Errors
    /// [`Error::NoPrompt`], prompts a pixel or more outside of the frame, a mask of another shape or with other prompts.
    pub fn prompt(&mut self, index: usize, frame: &VideoFrame, object: u32, prompts: &Prompts) -> Result<ObjectMask> {
        let _prompt = trace::module("prompt");
        let input = self.input(frame, prompts)?;
        let model = self.predictor.model();
        let at = match self.objects.iter().position(|o| o.id == object) {
            Some(at) => at,
            None => {
                self.objects.push(self.new_object(object));
                self.objects.len() - 1
            }
        };
        let entry = &mut self.objects[at];
        let tracked = entry.tracked.get(index);
        let conditioning = tracked.is_none() || model.config().tracking.add_all_frames_to_correct_as_cond;
        let heads = match input {
            Input::Mask(mask) => model.use_mask_as_output(&frame.features, &mask)?,
            Input::Points(points) => {
                let looks_back = tracked.map(|direction| (index, direction, self.options.num_frames));
                let pix_feat = model.pix_feat_with_mem(&frame.features, &entry.bank, looks_back)?;
                let device = self.predictor.device();
                let prev = entry.prev_logits(index).map(|logits| logits.to_device(device)?.clamp(-32f32, 32f32));
                model.decode(&frame.features, &pix_feat, Some(&points), prev.transpose()?.as_ref())?
            }
        };
        let memory = model.remember(&heads)?;
        let mask = shown(object, &memory, frame.size)?;
        let vision_features = frame.features.vision_features.clone();
        entry.pending.insert(index, Pending { conditioning, memory, vision_features });
        Ok(mask)
    }

    /// Takes the prompts of `object` on frame `index` back. What was made of them stays as a tracked frame's memory.
    /// False when there were none.
    pub fn clear_prompts(&mut self, index: usize, object: u32) -> bool {
        let Some(entry) = self.objects.iter_mut().find(|o| o.id == object) else { return false };
        let pending = entry.pending.remove(&index).is_some();
        let known = entry.bank.downgrade(index);
        if known {
            entry.tracked.remove(index);
        }
        pending || known
    }

    /// Forgets `object`. False when it is not there.
    pub fn remove_object(&mut self, object: u32) -> bool {
        let before = self.objects.len();
        self.objects.retain(|o| o.id != object);
        self.objects.len() < before
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.objects.clear();
    }

    /// The masks of all objects on frame `index`: followed from the frames before it in `direction`, or, where an object has
    /// prompts, the answer to these. Objects whose prompts were all taken back are left out.
    ///
    /// # Errors
    /// [`Error::NoObjects`] before any prompt.
    pub fn track(&mut self, index: usize, frame: &VideoFrame, direction: Direction) -> Result<FrameMasks> {
        let _track = trace::module("track");
        let model = self.predictor.model();
        for object in &mut self.objects {
            object.commit(model)?;
        }
        // tracking may turn round where any object has its prompts
        let prompted: BTreeSet<usize> =
            self.objects.iter().flat_map(|o| o.bank.conditioning().keys().copied()).collect();
        for object in &mut self.objects {
            object.bank.keep_around(&prompted);
        }
        let mut masks = Vec::with_capacity(self.objects.len());
        for object in self.objects.iter_mut().filter(|o| !o.bank.conditioning().is_empty()) {
            let memory = match object.bank.conditioning().get(&index) {
                Some(memory) => memory.clone(),
                None => {
                    let memory = follow(model, object, frame, (index, direction, self.options.num_frames))?;
                    let stored = match &self.options.storage {
                        Some(device) => memory.to_device(device)?,
                        None => memory.clone(),
                    };
                    object.bank.insert_tracked(index, stored);
                    memory
                }
            };
            object.tracked.insert(index, direction);
            masks.push(shown(object.id, &memory, frame.size)?);
        }
        if masks.is_empty() {
            return Err(Error::NoObjects);
        }
        Ok(FrameMasks { frame: index, size: frame.size, masks })
    }

    pub(super) fn new_object(&self, id: u32) -> TrackedObject {
        let bank = MemoryBank::new(&self.predictor.model().config().memory.bank, self.options.retention);
        TrackedObject { id, bank, pending: BTreeMap::new(), tracked: TrackedFrames::default() }
    }

    /// Prompts as the heads take them.
    fn input(&self, frame: &VideoFrame, prompts: &Prompts) -> Result<Input> {
        let (width, height) = frame.size;
        let prompts = prompts.clamped(width, height)?.0;
        let size = self.predictor.model().image_model().image_size();
        let device = self.predictor.device();
        let clicked = !prompts.points.is_empty() || prompts.bbox.is_some();
        match &prompts.mask {
            None => {
                let scale = |v: f32, side: u32| v / side as f32 * size as f32;
                let to_input = |x, y| (scale(x, width), scale(y, height));
                // a box goes in as two labelled points before the clicks
                let points = labelled_points(std::slice::from_ref(&prompts), true, to_input, device)?;
                points.map(Input::Points).ok_or(Error::NoPrompt)
            }
            Some(MaskPrompt::LowRes(_)) => {
                Err(Error::VideoMaskPrompt { got: "low-resolution logits", expected: "an image of the frame's shape" })
            }
            Some(_) if clicked => {
                Err(Error::VideoMaskPrompt { got: "points or a box beside it", expected: "the mask alone" })
            }
            Some(MaskPrompt::Image(mask)) => {
                check_mask_shape(mask, frame.size)?;
                let (mw, mh) = (mask.width() as usize, mask.height() as usize);
                let inside: Vec<f32> = seg_data::inside::binary(mask)?.iter().map(|&v| f32::from(v)).collect();
                let inside = Tensor::from_vec(inside, (1, 1, mh, mw), device)?;
                // columns first, as torch has it: where the mask's edge halves a pixel, the rounding of the sum decides
                let columns = seg_ops::resize(&inside, (mh, size), &Resize::bilinear().antialiased())?;
                let reduced = seg_ops::resize(&columns, (size, size), &Resize::bilinear().antialiased())?;
                Ok(Input::Mask(reduced.ge(0.5f64)?.to_dtype(frame.features.image_embed.dtype())?))
            }
        }
    }
}

/// What the heads start from.
enum Input {
    Points(PointPrompts),
    /// `[1, 1, S, S]`, 0 or 1.
    Mask(Tensor),
}

/// One tracked frame of one object.
fn follow(
    model: &Sam2VideoModel,
    object: &TrackedObject,
    frame: &VideoFrame,
    at: (usize, Direction, Option<usize>),
) -> Result<MemoryFrame> {
    let features = &frame.features;
    let pix_feat = model.pix_feat_with_mem(features, &object.bank, Some(at))?;
    let heads = model.decode(features, &pix_feat, None, None)?;
    let mut memory = model.remember(&heads)?;
    memory.maskmem_features = Some(model.encode_tracked(features, &heads)?);
    Ok(memory)
}

/// A mask at the frame's size.
fn shown(object: u32, memory: &MemoryFrame, size: (u32, u32)) -> Result<ObjectMask> {
    let Some(masks) = &memory.pred_masks else { return Err(Error::NoObjects) };
    ObjectMask::enlarged(object, masks, &memory.object_score_logits, size)
}
