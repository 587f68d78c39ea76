//! SAM's and SAM 2's mask decoder.

use candle_core::{D, DType, Module, Result, Tensor, TensorId};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2d, ConvTranspose2d, Epilogue, LayerNorm, Linear, Mlp, conv, trace};
use serde::{Deserialize, Serialize};

use crate::prompt_encoder::{PromptEmbeddings, PromptEncoder, map_tokens, prompted_image};
use crate::transformer::{MlpKeys, ProjectedImage, TwoWayTransformer, TwoWayTransformerConfig};

/// Whether and how the decoder says that the object is in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectScore {
    /// No token, no head (SAM).
    None,
    /// A token and one linear layer.
    Linear,
    /// A token and a three-layer MLP (SAM 2).
    Mlp,
}

/// When one mask is asked for and it is unstable, the best of the others is taken instead.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DynamicMultimask {
    /// Half the width of the band of logits around 0 in which pixels may flip.
    pub stability_delta: f64,
    /// Share of pixels (0..1) that must not flip.
    pub stability_thresh: f64,
}

/// Sizes and switches of the decoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskDecoderConfig {
    /// The two-way transformer; its width is the decoder's.
    pub transformer: TwoWayTransformerConfig,
    /// Masks besides the single one.
    pub num_multimask_outputs: usize,
    /// Hidden channels of the IoU head (3 layers).
    pub iou_head_hidden_dim: usize,
    /// SAM 2 squeezes predicted IoUs to 0..1.
    pub iou_prediction_use_sigmoid: bool,
    /// SAM 2 adds the encoder's stride-4 and stride-8 maps while upscaling.
    pub use_high_res_features: bool,
    /// Object score token and head.
    pub object_score: ObjectScore,
    /// SAM 2's fallback for an unstable single mask; `None` keeps mask 0.
    pub dynamic_multimask: Option<DynamicMultimask>,
}

impl MaskDecoderConfig {
    /// SAM, MobileSAM.
    pub fn sam() -> Self {
        Self {
            transformer: TwoWayTransformerConfig::sam(MlpKeys::Lin),
            num_multimask_outputs: 3,
            iou_head_hidden_dim: 256,
            iou_prediction_use_sigmoid: false,
            use_high_res_features: false,
            object_score: ObjectScore::None,
            dynamic_multimask: None,
        }
    }

    /// SAM 2 and 2.1 as their official builders set them up for inference.
    pub fn sam2() -> Self {
        Self {
            transformer: TwoWayTransformerConfig::sam(MlpKeys::Layers),
            iou_prediction_use_sigmoid: true,
            use_high_res_features: true,
            object_score: ObjectScore::Mlp,
            dynamic_multimask: Some(DynamicMultimask { stability_delta: 0.05, stability_thresh: 0.98 }),
            ..Self::sam()
        }
    }
}

/// Everything that the decoder computes, before masks are chosen.
#[derive(Clone, Debug)]
pub struct DecodedMasks {
    /// Logits of all masks, `[B, 1 + multimask, 4h, 4w]`; mask 0 is the single one.
    pub masks: Tensor,
    /// Predicted IoU of each, `[B, 1 + multimask]`.
    pub iou_predictions: Tensor,
    /// The masks' tokens after the transformer, `[B, 1 + multimask, C]`.
    pub mask_tokens: Tensor,
    /// Logit of "the object is there", `[B, 1]`; 10 where the model has no such head.
    pub object_score_logits: Tensor,
    /// All tokens after the transformer, `[B, N, C]`.
    pub tokens: Tensor,
    /// Image tokens after the transformer, `[B, hw, C]`.
    pub image_tokens: Tensor,
    /// `[B, C/8, 4h, 4w]`.
    pub upscaled_embedding: Tensor,
}

/// The masks that the decoder hands out.
#[derive(Clone, Debug)]
pub struct MaskDecoderOutput {
    /// Logits, `[B, M, 4h, 4w]`, M the number of multimasks or 1.
    pub masks: Tensor,
    /// Predicted IoU, `[B, M]`.
    pub iou_predictions: Tensor,
    /// Tokens that object pointers are made of: `[B, M, C]`; with one mask always token 0's.
    pub sam_tokens: Tensor,
    /// `[B, 1]`.
    pub object_score_logits: Tensor,
}

/// An image as the transformer takes it, a mask prompt or "no mask" added, and what the decoder makes of it whatever clicks and boxes there are: made
/// once, it serves any number of them.
#[derive(Clone, Debug)]
pub struct PreparedImage {
    decoder: TensorId,
    image: ProjectedImage, // [B or 1, hw, C]
    image_pe: Tensor,      // [1, hw, C]
    size: (usize, usize),
}

