//! SAM's prompt encoder: clicks, boxes and masks to embeddings.

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, Epilogue, LayerNorm, RandomFourierPosition, conv::nhwc};
use seg_ops::Activation;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// Sizes of the prompt encoder, in tokens and pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptEncoderConfig {
    /// Channels of every embedding.
    pub embed_dim: usize,
    /// Height and width of the image embedding, in tokens.
    pub image_embedding_size: (usize, usize),
    /// Height and width of the network's input, in pixels: the frame that coordinates are in.
    pub input_image_size: (usize, usize),
    /// Channels inside the mask branch.
    pub mask_in_chans: usize,
}

impl PromptEncoderConfig {
    /// 256 channels for a square input of `image_size` pixels and an encoder of stride 16.
    pub fn new(image_size: usize) -> Self {
        let tokens = image_size / 16;
        Self {
            embed_dim: 256,
            image_embedding_size: (tokens, tokens),
            input_image_size: (image_size, image_size),
            mask_in_chans: 16,
        }
    }

    /// Height and width of a mask prompt: four times the image embedding's.
    pub fn mask_input_size(&self) -> (usize, usize) {
        let (h, w) = self.image_embedding_size;
        (4 * h, 4 * w)
    }
}

/// Labels of a point prompt, as SAM's weights know them.
pub mod label {
    /// Padding: the point's position does not count.
    pub const PADDING: i64 = -1;
    /// A click outside the object.
    pub const NEGATIVE: i64 = 0;
    /// A click on the object.
    pub const POSITIVE: i64 = 1;
    /// The top-left corner of a box.
    pub const BOX_TOP_LEFT: i64 = 2;
    /// The bottom-right corner of a box.
    pub const BOX_BOTTOM_RIGHT: i64 = 3;
}

/// A batch of point prompts in the network's input frame.
#[derive(Clone, Debug)]
pub struct PointPrompts {
    /// `[B, N, 2]`, x then y, in pixels of the network's input.
    pub coords: Tensor,
    /// `[B, N]` of [`label`] values, i64.
    pub labels: Tensor,
}

impl PointPrompts {
    /// A point of no meaning for each of `batch` entries: what video puts in where there are no prompts.
    pub fn padding(batch: usize, device: &Device) -> Result<Self> {
        Ok(Self {
            coords: Tensor::zeros((batch, 1, 2), DType::F32, device)?,
            labels: Tensor::full(label::PADDING, (batch, 1), device)?,
        })
    }

    /// One batch entry from `(x, y, label)` triples.
    pub fn single(points: &[(f32, f32, i64)], device: &Device) -> Result<Self> {
        let coords: Vec<f32> = points.iter().flat_map(|&(x, y, _)| [x, y]).collect();
        let labels: Vec<i64> = points.iter().map(|&(_, _, label)| label).collect();
        Ok(Self {
            coords: Tensor::from_vec(coords, (1, points.len(), 2), device)?,
            labels: Tensor::from_vec(labels, (1, points.len()), device)?,
        })
    }
}

/// What the prompt encoder returns.
#[derive(Clone, Debug)]
pub struct PromptEmbeddings {
    /// `[B, N, C]`: one token a point or box corner; N may be 0.
    pub sparse_prompt_embeddings: Tensor,
    /// `[B, C, h, w]`: the mask prompt, or the learned "no mask" everywhere.
    pub dense_prompt_embeddings: Tensor,
}

impl PromptEmbeddings {
    /// [`prompted_image`] for each of the prompts: `[B or 1, C, h, w]` to `[B, h, w, C]`.
    ///
    /// # Errors
    /// Several images for another number of prompts.
    pub(crate) fn prompted_image(&self, image_embeddings: &Tensor) -> Result<Tensor> {
        let image = prompted_image(image_embeddings, &self.dense_prompt_embeddings)?;
        let (images, prompts) = (image.dim(0)?, self.sparse_prompt_embeddings.dim(0)?);
        if images != prompts {
            candle_core::bail!("mask decoder: {images} images for {prompts} prompts, expected as many, or one image");
        }
        Ok(image)
    }
}

/// The image that the two-way transformer takes, `[B or 1, h, w, C]`: embeddings and dense prompt added, each `[B or 1, C, h, w]`. Encoders give maps
/// whose channels lie side by side, so nothing is turned round.
pub(crate) fn prompted_image(image_embeddings: &Tensor, dense: &Tensor) -> Result<Tensor> {
    let channels_last = |map: &Tensor| map.permute((0, 2, 3, 1));
    channels_last(image_embeddings)?.broadcast_add(&channels_last(dense)?)
}

/// A map `[B, C, h, w]` as tokens `[B, hw, C]`.
pub(crate) fn map_tokens(map: &Tensor) -> Result<Tensor> {
    map.permute((0, 2, 3, 1))?.flatten(1, 2)?.contiguous()
}

