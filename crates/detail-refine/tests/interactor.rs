//! The Precise Interactor: gradients, masks, and what it refuses.

use candle_core::{DType, Device, Result, Tensor};
use detail_refine::{Clicks, PreciseInteractor, PreciseInteractorConfig};
use seg_golden::{GeneratedWeights, TrainableWeights, inputs};
use seg_layers::Unobserved;

const CFG: PreciseInteractorConfig = PreciseInteractorConfig { dim: 8, depth: 2, grid: (6, 7) };

fn noise(name: &str, dims: &[usize]) -> Result<Tensor> {
    inputs::noise(name, dims, "", 2.0, &Device::Cpu)?.to_dtype(DType::F64)
}

fn map(batch: usize) -> Result<(Tensor, Tensor)> {
    Ok((noise("input.map", &[batch, CFG.dim, CFG.grid.0, CFG.grid.1])?, noise("input.token", &[batch, 1, CFG.dim])?))
}

/// Two rows of three clicks, the second with one that is padding.
fn clicks() -> Result<Clicks> {
    let device = &Device::Cpu;
    let coords = [0.31f32, 0.42, 0.655, 0.2, 0.5, 0.871, 0.97, 0.03, 0.11, 0.77, 0., 0.];
    Ok(Clicks {
        coords: Tensor::from_slice(&coords, (2, 3, 2), device)?,
        flags: Tensor::new(&[[1u32, 1, 0], [0, 1, 0]], device)?,
        ignored: Some(Tensor::new(&[[0u8, 0, 0, 0], [0, 0, 0, 1]], device)?),
    })
}

/// The second stage of training: everything but the stored position map and matrix.
#[test]
fn every_weight_gets_the_right_gradient() -> Result<()> {
    let weights = TrainableWeights::new(GeneratedWeights::new("c")).freeze("img_pe").freeze("pe_layer");
    let interactor = PreciseInteractor::new(&CFG, weights.var_builder(DType::F64, &Device::Cpu))?;
    let ((map, token), clicks) = (map(2)?, clicks()?);
    let loss = || interactor.forward(&map, &token, &clicks, &mut Unobserved)?.sqr()?.mean_all();
    let grads = loss()?.backward()?;
    assert_eq!(weights.faults(&grads, &["k_proj.bias"])?, Vec::<String>::new());
    assert_eq!(weights.check_directions(loss, 1e-4)?, Vec::<String>::new());
    Ok(())
}

/// The map gets its gradient through the points where it is sampled, too.
#[test]
fn the_map_gets_the_right_gradient() -> Result<()> {
    let interactor = PreciseInteractor::new(&CFG, GeneratedWeights::new("").var_builder(DType::F64, &Device::Cpu))?;
    let ((map, token), clicks) = (map(2)?, clicks()?);
    let loss = |map: &Tensor| interactor.forward(map, &token, &clicks, &mut Unobserved)?.sqr()?.mean_all();
    let var = candle_core::Var::from_tensor(&map)?;
    let grads = loss(var.as_tensor())?.backward()?;
    let Some(grad) = grads.get(&var) else { candle_core::bail!("the map has no gradient") };
    let direction = noise("direction", map.dims())?;
    let analytic = (grad * &direction)?.sum_all()?.to_scalar::<f64>()?;
    let at = |step: f64| loss(&(&map + (&direction * step)?)?)?.to_scalar::<f64>();
    let numeric = (at(1e-6)? - at(-1e-6)?) / 2e-6;
    assert!((analytic - numeric).abs() < 1e-6 * numeric.abs().max(1.), "{analytic} {numeric}");
    Ok(())
}

/// An ignored token leaks through the two attentions that do not heed the mask, as in the official code, but not through the others.
#[test]
fn padding() -> Result<()> {
    let interactor = PreciseInteractor::new(&CFG, GeneratedWeights::new("").var_builder(DType::F64, &Device::Cpu))?;
    let ((map, token), masked) = (map(2)?, clicks()?);
    let run = |clicks: &Clicks| interactor.forward(&map, &token, clicks, &mut Unobserved);
    let plain = run(&Clicks { ignored: None, ..masked.clone() })?;
    let difference = (run(&masked)? - &plain)?.abs()?.max_keepdim(1)?.flatten_from(1)?.max(1)?.to_vec1::<f64>()?;
    assert!(difference[0] < 1e-12 && difference[1] > 1e-6, "{difference:?}");
    // moving the padding still changes the result
    let moved = Clicks { coords: (&masked.coords + 0.1)?, ..masked.clone() };
    let second = |t: Tensor| t.narrow(0, 1, 1);
    let first_two = Tensor::cat(&[masked.coords.narrow(1, 0, 2)?, moved.coords.narrow(1, 2, 1)?], 1)?;
    let leaked = Clicks { coords: first_two, ..masked.clone() };
    let leak = (second(run(&leaked)?)? - second(run(&masked)?)?)?.abs()?.max_all()?.to_scalar::<f64>()?;
    assert!(leak > 1e-9, "{leak}");
    Ok(())
}

/// Without any click the transformer works on the mask's token alone.
#[test]
fn no_clicks() -> Result<()> {
    let interactor = PreciseInteractor::new(&CFG, GeneratedWeights::new("").var_builder(DType::F64, &Device::Cpu))?;
    let (map, token) = map(1)?;
    let out = interactor.forward(&map, &token, &Clicks::single(&[], &Device::Cpu)?, &mut Unobserved)?;
    assert_eq!(out.dims(), map.dims());
    Ok(())
}

#[test]
fn refused() -> Result<()> {
    let interactor = PreciseInteractor::new(&CFG, GeneratedWeights::new("").var_builder(DType::F64, &Device::Cpu))?;
    let (map, token) = map(1)?;
    let error = |map: &Tensor, clicks: &Clicks| match interactor.forward(map, &token, clicks, &mut Unobserved) {
        Ok(_) => String::new(),
        Err(e) => e.to_string(),
    };
    let text = error(&map, &clicks()?);
    assert!(text.contains("coords") && text.contains("[1, N, 2]"), "{text}");
    let text = error(&map.narrow(3, 0, 5)?, &Clicks::single(&[(0.1, 0.2, true)], &Device::Cpu)?);
    assert!(text.contains("expected [B, 8, 6, 7]"), "{text}");
    Ok(())
}

/// Foreground clicks come first, each kind in the order in which it was clicked.
#[test]
fn order_of_clicks() -> Result<()> {
    let clicks =
        Clicks::single(&[(0.1, 0.2, false), (0.3, 0.4, true), (0.5, 0.6, false), (0.7, 0.8, true)], &Device::Cpu)?;
    assert_eq!(clicks.flags.to_vec2::<u32>()?, [[1, 1, 0, 0]]);
    assert_eq!(clicks.coords.flatten_all()?.to_vec1::<f32>()?, [0.3, 0.4, 0.7, 0.8, 0.1, 0.2, 0.5, 0.6]);
    Ok(())
}
