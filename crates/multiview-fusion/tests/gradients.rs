//! Every weight of the modules is trained, and what they compute is what their definition says.

use candle_core::{DType, Device, Result, Tensor};
use multiview_fusion::{Hmim, Mcem, McemConfig, PositionTable, ViewGrid, half_pixel_sine_map};
use seg_golden::{GeneratedWeights, TrainableWeights, inputs::noise};
use seg_ops::Resize;

fn map(name: &str, dims: &[usize]) -> Result<Tensor> {
    noise(name, dims, "", 2., &Device::Cpu)?.to_dtype(DType::F64)
}

fn mcem_config() -> McemConfig {
    McemConfig { dim: 8, num_heads: 2, attention_downsample_rate: 2, mlp_dim: 12, views_per_side: 2 }
}

#[test]
fn every_weight_of_mcem_gets_the_right_gradient() -> Result<()> {
    let weights = TrainableWeights::new(GeneratedWeights::new(""));
    let mcem = Mcem::new(&mcem_config(), weights.var_builder(DType::F64, &Device::Cpu))?;
    let views = map("views", &[10, 4, 6, 8])?;
    let loss = || -> Result<Tensor> {
        let output = mcem.forward(&views, &mut PositionTable::EachSize)?;
        output.views.sqr()?.mul(&map("weights", output.views.dims())?)?.sum_all()
    };
    // a key's bias shifts all scores of a query alike
    assert_eq!(weights.faults(&loss()?.backward()?, &["k_proj.bias"])?, Vec::<String>::new());
    let wrong = weights.check_directions(loss, 1e-5)?;
    assert!(wrong.iter().all(|fault| fault.contains("k_proj.bias")), "{wrong:?}");
    Ok(())
}

#[test]
fn every_weight_of_hmim_gets_the_right_gradient() -> Result<()> {
    let weights = TrainableWeights::new(GeneratedWeights::new(""));
    let hmim = Hmim::new(8, ViewGrid::MGD_SAM2, weights.var_builder(DType::F64, &Device::Cpu))?;
    let (views, coarser) = (map("views", &[10, 4, 6, 8])?, map("coarser", &[2, 4, 6, 8])?);
    let loss = || -> Result<Tensor> {
        let views = hmim.forward(views.clone(), &coarser)?;
        let joined = hmim.joined(&views)?;
        views.sqr()?.mul(&map("weights", views.dims())?)?.sum_all()?
            + joined.mul(&map("joined", joined.dims())?)?.sum_all()?
    };
    assert_eq!(weights.faults(&loss()?.backward()?, &[])?, Vec::<String>::new());
    assert_eq!(weights.check_directions(loss, 1e-5)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn the_first_call_s_table_is_stretched_for_the_others() -> Result<()> {
    let weights = GeneratedWeights::new("");
    let mcem = Mcem::new(&mcem_config(), weights.var_builder(DType::F64, &Device::Cpu))?;
    let mut table = PositionTable::first_call();
    let small = mcem.forward(&map("small", &[5, 2, 4, 8])?, &mut table)?;
    let large = mcem.forward(&map("large", &[5, 4, 6, 8])?, &mut table)?;
    let fresh = mcem.forward(&map("large", &[5, 4, 6, 8])?, &mut PositionTable::EachSize)?;
    let values = |t: &Tensor| t.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>();
    let sine = |h, w| half_pixel_sine_map(8, h, w, &Device::Cpu);
    assert_eq!(values(&small.position)?, values(&sine(4, 8)?)?);
    assert_eq!(values(&large.position)?, values(&seg_ops::resize(&sine(4, 8)?, (8, 12), &Resize::bicubic())?)?);
    assert_eq!(values(&fresh.position)?, values(&sine(8, 12)?)?);
    assert_ne!(values(&large.views)?, values(&fresh.views)?);
    Ok(())
}

#[test]
fn views_that_do_not_divide_are_refused() -> Result<()> {
    let weights = GeneratedWeights::new("");
    let mcem = Mcem::new(&mcem_config(), weights.var_builder(DType::F64, &Device::Cpu))?;
    let refusal = |dims: [usize; 4]| -> Result<String> {
        Ok(mcem.forward(&map("views", &dims)?, &mut PositionTable::EachSize).unwrap_err().to_string())
    };
    let message = refusal([5, 3, 4, 8])?;
    assert!(message.contains("height of 3") && message.contains("2 views"), "{message}");
    assert!(refusal([6, 4, 4, 8])?.contains("6 views"));
    assert!(refusal([5, 4, 4, 6])?.contains("8 channels"));
    Ok(())
}