/// SAM's prompt encoder (segment_anything/modeling/prompt_encoder.py; unchanged in SAM 2).
///
/// Keys: `pe_layer.positional_encoding_gaussian_matrix`, `point_embeddings.{0..3}.weight`,
/// `not_a_point_embed.weight`, `mask_downscaling.{0,1,3,4,6}`, `no_mask_embed.weight`.
#[derive(Clone, Debug)]
pub struct PromptEncoder {
    cfg: PromptEncoderConfig,
    pe_layer: RandomFourierPosition,
    point_embeddings: [Tensor; 4], // [1, C] each
    not_a_point_embed: Tensor,     // [1, C]
    mask_downscaling: MaskDownscaling,
    no_mask_embed: Tensor, // [1, C]
    dense_pe: OnceLock<Tensor>,
}

impl PromptEncoder {
    /// Reads the encoder; `vb` is at `prompt_encoder` (SAM) or `sam_prompt_encoder` (SAM 2).
    pub fn new(cfg: &PromptEncoderConfig, vb: VarBuilder) -> Result<Self> {
        let dim = cfg.embed_dim;
        let embedding = |name: &str| vb.pp(name).get((1, dim), "weight");
        Ok(Self {
            pe_layer: RandomFourierPosition::new(dim / 2, vb.pp("pe_layer"))?,
            point_embeddings: [
                embedding("point_embeddings.0")?,
                embedding("point_embeddings.1")?,
                embedding("point_embeddings.2")?,
                embedding("point_embeddings.3")?,
            ],
            not_a_point_embed: embedding("not_a_point_embed")?,
            mask_downscaling: MaskDownscaling::new(cfg.mask_in_chans, dim, vb.pp("mask_downscaling"))?,
            no_mask_embed: embedding("no_mask_embed")?,
            dense_pe: OnceLock::new(),
            cfg: cfg.clone(),
        })
    }

    /// The sizes it was built with.
    pub fn config(&self) -> &PromptEncoderConfig {
        &self.cfg
    }

    /// The position encoding of the image embedding's grid, `[1, C, h, w]`; computed once, unless its matrix is a variable.
    pub fn dense_pe(&self) -> Result<Tensor> {
        let (h, w) = self.cfg.image_embedding_size;
        if let Some(known) = self.dense_pe.get() {
            return Ok(known.clone());
        }
        let encoded = self.pe_layer.dense(h, w)?;
        if self.pe_layer.is_variable() {
            return Ok(encoded);
        }
        Ok(self.dense_pe.get_or_init(|| encoded).clone())
    }

    /// The dense prompt where there is no mask, `[1, C, h, w]`.
    pub fn no_mask(&self) -> Result<Tensor> {
        let (h, w) = self.cfg.image_embedding_size;
        self.no_mask_embed.reshape((1, (), 1, 1))?.expand((1, self.cfg.embed_dim, h, w))
    }

    /// Any of points, boxes `[B, 4]` (x0, y0, x1, y1 in input pixels) and masks `[B, 1, 4h, 4w]` (logits).
    ///
    /// A padding point is appended to points that come without `boxes`. SAM 2's predictors never use `boxes`:
    /// they hand a box over as two points with the corner labels.
    pub fn forward(
        &self,
        points: Option<&PointPrompts>,
        boxes: Option<&Tensor>,
        masks: Option<&Tensor>,
    ) -> Result<PromptEmbeddings> {
        let batch = match (points, boxes, masks) {
            (Some(points), _, _) => points.coords.dim(0)?,
            (None, Some(boxes), _) => boxes.dim(0)?,
            (None, None, Some(masks)) => masks.dim(0)?,
            (None, None, None) => 1,
        };
        let mut sparse = Vec::new();
        if let Some(points) = points {
            sparse.push(self.embed_points(points, boxes.is_none())?);
        }
        if let Some(boxes) = boxes {
            sparse.push(self.embed_boxes(boxes)?);
        }
        let (dtype, device) = (self.no_mask_embed.dtype(), self.no_mask_embed.device());
        let sparse_prompt_embeddings = match sparse.as_slice() {
            [] => Tensor::zeros((batch, 0, self.cfg.embed_dim), dtype, device)?,
            [one] => one.clone(),
            many => Tensor::cat(many, 1)?, // [B, points + 2, C]
        };
        let (h, w) = self.cfg.image_embedding_size;
        let dense_prompt_embeddings = match masks {
            Some(masks) => {
                let (_, channels, mh, mw) = masks.dims4()?;
                if channels != 1 || (mh, mw) != self.cfg.mask_input_size() {
                    candle_core::bail!("mask prompt: shape {:?}, expected [B, 1, {}, {}]", masks.shape(), 4 * h, 4 * w);
                }
                self.mask_downscaling.forward(&masks.to_dtype(dtype)?)?
            }
            None => self.no_mask()?.expand((batch, self.cfg.embed_dim, h, w))?,
        };
        Ok(PromptEmbeddings { sparse_prompt_embeddings, dense_prompt_embeddings })
    }

