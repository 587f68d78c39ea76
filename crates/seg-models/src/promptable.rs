//! What all models that answer to prompts share: prompts in, masks out.

use std::borrow::Cow;

use candle_core::{DType, Device, Tensor};
use hr_decoders::{MaskDecoder, MaskDecoderOutput, PointPrompts, PreparedImage, label};
use seg_data::{GrayImage, RgbImage};
use seg_ops::Resize;

use crate::error::{Error, Result};

/// A click, in pixels of the image as a viewer shows it: (0, 0) is the top-left corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Pixels from the left edge.
    pub x: f32,
    /// Pixels from the top edge.
    pub y: f32,
    /// Whether the click is on the object, or on what must not belong to it.
    pub positive: bool,
}

/// A mask that the model starts from.
#[derive(Clone, Debug)]
pub enum MaskPrompt {
    /// Logits at the decoder's own size, `[1, 4h, 4w]` (256×256 at 1024): what the last prediction returned.
    LowRes(Tensor),
    /// A mask of the image, of any size with the image's shape; 128 and more is inside.
    Image(GrayImage),
}

/// What the user points at. Without any prompt the models answer with what their decoder makes of "no prompt".
#[derive(Clone, Debug, Default)]
pub struct Prompts {
    /// Clicks.
    pub points: Vec<Point>,
    /// Left, top, right, bottom in pixels of the image.
    pub bbox: Option<[f32; 4]>,
    /// A mask to refine.
    pub mask: Option<MaskPrompt>,
    /// Three candidate masks (part, object, whole) in place of one; better after a single click.
    pub multimask: bool,
}

impl Prompts {
    /// One click on the object.
    pub fn point(x: f32, y: f32) -> Self {
        Self { points: vec![Point { x, y, positive: true }], ..Self::default() }
    }

    /// A box: left, top, right, bottom.
    pub fn bbox(corners: [f32; 4]) -> Self {
        Self { bbox: Some(corners), ..Self::default() }
    }

    /// The same prompts, asking for all candidate masks.
    pub fn with_multimask(mut self) -> Self {
        self.multimask = true;
        self
    }

    /// Whether both have as many prompts of each kind, and any: then a decoder can take them in one batch.
    pub(crate) fn same_kinds(&self, other: &Self) -> bool {
        let kinds = |p: &Self| (p.points.len(), p.bbox.is_some(), p.mask.is_some());
        kinds(self) == kinds(other) && kinds(self) != (0, false, false) && self.multimask == other.multimask
    }
}

