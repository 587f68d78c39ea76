//! Every weight of the networks gets the right gradient, with poolings and batch norms in both modes.

use candle_core::{DType, Device, Result, Tensor};
use detail_refine::{IsNet, IsNetConfig, IsNetGtConfig, IsNetGtEncoder, IsNetOutput, Rsu, RsuConfig, RsuKind};
use seg_golden::{GeneratedWeights, Pattern, TrainableWeights, inputs};
use seg_layers::Statistics;
use std::sync::atomic::AtomicUsize;

/// Toy widths, all different, so that no two can be taken for each other; wide enough that no layer dies in its ReLUs.
fn narrow(stages: &mut [RsuConfig]) {
    for (i, stage) in stages.iter_mut().enumerate() {
        (stage.mid, stage.out) = (7 + i % 2, 8 + i % 3);
    }
}

fn is_net() -> IsNetConfig {
    let mut cfg = IsNetConfig { in_channels: 5, stem: 4, ..IsNetConfig::is_net() };
    narrow(&mut cfg.encoder);
    narrow(&mut cfg.decoder);
    cfg
}

fn trainable() -> TrainableWeights {
    TrainableWeights::new(GeneratedWeights::new(""))
}

/// All outputs count, each with numbers of its own.
fn loss(output: &IsNetOutput) -> Result<Tensor> {
    let mut loss = Tensor::zeros((), DType::F64, &Device::Cpu)?;
    for (i, map) in output.probabilities.iter().chain(&output.features).enumerate() {
        let weights = inputs::noise(&format!("loss.{i}"), map.dims(), "", 2., &Device::Cpu)?.to_dtype(DType::F64)?;
        loss = (loss + (map.contiguous()? * weights)?.sum_all()?)?;
    }
    Ok(loss)
}

/// A bias before a batch norm that takes the batch's mean changes nothing: its gradient is rounding.
const BEFORE_A_NORM: [&str; 2] = ["conv_s1.bias", "conv_in.conv.bias"];

fn check(weights: &TrainableWeights, train: bool, forward: impl Fn() -> Result<IsNetOutput>) -> Result<()> {
    let grads = loss(&forward()?)?.backward()?;
    let zero: &[&str] = if train { &BEFORE_A_NORM } else { &[] };
    assert_eq!(weights.faults(&grads, zero)?, Vec::<String>::new());
    let wrong = weights.check_directions(|| loss(&forward()?), 1e-4)?;
    let wrong: Vec<String> = wrong.into_iter().filter(|w| !zero.iter().any(|part| w.contains(part))).collect();
    assert_eq!(wrong, Vec::<String>::new());
    Ok(())
}

#[test]
fn is_net_in_evaluation() -> Result<()> {
    let device = Device::Cpu;
    // sizes that no pooling divides evenly
    let x = inputs::noise("input.x", &[2, 5, 70, 83], "", 2., &device)?.to_dtype(DType::F64)?;
    let weights = trainable();
    let net = IsNet::new(&is_net(), weights.var_builder(DType::F64, &device))?;
    check(&weights, false, || net.forward_t(&x, false))
}

