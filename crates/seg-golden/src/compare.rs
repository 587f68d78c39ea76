//! Comparing a tensor with what a case stores of it.

use crate::stored::Stored;
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

/// Part of the reference's standard deviation that a value may be off by.
const ATOL_OF_STD: f64 = 2e-4;
/// Part of a reference value that it may be off by.
const RTOL: f64 = 1e-3;

/// How far a value may be from its reference: `atol + rtol * |reference|`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// The absolute part.
    pub atol: f64,
    /// The part of the reference's size.
    pub rtol: f64,
}

impl Tolerance {
    /// The usual tolerance for a tensor whose reference has standard deviation `std`.
    pub fn of_std(std: f64) -> Self {
        Self { atol: ATOL_OF_STD * std, rtol: RTOL }
    }

    fn at(&self, reference: f64) -> f64 {
        self.atol + self.rtol * reference.abs()
    }
}

/// What the JSON says of an output: the shape of the whole tensor, which of its values are stored, and its statistics.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OutputSpec {
    /// Shape of the whole tensor.
    pub shape: Vec<usize>,
    /// Values at flat indices `0, stride, 2 * stride, ...` are stored.
    #[serde(default = "one")]
    pub stride: usize,
    /// Mean of the whole tensor.
    #[serde(default)]
    pub mean: Option<f64>,
    /// Standard deviation of the whole tensor (of the population).
    #[serde(default)]
    pub std: Option<f64>,
    /// A tolerance of its own.
    #[serde(default)]
    pub tolerance: Option<Tolerance>,
}

fn one() -> usize {
    1
}

/// How a tensor compares with its reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The output's name.
    pub name: String,
    /// Whether it agrees.
    pub passed: bool,
    /// Number of values compared.
    pub compared: usize,
    /// The largest error as a multiple of what is allowed there: at most 1 when it agrees.
    pub worst_ratio: f64,
    /// The error at that place.
    pub worst_abs: f64,
    /// What is allowed at that place.
    pub tolerance: f64,
    /// That place in the whole tensor, one index an axis.
    pub at_index: Vec<usize>,
    /// The reference there.
    pub expected: f64,
    /// The value there.
    pub actual: f64,
    /// What is wrong beside single values: the shape, not-a-number, a mean that is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Comparison {
    /// A comparison that fails because of `problem`.
    pub fn failed(name: &str, problem: impl Into<String>) -> Self {
        Self { passed: false, worst_ratio: f64::INFINITY, problem: Some(problem.into()), ..Self::empty(name) }
    }

    /// A comparison of something that is not a tensor: passed when `agrees`, else failed with `problem`.
    pub fn of_fact(name: &str, agrees: bool, problem: impl Into<String>) -> Self {
        if agrees { Self { compared: 1, ..Self::empty(name) } } else { Self::failed(name, problem) }
    }

    /// A comparison of one number: passed within `floor + 1e-3 |expected|`.
    pub fn of_number(name: &str, actual: f64, expected: f64, floor: f64) -> Self {
        let (error, allowed) = ((actual - expected).abs(), Tolerance { atol: floor, rtol: RTOL }.at(expected));
        let ratio = if error == 0.0 { 0.0 } else { error / allowed };
        let worst_ratio = if ratio.is_nan() { f64::INFINITY } else { ratio };
        Self {
            passed: worst_ratio <= 1.0,
            compared: 1,
            worst_ratio,
            worst_abs: error,
            tolerance: allowed,
            expected,
            actual,
            ..Self::empty(name)
        }
    }

    fn empty(name: &str) -> Self {
        Self {
            name: name.to_string(),
            passed: true,
            compared: 0,
            worst_ratio: 0.0,
            worst_abs: 0.0,
            tolerance: 0.0,
            at_index: Vec::new(),
            expected: 0.0,
            actual: 0.0,
            problem: None,
        }
    }

    /// One line: what is wrong, or how close it is.
    pub fn describe(&self) -> String {
        match &self.problem {
            Some(problem) => format!("{}: {problem}", self.name),
            None => format!(
                "{}: error {:.3e} is {:.3} of the tolerance, at {:?}: {} expected {}",
                self.name, self.worst_abs, self.worst_ratio, self.at_index, self.actual, self.expected
            ),
        }
    }
}