impl PreparedImage {
    /// Whether gradients flow through it: then it holds for this one step, weights may change after it.
    pub fn is_tracked(&self) -> bool {
        self.image.is_tracked()
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> usize {
        self.image.bytes()
    }
}

/// SAM's mask decoder in its SAM and SAM 2 forms (segment_anything/modeling/mask_decoder.py,
/// sam2/modeling/sam/mask_decoder.py).
///
/// Keys: `transformer`, `iou_token`, `mask_tokens`, `output_upscaling.{0,1,3}`, `output_hypernetworks_mlps.K`,
/// `iou_prediction_head`, and in SAM 2 `obj_score_token`, `pred_obj_score_head`, `conv_s0`, `conv_s1`.
#[derive(Clone, Debug)]
pub struct MaskDecoder {
    cfg: MaskDecoderConfig,
    transformer: TwoWayTransformer,
    obj_score_token: Option<Tensor>, // [1, C]
    iou_token: Tensor,               // [1, C]
    mask_tokens: Tensor,             // [1 + multimask, C]
    upscale1: ConvTranspose2d,
    upscale_norm: LayerNorm,
    upscale2: ConvTranspose2d,
    high_res_convs: Option<(Conv2d, Conv2d)>,
    output_hypernetworks_mlps: Vec<Mlp>,
    iou_prediction_head: Mlp,
    pred_obj_score_head: Option<ObjectScoreHead>,
}

#[derive(Clone, Debug)]
enum ObjectScoreHead {
    Linear(Linear),
    Mlp(Mlp),
}

impl MaskDecoder {
    /// Reads the decoder; `vb` is at `mask_decoder` (SAM) or `sam_mask_decoder` (SAM 2).
    pub fn new(cfg: &MaskDecoderConfig, vb: VarBuilder) -> Result<Self> {
        let dim = cfg.transformer.embedding_dim;
        let num_mask_tokens = cfg.num_multimask_outputs + 1;
        let high_res_convs = if cfg.use_high_res_features {
            let conv_s0 = Conv2d::new(dim, dim / 8, 1, conv::nhwc(1, 0), vb.pp("conv_s0"))?;
            let conv_s1 = Conv2d::new(dim, dim / 4, 1, conv::nhwc(1, 0), vb.pp("conv_s1"))?;
            Some((conv_s0, conv_s1))
        } else {
            None
        };
        let obj_score_token = match cfg.object_score {
            ObjectScore::None => None,
            _ => Some(vb.pp("obj_score_token").get((1, dim), "weight")?),
        };
        let score_vb = vb.pp("pred_obj_score_head");
        let pred_obj_score_head = match cfg.object_score {
            ObjectScore::None => None,
            ObjectScore::Linear => Some(ObjectScoreHead::Linear(Linear::new(dim, 1, score_vb)?)),
            ObjectScore::Mlp => Some(ObjectScoreHead::Mlp(Mlp::new(&[dim, dim, dim, 1], Activation::Relu, score_vb)?)),
        };
        let iou_activation = if cfg.iou_prediction_use_sigmoid { Activation::Sigmoid } else { Activation::None };
        let hidden = cfg.iou_head_hidden_dim;
        let iou_prediction_head =
            Mlp::new(&[dim, hidden, hidden, num_mask_tokens], Activation::Relu, vb.pp("iou_prediction_head"))?;
        let hyper = vb.pp("output_hypernetworks_mlps");
        Ok(Self {
            transformer: TwoWayTransformer::new(&cfg.transformer, vb.pp("transformer"))?,
            obj_score_token,
            iou_token: vb.pp("iou_token").get((1, dim), "weight")?,
            mask_tokens: vb.pp("mask_tokens").get((num_mask_tokens, dim), "weight")?,
            upscale1: ConvTranspose2d::new(dim, dim / 4, 2, conv::upscale_nhwc(), vb.pp("output_upscaling.0"))?,
            upscale_norm: LayerNorm::new(dim / 4, 1e-6, vb.pp("output_upscaling.1"))?,
            upscale2: ConvTranspose2d::new(dim / 4, dim / 8, 2, conv::upscale_nhwc(), vb.pp("output_upscaling.3"))?,
            high_res_convs,
            output_hypernetworks_mlps: (0..num_mask_tokens)
                .map(|i| Mlp::new(&[dim, dim, dim, dim / 8], Activation::Relu, hyper.pp(i)))
                .collect::<Result<_>>()?,
            iou_prediction_head: iou_prediction_head.with_output_activation(iou_activation),
            pred_obj_score_head,
            cfg: cfg.clone(),
        })
    }

