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

    /// The noise that the JSON describes as `fill (1,256,64,64)*10`, or what the case stores.
    pub(super) fn described(&self, name: &str) -> Result<Tensor> {
        if let Some(stored) = self.case.stored_input(name, self.device) {
            return Ok(stored?);
        }
        let (dims, factor) = fill_spec(self.case, name)?;
        self.noise(name, &dims, factor)
    }

    /// The photo `name`: a stored one (`[h, w, 3]`, bytes), or one of `size` pixels (height, width), or one of the size that
    /// the JSON gives.
    pub(super) fn photo(&self, name: &str, size: Option<(usize, usize)>) -> Result<RgbImage> {
        let (h, w, bytes) = match self.case.stored_input(name, &Device::Cpu) {
            Some(stored) => {
                let stored = stored?;
                let (h, w, _) = stored.dims3()?;
                (h, w, stored.to_dtype(DType::U8)?.flatten_all()?.to_vec1()?)
            }
            None => {
                let (h, w) = size.map_or_else(|| self.size(name), Ok)?;
                (h, w, self.pattern(name).image_u8(h, w))
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

    /// [`Self::size`], or `default` when the JSON does not describe the input.
    pub(super) fn size_or(&self, name: &str, default: (usize, usize)) -> Result<(usize, usize)> {
        if self.case.inputs[name].is_null() { Ok(default) } else { self.size(name) }
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

/// Shape and factor of the input `inputs.<name>` that the JSON describes as `fill (1,256,64,64)*10`.
pub(super) fn fill_spec(case: &Case, name: &str) -> Result<(Vec<usize>, f32)> {
    let at = format!("inputs.{name}");
    let text: String = field(case, &at, &case.inputs[name])?;
    parse_fill(&text)
        .ok_or_else(|| case.field_error(&at, format!("{text:?}, expected such as \"fill (1,256,64,64)*10\"")).into())
}

fn parse_fill(text: &str) -> Option<(Vec<usize>, f32)> {
    let (_, rest) = text.split_once('(')?;
    let (dims, rest) = rest.split_once(')')?;
    let dims: Vec<usize> = dims.split(',').map(|d| d.trim().parse().ok()).collect::<Option<_>>()?;
    let factor = match rest.trim().strip_prefix('*') {
        // a type may follow, as in `* 10 (float32)`
        Some(factor) => factor.split_whitespace().next()?.parse().ok()?,
        None => 1.0,
    };
    Some((dims, factor))
}

/// Batch, height and width of the labels that a case checks as its output `labels`, `[B, 1, H, W]`.
pub(super) fn labels_shape(case: &Case) -> Result<(usize, usize, usize)> {
    match case.output("labels").map(|o| o.shape.as_slice()) {
        Some(&[batch, 1, h, w]) => Ok((batch, h, w)),
        other => Err(case.field_error("outputs.labels", format!("{other:?}, expected [B, 1, H, W]")).into()),
    }
}

/// The value of a tensor without dimensions.
pub(super) fn scalar(x: &Tensor) -> candle_core::Result<f64> {
    x.to_dtype(DType::F64)?.to_scalar()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_descriptions() {
        assert_eq!(parse_fill("fill (1,1,256,256)*10"), Some((vec![1, 1, 256, 256], 10.0)));
        assert_eq!(parse_fill("fill input.low_res.<k> (1, 3) * 20"), Some((vec![1, 3], 20.0)));
        assert_eq!(parse_fill("fill (1,1,40,40) * 10 (float32)"), Some((vec![1, 1, 40, 40], 10.0)));
        assert_eq!(parse_fill("fill (2)"), Some((vec![2], 1.0)));
        assert_eq!(parse_fill("fill"), None);
    }
}
