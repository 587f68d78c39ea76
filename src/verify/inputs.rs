//! The inputs of a case: those that it stores, or else those that its names generate.

use super::error::VerifyError;
use candle_core::{DType, Device, Tensor};
use seg_data::RgbImage;
use seg_golden::{Case, Pattern, inputs};
use serde_json::Value;

type Result<T> = std::result::Result<T, VerifyError>;

/// The inputs of one case on one device.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) case: &'a Case,
    pub(super) device: &'a Device,
}

impl Inputs<'_> {
    /// The input `name`: stored, or made by `generate`.
    pub(super) fn tensor(
        &self,
        name: &str,
        generate: impl FnOnce(&Pattern) -> candle_core::Result<Tensor>,
    ) -> Result<Tensor> {
        match self.case.stored_input(name, self.device) {
            Some(stored) => Ok(stored?),
            None => Ok(generate(&self.pattern(name))?),
        }
    }

    /// Noise, or what the case stores: `(u - 0.5) * factor`.
    pub(super) fn noise(&self, name: &str, dims: &[usize], factor: f32) -> Result<Tensor> {
        self.tensor(name, |_| inputs::noise(name, dims, self.salt(name), factor, self.device))
    }

    /// The photo `name`, `h * w` pixels. A stored one is `[h, w, 3]`, bytes.
    pub(super) fn photo(&self, name: &str, h: usize, w: usize) -> Result<RgbImage> {
        let (h, w, bytes) = match self.case.stored_input(name, &Device::Cpu) {
            None => (h, w, self.pattern(name).image_u8(h, w)),
            Some(stored) => {
                let stored = stored?;
                let (h, w, _) = stored.dims3()?;
                (h, w, stored.to_dtype(DType::U8)?.flatten_all()?.to_vec1()?)
            }
        };
        let (found, wanted) = (bytes.len(), h * w * 3);
        RgbImage::from_raw(w as u32, h as u32, bytes).ok_or_else(|| {
            self.case.field_error(name, format!("{found} bytes, expected {wanted} for {h} x {w} pixels")).into()
        })
    }

    /// `inputs.<name>.shape` of the JSON, or `inputs.<name>` where that is the shape itself.
    pub(super) fn shape(&self, name: &str) -> Result<Vec<usize>> {
        let entry = &self.case.inputs[name];
        let shape = if entry.is_array() { entry } else { &entry["shape"] };
        field(self.case, &format!("inputs.{name}.shape"), shape)
    }

    /// The last two axes of [`Self::shape`], or those of an `[h, w, 3]` photo.
    pub(super) fn size(&self, name: &str) -> Result<(usize, usize)> {
        match self.shape(name)?[..] {
            [h, w, 3] | [.., h, w] => Ok((h, w)),
            ref other => {
                let problem = format!("{other:?}, expected at least two axes");
                Err(self.case.field_error(&format!("inputs.{name}.shape"), problem).into())
            }
        }
    }

    fn pattern(&self, name: &str) -> Pattern {
        Pattern::salted(self.salt(name), name)
    }

    /// The salt of an input: its own, or the case's.
    fn salt(&self, name: &str) -> &str {
        self.case.inputs[name]["salt"].as_str().unwrap_or(&self.case.salt)
    }
}

/// `value` as `T`; `name` says in an error which field of the JSON it is.
pub(super) fn field<T: serde::de::DeserializeOwned>(case: &Case, name: &str, value: &Value) -> Result<T> {
    if value.is_null() {
        return Err(case.field_error(name, "missing").into());
    }
    serde_json::from_value(value.clone()).map_err(|e| case.field_error(name, e.to_string()).into())
}
