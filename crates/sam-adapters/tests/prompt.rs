//! The prompt adapter in a frozen trunk.

use candle_core::{DType, Device, Result, Tensor};
use hiera_encoder::{Hiera, HieraConfig};
use sam_adapters::PromptedHiera;
use seg_golden::{GeneratedWeights, Pattern, TrainableWeights};
use seg_layers::Unobserved;

fn toy() -> HieraConfig {
    HieraConfig {
        embed_dim: 8,
        num_heads: 1,
        stages: vec![1, 2, 1],
        global_att_blocks: vec![2],
        window_spec: vec![8, 4, 2],
        window_pos_embed_bkg_spatial_size: 3,
    }
}

/// Adapters get the right gradients, through all the blocks behind them; the trunk gets none.
#[test]
fn adapters_are_trained_and_the_trunk_is_not() -> Result<()> {
    let weights = TrainableWeights::new(GeneratedWeights::new("")).freeze(".block.").freeze("embed");
    let trunk = PromptedHiera::new(&toy(), weights.var_builder(DType::F64, &Device::Cpu))?;
    let image = Pattern::new("input.image").image(32, 64, &Device::Cpu)?.to_dtype(DType::F64)?;
    let loss = || -> Result<Tensor> {
        let stages = trunk.forward_with(image.clone(), &mut Unobserved)?;
        stages.iter().try_fold(Tensor::zeros((), DType::F64, &Device::Cpu)?, |sum, map| sum + map.sqr()?.mean_all()?)
    };
    assert_eq!(weights.variables().len(), 4 * 4);
    assert_eq!(weights.faults(&loss()?.backward()?, &[])?, Vec::<String>::new());
    assert_eq!(weights.check_directions(loss, 1e-5)?, Vec::<String>::new());
    Ok(())
}

/// Adapters that give nothing leave the trunk as it is.
#[test]
fn silent_adapters_change_nothing() -> Result<()> {
    let image = Pattern::new("input.image").image(64, 32, &Device::Cpu)?;
    let silent = GeneratedWeights::new("").zeroed("prompt_learn.2.weight").zeroed("prompt_learn.2.bias");
    let vb = silent.var_builder(DType::F32, &Device::Cpu);
    let prompted = PromptedHiera::new(&toy(), vb.pp("sam"))?.forward_with(image.clone(), &mut Unobserved)?;
    let bare = |name: &str| format!("sam.{}", sam_adapters::wrapped_name(name));
    let plain = Hiera::new(&toy(), vb.rename_f(bare))?.forward(image)?;
    for (a, b) in prompted.iter().zip(&plain) {
        assert_eq!((a - b)?.abs()?.max_all()?.to_scalar::<f32>()?, 0.);
    }
    Ok(())
}
