//! `dissam_swd_optim`: five steps of each optimiser that comes with DIS-SAM, on two tensors.

use super::{Result, Run, field};
use candle_core::{Tensor, Var};
use candle_nn::Optimizer;
use seg_golden::fill::fill_tensor;
use seg_train::optim::{Adai, AdamS, ParamsAdai, ParamsAdamS, ParamsSgdS, SgdS, WeightDecay};
use serde::Deserialize;
use std::collections::BTreeMap;

const STEPS: usize = 5;
/// Name in the outputs, name in the fill rule, shape.
const TENSORS: [(&str, &str, &[usize]); 2] = [("a", "a.weight", &[7, 5]), ("b", "b.bias", &[11])];

/// Settings of one optimiser, as the JSON gives them.
#[derive(Clone, Copy, Deserialize)]
struct Settings {
    lr: f64,
    weight_decay: f64,
    #[serde(default)]
    momentum: f64,
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let settings: BTreeMap<String, Settings> = field(run.case, "values.optim", &run.case.values["optim"])?;
    for (name, &Settings { lr, weight_decay, momentum }) in &settings {
        match name.as_str() {
            "Adai" => {
                let decay = WeightDecay::L2(weight_decay);
                steps::<Adai>(run, name, ParamsAdai { lr, weight_decay: decay, ..ParamsAdai::default() })?;
            }
            "AdaiS" => {
                let decay = WeightDecay::Decoupled(weight_decay);
                steps::<Adai>(run, name, ParamsAdai { lr, weight_decay: decay, ..ParamsAdai::default() })?;
            }
            "AdamS" => steps::<AdamS>(run, name, ParamsAdamS { lr, weight_decay, ..ParamsAdamS::default() })?,
            "SGDS" => {
                steps::<SgdS>(run, name, ParamsSgdS { lr, weight_decay, momentum, ..ParamsSgdS::default() })?;
            }
            other => run.checks.fact(other, false, "no such optimiser"),
        }
    }
    Ok(())
}

fn steps<O: Optimizer>(run: &mut Run<'_, '_>, name: &str, config: O::Config) -> Result<()> {
    let (salt, device) = (run.case.salt.as_str(), run.device);
    let vars: Vec<Var> = TENSORS
        .iter()
        .map(|&(_, key, shape)| Var::from_tensor(&fill_tensor(&format!("p.{key}"), shape, salt, device)?))
        .collect::<candle_core::Result<_>>()?;
    let mut optimizer = O::new(vars.clone(), config)?;
    for step in 0..STEPS {
        // a loss whose gradients are the given ones
        let mut terms = Vec::new();
        for (var, &(_, key, shape)) in vars.iter().zip(&TENSORS) {
            let gradient = fill_tensor(&format!("g{step}.{key}"), shape, salt, device)?;
            terms.push((var.as_tensor() * gradient)?.sum_all()?);
        }
        optimizer.backward_step(&Tensor::stack(&terms, 0)?.sum_all()?)?;
    }
    for (var, (output, ..)) in vars.iter().zip(&TENSORS) {
        run.checks.tensor(&format!("{name}.{output}"), var.as_tensor());
    }
    Ok(())
}
