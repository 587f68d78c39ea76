//! `sam1_decoder`: SAM's prompt encoder and mask decoder on generated image embeddings.

use super::{Result, Run, sam1_model::check_prompts};
use crate::verify::weights::Weights;
use candle_core::D;
use hr_decoders::{MaskDecoder, MaskDecoderConfig, PromptEncoder, PromptEncoderConfig};

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let embeddings = run.inputs().described("input.image_embeddings")?; // [1, 256, 64, 64]
    let image_size = 16 * embeddings.dim(D::Minus1)?;
    let weights = Weights::of(case, "sam_without_encoder")?;
    let vb = weights.var_builder(device);
    let prompt_encoder = PromptEncoder::new(&PromptEncoderConfig::new(image_size), vb.pp("prompt_encoder"))?;
    let mask_decoder = MaskDecoder::new(&MaskDecoderConfig::sam(), vb.pp("mask_decoder"))?;
    weights.check(run.checks, &[]);
    check_prompts(run, &prompt_encoder, &mask_decoder, &embeddings)
}
