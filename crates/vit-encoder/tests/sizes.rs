//! SAM's ViT at other sizes than its checkpoint's, and what it refuses.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use seg_golden::{GeneratedWeights, Pattern};
use vit_encoder::{ImageEncoderViT, SamVitConfig};

fn toy() -> SamVitConfig {
    SamVitConfig {
        image_size: 96,
        embed_dim: 16,
        depth: 3,
        num_heads: 2,
        window_size: 4,
        global_attn_indexes: vec![0, 2],
        ..SamVitConfig::vit_b()
    }
}

fn encoder(cfg: &SamVitConfig) -> Result<ImageEncoderViT> {
    ImageEncoderViT::new(cfg, GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu))
}

#[test]
fn intermediates_are_the_global_blocks() -> Result<()> {
    let encoder = encoder(&toy())?;
    let image = Pattern::new("image").image(96, 96, &Device::Cpu)?;
    let mut seen = Vec::new();
    let watched = encoder.forward_with(&image, &mut |name: &str, tensor: &Tensor| {
        if name == "block0" || name == "block2" {
            seen.push(tensor.clone());
        }
        Ok(())
    })?;
    let (embeddings, intermediates) = encoder.forward_with_intermediates(&image)?;
    assert_eq!(embeddings.dims(), [1, 256, 6, 6]);
    assert_eq!(intermediates.len(), 2);
    for (a, b) in
        intermediates.iter().zip(&seen).chain([(&embeddings, &watched), (&embeddings, &encoder.forward(&image)?)])
    {
        let difference = (a - b)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert_eq!(difference, 0.0);
    }
    assert_eq!(intermediates[0].dims(), [1, 6, 6, 16]);
    Ok(())
}

/// With tables that do not depend on the position, interpolation changes nothing: a periodic image gives a map of
/// another size with the same tokens in the middle of its windows' period.
#[test]
fn constant_position_tables_stay_constant() -> Result<()> {
    let cfg = SamVitConfig { global_attn_indexes: vec![0, 1, 2], ..toy() };
    let weights = ["pos_embed", "rel_pos_h", "rel_pos_w"]
        .into_iter()
        .fold(GeneratedWeights::new(""), |weights, name| weights.scaled(name, 0.0));
    let encoder = ImageEncoderViT::new(&cfg, weights.var_builder(DType::F32, &Device::Cpu))?;
    let tile = Pattern::new("tile").image(32, 32, &Device::Cpu)?;
    // the same four patches: attention over the whole map does not see how often they are repeated
    let (_, small) = encoder.forward_with_intermediates(&tile.repeat((1, 1, 3, 3))?)?;
    let (_, large) = encoder.forward_with_intermediates(&tile.repeat((1, 1, 4, 5))?)?;
    let corner = |map: &Tensor| map.narrow(1, 0, 2)?.narrow(2, 0, 2);
    let difference = (corner(&small[2])? - corner(&large[2])?)?.abs()?.max_all()?.to_scalar::<f32>()?;
    assert!(difference < 1e-5, "{difference}");
    Ok(())
}

#[test]
fn refusals() -> Result<()> {
    let encoder = encoder(&toy())?;
    let message =
        |shape: &[usize]| encoder.forward(&Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()).unwrap_err();
    let error = message(&[1, 3, 100, 96]).to_string();
    assert!(error.contains("[1, 3, 100, 96]") && error.contains("multiples of 16"), "{error}");
    assert!(message(&[1, 4, 96, 96]).to_string().contains("expected [B, 3, H, W]"));
    let vb = || VarBuilder::zeros(DType::F32, &Device::Cpu);
    let error = ImageEncoderViT::new(&SamVitConfig { global_attn_indexes: vec![3], ..toy() }, vb()).unwrap_err();
    assert!(error.to_string().contains("block 3, expected one of the 3"), "{error}");
    let error = ImageEncoderViT::new(&SamVitConfig { num_heads: 3, ..toy() }, vb()).unwrap_err();
    assert!(error.to_string().contains("width 16 and 3 heads"), "{error}");
    Ok(())
}
