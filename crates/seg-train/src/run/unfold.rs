//! Batch norms that a file has folded into their convolutions.

use crate::Result;
use candle_core::{DType, Tensor};
use seg_checkpoints::TrainingWeights;
use std::collections::BTreeMap;

/// Names of the norms that learn and that are the identity: no mean, no variance but 1, and a scale that takes away what is added to that. A fresh norm's scale is 1 itself.
pub(super) fn folded(weights: &TrainingWeights) -> Result<Vec<String>> {
    const EPS: f64 = 1e-5;
    let trained: BTreeMap<String, _> = weights.grouped().into_iter().flat_map(|(_, vars)| vars).collect();
    let statistics: BTreeMap<String, _> = weights.statistics().into_iter().collect();
    let all = |t: &Tensor, value: f64, within: f64| -> Result<bool> {
        let furthest = (t.to_dtype(DType::F64)? - value)?.abs()?.max_all()?.to_scalar::<f64>()?;
        Ok(furthest <= within)
    };
    let mut found = Vec::new();
    for (name, mean) in &statistics {
        let Some(norm) = name.strip_suffix(".running_mean") else { continue };
        let parts = (statistics.get(&format!("{norm}.running_var")), trained.get(&format!("{norm}.weight")));
        let (Some(variance), Some(weight)) = parts else { continue };
        if all(mean, 0., 0.)? && all(variance, 1., 0.)? && all(weight, (1. + EPS).sqrt(), 5e-7)? {
            found.push(norm.to_owned());
        }
    }
    Ok(found)
}
