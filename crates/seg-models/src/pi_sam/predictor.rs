//! From an image in pixels to masks in pixels.

use candle_core::{D, DType, Device, Tensor};
use detail_refine::Clicks;
use hr_decoders::PiSamCoarse;
use seg_data::tensor::{ValueRange, luma_to_tensor, to_tensor};
use seg_data::{GrayImage, RgbImage};
use seg_layers::{Unobserved, trace};
use seg_ops::Resize;

use super::encoder::PiSamEncoder;
use super::metrics::label_box;
use super::model::PiSamMaskDecoder;
use crate::error::{Error, Result};
use crate::normalize::{SAM_MEAN, SAM_STD, normalize};
use crate::promptable::{
    ImageEmbedding, MaskPrompt, Point, Prediction, PromptableSegmenter, Prompts, check_mask_shape,
};

/// Pi-SAM on images (scripts/gradio.py and the evaluation of lmzpai/pi-sam).
///
/// - An image is squashed to the square input, bilinearly and without antialiasing, its numbers not rounded, as the authors' evaluation does it (their demo
///   rounds them down to whole ones).
/// - Only a box reaches SAM's prompt encoder: every prompt needs one, or a mask, of which the box is then taken.
/// - Clicks go to the Precise Interactor: all clicks together, foreground ones first, correct the box's mask as the model made it at first. A correction
///   that is not enough is followed by another click, and all clicks so far count: see [`PiSamPredictor::correct`].
/// - Positions of clicks are (x / width, y / height), as in the authors' demo. Their training simulated clicks as (row, column) instead, so a click far from
///   the image's diagonal is read by weights that have seen such clicks mirrored at it: that is how the published model is.
///
/// Masks come at the image's own size, one a box; Pi-SAM predicts no quality, so [`Prediction::iou_predictions`] is NaN.
#[derive(Clone, Debug)]
pub struct PiSamPredictor {
    encoder: PiSamEncoder,
    decoder: PiSamMaskDecoder,
    image_pe: Tensor,
    device: Device,
    dtype: DType,
}

impl PiSamPredictor {
    /// A predictor on both halves, whose weights are of `dtype` on `device`.
    ///
    /// # Errors
    /// Those of candle.
    pub fn new(encoder: PiSamEncoder, decoder: PiSamMaskDecoder, dtype: DType, device: &Device) -> Result<Self> {
        let image_pe = encoder.prompt_encoder().dense_pe()?;
        Ok(Self { encoder, decoder, image_pe, device: device.clone(), dtype })
    }

    /// The frozen half.
    pub fn encoder(&self) -> &PiSamEncoder {
        &self.encoder
    }

    /// The trainable half.
    pub fn decoder(&self) -> &PiSamMaskDecoder {
        &self.decoder
    }

    /// The network's input, `[1, 3, S, S]`, f32.
    ///
    /// # Errors
    /// An image without pixels.
    pub fn preprocess(&self, image: &RgbImage) -> Result<Tensor> {
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return Err(Error::EmptyImage { width, height });
        }
        let size = self.encoder.image_size();
        let pixels = to_tensor(image, ValueRange::Byte, &self.device)?.unsqueeze(0)?;
        Ok(normalize(&seg_ops::resize(&pixels, (size, size), &Resize::bilinear())?, SAM_MEAN, SAM_STD)?)
    }

    /// The masks of several boxes (left, top, right, bottom in pixels of the image), without clicks; one after the other, so that memory does not grow.
    ///
    /// # Errors
    /// A box that is empty or leaves the image, an embedding of another model.
    pub fn predict_boxes(&self, embedding: &ImageEmbedding, boxes: &[[f32; 4]]) -> Result<Vec<Prediction>> {
        boxes.iter().map(|&corners| self.predict(embedding, &Prompts::bbox(corners))).collect()
    }

    /// The mask of a box, ready to be corrected click by click: the box is decoded once, and a click costs the Precise Interactor and the head alone.
    ///
    /// # Errors
    /// As [`PiSamPredictor::predict_boxes`].
    pub fn correct<'a>(&'a self, embedding: &'a ImageEmbedding, corners: [f32; 4]) -> Result<Correction<'a>> {
        let (width, height) = embedding.original_size;
        let prompts = Prompts::bbox(corners);
        let corners = prompts.clamped(width, height)?.0.bbox.unwrap_or(corners);
        let coarse = self.coarse(embedding, self.box_to_input(corners, embedding.original_size))?;
        Ok(Correction { predictor: self, embedding, coarse, clicks: Vec::new() })
    }

    /// A box in pixels of the image to one in pixels of the square input.
    fn box_to_input(&self, corners: [f32; 4], (width, height): (u32, u32)) -> [f32; 4] {
        let size = self.encoder.image_size() as f64;
        let mut scaled = corners;
        for (v, side) in scaled.iter_mut().zip([width, height, width, height]) {
            *v = (f64::from(*v) * size / f64::from(side)) as f32;
        }
        scaled
    }

    /// The box of a mask, in pixels of the square input: the extents of what is above 128 once it is squashed.
    fn box_of_mask(&self, mask: &GrayImage, original: (u32, u32)) -> Result<[f32; 4]> {
        check_mask_shape(mask, original)?;
        let size = self.encoder.image_size();
        let mask = luma_to_tensor(mask, ValueRange::Byte, &Device::Cpu)?.unsqueeze(0)?;
        let squashed = seg_ops::resize(&mask, (size, size), &Resize::bilinear())?;
        label_box(&squashed.flatten_all()?.to_vec1::<f32>()?, size).ok_or(Error::EmptyMask { what: "mask prompt" })
    }

    /// Parts of an embedding, which must be one of ours.
    fn parts<'e>(&self, embedding: &'e ImageEmbedding) -> Result<(&'e Tensor, &'e Tensor)> {
        let size = self.encoder.image_size();
        match &embedding.high_res_features {
            Some([features, rgb])
                if features.dim(D::Minus1)? == size / 4 && rgb.dim(D::Minus1)? == size && rgb.rank() == 4 =>
            {
                Ok((features, rgb))
            }
            _ => Err(Error::OtherEmbedding { model: "Pi-SAM", expected: "with a quarter-size and a full-size map as" }),
        }
    }

    /// The first half for one box in pixels of the square input.
    fn coarse(&self, embedding: &ImageEmbedding, corners: [f32; 4]) -> Result<PiSamCoarse> {
        let _decode = trace::module("decode");
        let (features, _) = self.parts(embedding)?;
        let boxes = Tensor::new(&[corners], &self.device)?;
        let prompts = self.encoder.prompt_encoder().forward(None, Some(&boxes), None)?;
        let decoder = self.decoder.decoder();
        let image = &embedding.image_embed;
        Ok(decoder.coarse(image, features, &self.image_pe, &prompts, &mut Unobserved)?)
    }

    /// The second half with all clicks so far.
    fn finish(&self, embedding: &ImageEmbedding, coarse: &PiSamCoarse, clicks: &[Point]) -> Result<Prediction> {
        let _finish = trace::module("finish");
        let (_, rgb) = self.parts(embedding)?;
        let (width, height) = embedding.original_size;
        let clicks = if clicks.is_empty() {
            None
        } else {
            if self.decoder.interactor().is_none() {
                return Err(Error::NoInteractor { clicks: clicks.len() });
            }
            let part = |v: f32, side: u32| (f64::from(v) / f64::from(side)) as f32;
            let points: Vec<(f32, f32, bool)> =
                clicks.iter().map(|p| (part(p.x, width), part(p.y, height), p.positive)).collect();
            Some(Clicks::single(&points, &self.device)?)
        };
        let logits = self.decoder.finish(coarse, rgb, clicks.as_ref(), &mut Unobserved)?.to_dtype(DType::F32)?;
        let masks = seg_ops::resize(&logits, (height as usize, width as usize), &Resize::bilinear())?;
        Ok(Prediction {
            masks: masks.squeeze(0)?,
            iou_predictions: vec![f32::NAN],
            low_res_masks: coarse.masks.to_dtype(DType::F32)?.squeeze(0)?,
        })
    }
}

