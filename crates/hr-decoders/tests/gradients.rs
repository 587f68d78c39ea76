//! Every weight of the prompt encoder and the mask decoder gets the right gradient.

use candle_core::{DType, Device, Result, Tensor};
use hr_decoders::{
    MaskDecoder, MaskDecoderConfig, MlpKeys, PointPrompts, PromptEncoder, PromptEncoderConfig, TwoWayTransformerConfig,
    label,
};
use seg_golden::{GeneratedWeights, TrainableWeights, inputs};

const DIM: usize = 16;
const SIDE: usize = 4;

fn noise(name: &str, dims: &[usize]) -> Result<Tensor> {
    inputs::noise(name, dims, "", 2.0, &Device::Cpu)?.to_dtype(DType::F64)
}

fn small(cfg: MaskDecoderConfig, mlp_keys: MlpKeys) -> MaskDecoderConfig {
    let transformer = TwoWayTransformerConfig {
        embedding_dim: DIM,
        num_heads: 2,
        mlp_dim: 24,
        ..TwoWayTransformerConfig::sam(mlp_keys)
    };
    MaskDecoderConfig { transformer, iou_head_hidden_dim: 12, ..cfg }
}

fn check(cfg: &MaskDecoderConfig) -> Result<()> {
    let device = Device::Cpu;
    let weights = TrainableWeights::new(GeneratedWeights::new("a"));
    let vb = weights.var_builder(DType::F64, &device);
    let prompt_cfg = PromptEncoderConfig { embed_dim: DIM, mask_in_chans: 8, ..PromptEncoderConfig::new(16 * SIDE) };
    let prompt_encoder = PromptEncoder::new(&prompt_cfg, vb.pp("prompt_encoder"))?;
    let decoder = MaskDecoder::new(cfg, vb.pp("mask_decoder"))?;
    let image = noise("input.image_embeddings", &[1, DIM, SIDE, SIDE])?;
    let level0 = noise("input.level0", &[1, DIM, 4 * SIDE, 4 * SIDE])?;
    let level1 = noise("input.level1", &[1, DIM, 2 * SIDE, 2 * SIDE])?;
    let mask = noise("input.mask", &[1, 1, 4 * SIDE, 4 * SIDE])?;
    let clicks = [(10., 20., label::POSITIVE), (40., 5., label::NEGATIVE), (8., 8., label::BOX_TOP_LEFT)];
    let points = PointPrompts::single(&clicks, &device)?;
    let boxes = Tensor::new(&[[4f32, 6., 50., 60.]], &device)?;

    let loss = || -> Result<Tensor> {
        let high_res =
            if cfg.use_high_res_features { Some(decoder.high_res_features(&level0, &level1)?) } else { None };
        let mut sum = Tensor::zeros((), DType::F64, &device)?;
        // with points and padding and no mask, then with a box and a mask
        for (points, boxes, mask) in [(Some(&points), None, None), (Some(&points), Some(&boxes), Some(&mask))] {
            let prompts = prompt_encoder.forward(points, boxes, mask)?;
            let out = decoder.predict_masks(&image, &prompt_encoder.dense_pe()?, &prompts, high_res.as_ref())?;
            sum = (sum + out.masks.sqr()?.mean_all()?)?;
            sum = (sum + out.iou_predictions.sqr()?.mean_all()?)?;
            sum = (sum + out.object_score_logits.sqr()?.mean_all()?)?;
        }
        Ok(sum)
    };
    let grads = loss()?.backward()?;
    // a key's bias moves all scores of a query alike, which the softmax takes away
    assert_eq!(weights.faults(&grads, &["k_proj.bias"])?, Vec::<String>::new());
    assert_eq!(weights.check_directions(loss, 1e-4)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn sam_decoder() -> Result<()> {
    check(&small(MaskDecoderConfig::sam(), MlpKeys::Lin))
}

#[test]
fn sam2_decoder() -> Result<()> {
    check(&small(MaskDecoderConfig::sam2(), MlpKeys::Layers))
}
