//! Every weight of the prompt encoder and the mask decoder gets the right gradient.

use candle_core::{DType, Device, Module, Result, Tensor};
use hr_decoders::{
    MaskDecoder, MaskDecoderConfig, MlpKeys, PointPrompts, PromptEncoder, PromptEncoderConfig, TwoWayTransformerConfig,
    label,
};
use seg_golden::{GeneratedWeights, TrainableWeights, inputs};
use seg_layers::Conv2d;

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

/// The two finest pyramid levels `[B, C, H, W]` as the decoder takes them.
fn high_res_features(decoder: &MaskDecoder, levels: [&Tensor; 2]) -> Result<[Tensor; 2]> {
    let [conv_s0, conv_s1] = decoder.high_res_convs()?;
    let project = |conv: &Conv2d, level: &Tensor| conv.forward(&level.permute((0, 2, 3, 1))?)?.permute((0, 3, 1, 2));
    Ok([project(conv_s0, levels[0])?, project(conv_s1, levels[1])?])
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
    let two_boxes = Tensor::new(&[[4f32, 6., 50., 60.], [20., 1., 33., 40.]], &device)?;

    let loss = || -> Result<Tensor> {
        let high_res =
            if cfg.use_high_res_features { Some(high_res_features(&decoder, [&level0, &level1])?) } else { None };
        let mut sum = Tensor::zeros((), DType::F64, &device)?;
        // with points and padding and no mask, then with a box and a mask
        for (points, boxes, mask) in [(Some(&points), None, None), (Some(&points), Some(&boxes), Some(&mask))] {
            let prompts = prompt_encoder.forward(points, boxes, mask)?;
            let out = decoder.predict_masks(&image, &prompt_encoder.dense_pe()?, &prompts, high_res.as_ref())?;
            sum = (sum + out.masks.sqr()?.mean_all()?)?;
            sum = (sum + out.iou_predictions.sqr()?.mean_all()?)?;
            sum = (sum + out.object_score_logits.sqr()?.mean_all()?)?;
        }
        // two boxes on an image that is prepared once
        let prepared = decoder.prepare_without_mask(&image, &prompt_encoder)?;
        assert!(prepared.is_tracked() && decoder.has_prepared(&prepared));
        let two = prompt_encoder.forward(None, Some(&two_boxes), None)?.sparse_prompt_embeddings;
        let out = decoder.forward_prepared(&prepared, &two, high_res.as_ref(), true)?;
        assert_eq!(out.masks.dims(), [2, cfg.num_multimask_outputs, 4 * SIDE, 4 * SIDE]);
        sum = (sum + out.masks.sqr()?.mean_all()?)?;
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
