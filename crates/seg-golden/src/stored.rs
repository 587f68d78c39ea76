//! Reading the tensors that a case stores.

use crate::error::{Error, Result};
use candle_core::{Device, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;

/// Largest JSON of a case: the largest official list of names takes a fraction of a megabyte.
const JSON_LIMIT: u64 = 64 << 20;
/// Largest safetensors file of a case: enough for every activation of a large model, unsampled.
const TENSORS_LIMIT: u64 = 8 << 30;

/// A stored tensor, as `f64`, which holds every value of the types that cases use.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

impl Stored {
    /// The tensor in `F32`.
    pub(crate) fn tensor(&self, device: &Device) -> candle_core::Result<Tensor> {
        let values: Vec<f32> = self.values.iter().map(|&v| v as f32).collect();
        Tensor::from_vec(values, self.shape.as_slice(), device)
    }
}

fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let bytes = std::fs::metadata(path).map_err(io)?.len();
    if bytes > limit {
        return Err(Error::TooLarge { path: path.to_path_buf(), bytes, limit });
    }
    std::fs::read(path).map_err(io)
}

/// The JSON of a case, as bytes.
pub(crate) fn read_json(path: &Path) -> Result<Vec<u8>> {
    read_capped(path, JSON_LIMIT)
}

/// All tensors of a safetensors file; none when there is no such file (some cases are JSON alone).
pub(crate) fn read_tensors(path: &Path) -> Result<BTreeMap<String, Stored>> {
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let bytes = read_capped(path, TENSORS_LIMIT)?;
    let file =
        SafeTensors::deserialize(&bytes).map_err(|source| Error::SafeTensors { path: path.to_path_buf(), source })?;
    file.iter().map(|(name, view)| Ok((name.to_string(), stored(name, &view)?))).collect()
}

fn stored(name: &str, view: &TensorView<'_>) -> Result<Stored> {
    let data = view.data();
    let values = match view.dtype() {
        Dtype::F64 => numbers(data, f64::from_le_bytes),
        Dtype::F32 => numbers(data, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::BF16 => numbers(data, |b| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))),
        Dtype::F16 => numbers(data, |b| half_to_f64(u16::from_le_bytes(b))),
        Dtype::I64 => numbers(data, |b| i64::from_le_bytes(b) as f64),
        Dtype::I32 => numbers(data, |b| f64::from(i32::from_le_bytes(b))),
        Dtype::I16 => numbers(data, |b| f64::from(i16::from_le_bytes(b))),
        Dtype::I8 => numbers(data, |b| f64::from(i8::from_le_bytes(b))),
        Dtype::U8 => data.iter().map(|&b| f64::from(b)).collect(),
        Dtype::BOOL => data.iter().map(|&b| f64::from(u8::from(b != 0))).collect(),
        other => return Err(Error::Dtype { name: name.to_string(), dtype: format!("{other:?}") }),
    };
    Ok(Stored { shape: view.shape().to_vec(), values })
}

fn numbers<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.as_chunks().0.iter().map(|&b| number(b)).collect()
}

/// IEEE half precision: the one format that the standard library cannot read.
fn half_to_f64(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from((bits >> 10) & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        e => (1.0 + fraction / 1024.0) * 2f64.powi(e - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_953_125), (0x0001, 5.960_464_477_539_063e-8)]
        {
            assert_eq!(half_to_f64(bits), value);
        }
        assert!(half_to_f64(0x7c01).is_nan() && half_to_f64(0xfc00) == f64::NEG_INFINITY);
    }

    #[test]
    fn files_that_are_no_tensors() {
        let path = std::env::temp_dir().join(format!("seg-golden-{}.safetensors", std::process::id()));
        std::fs::write(&path, b"hello").unwrap();
        let error = read_tensors(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(error, Error::SafeTensors { .. }), "{error}");
        assert!(read_tensors(&path).unwrap().is_empty());
    }
}
