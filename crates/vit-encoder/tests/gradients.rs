//! Every weight of TinyViT gets the right gradient.

use candle_core::{DType, Device, Result};
use seg_golden::{GeneratedWeights, Pattern, TrainableWeights};
use vit_encoder::{TinyVit, TinyVitConfig};

#[test]
fn every_weight_gets_the_right_gradient() -> Result<()> {
    let cfg = TinyVitConfig {
        embed_dims: [8, 12, 16, 20],
        depths: [1, 1, 1, 1],
        num_heads: [1, 2, 2, 2],
        window_sizes: [3, 3, 2, 3],
        mlp_ratio: 2,
        mbconv_expand_ratio: 2,
        out_channels: 8,
    };
    let device = Device::Cpu;
    let weights = TrainableWeights::new(GeneratedWeights::new(""));
    let encoder = TinyVit::new(&cfg, weights.var_builder(DType::F64, &device))?;
    let image = Pattern::new("input.image").image(48, 64, &device)?.to_dtype(DType::F64)?;
    let target = Pattern::new("input.target").mask(2, 2, 0.5, &device)?.to_dtype(DType::F64)?;
    let loss = || encoder.forward(image.clone())?.broadcast_sub(&target)?.sqr()?.mean_all();
    let grads = loss()?.backward()?;
    assert_eq!(weights.faults(&grads, &[])?, Vec::<String>::new());
    assert_eq!(weights.check_directions(loss, 1e-5)?, Vec::<String>::new());
    Ok(())
}