    /// The channels-last 1×1 convolutions that turn the stride-4 and stride-8 pyramid levels, of the decoder's width, into `high_res_features`: what
    /// the upscaling adds, `[B, C/8, 4h, 4w]`, `[B, C/4, 2h, 2w]`. To be applied once an image, however many prompts follow.
    pub fn high_res_convs(&self) -> Result<[&Conv2d; 2]> {
        let Some((conv_s0, conv_s1)) = &self.high_res_convs else {
            candle_core::bail!("high_res_convs: this mask decoder is configured without high-resolution features");
        };
        Ok([conv_s0, conv_s1])
    }

    /// All masks. `image_embeddings [B or 1, C, h, w]` (1 is shared by all prompts), `image_pe [1, C, h, w]`,
    /// `high_res_features` as [`MaskDecoder::high_res_convs`] makes them.
    pub fn predict_masks(
        &self,
        image_embeddings: &Tensor,
        image_pe: &Tensor,
        prompts: &PromptEmbeddings,
        high_res_features: Option<&[Tensor; 2]>,
    ) -> Result<DecodedMasks> {
        let (tokens, image) = self.transform(image_embeddings, image_pe, prompts)?;
        self.decode(tokens, image, high_res_features)
    }

    /// The learned tokens of all masks, `[1, 1 + multimask, C]`.
    pub fn mask_tokens(&self) -> Result<Tensor> {
        self.mask_tokens.unsqueeze(0)
    }

    /// The first half of [`MaskDecoder::predict_masks`]: tokens `[B, N, C]` and image `[B, h, w, C]` behind the transformer.
    pub fn transform(
        &self,
        image_embeddings: &Tensor,
        image_pe: &Tensor,
        prompts: &PromptEmbeddings,
    ) -> Result<(Tensor, Tensor)> {
        self.transform_tokens(&self.mask_tokens()?, image_embeddings, image_pe, prompts)
    }

    /// As [`MaskDecoder::transform`], with `mask_tokens [1 or B, 1 + multimask, C]` in place of the learned ones.
    pub fn transform_tokens(
        &self,
        mask_tokens: &Tensor,
        image_embeddings: &Tensor,
        image_pe: &Tensor,
        prompts: &PromptEmbeddings,
    ) -> Result<(Tensor, Tensor)> {
        let image = self.prepare(image_embeddings, image_pe, &prompts.dense_prompt_embeddings)?;
        self.transform_prepared(mask_tokens, &image, &prompts.sparse_prompt_embeddings)
    }

    /// What [`MaskDecoder::predict_masks`] does before it looks at clicks and boxes: `image_embeddings [B or 1, C, h, w]` with their position
    /// `image_pe [1, C, h, w]` and the dense prompt `[B or 1, C, h, w]`.
    pub fn prepare(&self, image_embeddings: &Tensor, image_pe: &Tensor, dense: &Tensor) -> Result<PreparedImage> {
        let _decoder = trace::module("mask_decoder");
        let image = prompted_image(image_embeddings, dense)?; // [B or 1, h, w, C]
        let (_, h, w, _) = image.dims4()?;
        let image_pe = map_tokens(image_pe)?;
        let image = self.transformer.project(&image.flatten(1, 2)?, &image_pe)?;
        Ok(PreparedImage { decoder: self.iou_token.id(), image, image_pe, size: (h, w) })
    }

    /// [`MaskDecoder::prepare`] where no mask is given, whatever clicks and boxes there are: `image_embeddings [B, C, h, w]`.
    pub fn prepare_without_mask(&self, image_embeddings: &Tensor, prompts: &PromptEncoder) -> Result<PreparedImage> {
        self.prepare(image_embeddings, &prompts.dense_pe()?, &prompts.no_mask()?)
    }

    /// Whether it was this decoder, or a clone of it, that prepared the image.
    pub fn has_prepared(&self, image: &PreparedImage) -> bool {
        image.decoder == self.iou_token.id()
    }

    fn transform_prepared(
        &self,
        mask_tokens: &Tensor,
        prepared: &PreparedImage,
        sparse: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let _decoder = trace::module("mask_decoder");
        let (batch, _, dim) = sparse.dims3()?;
        let images = prepared.image.batch()?;
        if images != 1 && images != batch {
            candle_core::bail!("mask decoder: {images} images for {batch} prompts, expected as many, or one image");
        }

        // tokens: [object score], IoU, masks, prompts
        let mut tokens = Vec::with_capacity(4);
        for token in self.obj_score_token.iter().chain([&self.iou_token]) {
            tokens.push(token.expand((batch, 1, dim))?.contiguous()?);
        }
        tokens.push(mask_tokens.expand((batch, mask_tokens.dim(1)?, dim))?.contiguous()?);
        tokens.push(sparse.clone());
        let tokens = Tensor::cat(&tokens, 1)?; // [B, N, C]

        let (h, w) = prepared.size;
        let (tokens, image) = self.transformer.forward_projected(&prepared.image, &prepared.image_pe, &tokens)?;
        Ok((tokens, image.reshape((batch, h, w, dim))?))
    }

