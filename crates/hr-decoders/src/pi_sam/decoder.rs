use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2d, Epilogue, LayerNorm, Mlp, Observer, conv::nhwc, trace};

use super::config::PiSamDecoderConfig;
use super::head::HrConvHead;
use super::object_embedder::ObjectEmbedder;
use super::upscale::Upscale;
use crate::prompt_encoder::{PromptEmbeddings, map_tokens};
use crate::transformer::TwoWayTransformer;

const EPS: f64 = 1e-6;

/// What the first half of the decoder gives: a mask at a quarter of the input's size and what the second half starts from.
///
/// Between the halves the Precise Interactor may correct [`PiSamCoarse::object_embedding`]: it needs the token, and in training the masks.
#[derive(Clone, Debug)]
pub struct PiSamCoarse {
    /// Logits, `[B, 1, 4h, 4w]`.
    pub masks: Tensor,
    /// The object's features, `[B, C/8, 4h, 4w]` (channels last in memory).
    pub object_embedding: Tensor,
    /// The token that the mask was made with, `[B, 1, C/8]`.
    pub mask_token: Tensor,
}

/// Pi-SAM's decoder without its Precise Interactor (`MaskDecoderAE`).
///
/// It runs in three steps, so that what belongs to the image is computed once, and clicks can correct the middle:
/// [`PiSamDecoder::image_features`], [`PiSamDecoder::coarse`], [`PiSamDecoder::finish`].
///
/// Keys: SAM's mask decoder without prefix (`transformer`, `iou_token`, `mask_tokens`, `output_upscaling`; those of
/// [`PiSamDecoder::UNUSED`] are in official files, but nothing reads them), and `hf_token`, `hf_mlp`, `compress_vit_feat`, `embedding_encoder`,
/// `embedding_maskfeature`, `embedding_act`, `mask_aspp`, `output_upscaling_2`, `out_act`.
#[derive(Clone, Debug)]
pub struct PiSamDecoder {
    transformer: TwoWayTransformer,
    iou_token: Tensor,   // [1, C]
    mask_tokens: Tensor, // [4, C]
    hf_token: Tensor,    // [1, C]
    hf_mlp: Mlp,
    compress_vit_feat: Upscale,
    embedding_encoder: Upscale,
    output_upscaling: Upscale,
    maskfeature1: Conv2d,
    maskfeature_norm: LayerNorm,
    maskfeature2: Conv2d,
    embedding_norm: LayerNorm,
    embedding_conv: Conv2d,
    mask_aspp: ObjectEmbedder,
    head: HrConvHead,
}

/// A tensor that is channels last, as the observer gets it.
fn observe(observer: &mut dyn Observer, name: &str, map: &Tensor) -> Result<()> {
    if observer.active() { observer.observe(name, &map.permute((0, 3, 1, 2))?) } else { Ok(()) }
}