    /// `[B, N, 2]` pixels to `[B, N, C]`: the centre of the pixel, as a fraction of the input, encoded.
    fn encode_pixels(&self, coords: &Tensor) -> Result<Tensor> {
        let (h, w) = self.cfg.input_image_size;
        let size = Tensor::new(&[w as f32, h as f32], coords.device())?;
        let fractions = (coords.to_dtype(DType::F32)? + 0.5)?.broadcast_div(&size)?;
        self.pe_layer.encode(&fractions)
    }

    fn embed_points(&self, points: &PointPrompts, pad: bool) -> Result<Tensor> {
        let PointPrompts { coords, labels } = points;
        let (batch, n, xy) = coords.dims3()?;
        if xy != 2 || labels.dims() != [batch, n] {
            candle_core::bail!(
                "point prompts: coords {:?} and labels {:?}, expected [B, N, 2] and [B, N]",
                coords.shape(),
                labels.shape()
            );
        }
        let mut labels = labels.to_dtype(DType::I64)?;
        let mut coords = coords.clone();
        if pad {
            let origin = Tensor::zeros((batch, 1, 2), coords.dtype(), coords.device())?;
            labels = Tensor::cat(&[&labels, &Tensor::full(label::PADDING, (batch, 1), coords.device())?], 1)?;
            coords = Tensor::cat(&[&coords, &origin], 1)?;
        }
        for &label in labels.flatten_all()?.to_vec1::<i64>()?.iter() {
            if !(label::PADDING..=label::BOX_BOTTOM_RIGHT).contains(&label) {
                candle_core::bail!("point prompts: label {label}, expected -1 (padding), 0, 1, 2 or 3");
            }
        }
        // the position of a padding point is replaced, the others' is added to
        let position = self.encode_pixels(&coords)?;
        let kept = labels.ge(0i64)?.to_dtype(position.dtype())?.unsqueeze(2)?;
        let [negative, positive, top_left, bottom_right] = &self.point_embeddings;
        let table = Tensor::cat(&[&self.not_a_point_embed, negative, positive, top_left, bottom_right], 0)?; // [5, C]
        let ids = (labels + 1.)?.to_dtype(DType::U32)?.flatten_all()?;
        let learned = table.index_select(&ids, 0)?.reshape(position.shape())?;
        position.broadcast_mul(&kept)? + learned
    }

    fn embed_boxes(&self, boxes: &Tensor) -> Result<Tensor> {
        let (batch, corners) = boxes.dims2()?;
        if corners != 4 {
            candle_core::bail!("box prompts: shape {:?}, expected [B, 4]", boxes.shape());
        }
        let position = self.encode_pixels(&boxes.reshape((batch, 2, 2))?)?;
        let [_, _, top_left, bottom_right] = &self.point_embeddings;
        position.broadcast_add(&Tensor::cat(&[top_left, bottom_right], 0)?)
    }
}

/// The mask branch: two strided convolutions and a projection, channels last inside.
#[derive(Clone, Debug)]
struct MaskDownscaling {
    conv1: Conv2d,
    norm1: LayerNorm,
    conv2: Conv2d,
    norm2: LayerNorm,
    conv3: Conv2d,
}

impl MaskDownscaling {
    fn new(mask_in_chans: usize, embed_dim: usize, vb: VarBuilder) -> Result<Self> {
        const EPS: f64 = 1e-6;
        let quarter = mask_in_chans / 4;
        Ok(Self {
            conv1: Conv2d::new(1, quarter, 2, nhwc(2, 0), vb.pp("0"))?,
            norm1: LayerNorm::new(quarter, EPS, vb.pp("1"))?,
            conv2: Conv2d::new(quarter, mask_in_chans, 2, nhwc(2, 0), vb.pp("3"))?,
            norm2: LayerNorm::new(mask_in_chans, EPS, vb.pp("4"))?,
            conv3: Conv2d::new(mask_in_chans, embed_dim, 1, nhwc(1, 0), vb.pp("6"))?,
        })
    }

    /// `[B, 1, 4h, 4w]` to `[B, C, h, w]`.
    fn forward(&self, masks: &Tensor) -> Result<Tensor> {
        let x = masks.permute((0, 2, 3, 1))?;
        let x = seg_ops::activate(&self.norm1.forward(&self.conv1.forward(&x)?)?, Activation::Gelu)?;
        let x = seg_ops::activate(&self.norm2.forward(&self.conv2.forward(&x)?)?, Activation::Gelu)?;
        self.conv3.forward_with(&x, Epilogue::NONE)?.permute((0, 3, 1, 2))
    }
}
