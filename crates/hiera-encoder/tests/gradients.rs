//! Every weight of the encoder is trained where it may be, and stays as it is where it may not.

use candle_core::{DType, Device, Result, Tensor};
use hiera_encoder::{HieraConfig, ImageEncoder, ImageEncoderConfig};
use seg_golden::{GeneratedWeights, Pattern, TrainableWeights};

/// All that the real sizes have: query pooling, windows that need padding, a global block, a widening shortcut.
fn toy() -> ImageEncoderConfig {
    let trunk = HieraConfig {
        embed_dim: 8,
        num_heads: 1,
        stages: vec![1, 2, 2, 1],
        global_att_blocks: vec![4],
        window_spec: vec![8, 4, 6, 2],
        window_pos_embed_bkg_spatial_size: 7,
    };
    ImageEncoderConfig { d_model: 8, ..ImageEncoderConfig::new(trunk) }
}

/// A loss that every output takes part in.
fn loss(encoder: &ImageEncoder, image: &Tensor) -> Result<Tensor> {
    let output = encoder.forward(image.clone())?;
    output
        .backbone_fpn
        .iter()
        .try_fold(Tensor::zeros((), DType::F64, image.device())?, |sum, level| sum + level.sqr()?.mean_all()?)
}

#[test]
fn every_weight_gets_the_right_gradient() -> Result<()> {
    let device = Device::Cpu;
    let weights = TrainableWeights::new(GeneratedWeights::new(""));
    let encoder = ImageEncoder::new(&toy(), weights.var_builder(DType::F64, &device))?;
    let image = Pattern::new("input.image").image(64, 96, &device)?.to_dtype(DType::F64)?;
    // the coarsest level is dropped, so its own lateral convolution is reached through level 2 alone
    let grads = loss(&encoder, &image)?.backward()?;
    // a key's bias shifts all scores of a query alike: qkv biases do get a gradient, through query and value
    assert_eq!(weights.faults(&grads, &[])?, Vec::<String>::new());
    assert_eq!(weights.check_directions(|| loss(&encoder, &image), 1e-5)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_frozen_trunk_gets_none() -> Result<()> {
    let device = Device::Cpu;
    let weights = TrainableWeights::new(GeneratedWeights::new("")).freeze("trunk.");
    let encoder = ImageEncoder::new(&toy(), weights.var_builder(DType::F64, &device))?;
    let image = Pattern::new("input.image").image(64, 64, &device)?.to_dtype(DType::F64)?;
    let grads = loss(&encoder, &image)?.backward()?;
    assert_eq!(weights.faults(&grads, &[])?, Vec::<String>::new());
    Ok(())
}

#[test]
fn bands_give_what_the_whole_map_gives() -> Result<()> {
    let device = Device::Cpu;
    let image = Pattern::new("input.image").image(512, 480, &device)?; // large enough for bands, also where windows need padding
    let images = Tensor::cat(&[&image, &image.flip(&[2])?], 0)?;
    // weights that are trained need the whole map
    let trained = TrainableWeights::new(GeneratedWeights::new(""));
    let whole = ImageEncoder::new(&toy(), trained.var_builder(DType::F32, &device))?.forward(images.clone())?;
    let encoder = ImageEncoder::new(&toy(), GeneratedWeights::new("").var_builder(DType::F32, &device))?;
    let in_bands = encoder.forward(images)?;
    for (whole, in_bands) in whole.backbone_fpn.iter().zip(&in_bands.backbone_fpn) {
        assert_eq!(whole.flatten_all()?.to_vec1::<f32>()?, in_bands.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(())
}

#[test]
fn sides_that_the_windows_do_not_divide_are_refused() -> Result<()> {
    let vb = GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu);
    let encoder = ImageEncoder::new(&toy(), vb)?;
    let message = encoder.forward(Tensor::zeros((1, 3, 64, 80), DType::F32, &Device::Cpu)?).unwrap_err().to_string();
    assert!(message.contains("16 x 20") && message.contains("multiples of 32"), "{message}");
    Ok(())
}
