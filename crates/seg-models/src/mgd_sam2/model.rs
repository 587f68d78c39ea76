//! The network, as in figure 2 of the paper.

use std::cell::RefCell;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use detail_refine::DetailRefinement;
use hiera_encoder::{BlockHook, ImageEncoder, ImageEncoderOutput};
use hr_decoders::{MaskDecoder, PromptEmbeddings};
use multiview_fusion::{Hmim, Mcem, PositionTable, ViewGrid};
use sam_adapters::MpAdapter;
use seg_layers::{Epilogue, Observer, RandomFourierPosition, Statistics, Unobserved, observe_nhwc, trace};
use seg_ops::Resize;

use super::config::{MgdSam2Config, ViewOrder};

/// Patches and query pooling of the trunk up to the level that is decoded.
const DECODED_STRIDE: usize = 16;

/// MGD-SAM2.
///
/// Keys: `image_encoder.{trunk,trunk.mpadapter,neck}`, `sam_mask_decoder` with `new_multifieldcrossatt`, `new_fusion1`, `new_fusion2`,
/// `detail_enhance`, `pe_layer`, `no_mask_embed`. Official files also hold [`MgdSam2Config::unused`].
#[derive(Clone, Debug)]
pub struct MgdSam2 {
    grid: ViewGrid,
    image_encoder: ImageEncoder,
    mpadapter: MpAdapter,
    pe_layer: RandomFourierPosition,
    no_mask_embed: Tensor, // [1, C]
    mask_decoder: MaskDecoder,
    mcem: Mcem,
    hmim_stride_8: Hmim,
    hmim_stride_4: Hmim,
    detail_enhance: DetailRefinement,
}

/// What training looks at.
#[derive(Clone, Debug)]
pub struct MgdSam2Output {
    /// Logits of the images, `[B, 1, H, W]`.
    pub masks: Tensor,
    /// Logits of the views, `[5·B, 1, H/2, W/2]`: the decoder's own masks, enlarged. `masks` do not depend on them.
    pub view_masks: Tensor,
}

/// What the decoder has made of the views, before any mask.
struct Decoded {
    tokens: Tensor,                 // [5B, N, C]
    image: Tensor,                  // [5B, h, w, C]
    high_res_features: [Tensor; 2], // [5B, C/8, 4h, 4w], [5B, C/4, 2h, 2w]
}

impl MgdSam2 {
    /// Reads the model; `vb` is at the root of the official state dict.
    pub fn new(cfg: &MgdSam2Config, vb: VarBuilder) -> Result<Self> {
        let grid = ViewGrid::new(cfg.mpadapter.views_per_side)?;
        if cfg.mcem.views_per_side != grid.per_side() {
            candle_core::bail!(
                "MgdSam2Config: {} views a side in MCEM, {} in the adapters, expected one number",
                cfg.mcem.views_per_side,
                grid.per_side()
            );
        }
        let (dim, decoder) = (cfg.image_encoder.d_model, vb.pp("sam_mask_decoder"));
        Ok(Self {
            grid,
            image_encoder: ImageEncoder::new(&cfg.image_encoder, vb.pp("image_encoder"))?,
            mpadapter: MpAdapter::new(&cfg.mpadapter, vb.pp("image_encoder.trunk.mpadapter"))?,
            pe_layer: RandomFourierPosition::new(dim / 2, vb.pp("pe_layer"))?,
            no_mask_embed: vb.pp("no_mask_embed").get((1, dim), "weight")?,
            mask_decoder: MaskDecoder::new(&cfg.mask_decoder, decoder.clone())?,
            mcem: Mcem::new(&cfg.mcem, decoder.pp("new_multifieldcrossatt"))?,
            hmim_stride_8: Hmim::new(dim, grid, decoder.pp("new_fusion2"))?,
            hmim_stride_4: Hmim::new(dim, grid, decoder.pp("new_fusion1"))?,
            detail_enhance: DetailRefinement::new(&cfg.detail_enhance, vb.pp("detail_enhance"))?,
        })
    }