/// Through a hundred batch norms over a handful of pixels each, differences are too crooked to compare with: that every
/// gradient is there and finite is checked on the whole network, their values on its blocks.
#[test]
fn is_net_in_train_mode() -> Result<()> {
    let device = Device::Cpu;
    let x = inputs::noise("input.x", &[2, 5, 70, 83], "", 2., &device)?.to_dtype(DType::F64)?;
    let weights = trainable();
    let net = IsNet::new(&is_net(), weights.var_builder(DType::F64, &device))?;
    let grads = loss(&net.forward_t(&x, true)?)?.backward()?;
    assert_eq!(weights.faults(&grads, &BEFORE_A_NORM)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn blocks_in_train_mode() -> Result<()> {
    let device = Device::Cpu;
    for kind in [RsuKind::Pooled(4), RsuKind::Pooled(3), RsuKind::Dilated] {
        let weights = trainable();
        let cfg = RsuConfig { kind, mid: 5, out: 6 };
        let rsu = Rsu::new(4, &cfg, false, weights.var_builder(DType::F64, &device))?;
        let x = inputs::noise("input.x", &[3, 37, 45, 4], "", 2., &device)?.to_dtype(DType::F64)?;
        check(&weights, true, || {
            let map = rsu.forward_t(x.clone(), true)?;
            Ok(IsNetOutput { probabilities: Vec::new(), features: vec![map] })
        })?;
    }
    Ok(())
}

#[test]
fn the_ground_truth_encoder_in_both_modes() -> Result<()> {
    let device = Device::Cpu;
    let mut cfg = IsNetGtConfig { stem: 4, ..IsNetGtConfig::published() };
    narrow(&mut cfg.encoder);
    let masks = Tensor::cat(
        &[0., 0.1]
            .map(|s| Pattern::new("input.mask").shifted(s).mask(70, 83, 0.6, &device))
            .into_iter()
            .collect::<Result<Vec<_>>>()?,
        0,
    )?;
    let masks = masks.to_dtype(DType::F64)?;
    for train in [false, true] {
        let weights = trainable();
        let net = IsNetGtEncoder::new(&cfg, weights.var_builder(DType::F64, &device))?;
        check(&weights, train, || net.forward_t(&masks, train))?;
    }
    Ok(())
}

#[test]
fn train_mode_moves_the_running_statistics_and_evaluation_uses_them() -> Result<()> {
    let device = Device::Cpu;
    let cfg = RsuConfig::dilated(3, 4);
    let map = candle_nn::VarMap::new();
    let vb = candle_nn::VarBuilder::from_varmap(&map, DType::F64, &device);
    let rsu = Rsu::new(2, &cfg, false, vb)?;
    for (name, var) in map.data().lock().map_err(|e| candle_core::Error::Msg(e.to_string()))?.iter() {
        let values = seg_golden::fill::fill(name, var.dims(), "");
        var.set(&Tensor::from_vec(values, var.shape(), &device)?.to_dtype(DType::F64)?)?;
    }
    let x = inputs::noise("input.x", &[2, 40, 30, 2], "", 2., &device)?.to_dtype(DType::F64)?;
    let statistic = |name: &str| -> Result<Vec<f64>> {
        let data = map.data().lock().map_err(|e| candle_core::Error::Msg(e.to_string()))?;
        data[&format!("rebnconvin.bn_s1.{name}")].to_vec1()
    };
    let (before, mean) = (rsu.forward_t(x.clone(), false)?, statistic("running_mean")?);
    rsu.forward_t(x.clone(), true)?;
    assert!(statistic("running_mean")?.iter().zip(&mean).all(|(a, b)| a != b), "{mean:?}");
    let after = rsu.forward_t(x.clone(), false)?;
    assert!((before - after)?.abs()?.max_all()?.to_scalar::<f64>()? > 1e-6);

    // in the long run they become the batch's own: evaluation then gives what training gives
    for _ in 0..300 {
        rsu.forward_t(x.clone(), true)?;
    }
    let [train, eval] = [rsu.forward_t(x.clone(), true)?, rsu.forward_t(x, false)?];
    let distance = (train - eval)?.abs()?.max_all()?.to_scalar::<f64>()?;
    assert!(distance < 0.01, "{distance}"); // the running variance is the unbiased one: a 2400th larger
    Ok(())
}

#[test]
fn frozen_norms_are_in_evaluation_whatever_the_mode() -> Result<()> {
    let weights = GeneratedWeights::new("");
    let net = IsNet::new(&is_net(), weights.var_builder(DType::F32, &Device::Cpu))?;
    let x = Tensor::zeros((1, 5, 64, 64), DType::F32, &Device::Cpu)?;
    let all = net.forward_t(&x, false)?;
    let values = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
    for (a, b) in net.forward_t(&x, true)?.probabilities.iter().zip(&all.probabilities) {
        assert_eq!(values(a)?, values(b)?);
    }
    // and the prediction alone is the first of all six
    let alone = candle_core::Module::forward(&net, &x)?;
    assert_eq!(alone.flatten_all()?.to_vec1::<f32>()?, all.probabilities[0].flatten_all()?.to_vec1::<f32>()?);
    // the smallest image that there is
    assert_eq!(candle_core::Module::forward(&net, &x.narrow(2, 0, 1)?.narrow(3, 0, 1)?)?.dims(), [1, 1, 1, 1]);
    Ok(())
}

/// Norms that a file has folded into the convolutions: made anew they change no answer, and train mode gives what evaluation gives; as they were it gives something else.
#[test]
fn folded_norms_can_be_trained() -> Result<()> {
    let device = Device::Cpu;
    let map = candle_nn::VarMap::new();
    let cfg = RsuConfig { kind: RsuKind::Pooled(3), mid: 3, out: 4 };
    let rsu = Rsu::new(2, &cfg, false, candle_nn::VarBuilder::from_varmap(&map, DType::F64, &device))?;
    let vars = || map.data().lock().map_err(|e| candle_core::Error::Msg(e.to_string()));
    for (name, var) in vars()?.iter() {
        let constant = |value: f64| Tensor::full(value, var.shape(), &device);
        var.set(&match name.rsplit_once("bn_s1.") {
            Some((_, "weight")) => constant((1. + 1e-5f64).sqrt())?,
            Some((_, "running_var")) => constant(1.)?,
            Some(_) => constant(0.)?,
            None => {
                let values = seg_golden::fill::fill(name, var.dims(), "");
                Tensor::from_vec(values, var.shape(), &device)?.to_dtype(DType::F64)?
            }
        })?;
    }
    let x = inputs::noise("input.x", &[2, 20, 30, 2], "", 2., &device)?.to_dtype(DType::F64)?;
    let of = |statistics: Statistics<'_>| rsu.forward_t(x.clone(), statistics);
    let apart = |a: &Tensor, b: &Tensor| (a - b)?.abs()?.max_all()?.to_scalar::<f64>();
    let answer = of(Statistics::Running)?;
    // a pass that is made again moves nothing
    assert!(apart(&of(Statistics::BatchAgain)?, &answer)? > 0.1);
    let [made_anew, again] = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let unfolded = of(Statistics::Unfold { across: None, count: &made_anew })?;
    assert!(!unfolded.track_op());
    let norms = vars()?.keys().filter(|name| name.ends_with(".running_mean")).count();
    assert_eq!(made_anew.into_inner(), norms);
    let after = [unfolded, of(Statistics::Running)?, of(Statistics::BatchAgain)?];
    let distances = after.iter().map(|y| apart(y, &answer)).collect::<Result<Vec<_>>>()?;
    assert!(distances.iter().all(|distance| *distance < 1e-9), "{distances:?}");
    // only identities are touched
    let before: Vec<_> = vars()?.values().map(|var| var.copy()).collect::<Result<_>>()?;
    of(Statistics::Unfold { across: None, count: &again })?;
    assert_eq!(again.into_inner(), 0);
    for (var, before) in vars()?.values().zip(&before) {
        assert_eq!(apart(var, before)?, 0.);
    }
    Ok(())
}
