//! What MPG-SAM 2 puts before SAM 2's mask decoder (arXiv 2501.13667; models/sam2/modeling/sam/mask_decoder.py of MPG-SAM2): the image looks at the
//! video's context and the text, the mask tokens at the context and at the object's history.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Dropout, Linear, Observer, trace};

use crate::fusion::{FusionBlock, FusionConfig, ProjectedMemory};
use crate::mask_decoder::{DecodedMasks, MaskDecoder};
use crate::prompt_encoder::{PromptEmbeddings, map_tokens};

/// Side of the squares of context tokens that the image sees as one.
const PATCH: usize = 2;

/// The three fusions and the projection of the context's patches.
///
/// Keys, beside those of [`MaskDecoder`]: `vtlfusion_module`, `mmfusion_module`, `objfusion_module`, `patch_linear`.
#[derive(Clone, Debug)]
pub struct MpgFusion {
    vtlfusion_module: FusionBlock,
    mmfusion_module: FusionBlock,
    objfusion_module: FusionBlock,
    patch_linear: Linear,
}

/// What all frames of a video share. Made once a video.
#[derive(Clone, Debug)]
pub struct FusedContext {
    /// The context's patches, as the image looks at them.
    patches: ProjectedMemory,
    /// The mask tokens behind their look at the context, `[B, 1 + multimask, C]`.
    mask_tokens: Tensor,
}

impl FusedContext {
    /// The mask tokens of every frame before their look at the object's history, `[B, 1 + multimask, C]`.
    pub fn mask_tokens(&self) -> &Tensor {
        &self.mask_tokens
    }
}

/// What a frame is decoded from.
#[derive(Clone, Copy, Debug)]
pub struct FusionInputs<'a> {
    /// `[B, C, h, w]`.
    pub image_embeddings: &'a Tensor,
    /// `[1, C, h, w]`.
    pub image_pe: &'a Tensor,
    /// `[B, L, C]`.
    pub text: &'a Tensor,
    /// Object pointers `[B, P, C]` with their positions in time `[1, P, C]`; none on a first frame.
    pub history: Option<(&'a Tensor, &'a Tensor)>,
    /// The prompts of the two-way transformer.
    pub prompts: &'a PromptEmbeddings,
    /// See [`MaskDecoder::high_res_convs`].
    pub high_res_features: &'a [Tensor; 2],
}

impl MpgFusion {
    /// Reads the modules; `vb` is at `visual_model.sam_mask_decoder`.
    pub fn new(cfg: &FusionConfig, vb: VarBuilder) -> Result<Self> {
        let block = |name: &str| FusionBlock::new(cfg, "multihead_attn", vb.pp(name));
        Ok(Self {
            vtlfusion_module: block("vtlfusion_module")?,
            mmfusion_module: block("mmfusion_module")?,
            objfusion_module: block("objfusion_module")?,
            patch_linear: Linear::new(PATCH * PATCH * cfg.dim, cfg.dim, vb.pp("patch_linear"))?,
        })
    }

    /// Dropout for training, of the three fusions.
    pub fn set_dropout(&mut self, dropout: &Dropout) {
        for block in [&mut self.vtlfusion_module, &mut self.mmfusion_module, &mut self.objfusion_module] {
            block.set_dropout(dropout);
        }
    }

    /// The part that does not depend on the frame. `context [B, T·side², C]`: all frames' tokens, row by row, frame after frame. The observer sees
    /// `patch_linear` and `mmfusion`, both `[B, N, C]`.
    pub fn context(
        &self,
        decoder: &MaskDecoder,
        context: &Tensor,
        side: usize,
        observer: &mut dyn Observer,
    ) -> Result<FusedContext> {
        let _context = trace::module("context");
        let patches = self.patch_linear.forward(&space_to_depth(context, side)?)?; // [B, T·(side/2)², C]
        observer.observe("patch_linear", &patches)?;
        let (b, _, c) = context.dims3()?;
        let tokens = decoder.mask_tokens()?;
        let tokens = tokens.expand((b, tokens.dim(1)?, c))?.contiguous()?;
        let mask_tokens =
            self.mmfusion_module.forward(&tokens, None, &self.mmfusion_module.project(context, context)?)?;
        observer.observe("mmfusion", &mask_tokens)?;
        Ok(FusedContext { patches: self.vtlfusion_module.project(&patches, &patches)?, mask_tokens })
    }

    /// A frame's masks. The observer sees `vtlfusion` `[B, hw, C]`, `objfusion` `[B, 1 + multimask, C]`.
    pub fn decode(
        &self,
        decoder: &MaskDecoder,
        context: &FusedContext,
        inputs: &FusionInputs<'_>,
        observer: &mut dyn Observer,
    ) -> Result<DecodedMasks> {
        let image = {
            let _fusion = trace::module("vtlfusion");
            let (b, c, h, w) = inputs.image_embeddings.dims4()?;
            let text = self.vtlfusion_module.project(inputs.text, inputs.text)?;
            let memory = context.patches.followed_by(&text)?;
            let position = map_tokens(inputs.image_pe)?;
            let image =
                self.vtlfusion_module.forward(&map_tokens(inputs.image_embeddings)?, Some(&position), &memory)?;
            observer.observe("vtlfusion", &image)?;
            image.reshape((b, h, w, c))?.permute((0, 3, 1, 2))?
        };
        let mask_tokens = match inputs.history {
            Some((pointers, positions)) => {
                let keys = pointers.broadcast_add(positions)?;
                let history = self.objfusion_module.project(&keys, pointers)?;
                let tokens = self.objfusion_module.forward(&context.mask_tokens, None, &history)?;
                observer.observe("objfusion", &tokens)?;
                tokens
            }
            None => context.mask_tokens.clone(),
        };
        let (tokens, image) = decoder.transform_tokens(&mask_tokens, &image, inputs.image_pe, inputs.prompts)?;
        decoder.decode(tokens, image, Some(inputs.high_res_features))
    }
}

/// Squares of tokens as one: `[B, T·side², C]` to `[B, T·(side/2)², 4·C]`, the four of a channel next to each other.
fn space_to_depth(context: &Tensor, side: usize) -> Result<Tensor> {
    let (b, n, c) = context.dims3()?;
    let patches = side / PATCH;
    if side == 0 || !side.is_multiple_of(PATCH) || !n.is_multiple_of(side * side) {
        candle_core::bail!("MPG fusion: {n} context tokens, expected whole maps of {side} x {side}, of even sides");
    }
    let frames = n / (side * side);
    context.reshape(&[b * frames, patches, PATCH, patches, PATCH, c][..])?.permute([0, 1, 3, 5, 2, 4])?.reshape((
        b,
        frames * patches * patches,
        c * PATCH * PATCH,
    ))
}