    /// The second half: masks of tokens and image as [`MaskDecoder::transform`] returns them.
    pub fn decode(
        &self,
        tokens: Tensor,
        image: Tensor,
        high_res_features: Option<&[Tensor; 2]>,
    ) -> Result<DecodedMasks> {
        let _decoder = trace::module("mask_decoder");
        let (batch, h, w, _) = image.dims4()?;
        let num_mask_tokens = self.cfg.num_multimask_outputs + 1;
        let iou_at = usize::from(self.obj_score_token.is_some());
        let upscaled = self.upscale(&image, high_res_features)?; // [B, 4h, 4w, C/8]
        let mask_tokens = tokens.narrow(1, iou_at + 1, num_mask_tokens)?;
        let hyper_in = self
            .output_hypernetworks_mlps
            .iter()
            .enumerate()
            .map(|(i, mlp)| mlp.forward(&mask_tokens.narrow(1, i, 1)?.contiguous()?))
            .collect::<Result<Vec<_>>>()?;
        let hyper_in = Tensor::cat(&hyper_in, 1)?; // [B, masks, C/8]
        let pixels = upscaled.flatten(1, 2)?; // [B, 16hw, C/8]
        let masks = mask_logits(&pixels, &hyper_in)?.reshape((batch, num_mask_tokens, 4 * h, 4 * w))?;

        let token = |i: usize| tokens.narrow(1, i, 1)?.squeeze(1)?.contiguous();
        let iou_predictions = self.iou_prediction_head.forward(&token(iou_at)?)?;
        let object_score_logits = match &self.pred_obj_score_head {
            Some(ObjectScoreHead::Linear(head)) => head.forward(&token(0)?)?,
            Some(ObjectScoreHead::Mlp(head)) => head.forward(&token(0)?)?,
            None => Tensor::full(10f32, (batch, 1), tokens.device())?.to_dtype(tokens.dtype())?,
        };
        let upscaled_embedding = upscaled.permute((0, 3, 1, 2))?;
        Ok(DecodedMasks {
            masks,
            iou_predictions,
            mask_tokens,
            object_score_logits,
            tokens,
            image_tokens: image.flatten(1, 2)?,
            upscaled_embedding,
        })
    }

    /// The image behind the transformer, `[B, h, w, C]`, to what masks are read from: `[B, 4h, 4w, C/8]`.
    pub fn upscale(&self, map: &Tensor, high_res_features: Option<&[Tensor; 2]>) -> Result<Tensor> {
        let _upscaling = trace::module("output_upscaling");
        match (&self.high_res_convs, high_res_features) {
            (None, None) => {
                let x = self.upscale_norm.forward(&self.upscale1.forward(map)?)?; // [B, 2h, 2w, C/4]
                let x = seg_ops::gelu(&x)?;
                self.upscale2.forward_with(&x, Epilogue::act(Activation::Gelu))
            }
            (Some(_), Some([s0, s1])) => {
                let (b, ..) = map.dims4()?;
                // one image's features serve every prompt
                let expand = |feature: &Tensor| {
                    let feature = feature.permute((0, 2, 3, 1))?;
                    let (_, h, w, c) = feature.dims4()?;
                    feature.broadcast_as((b, h, w, c))
                };
                let x = self.upscale1.forward_with(map, Epilogue::NONE.with_residual(&expand(s1)?))?;
                let x = seg_ops::gelu(&self.upscale_norm.forward(&x)?)?;
                seg_ops::gelu(&self.upscale2.forward_with(&x, Epilogue::NONE.with_residual(&expand(s0)?))?)
            }
            (have, given) => candle_core::bail!(
                "mask decoder: high-resolution features {}, but its configuration {} them",
                if given.is_some() { "given" } else { "missing" },
                if have.is_some() { "needs" } else { "has no use for" }
            ),
        }
    }