    /// How the views go through the encoder from now on.
    #[must_use]
    pub fn with_view_order(mut self, order: ViewOrder) -> Self {
        self.image_encoder.set_one_by_one(order == ViewOrder::Sequential);
        self
    }

    /// Whether the backward pass computes what lies within the trunk's blocks and the refinement again instead of keeping it: less memory, more time, the same
    /// gradients ([`seg_ops::checkpoint`]).
    pub fn set_checkpointing(&mut self, checkpointing: bool) {
        self.image_encoder.set_checkpointing(checkpointing);
        self.detail_enhance.set_checkpointing(checkpointing);
    }

    /// Normalised images `[B, 3, H, W]` to logits `[B, 1, H, W]`. H and W are multiples of 64: of two views, of the stride of Hiera's grid.
    ///
    /// # Errors
    /// Besides candle's, sides that do not divide into views, and views that Hiera cannot take.
    pub fn forward(&self, images: &Tensor, table: &mut PositionTable) -> Result<Tensor> {
        let Decoded { image, high_res_features, .. } = self.decode(images, table, &mut Unobserved)?;
        let upscaled = self.mask_decoder.upscale(&image, Some(&high_res_features))?; // [5B, 4h, 4w, C/8]
        drop((image, high_res_features));
        self.refine(images, upscaled, Statistics::Running, &mut Unobserved)
    }

