//! The goldens: pairs of images and what the toolkits gave for them.

#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests; each test file uses a part")]

use std::path::PathBuf;

use seg_metrics::Plane;
use serde_json::Value;

/// A gray image of the goldens.
pub struct Gray {
    pixels: Vec<u8>,
    width: usize,
    height: usize,
}

impl Gray {
    pub fn plane(&self) -> Plane<'_> {
        Plane::new(&self.pixels, self.width, self.height).unwrap()
    }
}

pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics"))
}

pub fn expected() -> Value {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Prediction and ground truth of a pair.
pub fn pair(name: &str) -> (Gray, Gray) {
    let load = |what: &str| {
        let image = image::open(folder().join(format!("{name}.{what}.png"))).unwrap().into_luma8();
        let (width, height) = (image.width() as usize, image.height() as usize);
        Gray { pixels: image.into_raw(), width, height }
    };
    (load("pred"), load("gt"))
}

/// A number as the goldens write it.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::String(s) => match s.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// Numbers and lists of numbers below `value`, names joined by dots.
pub fn flatten(prefix: &str, value: &Value, out: &mut Vec<(String, Vec<f64>)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, value, out);
            }
        }
        Value::Array(list) => {
            if let Some(list) = list.iter().map(number).collect::<Option<Vec<_>>>() {
                out.push((prefix.to_owned(), list));
            }
        }
        other => out.extend(number(other).map(|n| (prefix.to_owned(), vec![n]))),
    }
}

/// Whether two numbers agree within `tolerance`, absolute up to 1 and relative above; NaN agrees with NaN.
pub fn close(ours: f64, theirs: f64, tolerance: f64) -> bool {
    ours == theirs || (ours.is_nan() && theirs.is_nan()) || (ours - theirs).abs() <= tolerance * theirs.abs().max(1.)
}
