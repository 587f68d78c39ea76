//! `sam2_interp_unit`: resizing and pooling as torch, torchvision, Pillow and timm do them.

use super::{Result, Run};
use candle_core::Tensor;
use seg_data::{PilFilter, resize_pil, tensor::ValueRange, to_luma_pil};
use seg_ops::{Layout, Pool2dParams, Resize, avg_pool2d, resize};
use vit_encoder::dinov2::{PositionInterpolation, resample_position_table};

/// Output names that begin so are `F.interpolate` of that input with these settings; the size is the output's.
const RESIZED: &[(&str, &str, Resize)] = &[
    ("bicubic_7_to_", "input.a", Resize::bicubic()),
    ("bicubic_14_to_", "input.b", Resize::bicubic()),
    ("bicubic_12_to_", "input.e", Resize::bicubic()),
    ("bilinear_aa_64_to_", "input.c", Resize::bilinear().antialiased()),
    ("bilinear_aa_d_to_", "input.d", Resize::bilinear().antialiased()),
    ("bilinear_64_to_28", "input.c", Resize::bilinear()),
    ("bilinear_64_to_48_scale.75", "input.c", Resize::bilinear().with_scale(0.75, 0.75)),
    ("bilinear_x0.5_scalefactor", "input.c", Resize::bilinear().with_scale(0.5, 0.5)),
    ("bilinear_x2_scalefactor", "input.e", Resize::bilinear().with_scale(2.0, 2.0)),
    ("bilinear_x2_align_corners", "input.e", Resize::bilinear().align_corners()),
    ("nearest_x", "input.e", Resize::nearest()),
];

const PHOTO: &str = "input.photo";
const POS_EMBED: &str = "input.pos_embed";

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    for name in run.case.output_names() {
        let Some(shape) = run.case.output(name).map(|o| o.shape.clone()) else { continue };
        let produced = if let Some((_, input, how)) = RESIZED.iter().find(|(start, ..)| name.starts_with(start)) {
            let x = run.inputs().noise(input, &run.inputs().shape(input)?, 1.0)?;
            Some(resize(&x, last_two(&shape), how)?)
        } else if name == "avg_pool31" {
            let x = run.inputs().noise("input.c", &run.inputs().shape("input.c")?, 1.0)?;
            let (kernel, stride, padding) = (31, 1, 15);
            Some(avg_pool2d(&x, &Pool2dParams { kernel, stride, padding, ceil_mode: false, layout: Layout::Nchw })?)
        } else if name.starts_with("timm_resample_pos_embed_") {
            Some(resampled_positions(run, shape[1])?)
        } else {
            from_photo(run, name, &shape)?
        };
        match produced {
            Some(tensor) => run.checks.tensor(name, &tensor),
            None => run.checks.fact(name, false, "no operation for an output of this name"),
        }
    }
    Ok(())
}

fn last_two(shape: &[usize]) -> (usize, usize) {
    let n = shape.len();
    if n < 2 { (1, 1) } else { (shape[n - 2], shape[n - 1]) }
}

/// timm's `resample_abs_pos_embed`: the class token stays, the square grid behind it is resized (bicubic, antialiased).
fn resampled_positions(run: &Run<'_, '_>, tokens: usize) -> Result<Tensor> {
    let table = run.inputs().noise(POS_EMBED, &run.inputs().shape(POS_EMBED)?, 1.0)?; // [1, 1 + g*g, C]
    Ok(resample_position_table(&table, tokens, PositionInterpolation::Antialiased)?)
}

/// Outputs made of the photo: torchvision's resize of the float image, Pillow's of the bytes.
fn from_photo(run: &Run<'_, '_>, name: &str, shape: &[usize]) -> Result<Option<Tensor>> {
    let photo = run.inputs().photo(PHOTO, None)?;
    let device = run.device;
    if name.starts_with("tv_resize_tensor_") {
        let x = seg_data::tensor::to_tensor(&photo, ValueRange::Unit, device)?.unsqueeze(0)?;
        return Ok(Some(resize(&x, last_two(shape), &Resize::bilinear().antialiased())?.squeeze(0)?));
    }
    let size = (shape[1] as u32, shape[0] as u32);
    let filter = if name.contains("bicubic") {
        PilFilter::Bicubic
    } else if name.contains("nearest") {
        PilFilter::Nearest
    } else {
        PilFilter::Bilinear
    };
    let bytes = if name == "pil_L" {
        to_luma_pil(&photo).into_raw()
    } else if name.starts_with("pil_L_") {
        resize_pil(&to_luma_pil(&photo), size, filter)?.into_raw()
    } else if name.starts_with("pil_") {
        resize_pil(&photo, size, filter)?.into_raw()
    } else {
        return Ok(None);
    };
    Ok(Some(Tensor::from_vec(bytes, shape, device)?))
}
