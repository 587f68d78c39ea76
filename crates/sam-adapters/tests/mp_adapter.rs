//! The multi-view adapter in a frozen trunk.

use candle_core::{DType, Device, Result, Tensor};
use hiera_encoder::{BlockHook, Hiera, HieraConfig};
use sam_adapters::{MpAdapter, MpAdapterConfig};
use seg_golden::{GeneratedWeights, TrainableWeights, inputs::noise};
use seg_layers::Unobserved;

fn toy() -> (HieraConfig, MpAdapterConfig) {
    let trunk = HieraConfig {
        embed_dim: 8,
        num_heads: 1,
        stages: vec![1, 2, 2, 1],
        global_att_blocks: vec![4],
        window_spec: vec![8, 4, 6, 2],
        window_pos_embed_bkg_spatial_size: 7,
    };
    let adapter = MpAdapterConfig { scale_factor: 4, ..MpAdapterConfig::new(&trunk) };
    (trunk, adapter)
}

fn views(h: usize, w: usize) -> Result<Tensor> {
    noise("views", &[5, 3, h, w], "", 4., &Device::Cpu)?.to_dtype(DType::F64)
}

/// A loss that the stages' maps take part in.
fn loss(trunk: &Hiera, hook: &dyn BlockHook, views: &Tensor) -> Result<Tensor> {
    let mut sum = Tensor::zeros((), DType::F64, views.device())?;
    trunk.forward_stages(views.clone(), hook, &mut Unobserved, &mut |map| {
        sum = (&sum + map.sqr()?.mean_all()?)?;
        Ok(())
    })?;
    Ok(sum)
}

#[test]
fn adapters_train_in_a_frozen_trunk() -> Result<()> {
    let (trunk_cfg, adapter_cfg) = toy();
    let weights = TrainableWeights::new(GeneratedWeights::new("").scaled("mpadapter", 0.5)).train_only(["mpadapter."]);
    let vb = weights.var_builder(DType::F64, &Device::Cpu);
    let trunk = Hiera::new(&trunk_cfg, vb.clone())?;
    let adapter = MpAdapter::new(&adapter_cfg, vb.pp("mpadapter"))?;
    let views = views(32, 64)?;
    let grads = loss(&trunk, &adapter, &views)?.backward()?;
    assert_eq!(weights.faults(&grads, &[])?, Vec::<String>::new());
    assert_eq!(weights.check_directions(|| loss(&trunk, &adapter, &views), 1e-5)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn one_by_one_gives_the_same_numbers() -> Result<()> {
    let (trunk_cfg, adapter_cfg) = toy();
    let vb = GeneratedWeights::new("").scaled("mpadapter", 0.5).var_builder(DType::F64, &Device::Cpu);
    let mut trunk = Hiera::new(&trunk_cfg, vb.clone())?;
    let adapter = MpAdapter::new(&adapter_cfg, vb.pp("mpadapter"))?;
    let views = views(64, 32)?;
    let together = loss(&trunk, &adapter, &views)?.to_scalar::<f64>()?;
    trunk.set_one_by_one(true);
    assert_eq!(loss(&trunk, &adapter, &views)?.to_scalar::<f64>()?, together);
    Ok(())
}

#[test]
fn a_change_in_one_view_reaches_the_others() -> Result<()> {
    let (_, cfg) = toy();
    let vb = GeneratedWeights::new("").var_builder(DType::F64, &Device::Cpu);
    let adapter = MpAdapter::new(&cfg, vb)?;
    let x = noise("x", &[5, 4, 4, 8], "", 2., &Device::Cpu)?.to_dtype(DType::F64)?;
    let other = noise("other", &[1, 4, 4, 8], "", 2., &Device::Cpu)?.to_dtype(DType::F64)?;
    let changed = Tensor::cat(&[&x.narrow(0, 0, 4)?, &other], 0)?;
    let difference = (adapter.delta(0, &x)? - adapter.delta(0, &changed)?)?.abs()?.flatten_from(1)?.max(1)?;
    // locals look at the global view
    assert!(difference.to_vec1::<f64>()?.iter().all(|&d| d > 1e-3), "{difference:?}");
    Ok(())
}

#[test]
fn refusals() -> Result<()> {
    let (_, cfg) = toy();
    let vb = GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu);
    let adapter = MpAdapter::new(&cfg, vb.clone())?;
    let message = adapter.delta(6, &Tensor::zeros((5, 4, 4, 8), DType::F32, &Device::Cpu)?).unwrap_err().to_string();
    assert!(message.contains("block 6") && message.contains("for 6"), "{message}");
    let message = adapter.delta(0, &Tensor::zeros((4, 4, 4, 8), DType::F32, &Device::Cpu)?).unwrap_err().to_string();
    assert!(message.contains("4 views") && message.contains("multiple of 5"), "{message}");
    let cfg = MpAdapterConfig { scale_factor: 16, ..cfg };
    let message = MpAdapter::new(&cfg, vb).unwrap_err().to_string();
    assert!(message.contains("scale_factor 16") && message.contains("8 channels"), "{message}");
    Ok(())
}
