//! From frames and a sentence to masks at the frames' size.

use beit3_encoder::{Beit3Features, TextTokens, Tokenizer};
use candle_core::{DType, Device, Tensor};
use seg_data::RgbImage;
use seg_layers::trace;

use super::input::{normalized, squash};
use super::model::MpgSam2;
use super::video::MpgVideo;
use crate::error::{Error, Result};
use crate::sam2::video::ObjectMask;

/// MPG-SAM 2 from pixels to pixels (inference_ytvos.py, inference_mevis.py). Shared by clips, which hold the state.
///
/// A clip's frames are handed in twice, because the prior of each depends on all: first BEiT-3 looks at them, then SAM 2 segments them, one by one.
#[derive(Clone, Debug)]
pub struct MpgSam2Predictor {
    model: MpgSam2,
    tokenizer: Tokenizer,
    dtype: DType,
    device: Device,
}

impl MpgSam2Predictor {
    /// A predictor on a model whose weights are of `dtype` on `device`.
    pub fn new(model: MpgSam2, tokenizer: Tokenizer, dtype: DType, device: &Device) -> Self {
        Self { model, tokenizer, dtype, device: device.clone() }
    }

    /// The model itself.
    pub fn model(&self) -> &MpgSam2 {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A new clip about `text`, taken as it is. An empty text is one of no words: the model has an answer to it, though none was asked for.
    ///
    /// The whole clip is one context, whose cost grows with the square of its frames: the official protocols take a video of Ref-YouTube-VOS as
    /// one clip, and clips of 24 frames of MeViS.
    ///
    /// # Errors
    /// A text of more tokens than BEiT-3's position table has, or of more bytes than [`beit3_encoder::tokenizer::MAX_TEXT_BYTES`].
    pub fn clip(&self, text: &str) -> Result<MpgClip<'_>> {
        let ids = self.tokenizer.encode(text)?;
        let most = self.model.config().beit3.max_text_tokens();
        if ids.len() > most {
            return Err(Error::TextTokens { tokens: ids.len(), most });
        }
        let text = TextTokens::padded(&[ids], Tokenizer::UNK, &self.device)?;
        Ok(MpgClip { predictor: self, text, looks: Vec::new(), sizes: Vec::new() })
    }

    /// All frames of a clip that are in memory, `each` of whose masks is handed over as soon as it is there.
    ///
    /// # Errors
    /// As [`Self::clip`], [`MpgClip::look`] and [`MpgTracking::segment`], and the first error of `each`, which ends it.
    pub fn predict<E: From<Error>>(
        &self,
        frames: &[RgbImage],
        text: &str,
        mut each: impl FnMut(usize, ObjectMask) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut clip = self.clip(text)?;
        for frame in frames {
            clip.look(frame)?;
        }
        let mut tracking = clip.track()?;
        for (index, frame) in frames.iter().enumerate() {
            each(index, tracking.segment(frame)?)?;
        }
        Ok(())
    }
}

/// A clip whose frames BEiT-3 is looking at. Of each only the features are kept, 0.8 MB in f32.
#[derive(Clone, Debug)]
pub struct MpgClip<'a> {
    predictor: &'a MpgSam2Predictor,
    text: TextTokens,
    looks: Vec<Beit3Features>,
    sizes: Vec<(u32, u32)>,
}

impl<'a> MpgClip<'a> {
    /// Looks at the next frame. Frames may differ in size: each is squashed alone, and its mask has its size.
    ///
    /// # Errors
    /// A frame without pixels.
    pub fn look(&mut self, frame: &RgbImage) -> Result<()> {
        let _look = trace::module("look");
        let predictor = self.predictor;
        let model = &predictor.model;
        let square = squash(frame, model.config().beit3.image_size)?;
        let input = normalized(&square, &predictor.device)?.to_dtype(predictor.dtype)?;
        self.looks.push(model.look(&input, &self.text)?);
        self.sizes.push(frame.dimensions());
        Ok(())
    }

    /// Frames looked at.
    pub fn len(&self) -> usize {
        self.looks.len()
    }

    /// Whether no frame was looked at.
    pub fn is_empty(&self) -> bool {
        self.looks.is_empty()
    }

    /// The clip with all its frames: makes the prior of each. BEiT-3's features are freed.
    ///
    /// # Errors
    /// [`Error::EmptyClip`].
    pub fn track(self) -> Result<MpgTracking<'a>> {
        if self.is_empty() {
            return Err(Error::EmptyClip);
        }
        let model = &self.predictor.model;
        let stack =
            |part: fn(&Beit3Features) -> &Tensor| Tensor::cat(&self.looks.iter().map(part).collect::<Vec<_>>(), 0);
        let features = Beit3Features { vision: stack(|f| &f.vision)?, text: stack(|f| &f.text)? };
        let frames = self.looks.len();
        drop(self.looks);
        let video = model.video(model.prior(&features, frames)?)?;
        Ok(MpgTracking { predictor: self.predictor, video, sizes: self.sizes })
    }
}

/// A clip being segmented.
#[derive(Clone, Debug)]
pub struct MpgTracking<'a> {
    predictor: &'a MpgSam2Predictor,
    video: MpgVideo<'a>,
    sizes: Vec<(u32, u32)>,
}

impl<'a> MpgTracking<'a> {
    /// The mask of the next frame, at its size. Logits are enlarged twice, to the network's input and from there to the frame, as the official code does.
    /// After an error the clip is as it was before.
    ///
    /// # Errors
    /// [`Error::ClipFrame`] for more frames than were looked at, or one of another size.
    pub fn segment(&mut self, frame: &RgbImage) -> Result<ObjectMask> {
        let (index, size) = (self.video.next_frame(), frame.dimensions());
        let wrong = |what: String, expected: String| Error::ClipFrame { index, what, expected };
        match self.sizes.get(index) {
            None => return Err(wrong("one too many".into(), format!("{} frames", self.sizes.len()))),
            Some(&seen) if seen != size => {
                return Err(wrong(format!("{}x{}", size.0, size.1), format!("{}x{}", seen.0, seen.1)));
            }
            Some(_) => {}
        }
        let image_model = self.predictor.model.image_model();
        let features = {
            let _encode = trace::module("encode");
            let square = squash(frame, image_model.image_size())?;
            let input = normalized(&square, &self.predictor.device)?.to_dtype(self.predictor.dtype)?;
            image_model.encode_image(input)?
        };
        let heads = self.video.step(&features)?;
        ObjectMask::enlarged(1, &heads.high_res_masks, &heads.object_score_logits, frame.dimensions())
    }

    /// The frame that comes next; the number of frames at the end.
    pub fn next_frame(&self) -> usize {
        self.video.next_frame()
    }

    pub(super) fn video_mut(&mut self) -> &mut MpgVideo<'a> {
        &mut self.video
    }

    /// The video underneath.
    pub fn video(&self) -> &MpgVideo<'a> {
        &self.video
    }
}
