//! MPG-SAM 2's fusions: every weight gets the right gradient, and long sequences go in blocks without a difference.

use candle_core::{DType, Device, Result, Tensor};
use hr_decoders::{
    FusionBlock, FusionConfig, FusionInputs, MaskDecoder, MaskDecoderConfig, MlpKeys, MpgFusion, PromptEmbeddings,
    TwoWayTransformerConfig,
};
use seg_golden::{GeneratedWeights, TrainableWeights, inputs};
use seg_layers::Unobserved;

const DIM: usize = 16;
const SIDE: usize = 4;
const CFG: FusionConfig = FusionConfig { dim: DIM, num_heads: 2, ffn_dim: 24 };

fn noise(name: &str, dims: &[usize]) -> Result<Tensor> {
    inputs::noise(name, dims, "", 2.0, &Device::Cpu)?.to_dtype(DType::F64)
}

fn decoder_config() -> MaskDecoderConfig {
    let transformer = TwoWayTransformerConfig {
        embedding_dim: DIM,
        num_heads: 2,
        mlp_dim: 24,
        ..TwoWayTransformerConfig::sam(MlpKeys::Layers)
    };
    MaskDecoderConfig { transformer, iou_head_hidden_dim: 12, dynamic_multimask: None, ..MaskDecoderConfig::sam2() }
}

#[test]
fn gradients() -> Result<()> {
    let weights = TrainableWeights::new(GeneratedWeights::new("a")).freeze("conv_s");
    let vb = weights.var_builder(DType::F64, &Device::Cpu);
    let decoder = MaskDecoder::new(&decoder_config(), vb.clone())?;
    let fusion = MpgFusion::new(&CFG, vb)?;
    let image = noise("input.image", &[1, DIM, SIDE, SIDE])?;
    let image_pe = noise("input.pe", &[1, DIM, SIDE, SIDE])?;
    let text = noise("input.text", &[1, 3, DIM])?;
    let pointers = noise("input.pointers", &[1, 2, DIM])?;
    let positions = noise("input.positions", &[1, 2, DIM])?;
    let context = noise("input.context", &[1, 2 * SIDE * SIDE, DIM])?;
    let prompts = PromptEmbeddings {
        sparse_prompt_embeddings: noise("input.sparse", &[1, 3, DIM])?,
        dense_prompt_embeddings: noise("input.dense", &[1, DIM, SIDE, SIDE])?,
    };
    let high_res_features =
        [noise("input.s0", &[1, DIM / 8, 4 * SIDE, 4 * SIDE])?, noise("input.s1", &[1, DIM / 4, 2 * SIDE, 2 * SIDE])?];
    let loss = || -> Result<Tensor> {
        let context = fusion.context(&decoder, &context, SIDE, &mut Unobserved)?;
        let size = |history| -> Result<Tensor> {
            let inputs = FusionInputs {
                image_embeddings: &image,
                image_pe: &image_pe,
                text: &text,
                history,
                prompts: &prompts,
                high_res_features: &high_res_features,
            };
            let out = fusion.decode(&decoder, &context, &inputs, &mut Unobserved)?;
            let parts = [out.masks, out.iou_predictions, out.object_score_logits];
            let squares = parts.iter().map(|x| x.sqr()?.mean_all()).collect::<Result<Vec<_>>>()?;
            Tensor::stack(&squares, 0)?.sum_all()
        };
        size(None)? + size(Some((&pointers, &positions)))?
    };
    let grads = loss()?.backward()?;
    assert_eq!(weights.faults(&grads, &["k_proj.bias"])?, Vec::<String>::new());
    assert_eq!(weights.check_directions(loss, 1e-4)?, Vec::<String>::new());
    Ok(())
}

/// A sequence of more than one block, against its tokens alone: with the memory given, they do not see each other.
#[test]
fn blocks() -> Result<()> {
    let vb = GeneratedWeights::new("a").var_builder(DType::F64, &Device::Cpu);
    let block = FusionBlock::new(&CFG, "self_attn", vb)?;
    let (count, memory) = (2048 + 7, noise("input.memory", &[1, 5, DIM])?);
    let (x, position) = (noise("input.x", &[1, count, DIM])?, noise("input.position", &[1, count, DIM])?);
    let memory = block.project(&memory, &memory)?;
    let all = block.forward(&x, Some(&position), &memory)?;
    assert_eq!(all.dims(), [1, count, DIM]);
    for token in [0, 2047, 2048, count - 1] {
        let one = |tensor: &Tensor| tensor.narrow(1, token, 1)?.contiguous();
        let alone = block.forward(&one(&x)?, Some(&one(&position)?), &memory)?;
        let difference = (one(&all)? - alone)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(difference < 1e-12, "token {token}: {difference}");
    }
    Ok(())
}

#[test]
fn maps_that_cannot_be_cut_into_squares() -> Result<()> {
    let vb = GeneratedWeights::new("a").var_builder(DType::F64, &Device::Cpu);
    let decoder = MaskDecoder::new(&decoder_config(), vb.clone())?;
    let fusion = MpgFusion::new(&CFG, vb)?;
    for (tokens, side) in [(9, 3), (17, 4), (16, 0)] {
        let context = noise("input.context", &[1, tokens, DIM])?;
        let error = fusion.context(&decoder, &context, side, &mut Unobserved).err().map(|e| e.to_string());
        let error = error.unwrap_or_default();
        assert!(error.contains(&format!("{tokens} context tokens")), "{error:?}");
    }
    Ok(())
}