    /// Predicts and chooses: all multimasks, or the single mask, which an unstable one hands over to the best of
    /// the others where the configuration says so.
    pub fn forward(
        &self,
        image_embeddings: &Tensor,
        image_pe: &Tensor,
        prompts: &PromptEmbeddings,
        high_res_features: Option<&[Tensor; 2]>,
        multimask_output: bool,
    ) -> Result<MaskDecoderOutput> {
        let decoded = self.predict_masks(image_embeddings, image_pe, prompts, high_res_features)?;
        self.select(&decoded, multimask_output)
    }

    /// As [`MaskDecoder::forward`], on an image that this decoder has prepared; `sparse [B, N, C]` are the embeddings of clicks and boxes.
    pub fn forward_prepared(
        &self,
        image: &PreparedImage,
        sparse: &Tensor,
        high_res_features: Option<&[Tensor; 2]>,
        multimask_output: bool,
    ) -> Result<MaskDecoderOutput> {
        let (tokens, image) = self.transform_prepared(&self.mask_tokens()?, image, sparse)?;
        self.select(&self.decode(tokens, image, high_res_features)?, multimask_output)
    }

    /// The choice of [`MaskDecoder::forward`] among masks that are computed already.
    pub fn select(&self, decoded: &DecodedMasks, multimask_output: bool) -> Result<MaskDecoderOutput> {
        let multimasks = self.cfg.num_multimask_outputs;
        let DecodedMasks { masks, iou_predictions, mask_tokens, object_score_logits, .. } = decoded;
        let (masks, iou_predictions) = if multimask_output {
            (masks.narrow(1, 1, multimasks)?, iou_predictions.narrow(1, 1, multimasks)?)
        } else {
            match self.cfg.dynamic_multimask {
                Some(rule) => select_stable(masks, iou_predictions, rule)?,
                None => (masks.narrow(1, 0, 1)?, iou_predictions.narrow(1, 0, 1)?),
            }
        };
        let sam_tokens =
            if multimask_output { mask_tokens.narrow(1, 1, multimasks)? } else { mask_tokens.narrow(1, 0, 1)? };
        Ok(MaskDecoderOutput { masks, iou_predictions, sam_tokens, object_score_logits: object_score_logits.clone() })
    }
}

/// Logits of every mask at every pixel, `[B, M, N]`: pixels `[B, N, C]` times what the masks' tokens ask for, `[B, M, C]`.
fn mask_logits(pixels: &Tensor, tokens: &Tensor) -> Result<Tensor> {
    // pixels are many and tokens few: rows of pixels need no packing
    let of_prompt = |b: usize| seg_ops::linear(&pixels.get(b)?, &tokens.get(b)?, None, Epilogue::NONE);
    let logits = (0..pixels.dim(0)?).map(of_prompt).collect::<std::result::Result<Vec<_>, _>>()?;
    Tensor::stack(&logits, 0)?.transpose(1, 2)?.contiguous()
}

/// Per batch entry: mask 0 if it is stable, else the multimask of the highest predicted IoU.
fn select_stable(masks: &Tensor, ious: &Tensor, rule: DynamicMultimask) -> Result<(Tensor, Tensor)> {
    let stability = stability_scores(&masks.narrow(1, 0, 1)?, rule.stability_delta)?.flatten_all()?.to_vec1::<f32>()?;
    let all_ious = ious.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    let mut chosen_masks = Vec::with_capacity(stability.len());
    let mut chosen_ious = Vec::with_capacity(stability.len());
    for (i, (&stability, ious_of)) in stability.iter().zip(&all_ious).enumerate() {
        let pick = if f64::from(stability) >= rule.stability_thresh { 0 } else { 1 + argmax(&ious_of[1..]) };
        chosen_masks.push(masks.narrow(0, i, 1)?.narrow(1, pick, 1)?);
        chosen_ious.push(ious.narrow(0, i, 1)?.narrow(1, pick, 1)?);
    }
    Ok((Tensor::cat(&chosen_masks, 0)?, Tensor::cat(&chosen_ious, 0)?))
}

/// Index of the first highest value; 0 for none.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = i;
        }
    }
    best
}

/// Share of a mask's pixels that stay in it when the threshold moves from `-delta` to `delta`:
/// `[B, M, H, W]` logits to `[B, M]` in 0..1, f32; 1 for a mask without any pixel.
pub fn stability_scores(masks: &Tensor, delta: f64) -> Result<Tensor> {
    let area = |threshold: f64| -> Result<Tensor> {
        masks.gt(threshold)?.to_dtype(DType::F32)?.flatten_from(2)?.sum(D::Minus1)
    };
    let (inner, outer) = (area(delta)?, area(-delta)?);
    let empty = outer.eq(0f64)?;
    empty.where_cond(&outer.ones_like()?, &(inner / outer.maximum(1f64)?)?)
}
