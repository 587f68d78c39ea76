//! `sam1_toy`: SAM whole at the sizes in `config`, every intermediate map, every kind of prompt.

use super::sam1_model::{check_prompts, watched_embeddings};
use super::{Result, Run, field};
use crate::verify::weights::Weights;
use hr_decoders::{MaskDecoderConfig, PromptEncoderConfig, TwoWayTransformerConfig};
use seg_models::sam::{Sam, SamConfig, SamEncoderConfig};
use serde::Deserialize;
use vit_encoder::SamVitConfig;

/// The names that `config` has for the sizes.
#[derive(Debug, Deserialize)]
struct Sizes {
    img: usize,
    patch: usize,
    dim: usize,
    depth: usize,
    heads: usize,
    window: usize,
    glob: Vec<usize>,
    out: usize,
    dec_dim: usize,
    dec_mlp: usize,
    dec_heads: usize,
    iou_hidden: usize,
    mask_in: usize,
}

impl Sizes {
    fn config(self) -> SamConfig {
        let tokens = self.img / self.patch.max(1);
        let sam = MaskDecoderConfig::sam();
        let transformer = TwoWayTransformerConfig {
            embedding_dim: self.dec_dim,
            num_heads: self.dec_heads,
            mlp_dim: self.dec_mlp,
            ..sam.transformer
        };
        SamConfig {
            image_encoder: SamEncoderConfig::Vit(SamVitConfig {
                image_size: self.img,
                patch_size: self.patch,
                embed_dim: self.dim,
                depth: self.depth,
                num_heads: self.heads,
                window_size: self.window,
                global_attn_indexes: self.glob,
                out_channels: self.out,
                ..SamVitConfig::vit_b()
            }),
            image_size: self.img,
            prompt_encoder: PromptEncoderConfig {
                embed_dim: self.dec_dim,
                image_embedding_size: (tokens, tokens),
                input_image_size: (self.img, self.img),
                mask_in_chans: self.mask_in,
            },
            mask_decoder: MaskDecoderConfig { transformer, iou_head_hidden_dim: self.iou_hidden, ..sam },
        }
    }
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let sizes: Sizes = field(run.case, "config", &run.case.config)?;
    let weights = Weights::of(run.case, "sam")?;
    let sam = Sam::new(&sizes.config(), weights.var_builder(run.device))?;
    weights.check(run.checks, &[]);
    let embeddings = watched_embeddings(run, &sam)?;
    check_prompts(run, sam.prompt_encoder(), sam.mask_decoder(), &embeddings)
}