/// Compare `tensor` with the values in `stored`, of which `spec` says where they lie; `floor` is added to the tolerance.
pub(crate) fn compare(
    name: &str,
    spec: &OutputSpec,
    stored: &Stored,
    (tolerance, floor): (Option<Tolerance>, f64),
    tensor: &Tensor,
) -> Comparison {
    if tensor.dims() != spec.shape {
        return Comparison::failed(name, format!("shape {:?}, expected {:?}", tensor.dims(), spec.shape));
    }
    let actual = match flat_values(tensor) {
        Ok(values) => values,
        Err(error) => return Comparison::failed(name, format!("cannot read the values: {error}")),
    };
    let stride = spec.stride.max(1);
    let expected_count = actual.len().div_ceil(stride);
    if stored.values.len() != expected_count {
        let problem =
            format!("the case stores {} values, expected {expected_count} (every {stride}th)", stored.values.len());
        return Comparison::failed(name, problem);
    }
    let statistics = Statistics::of(&stored.values);
    let std = spec.std.unwrap_or(statistics.std);
    let tolerance = spec.tolerance.or(tolerance).unwrap_or_else(|| Tolerance::of_std(std));
    let tolerance = Tolerance { atol: tolerance.atol + floor, ..tolerance };
    let mut result = Comparison { compared: stored.values.len(), ..Comparison::empty(name) };
    for (i, (&expected, actual)) in stored.values.iter().zip(actual.iter().step_by(stride)).enumerate() {
        let actual = f64::from(*actual);
        let (error, allowed) = ((actual - expected).abs(), tolerance.at(expected));
        let ratio = if error == 0.0 || (actual.is_nan() && expected.is_nan()) { 0.0 } else { error / allowed };
        if ratio > result.worst_ratio || ratio.is_nan() {
            let worst_ratio = if ratio.is_nan() { f64::INFINITY } else { ratio };
            let at_index = unravel(i * stride, &spec.shape);
            result =
                Comparison { worst_ratio, worst_abs: error, tolerance: allowed, at_index, expected, actual, ..result };
        }
    }
    result.passed = result.worst_ratio <= 1.0;
    if result.passed {
        result.problem = off_elsewhere(spec, &actual, tolerance);
        result.passed = result.problem.is_none();
    }
    result
}

/// Most values of a large tensor are not stored, but their mean and deviation are. If every value is within its
/// tolerance then so are these (the mean's bound uses mean|x| <= |mean| + std), hence this never asks for more.
fn off_elsewhere(spec: &OutputSpec, actual: &[f32], tolerance: Tolerance) -> Option<String> {
    let (mean, std) = (spec.mean?, spec.std?);
    let found = Statistics::of_f32(actual);
    if !found.mean.is_finite() {
        return Some("not-a-number or infinite values among those not stored".to_string());
    }
    let allowed = tolerance.atol + tolerance.rtol * (mean.abs() + std) + 1e-6 * (mean.abs() + std);
    let off = |what: &str, found: f64, expected: f64| {
        let error = (found - expected).abs();
        (error > allowed).then(|| format!("{what} of the whole tensor {found:.6e}, expected {expected:.6e}"))
    };
    off("mean", found.mean, mean).or_else(|| off("standard deviation", found.std, std))
}