    /// As [`MgdSam2::forward`], with the masks of the views, batch norms in train mode where `train` says so, and an observer of the intermediate maps.
    pub fn forward_t<'a>(
        &self,
        images: &Tensor,
        table: &mut PositionTable,
        train: impl Into<Statistics<'a>>,
        observer: &mut dyn Observer,
    ) -> Result<MgdSam2Output> {
        let train = train.into();
        let Decoded { tokens, image, high_res_features } = self.decode(images, table, observer)?;
        let decoded = self.mask_decoder.decode(tokens, image, Some(&high_res_features))?;
        let views = self.mask_decoder.select(&decoded, true)?;
        observer.observe("low_res_masks", &views.masks)?;
        observer.observe("iou_pred", &views.iou_predictions)?;
        observer.observe("sam_tokens", &views.sam_tokens)?;
        observer.observe("object_score_logits", &views.object_score_logits)?;
        observer.observe("upscaled_embedding", &decoded.upscaled_embedding)?;
        let (_, _, height, width) = images.dims4()?;
        let n = self.grid.per_side();
        let view_masks = seg_ops::resize(&views.masks, (height / n, width / n), &Resize::bilinear())?;
        let upscaled = decoded.upscaled_embedding.permute((0, 2, 3, 1))?;
        let masks = self.refine(images, upscaled, train, observer)?;
        observer.observe("pred_mask", &masks)?;
        observer.observe("pred_mask_aux", &view_masks)?;
        Ok(MgdSam2Output { masks, view_masks })
    }

    /// Everything up to the decoder's upscaling.
    fn decode(&self, images: &Tensor, table: &mut PositionTable, observer: &mut dyn Observer) -> Result<Decoded> {
        let views = self.grid.split_images(images)?; // [5B, 3, H/2, W/2]
        observer.observe("views", &views)?;
        let (count, _, height, width) = views.dims4()?;
        let ImageEncoderOutput { vision_features, mut backbone_fpn } = self.encode(views, observer)?;
        let (Some(_), Some(stride_8), Some(stride_4)) = (backbone_fpn.pop(), backbone_fpn.pop(), backbone_fpn.pop())
        else {
            candle_core::bail!("MgdSam2: a pyramid without three levels");
        };

        // no prompts: SAM 2's transformer, on all views
        let (h, w) = (height / DECODED_STRIDE, width / DECODED_STRIDE);
        let dense_pe = self.pe_layer.dense(h, w)?;
        observer.observe("dense_pe", &dense_pe)?;
        let dim = self.no_mask_embed.dim(1)?;
        let prompts = PromptEmbeddings {
            sparse_prompt_embeddings: Tensor::zeros((count, 0, dim), dense_pe.dtype(), dense_pe.device())?,
            dense_prompt_embeddings: self.no_mask_embed.reshape((1, dim, 1, 1))?.broadcast_as((count, dim, h, w))?,
        };
        let (tokens, image) = self.mask_decoder.transform(&vision_features, &dense_pe, &prompts)?;
        drop(vision_features);
        observer.observe("two_way.tokens", &tokens)?;
        observer.observe("two_way.src", &image.flatten(1, 2)?)?;

        // the views look at each other, from coarse to fine
        let enhanced = self.mcem.forward(&image, table)?; // [5B, h, w, C]
        drop(image);
        observer.observe("mcem.pe", &enhanced.position)?;
        observe_nhwc(observer, "mcem.out", &enhanced.views)?;
        observe_nhwc(observer, "mcem.locs", &enhanced.joined)?;
        let stride_8 = self.hmim_stride_8.forward(channels_last(stride_8)?, &enhanced.joined)?; // [5B, 2h, 2w, C]
        observe_nhwc(observer, "hmim2.x", &stride_8)?;
        let joined = self.hmim_stride_8.joined(&stride_8)?;
        observe_nhwc(observer, "hmim2.locs", &joined)?;
        let [conv_s0, conv_s1] = self.mask_decoder.high_res_convs()?;
        let s1 = conv_s1.forward_with(&stride_8, Epilogue::NONE)?;
        drop(stride_8);
        let stride_4 = self.hmim_stride_4.forward(channels_last(stride_4)?, &joined)?; // [5B, 4h, 4w, C]
        observe_nhwc(observer, "hmim1.x", &stride_4)?;
        let s0 = conv_s0.forward_with(&stride_4, Epilogue::NONE)?;
        drop(stride_4);
        let high_res_features = [channels_first(&s0)?, channels_first(&s1)?];
        observer.observe("conv_s0", &high_res_features[0])?;
        observer.observe("conv_s1", &high_res_features[1])?;
        Ok(Decoded { tokens, image: enhanced.views, high_res_features })
    }

    /// SAM 2's encoder on the views, with the adapters before its blocks.
    fn encode(&self, views: Tensor, observer: &mut dyn Observer) -> Result<ImageEncoderOutput> {
        if !observer.active() {
            return self.image_encoder.forward_with(views, &self.mpadapter, observer);
        }
        let looked_at = LookedAt { adapter: &self.mpadapter, seen: RefCell::default() };
        let output = self.image_encoder.forward_with(views, &looked_at, observer)?;
        for (name, delta) in looked_at.seen.into_inner() {
            observer.observe(&format!("mpadapter.{name}"), &delta)?;
        }
        Ok(output)
    }

    /// The exact masks, from the decoder's features `[5B, H/8, W/8, C/8]` and the images.
    fn refine(
        &self,
        images: &Tensor,
        upscaled: Tensor,
        train: Statistics<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let _span = trace::module("refine");
        let (locals, global) = self.grid.parts(&upscaled)?;
        let locals = self.grid.join(&locals)?; // [B, H/4, W/4, C/8]
        drop(upscaled);
        self.detail_enhance.forward_observed(images, &locals, &global.contiguous()?, train, observer)
    }
}

/// The adapters, and what each of them adds.
struct LookedAt<'a> {
    adapter: &'a MpAdapter,
    seen: RefCell<Vec<(String, Tensor)>>,
}

impl BlockHook for LookedAt<'_> {
    fn before_block(&self, index: usize, x: Tensor) -> Result<Tensor> {
        let delta = self.adapter.delta(index, &x)?;
        let y = (x + &delta)?;
        let name = self.adapter.name(index).unwrap_or_default().to_owned();
        self.seen.borrow_mut().push((name, delta.detach()));
        Ok(y)
    }
}

fn channels_last(map: Tensor) -> Result<Tensor> {
    map.permute((0, 2, 3, 1))?.contiguous()
}

fn channels_first(map: &Tensor) -> Result<Tensor> {
    map.permute((0, 3, 1, 2))
}
