//! `sam1_prepost`: SAM's way from an image to the square input, and back from logits to the image.

use super::{Result, Run, field, fill_spec};
use candle_core::{D, DType, Tensor};
use seg_data::tensor::{ValueRange, to_tensor};
use seg_models::sam::ResizeLongestSide;
use seg_ops::{Resize, resize};
use serde::Deserialize;
use std::collections::BTreeMap;

/// One image of `inputs.sizes`.
#[derive(Debug, Deserialize)]
struct Size {
    /// Height and width in pixels.
    original: (u32, u32),
    /// Height and width inside the square.
    resized: (u32, u32),
    coords_in: Vec<[f32; 2]>,
    box_in: [f32; 4],
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let sizes: BTreeMap<String, Size> = field(case, "inputs.sizes", &case.inputs["sizes"])?;
    let (low_res_dims, factor) = fill_spec(case, "low_res")?;
    for (key, size) in &sizes {
        let (h, w) = size.original;
        let photo = run.inputs().photo(&format!("input.u8{key}"), Some((h as usize, w as usize)))?;
        let low_res = run.inputs().noise(&format!("input.low_res.{key}"), &low_res_dims, factor)?;
        let square = case.output(&format!("{key}.preprocessed")).and_then(|o| o.shape.last().copied());
        let frame = ResizeLongestSide::new((w, h), square.unwrap_or(1024))?;
        let (rw, rh) = frame.resized();
        let mut check = |what: &str, tensor: &Tensor| run.checks.tensor(&format!("{key}.{what}"), tensor);

        let resized = frame.resize(&photo)?.into_raw();
        check("resized_u8", &Tensor::from_vec(resized, (rh as usize, rw as usize, 3), device)?);
        check("preprocessed", &frame.preprocess(&photo, device)?);
        let floats = to_tensor(&photo, ValueRange::Byte, device)?.unsqueeze(0)?;
        let antialiased = resize(&floats, (rh as usize, rw as usize), &Resize::bilinear().antialiased())?;
        check("resized_torch_antialias", &antialiased);

        let to_input = |&[x, y]: &[f32; 2]| <[f32; 2]>::from(frame.to_input(x, y));
        let coords: Vec<f32> = size.coords_in.iter().flat_map(to_input).collect();
        check("coords", &Tensor::from_vec(coords, (size.coords_in.len(), 2), device)?);
        let [x0, y0, x1, y1] = size.box_in;
        let corners = [to_input(&[x0, y0]), to_input(&[x1, y1])].concat();
        check("box", &Tensor::from_vec(corners, (1, 4), device)?);

        let logits = frame.postprocess(&low_res)?;
        check("post_logits", &logits);
        let inside = logits.gt(0f64)?.to_dtype(DType::F32)?;
        check("post_area", &inside.flatten_from(2)?.sum(D::Minus1)?);
        run.checks.fact(
            &format!("{key}.resized"),
            (rh, rw) == size.resized,
            format!("{rh} x {rw}, expected {:?}", size.resized),
        );
    }
    Ok(())
}