/// Clicks and boxes' corners as labelled points, coordinates through `to_input`; a box first where `box_as_points` says
/// so. `None` without any. The prompts are of the same kinds, see [`Prompts::same_kinds`].
pub(crate) fn labelled_points(
    batch: &[Cow<'_, Prompts>],
    box_as_points: bool,
    to_input: impl Fn(f32, f32) -> (f32, f32),
    device: &Device,
) -> Result<Option<PointPrompts>> {
    let (mut coords, mut labels) = (Vec::new(), Vec::new());
    let mut push = |x: f32, y: f32, label: i64| {
        let (x, y) = to_input(x, y);
        coords.extend([x, y]);
        labels.push(label);
    };
    for prompts in batch {
        if let (true, Some([x0, y0, x1, y1])) = (box_as_points, prompts.bbox) {
            push(x0, y0, label::BOX_TOP_LEFT);
            push(x1, y1, label::BOX_BOTTOM_RIGHT);
        }
        for &Point { x, y, positive } in &prompts.points {
            push(x, y, if positive { label::POSITIVE } else { label::NEGATIVE });
        }
    }
    if labels.is_empty() {
        return Ok(None);
    }
    let (b, n) = (batch.len(), labels.len() / batch.len());
    Ok(Some(PointPrompts {
        coords: Tensor::from_vec(coords, (b, n, 2), device)?,
        labels: Tensor::from_vec(labels, (b, n), device)?,
    }))
}

/// An encoded image: made once, prompted as often as one likes.
#[derive(Clone, Debug)]
pub struct ImageEmbedding {
    /// `[1, C, h, w]`.
    pub image_embed: Tensor,
    /// SAM 2's `[1, C/8, 4h, 4w]` and `[1, C/4, 2h, 2w]`.
    pub high_res_features: Option<[Tensor; 2]>,
    /// Width and height of the image, in pixels.
    pub original_size: (u32, u32),
    prepared: Option<PreparedImage>,
}

impl ImageEmbedding {
    /// `image_embed [1, C, h, w]` of an image of `original_size`, width and height in pixels.
    pub fn new(image_embed: Tensor, original_size: (u32, u32)) -> Self {
        Self { image_embed, high_res_features: None, original_size, prepared: None }
    }

    /// The same for an image of another size: masks come at this one.
    pub fn at_size(&self, original_size: (u32, u32)) -> Self {
        Self { original_size, ..self.clone() }
    }

    /// With SAM 2's maps beside it, `[1, C/8, 4h, 4w]` and `[1, C/4, 2h, 2w]`.
    pub fn with_high_res(self, features: [Tensor; 2]) -> Self {
        Self { high_res_features: Some(features), ..self }
    }

    /// With what a decoder makes of it where no mask is given; not kept where weights are variables, which change.
    pub(crate) fn prepared_as(self, image: PreparedImage) -> Self {
        Self { prepared: Some(image).filter(|image| !image.is_tracked()), ..self }
    }

    /// What [`Self::prepared_as`] keeps, if it is this decoder's.
    pub(crate) fn prepared_for(&self, decoder: &MaskDecoder) -> Option<&PreparedImage> {
        self.prepared.as_ref().filter(|image| decoder.has_prepared(image))
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> usize {
        let of = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        let prepared = self.prepared.as_ref().map_or(0, PreparedImage::bytes);
        of(&self.image_embed) + self.high_res_features.iter().flatten().map(of).sum::<usize>() + prepared
    }
}

/// The masks for one set of prompts.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Logits at the size of the image, `[M, H, W]`, f32; above 0 is inside.
    pub masks: Tensor,
    /// The model's own estimate of each mask's IoU (0..1, though SAM's may go a little beyond), M of them.
    pub iou_predictions: Vec<f32>,
    /// Logits at the decoder's size, `[M, 4h, 4w]`, f32: the mask prompt of a refinement.
    pub low_res_masks: Tensor,
}

impl Prediction {
    /// Index of the mask of the highest predicted IoU.
    pub fn best(&self) -> usize {
        hr_decoders::argmax(&self.iou_predictions)
    }

    /// Logits of mask `index` at the size of the image, row-major.
    pub fn mask(&self, index: usize) -> Result<Vec<f32>> {
        Ok(self.masks.get(index)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
    }

    /// A mask prompt that refines mask `index`.
    pub fn refine(&self, index: usize) -> Result<MaskPrompt> {
        Ok(MaskPrompt::LowRes(self.low_res_masks.narrow(0, index, 1)?))
    }
}

/// What the decoder makes of one set of prompts, before anything is enlarged.
#[derive(Clone, Debug)]
pub struct LowResPrediction {
    /// Logits at the decoder's size, `[M, 4h, 4w]`, f32, as they come; above 0 is inside.
    pub low_res_masks: Tensor,
    /// The model's own estimate of each mask's IoU, M of them.
    pub iou_predictions: Vec<f32>,
}

impl LowResPrediction {
    /// One for each set of prompts, in their order; neighbours of the same kinds go through `decode` together.
    pub(crate) fn in_batches(
        prompts: &[Prompts],
        decode: impl Fn(&[Prompts]) -> Result<MaskDecoderOutput>,
    ) -> Result<Vec<Self>> {
        let mut predictions = Vec::with_capacity(prompts.len());
        for batch in prompts.chunk_by(Prompts::same_kinds) {
            let output = decode(batch)?;
            predictions.extend(Self::split(&output.masks, &output.iou_predictions)?);
        }
        Ok(predictions)
    }

    /// One for each set of prompts: `masks` `[B, M, 4h, 4w]`, `iou_predictions` `[B, M]`, of any float type.
    fn split(masks: &Tensor, iou_predictions: &Tensor) -> Result<Vec<Self>> {
        let masks = masks.to_dtype(DType::F32)?;
        let ious = iou_predictions.to_dtype(DType::F32)?.to_vec2()?;
        let split = |(i, iou_predictions)| Ok(Self { low_res_masks: masks.get(i)?, iou_predictions });
        ious.into_iter().enumerate().map(split).collect()
    }
}

/// A model that encodes an image once and then answers to prompts. Shared by threads as it is.
pub trait PromptableSegmenter: Send + Sync {
    /// Encodes an image of any size: the slow half.
    fn embed(&self, image: &RgbImage) -> Result<ImageEmbedding>;

    /// Answers to prompts: the quick half.
    fn predict(&self, embedding: &ImageEmbedding, prompts: &Prompts) -> Result<Prediction>;

    /// Answers to many sets of prompts on one image, without enlarging their masks: what a caller throws away, judging
    /// by the predicted IoU, costs nothing more. One for each set, in their order.
    ///
    /// By default one after the other; SAM and SAM 2 decode neighbours of the same kinds in one batch, so the caller
    /// decides by the length of `prompts` how much memory that takes.
    fn predict_low_res(&self, embedding: &ImageEmbedding, prompts: &[Prompts]) -> Result<Vec<LowResPrediction>> {
        let one = |prompts| {
            let Prediction { low_res_masks, iou_predictions, .. } = self.predict(embedding, prompts)?;
            Ok(LowResPrediction { low_res_masks, iou_predictions })
        };
        prompts.iter().map(one).collect()
    }

    /// Low-resolution logits `[M, 4h, 4w]` to the size of the image, `[M, H, W]`, as [`PromptableSegmenter::predict`]
    /// does it, the model's clean-up included.
    ///
    /// By default bilinear, for models that squash the image to their square input.
    fn enlarge(&self, embedding: &ImageEmbedding, low_res_masks: &Tensor) -> Result<Tensor> {
        let (width, height) = embedding.original_size;
        let masks = low_res_masks.unsqueeze(0)?;
        Ok(seg_ops::resize(&masks, (height as usize, width as usize), &Resize::bilinear())?.squeeze(0)?)
    }

    /// The image, encoded and ready for prompts.
    fn set_image(&self, image: &RgbImage) -> Result<EmbeddedImage<'_>>
    where
        Self: Sized,
    {
        Ok(EmbeddedImage { model: self, embedding: self.embed(image)? })
    }
}

/// An image that a model has encoded: many prompts, one encoding.
#[derive(Clone)]
pub struct EmbeddedImage<'a> {
    model: &'a dyn PromptableSegmenter,
    embedding: ImageEmbedding,
}

impl<'a> EmbeddedImage<'a> {
    /// Encodes `image` with `model`.
    pub fn new(model: &'a dyn PromptableSegmenter, image: &RgbImage) -> Result<Self> {
        Ok(Self { model, embedding: model.embed(image)? })
    }

    /// Masks for `prompts`.
    pub fn predict(&self, prompts: &Prompts) -> Result<Prediction> {
        self.model.predict(&self.embedding, prompts)
    }

    /// What the encoder made of the image.
    pub fn embedding(&self) -> &ImageEmbedding {
        &self.embedding
    }
}

/// Clean-up of low-resolution masks before they are enlarged (SAM 2's `max_hole_area`, `max_sprinkle_area`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaskCleanup {
    /// Holes of at most this many pixels of the low-resolution mask are filled; 0 leaves them.
    pub max_hole_area: u32,
    /// Specks of at most this many pixels of the low-resolution mask are removed; 0 leaves them.
    pub max_sprinkle_area: u32,
}