fn flat_values(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

/// The index of each axis for a flat row-major index.
fn unravel(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (i, &n) in index.iter_mut().zip(shape).rev() {
        *i = flat % n.max(1);
        flat /= n.max(1);
    }
    index
}

struct Statistics {
    mean: f64,
    std: f64,
}

impl Statistics {
    fn of(values: &[f64]) -> Self {
        Self::from_iter(values.len(), || values.iter().copied())
    }

    fn of_f32(values: &[f32]) -> Self {
        Self::from_iter(values.len(), || values.iter().map(|&v| f64::from(v)))
    }

    fn from_iter<I: Iterator<Item = f64>>(n: usize, values: impl Fn() -> I) -> Self {
        let n = n.max(1) as f64;
        let mean = values().sum::<f64>() / n;
        let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        Self { mean, std: variance.sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(shape: &[usize], stride: usize) -> OutputSpec {
        OutputSpec { shape: shape.to_vec(), stride, mean: None, std: None, tolerance: None }
    }

    fn run(spec: &OutputSpec, stored: &[f64], values: &[f32]) -> Comparison {
        let stored = Stored { shape: vec![stored.len()], values: stored.to_vec() };
        let tensor = Tensor::from_slice(values, spec.shape.as_slice(), &Device::Cpu).unwrap();
        compare("x", spec, &stored, (None, 0.), &tensor)
    }

    #[test]
    fn the_worst_value_is_found() {
        let result = run(&spec(&[2, 2], 1), &[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.003, 4.0]);
        // std = sqrt(1.25), so 2.236e-4 + 3e-3 is allowed at 3
        assert!(result.passed && (result.worst_ratio - 0.003 / 3.2236e-3).abs() < 1e-3, "{result:?}");
        assert_eq!((result.at_index, result.expected), (vec![1, 0], 3.0));
        assert!(!run(&spec(&[2, 2], 1), &[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.004, 4.0]).passed);
    }

    #[test]
    fn numbers() {
        assert!(Comparison::of_number("loss", 1.0009, 1.0, 0.0).passed);
        assert!(!Comparison::of_number("loss", 1.0011, 1.0, 0.0).passed);
        assert!(Comparison::of_number("norm", 3e-9, 1e-9, 1e-8).passed);
        assert!(!Comparison::of_number("norm", f64::NAN, 1.0, 1.0).passed);
        assert!(Comparison::of_number("norm", 0.0, 0.0, 0.0).passed);
    }

    #[test]
    fn only_strided_values_are_compared() {
        let values = [0.0, 9.0, 9.0, 1.0, 9.0];
        assert!(run(&spec(&[5], 3), &[0.0, 1.0], &values).passed);
        let few = run(&spec(&[5], 2), &[0.0, 1.0], &values);
        assert_eq!(few.problem.as_deref(), Some("the case stores 2 values, expected 3 (every 2th)"));
    }

    #[test]
    fn shapes_nan_and_means_fail() {
        let wrong = compare(
            "x",
            &spec(&[4], 1),
            &Stored { shape: vec![4], values: vec![0.0; 4] },
            (None, 0.),
            &Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap(),
        );
        assert_eq!(wrong.problem.as_deref(), Some("shape [2, 2], expected [4]"));
        let nan = run(&spec(&[2], 1), &[0.0, 1.0], &[0.0, f32::NAN]);
        assert!(!nan.passed && nan.worst_ratio.is_infinite());
        let with_mean = OutputSpec { mean: Some(0.5), std: Some(0.5), ..spec(&[4], 2) };
        assert!(run(&with_mean, &[0.0, 0.0], &[0.0, 1.0, 0.0, 1.0]).passed);
        assert!(!run(&with_mean, &[0.0, 0.0], &[0.0, 1.2, 0.0, 1.0]).passed);
        assert!(!run(&with_mean, &[0.0, 0.0], &[0.0, f32::NAN, 0.0, 1.0]).passed);
    }

    #[test]
    fn zero_references_ask_for_zeros() {
        assert!(run(&spec(&[2], 1), &[0.0, 0.0], &[0.0, 0.0]).passed);
        assert!(!run(&spec(&[2], 1), &[0.0, 0.0], &[0.0, 1e-9]).passed);
        let loose = OutputSpec { tolerance: Some(Tolerance { atol: 1e-6, rtol: 0.0 }), ..spec(&[2], 1) };
        assert!(run(&loose, &[0.0, 0.0], &[0.0, 1e-9]).passed);
    }
}