impl PromptableSegmenter for PiSamPredictor {
    /// The embedding's `high_res_features` are the decoder's view of the image at a quarter of the input's size, and the embedded pixels at its size.
    fn embed(&self, image: &RgbImage) -> Result<ImageEmbedding> {
        let _encode = trace::module("encode");
        let input = self.preprocess(image)?.to_dtype(self.dtype)?;
        let features = self.encoder.forward(&input, &mut Unobserved)?;
        let (embeddings, early) = (&features.image_embeddings, &features.vit_features);
        let shared = self.decoder.decoder().image_features(embeddings, early, &mut Unobserved)?;
        let embedding = ImageEmbedding::new(features.image_embeddings, image.dimensions());
        Ok(embedding.with_high_res([shared, features.rgb_embedding]))
    }

    /// One mask for a box and any number of clicks that correct it. Without a box, that of `prompts.mask` is taken, which must then be an image;
    /// `prompts.multimask` changes nothing.
    fn predict(&self, embedding: &ImageEmbedding, prompts: &Prompts) -> Result<Prediction> {
        let (width, height) = embedding.original_size;
        let prompts = &*prompts.clamped(width, height)?.0;
        let corners = match (prompts.bbox, &prompts.mask) {
            (Some(corners), _) => self.box_to_input(corners, embedding.original_size),
            (None, Some(MaskPrompt::Image(mask))) => self.box_of_mask(mask, embedding.original_size)?,
            _ => return Err(Error::NoBox { model: "Pi-SAM", clicks: prompts.points.len() }),
        };
        let coarse = self.coarse(embedding, corners)?;
        self.finish(embedding, &coarse, &prompts.points)
    }
}

/// The mask of one box while it is corrected: each click builds on those before it.
///
/// After every click all clicks so far go to the Precise Interactor together, which starts from the features of the uncorrected mask. (So does the authors'
/// demo. The interactor was not trained on its own output.)
#[derive(Clone, Debug)]
pub struct Correction<'a> {
    predictor: &'a PiSamPredictor,
    embedding: &'a ImageEmbedding,
    coarse: PiSamCoarse,
    clicks: Vec<Point>,
}

impl Correction<'_> {
    /// The clicks so far.
    pub fn clicks(&self) -> &[Point] {
        &self.clicks
    }

    /// The mask with all clicks so far.
    ///
    /// # Errors
    /// Clicks on a model that was saved without its Precise Interactor.
    pub fn mask(&self) -> Result<Prediction> {
        self.predictor.finish(self.embedding, &self.coarse, &self.clicks)
    }

    /// Clicks on an error, in pixels of the image: positive where the object is missing, negative where something else was taken for it. Returns the corrected
    /// mask.
    ///
    /// # Errors
    /// A click a pixel or more outside the image, which does not count, and as [`Correction::mask`].
    pub fn click(&mut self, click: Point) -> Result<Prediction> {
        let (width, height) = self.embedding.original_size;
        let prompts = Prompts { points: vec![click], ..Prompts::default() };
        self.clicks.extend_from_slice(&prompts.clamped(width, height)?.0.points);
        self.mask()
    }

    /// Takes the last click back; `None` without any.
    pub fn undo(&mut self) -> Option<Point> {
        self.clicks.pop()
    }
}
