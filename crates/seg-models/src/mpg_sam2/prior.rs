//! The mask prior generator.

use beit3_encoder::Beit3Features;
use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use hr_decoders::FusionBlock;
use seg_layers::{Activation, Attention, Dropout, Epilogue, Linear, Mlp, Observer, trace};
use video_memory::sine_position_1d;

use super::config::MpgSam2Config;

/// From BEiT-3's features of all frames to prompts for each and a context of all (section 3.2 of arXiv 2501.13667; `EvfSamModel` in
/// models/evf_sam.py).
///
/// Keys: `visual_ifi`, `vmtoken.multihead_attn`, `mask_linear`, `mask_product`, `meo_linear`, `text_hidden_fcs.0.{0,2}`, `text_feat_linear`,
/// `text2one_linear`.
#[derive(Clone, Debug)]
pub struct MaskPriorGenerator {
    visual_ifi: FusionBlock,
    vmtoken: Attention,
    mask_linear: Linear,
    mask_product: Linear,
    meo_linear: Linear,
    text_hidden_fcs: Mlp,
    text_feat_linear: Linear,
    text2one_linear: Linear,
    grid: usize,
    dim: usize,
}

/// What the generator makes of B videos of T frames with a text of L tokens. C is SAM 2's width, P = side² the patches of a frame.
#[derive(Clone, Debug)]
pub struct MaskPrior {
    /// Where the object may be, 0..1, `[B·T, 1, side, side]`: the dense prompts.
    pub mask_prompts: Tensor,
    /// All frames' patches weighted by the prior, `[B, T·P, C]`, with the frames' places in time.
    pub context: Tensor,
    /// The sentence as seen with each frame, `[B·T, 1, C]`: the sparse prompts.
    pub sentence: Tensor,
    /// All of the text's tokens, those of padding too, `[B·T, L, C]`.
    pub text: Tensor,
    /// A number a frame, `[B·T, 1, 1]`, that a training loss asks for.
    pub sentence_scores: Tensor,
    /// T.
    pub frames: usize,
    /// Side of a frame's map, in patches.
    pub side: usize,
}

impl MaskPriorGenerator {
    /// Reads the generator; `vb` is at the root of the official state dict.
    pub fn new(cfg: &MpgSam2Config, vb: VarBuilder) -> Result<Self> {
        let (wide, dim) = (cfg.prior.dim, cfg.fusion.dim);
        let linear = |name: &str, from, to| Linear::new(from, to, vb.pp(name));
        let fcs = vb.pp("text_hidden_fcs.0");
        Ok(Self {
            visual_ifi: FusionBlock::new(&cfg.prior, "self_attn", vb.pp("visual_ifi"))?,
            vmtoken: Attention::packed(wide, cfg.prior.num_heads, vb.pp("vmtoken.multihead_attn"))?,
            mask_linear: linear("mask_linear", wide, wide)?,
            mask_product: linear("mask_product", wide, 1)?,
            meo_linear: linear("meo_linear", wide, dim)?,
            text_hidden_fcs: Mlp::with_names(&[wide, wide, dim], &["0", "2"], Activation::Relu, fcs)?,
            text_feat_linear: linear("text_feat_linear", wide, dim)?,
            text2one_linear: linear("text2one_linear", dim, 1)?,
            grid: cfg.beit3.grid(),
            dim,
        })
    }

    /// Dropout for training, where the authors have it: in `visual_ifi`.
    pub fn set_dropout(&mut self, dropout: &Dropout) {
        self.visual_ifi.set_dropout(dropout);
    }

    /// The prior of `frames` frames of each of B videos, from features `[B·T, …]`, a video's frames one after the other. The observer sees
    /// `visual_ifi` `[B, T·P, D]`, `vmtoken` `[B, T, D]`, `mask_linear` `[B·T, 1, D]`, `mask_product_logits` `[B·T, side, side, 1]`, `meo_linear`
    /// `[B·T, side, side, C]`.
    ///
    /// # Errors
    /// Besides candle's, features that are not of whole videos, or of images of another size than BEiT-3's own.
    pub fn forward(&self, features: &Beit3Features, frames: usize, observer: &mut dyn Observer) -> Result<MaskPrior> {
        let _prior = trace::module("prior");
        let (count, tokens, wide) = features.vision.dims3()?;
        let (side, patches) = (self.grid, self.grid * self.grid);
        if frames == 0 || !count.is_multiple_of(frames) || tokens != patches + 1 {
            candle_core::bail!(
                "mask prior: {count} images of {tokens} tokens for videos of {frames} frames, expected whole videos and images of {} tokens",
                patches + 1
            );
        }
        let b = count / frames;
        let class = features.vision.narrow(1, 0, 1)?.contiguous()?; // [B·T, 1, D]
        let visual = features.vision.narrow(1, 1, patches)?.reshape((b, frames * patches, wide))?;
        let visual = self.visual_ifi.forward_self(&visual)?; // [B, T·P, D]
        observer.observe("visual_ifi", &visual)?;

        let token = class.reshape((b, frames, wide))?;
        let token = (&token * self.vmtoken.forward(&token, &visual, &visual, Epilogue::NONE)?)?; // [B, T, D]
        observer.observe("vmtoken", &token)?;
        let weight = self.mask_linear.forward(&token)?.reshape((b * frames, 1, wide))?;
        observer.observe("mask_linear", &weight)?;
        let weighted = visual.reshape((b * frames, patches, wide))?.broadcast_mul(&weight)?; // [B·T, P, D]
        let logits = self.mask_product.forward(&weighted)?; // [B·T, P, 1]
        observer.observe("mask_product_logits", &logits.reshape((b * frames, side, side, 1))?)?;
        let mask_prompts = seg_ops::activate(&logits, Activation::Sigmoid)?.reshape((b * frames, 1, side, side))?;

        let context = self.meo_linear.forward(&weighted)?; // [B·T, P, C]
        observer.observe("meo_linear", &context.reshape((b * frames, side, side, self.dim))?)?;
        let times: Vec<f64> = (0..frames).map(|t| t as f64).collect();
        let times = sine_position_1d(&times, self.dim, context.device())?.to_dtype(context.dtype())?; // [T, C]
        let times = times.reshape((1, frames, 1, self.dim))?;
        let context = context.reshape((b, frames, patches, self.dim))?.broadcast_add(&times)?;

        let text = self.text_feat_linear.forward(&features.text)?; // [B·T, L, C]
        let sentence_scores = self.text2one_linear.forward(&text.narrow(1, 0, 1)?.contiguous()?)?;
        Ok(MaskPrior {
            mask_prompts,
            context: context.reshape((b, frames * patches, self.dim))?,
            sentence: self.text_hidden_fcs.forward(&class)?,
            text,
            sentence_scores,
            frames,
            side,
        })
    }
}