impl MaskCleanup {
    /// `[B, M, h, w]` f32 logits to the same.
    pub(crate) fn apply(self, masks: &Tensor) -> Result<Tensor> {
        if self == Self::default() {
            return Ok(masks.clone());
        }
        let (_, _, h, w) = masks.dims4()?;
        let mut logits = masks.flatten_all()?.to_vec1::<f32>()?;
        for mask in logits.chunks_exact_mut((h * w).max(1)) {
            let (width, height) = (w as u32, h as u32);
            let areas = (self.max_hole_area, self.max_sprinkle_area);
            seg_data::components::clean_logits(mask, width, height, MASK_THRESHOLD, areas.0, areas.1)?;
        }
        Ok(Tensor::from_vec(logits, masks.shape(), masks.device())?)
    }
}

/// Logit above which a pixel belongs to the mask.
pub const MASK_THRESHOLD: f32 = 0.0;

/// Logits that stand for a mask given as an image: −10 outside, 10 inside, reduced with antialiasing (SAM 2's
/// `_use_mask_as_output`). `[1, 1, h, w]`.
pub(crate) fn mask_image_logits(mask: &GrayImage, (h, w): (usize, usize), device: &Device) -> Result<Tensor> {
    let (width, height) = (mask.width() as usize, mask.height() as usize);
    let logits: Vec<f32> = seg_data::inside::binary(mask)?.iter().map(|&v| 20.0 * f32::from(v) - 10.0).collect();
    let logits = Tensor::from_vec(logits, (1, 1, height, width), device)?;
    Ok(seg_ops::resize(&logits, (h, w), &Resize::bilinear().antialiased())?)
}

/// A mask prompt of logits must have the decoder's size: `[1, h, w]` to `[1, 1, h, w]`.
pub(crate) fn low_res_prompt(logits: &Tensor, (h, w): (usize, usize), device: &Device) -> Result<Tensor> {
    let expected = [1, h, w];
    if logits.dims() != expected {
        return Err(Error::LowResMaskShape { got: logits.dims().to_vec(), expected });
    }
    Ok(logits.to_device(device)?.unsqueeze(0)?)
}

/// A mask prompt must have the image's shape, to a pixel of rounding.
pub(crate) fn check_mask_shape(mask: &GrayImage, (width, height): (u32, u32)) -> Result<()> {
    let (mw, mh) = mask.dimensions();
    let scaled = f64::from(mw) * f64::from(height) / f64::from(width);
    if mw == 0 || mh == 0 || (scaled - f64::from(mh)).abs() > 1.0 + f64::from(mh.max(mw)) / f64::from(width.min(height))
    {
        return Err(Error::MaskShape { mask: (mw, mh), image: (width, height) });
    }
    Ok(())
}
