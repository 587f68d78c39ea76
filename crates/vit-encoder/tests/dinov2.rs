//! DINOv2's names, layers and sizes, and what it refuses.

use std::collections::BTreeSet;

use candle_core::{DType, Device, Result, Tensor};
use seg_golden::{GeneratedWeights, Pattern};
use seg_layers::Unobserved;
use vit_encoder::dinov2::{FeedForward, PositionInterpolation, resample_position_table};
use vit_encoder::{DinoV2, DinoV2Config};

fn toy() -> DinoV2Config {
    DinoV2Config { image_size: 56, embed_dim: 16, depth: 3, num_heads: 2, ..DinoV2Config::vit_s() }
}

fn encoder(cfg: &DinoV2Config) -> Result<DinoV2> {
    DinoV2::new(cfg, GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu))
}

fn difference(a: &Tensor, b: &Tensor) -> Result<f32> {
    (a - b)?.abs()?.max_all()?.to_scalar()
}

/// Names with shapes that a network of one block asks for.
fn names(cfg: &DinoV2Config) -> Result<BTreeSet<String>> {
    let weights = GeneratedWeights::new("");
    DinoV2::new(&DinoV2Config { depth: 1, ..cfg.clone() }, weights.var_builder(DType::F32, &Device::Cpu))?;
    Ok(weights.requested().into_iter().map(|n| format!("{} {:?}", n.name, n.shape)).collect())
}

#[test]
fn originals_and_timms_names_differ_in_registers_and_gates() -> Result<()> {
    let cfg = DinoV2Config { feed_forward: FeedForward::SwiGlu, ..toy().with_registers() };
    let (original, timm) = (names(&cfg)?, names(&cfg.timm())?);
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    assert_eq!(
        only(&original, &timm),
        [
            "blocks.0.mlp.w12.bias [96]",
            "blocks.0.mlp.w12.weight [96, 16]",
            "blocks.0.mlp.w3.bias [16]",
            "blocks.0.mlp.w3.weight [16, 48]",
            "pos_embed [1, 17, 16]",
            "register_tokens [1, 4, 16]",
        ]
    );
    assert_eq!(
        only(&timm, &original),
        [
            "blocks.0.mlp.fc1.bias [96]",
            "blocks.0.mlp.fc1.weight [96, 16]",
            "blocks.0.mlp.fc2.bias [16]",
            "blocks.0.mlp.fc2.weight [16, 48]",
            "pos_embed [1, 16, 16]",
            "reg_token [1, 4, 16]",
        ]
    );
    Ok(())
}

#[test]
fn the_last_layer_normed_is_the_output() -> Result<()> {
    let cfg = toy();
    let (encoder, bare) = (encoder(&cfg)?, encoder(&DinoV2Config { final_norm: false, ..cfg.clone() })?);
    let image = Pattern::new("image").image(56, 84, &Device::Cpu)?;
    let layers = encoder.intermediate_layers(&image, &[0, 2], &mut Unobserved)?;
    assert_eq!(layers[1].patch_tokens.dims(), [1, 16, 4, 6]);
    assert_eq!(layers[1].class_token.dims(), [1, 16]);
    assert_eq!(difference(&layers[1].patch_tokens, &bare.forward(&image)?.patch_tokens)?, 0.);
    let weight = GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu).pp("norm");
    let normed =
        seg_ops::layer_norm(&layers[1].class_token, &weight.get(16, "weight")?, Some(&weight.get(16, "bias")?), 1e-6)?;
    assert!(difference(&normed, &encoder.forward(&image)?.class_token)? < 1e-6);
    assert!(difference(&layers[0].patch_tokens, &layers[1].patch_tokens)? > 0.);
    Ok(())
}

/// Resampled at loading or at every call: the same table, the same numbers.
#[test]
fn a_table_resampled_once_is_the_one_resampled_each_time() -> Result<()> {
    let image = Pattern::new("image").image(84, 84, &Device::Cpu)?;
    for cfg in [toy(), toy().timm(), toy().with_registers().timm()] {
        let each_time = encoder(&cfg)?.forward(&image)?.patch_tokens;
        let once = encoder(&cfg)?.resampled(84)?;
        assert_eq!(once.config().image_size, 84);
        assert_eq!(difference(&once.forward(&image)?.patch_tokens, &each_time)?, 0.);
    }
    Ok(())
}

/// The two rules agree where nothing is to be done, and not elsewhere.
#[test]
fn position_tables() -> Result<()> {
    let table = GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu).get((1, 17, 4), "pos_embed")?;
    for how in [PositionInterpolation::Antialiased, PositionInterpolation::Offset] {
        assert_eq!(difference(&resample_position_table(&table, 17, how)?, &table)?, 0.);
        let smaller = resample_position_table(&table, 10, how)?;
        assert_eq!(smaller.dims(), [1, 10, 4]);
        assert_eq!(difference(&smaller.narrow(1, 0, 1)?, &table.narrow(1, 0, 1)?)?, 0.);
        assert_eq!(resample_position_table(&table.narrow(1, 1, 16)?, 36, how)?.dims(), [1, 36, 4]);
        let error = resample_position_table(&table, 12, how).unwrap_err().to_string();
        assert!(error.contains("17 rows for 12"), "{error}");
    }
    let of = |how| resample_position_table(&table, 10, how);
    assert!(difference(&of(PositionInterpolation::Antialiased)?, &of(PositionInterpolation::Offset)?)? > 1e-3);
    Ok(())
}

#[test]
fn refusals() -> Result<()> {
    let net = encoder(&toy())?;
    let image = Tensor::zeros((1, 3, 56, 60), DType::F32, &Device::Cpu)?;
    let error = net.forward(&image).unwrap_err().to_string();
    assert!(error.contains("56 x 60") && error.contains("multiples of 14"), "{error}");
    assert!(net.clone().resampled(100).unwrap_err().to_string().contains("100 x 100"));
    let image = image.narrow(3, 0, 56)?;
    for blocks in [&[3][..], &[1, 1], &[]] {
        let error = net.intermediate_layers(&image, blocks, &mut Unobserved).unwrap_err().to_string();
        assert!(error.contains(&format!("{blocks:?}")) && error.contains("below 3"), "{error}");
    }
    let error = encoder(&DinoV2Config { image_size: 100, ..toy() }).unwrap_err().to_string();
    assert!(error.contains("100 pixels with patches of 14"), "{error}");
    let error = encoder(&DinoV2Config { num_heads: 3, ..toy() }).unwrap_err().to_string();
    assert!(error.contains("width 16 and 3 heads"), "{error}");
    Ok(())
}
