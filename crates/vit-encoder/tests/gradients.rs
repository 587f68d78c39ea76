//! Every weight of the encoders gets the right gradient.

use candle_core::{DType, Device, Result, Tensor};
use seg_golden::{GeneratedWeights, Pattern, TrainableWeights};
use vit_encoder::dinov2::FeedForward;
use vit_encoder::{DinoV2, DinoV2Config, ImageEncoderViT, SamVitConfig, TinyVit, TinyVitConfig};

/// Gradients of an encoder with 8 channels of embedding on an image of `size` pixels, and what is wrong with them.
fn check<M>(
    size: (usize, usize),
    new: impl FnOnce(candle_nn::VarBuilder) -> Result<M>,
    forward: impl Fn(&M, &Tensor) -> Result<Tensor>,
) -> Result<()> {
    let device = Device::Cpu;
    let weights = TrainableWeights::new(GeneratedWeights::new(""));
    let encoder = new(weights.var_builder(DType::F64, &device))?;
    let (h, w) = size;
    let image = Pattern::new("input.image").image(h, w, &device)?.to_dtype(DType::F64)?;
    let (_, _, h, w) = forward(&encoder, &image)?.dims4()?;
    let target = Pattern::new("input.target").mask(h, w, 0.5, &device)?.to_dtype(DType::F64)?;
    let loss = || forward(&encoder, &image)?.broadcast_sub(&target)?.sqr()?.mean_all();
    let grads = loss()?.backward()?;
    assert_eq!(weights.faults(&grads, &[])?, Vec::<String>::new());
    assert_eq!(weights.check_directions(loss, 1e-5)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn tiny_vit() -> Result<()> {
    let cfg = TinyVitConfig {
        embed_dims: [8, 12, 16, 20],
        depths: [1, 1, 1, 1],
        num_heads: [1, 2, 2, 2],
        window_sizes: [3, 3, 2, 3],
        mlp_ratio: 2,
        mbconv_expand_ratio: 2,
        out_channels: 8,
    };
    check((48, 64), |vb| TinyVit::new(&cfg, vb), |encoder, image| encoder.forward(image.clone()))
}

/// Windows with padding and whole maps; `image_size` is that of the position tables.
fn vit(image_size: usize) -> SamVitConfig {
    SamVitConfig {
        image_size,
        patch_size: 16,
        embed_dim: 12,
        depth: 2,
        num_heads: 2,
        mlp_ratio: 2,
        window_size: 3,
        global_attn_indexes: vec![1],
        out_channels: 8,
    }
}

#[test]
fn sam_vit() -> Result<()> {
    let cfg = vit(64);
    check((64, 64), |vb| ImageEncoderViT::new(&cfg, vb), ImageEncoderViT::forward)
}

/// Through the interpolated position tables too, on an image that is not square.
#[test]
fn sam_vit_of_another_size() -> Result<()> {
    let cfg = vit(48);
    check((64, 80), |vb| ImageEncoderViT::new(&cfg, vb), ImageEncoderViT::forward)
}

/// A position table of 3×3 patches of 4 pixels.
fn dinov2() -> DinoV2Config {
    DinoV2Config { image_size: 12, patch_size: 4, embed_dim: 12, depth: 2, num_heads: 2, ..DinoV2Config::vit_s() }
}

/// Class token, position table and layer scale included, through the interpolated table on an image that is not square.
#[test]
fn dinov2_of_another_size() -> Result<()> {
    check((16, 8), |vb| DinoV2::new(&dinov2(), vb), |encoder, image| Ok(encoder.forward(image)?.patch_tokens))
}

#[test]
fn dinov2_with_registers_and_gated_mlps() -> Result<()> {
    let cfg = DinoV2Config { feed_forward: FeedForward::SwiGlu, ..dinov2().with_registers() };
    check((12, 12), |vb| DinoV2::new(&cfg, vb), |encoder, image| Ok(encoder.forward(image)?.patch_tokens))
}