/// `layer` with `residual` added in the same pass; in two steps where somebody wants to see the layer's own output.
fn plus(
    residual: &Tensor,
    name: &str,
    observer: &mut dyn Observer,
    layer: impl FnOnce(Epilogue<'_>) -> Result<Tensor>,
) -> Result<Tensor> {
    if !observer.active() {
        return layer(Epilogue::NONE.with_residual(residual));
    }
    let y = layer(Epilogue::NONE)?;
    observe(observer, name, &y)?;
    y + residual
}

/// One image's map for each of `batch` prompts.
pub(super) fn for_each(map: &Tensor, batch: usize) -> Result<Tensor> {
    let (b, d1, d2, d3) = map.dims4()?;
    if b == batch { Ok(map.clone()) } else { map.broadcast_as((batch, d1, d2, d3)) }
}

impl PiSamDecoder {
    /// Beginnings of keys in official files that nothing reads: SAM's own mask and IoU heads.
    pub const UNUSED: [&'static str; 2] = ["output_hypernetworks_mlps.", "iou_prediction_head."];

    /// Reads the decoder; `vb` is at the root of the decoder's state dict.
    pub fn new(cfg: &PiSamDecoderConfig, vb: VarBuilder) -> Result<Self> {
        let (dim, map, pixel) = (cfg.transformer.embedding_dim, cfg.map_channels(), cfg.pixel_channels());
        if !dim.is_multiple_of(32) {
            candle_core::bail!("Pi-SAM decoder: embedding_dim {dim}, expected a multiple of 32");
        }
        let (feature, act) = (vb.pp("embedding_maskfeature"), vb.pp("embedding_act"));
        let same = nhwc(1, 1);
        Ok(Self {
            transformer: TwoWayTransformer::new(&cfg.transformer, vb.pp("transformer"))?,
            iou_token: vb.pp("iou_token").get((1, dim), "weight")?,
            mask_tokens: vb.pp("mask_tokens").get((cfg.num_mask_tokens, dim), "weight")?,
            hf_token: vb.pp("hf_token").get((1, dim), "weight")?,
            hf_mlp: Mlp::new(&[dim, dim, dim, map], Activation::Relu, vb.pp("hf_mlp"))?,
            compress_vit_feat: Upscale::new((cfg.vit_dim, dim, map), "compress_vit_feat", vb.clone())?,
            embedding_encoder: Upscale::new((dim, dim / 4, map), "embedding_encoder", vb.clone())?,
            output_upscaling: Upscale::new((dim, dim / 4, map), "output_upscaling", vb.clone())?,
            maskfeature1: Conv2d::new(map, 2 * map, 3, same, feature.pp("0"))?,
            maskfeature_norm: LayerNorm::new(2 * map, EPS, feature.pp("1"))?,
            maskfeature2: Conv2d::new(2 * map, map, 3, same, feature.pp("3"))?,
            embedding_norm: LayerNorm::new(map, EPS, act.pp("0"))?,
            embedding_conv: Conv2d::new(map, map, 3, same, act.pp("1"))?,
            mask_aspp: ObjectEmbedder::new(map, vb.pp("mask_aspp"))?,
            head: HrConvHead::new(map, pixel, vb.clone())?,
        })
    }

    /// What all prompts of an image share: `image_embeddings [B, C, h, w]` and the encoder's first globally attending block, `vit_features [B, h, w, D]`,
    /// to `[B, C/8, 4h, 4w]` (channels last in memory). `observer` gets `embedding_encoder` and `compress_vit_feat`.
    pub fn image_features(
        &self,
        image_embeddings: &Tensor,
        vit_features: &Tensor,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let embedding = image_embeddings.permute((0, 2, 3, 1))?;
        let early = self.compress_vit_feat.forward_with(vit_features, Epilogue::NONE)?;
        observe(observer, "compress_vit_feat", &early)?;
        let features =
            plus(&early, "embedding_encoder", observer, |e| self.embedding_encoder.forward_with(&embedding, e))?;
        features.permute((0, 3, 1, 2))
    }

    /// The mask at a quarter of the input's size and the object's features, for a batch of prompts. `image_embeddings [B or 1, C, h, w]`, `image_features`
    /// as [`PiSamDecoder::image_features`] returns them, `image_pe [1, C, h, w]`.
    ///
    /// `observer` gets `transformer.hs`, `transformer.src`, `output_upscaling`, `embedding_maskfeature`, `embedding_act`, `hyper_in`, and what
    /// [`ObjectEmbedder::forward`] gives.
    pub fn coarse(
        &self,
        image_embeddings: &Tensor,
        image_features: &Tensor,
        image_pe: &Tensor,
        prompts: &PromptEmbeddings,
        observer: &mut dyn Observer,
    ) -> Result<PiSamCoarse> {
        let _span = trace::module("coarse");
        let sparse = &prompts.sparse_prompt_embeddings;
        let (batch, _, dim) = sparse.dims3()?;
        let learned = Tensor::cat(&[&self.iou_token, &self.mask_tokens, &self.hf_token], 0)?;
        let count = learned.dim(0)?;
        let learned = learned.unsqueeze(0)?.expand((batch, count, dim))?;
        let tokens = Tensor::cat(&[&learned.contiguous()?, sparse], 1)?; // [B, 6 + N, C]

        let image = prompts.prompted_image(image_embeddings)?; // [B, h, w, C]
        let (_, h, w, _) = image.dims4()?;
        let (tokens, image) = self.transformer.forward(&image.flatten(1, 2)?, &map_tokens(image_pe)?, &tokens)?;
        observer.observe("transformer.hs", &tokens)?;
        observer.observe("transformer.src", &image)?;

        let map = image.reshape((batch, h, w, dim))?;
        let up = self.output_upscaling.forward_with(&map, Epilogue::act(Activation::Gelu))?; // [B, 4h, 4w, C/8]
        observe(observer, "output_upscaling", &up)?;
        let up = seg_ops::gelu(&self.maskfeature_norm.forward(&self.maskfeature1.forward(&up)?)?)?;
        let shared = for_each(&image_features.permute((0, 2, 3, 1))?, batch)?;
        let up = plus(&shared, "embedding_maskfeature", observer, |e| self.maskfeature2.forward_with(&up, e))?;
        let up = self.embedding_norm.forward(&up)?;
        let up = self.embedding_conv.forward_with(&up, Epilogue::act(Activation::Gelu))?;
        observe(observer, "embedding_act", &up)?;

        let mask_token = self.hf_mlp.forward(&tokens.narrow(1, count - 1, 1)?.contiguous()?)?; // [B, 1, C/8]
        observer.observe("hyper_in", &mask_token)?;
        let masks = up.flatten(1, 2)?.matmul(&mask_token.t()?)?.reshape((batch, 4 * h, 4 * w, 1))?;
        let object_embedding = self.mask_aspp.forward(&up, &masks, observer)?.permute((0, 3, 1, 2))?;
        Ok(PiSamCoarse { masks: masks.reshape((batch, 1, 4 * h, 4 * w))?, object_embedding, mask_token })
    }

    /// The HR-Conv head: `object_embedding [B, C/8, 4h, 4w]` and the embedded pixels `[B or 1, C/32, 16h, 16w]` to logits `[B, 1, 16h, 16w]`, the input's
    /// size. `observer` gets `output_upscaling_2`.
    pub fn finish(
        &self,
        object_embedding: &Tensor,
        rgb_embedding: &Tensor,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        self.head.forward(object_embedding, rgb_embedding, observer)
    }
}
