//! Pi-SAM's decoder: gradients of everything that its first stage of training moves, and what it refuses.

use candle_core::{DType, Device, Result, Tensor};
use hr_decoders::{MlpKeys, PiSamDecoder, PiSamDecoderConfig, PromptEmbeddings, TwoWayTransformerConfig};
use seg_golden::{GeneratedWeights, TrainableWeights, inputs};
use seg_layers::Unobserved;

const SIDE: usize = 2;
const BATCH: usize = 2;

fn noise(name: &str, dims: &[usize]) -> Result<Tensor> {
    inputs::noise(name, dims, "", 2.0, &Device::Cpu)?.to_dtype(DType::F64)
}

fn small() -> PiSamDecoderConfig {
    // with less, the last maps have two channels, of whose norm little but the sign is left
    let transformer = TwoWayTransformerConfig {
        embedding_dim: 128,
        num_heads: 2,
        mlp_dim: 24,
        ..TwoWayTransformerConfig::sam(MlpKeys::Lin)
    };
    PiSamDecoderConfig { transformer, num_mask_tokens: 2, vit_dim: 10 }
}

struct Inputs {
    embeddings: Tensor,
    vit: Tensor,
    pe: Tensor,
    prompts: PromptEmbeddings,
    rgb: Tensor,
}

impl Inputs {
    fn new(cfg: &PiSamDecoderConfig) -> Result<Self> {
        let dim = cfg.transformer.embedding_dim;
        Ok(Self {
            embeddings: noise("input.embeddings", &[BATCH, dim, SIDE, SIDE])?,
            vit: noise("input.vit", &[BATCH, SIDE, SIDE, cfg.vit_dim])?,
            pe: noise("input.pe", &[1, dim, SIDE, SIDE])?,
            prompts: PromptEmbeddings {
                sparse_prompt_embeddings: noise("input.sparse", &[BATCH, 2, dim])?,
                dense_prompt_embeddings: noise("input.dense", &[BATCH, dim, SIDE, SIDE])?,
            },
            rgb: noise("input.rgb", &[BATCH, cfg.pixel_channels(), 16 * SIDE, 16 * SIDE])?,
        })
    }

    fn run(&self, decoder: &PiSamDecoder) -> Result<(Tensor, Tensor)> {
        let features = decoder.image_features(&self.embeddings, &self.vit, &mut Unobserved)?;
        let coarse = decoder.coarse(&self.embeddings, &features, &self.pe, &self.prompts, &mut Unobserved)?;
        Ok((decoder.finish(&coarse.object_embedding, &self.rgb, &mut Unobserved)?, coarse.masks))
    }
}

/// SAM's own part of the decoder, which stays as it is.
const SAMS: [&str; 4] = ["transformer.", "iou_token.", "mask_tokens.", "output_upscaling."];

fn check(weights: TrainableWeights) -> Result<()> {
    let cfg = small();
    let decoder = PiSamDecoder::new(&cfg, weights.var_builder(DType::F64, &Device::Cpu))?;
    let inputs = Inputs::new(&cfg)?;
    let loss = || -> Result<Tensor> {
        let (large, masks) = inputs.run(&decoder)?;
        large.sqr()?.mean_all()? + masks.sqr()?.mean_all()?
    };
    let grads = loss()?.backward()?;
    let mut faults = weights.faults(&grads, &["k_proj.bias"])?;
    // SAM's part lies between the new token and the mask: candle passes gradients through it and leaves them with its tensors, which are no variables
    faults.retain(|fault| !fault.contains("frozen"));
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(weights.check_directions(loss, 1e-4)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn first_stage() -> Result<()> {
    let weights = TrainableWeights::new(GeneratedWeights::new("a"));
    check(SAMS.into_iter().fold(weights, TrainableWeights::freeze))
}

#[test]
fn everything() -> Result<()> {
    check(TrainableWeights::new(GeneratedWeights::new("b")))
}

/// One image serves all prompts.
#[test]
fn one_image_many_prompts() -> Result<()> {
    let cfg = small();
    let vb = GeneratedWeights::new("").var_builder(DType::F64, &Device::Cpu);
    let decoder = PiSamDecoder::new(&cfg, vb)?;
    let inputs = Inputs::new(&cfg)?;
    let one = |t: &Tensor| t.narrow(0, 0, 1);
    let twice = |t: &Tensor| Tensor::cat(&[&one(t)?, &one(t)?], 0);
    let shared = Inputs {
        embeddings: one(&inputs.embeddings)?,
        vit: one(&inputs.vit)?,
        pe: inputs.pe.clone(),
        prompts: inputs.prompts.clone(),
        rgb: one(&inputs.rgb)?,
    };
    let repeated =
        Inputs { embeddings: twice(&inputs.embeddings)?, vit: twice(&inputs.vit)?, rgb: twice(&inputs.rgb)?, ..inputs };
    let (a, b) = (shared.run(&decoder)?.0, repeated.run(&decoder)?.0);
    assert_eq!(a.dims(), [BATCH, 1, 16 * SIDE, 16 * SIDE]);
    let difference = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
    assert!(difference < 1e-12, "{difference}");
    Ok(())
}

#[test]
fn refused() -> Result<()> {
    let vb = || GeneratedWeights::new("").var_builder(DType::F64, &Device::Cpu);
    let cfg = small();
    let decoder = PiSamDecoder::new(&cfg, vb())?;
    let inputs = Inputs::new(&cfg)?;
    let features = decoder.image_features(&inputs.embeddings, &inputs.vit, &mut Unobserved)?;
    let three = PromptEmbeddings {
        sparse_prompt_embeddings: noise("s", &[3, 2, 128])?,
        dense_prompt_embeddings: noise("d", &[1, 128, SIDE, SIDE])?,
    };
    let text = match decoder.coarse(&inputs.embeddings, &features, &inputs.pe, &three, &mut Unobserved) {
        Ok(_) => String::new(),
        Err(e) => e.to_string(),
    };
    assert!(text.contains("2 images for 3 prompts"), "{text}");
    let mut odd = cfg;
    odd.transformer.embedding_dim = 48;
    let text = PiSamDecoder::new(&odd, vb()).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(text.contains("embedding_dim 48"), "{text}");
    Ok(())
}
