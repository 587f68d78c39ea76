//! `pisam_deform`: deformable convolutions of two kernel sizes on a map that is stored nowhere.

use super::{Result, Run};
use crate::verify::error::VerifyError;
use candle_core::DType;
use hr_decoders::pi_sam::DeformableConv2d;
use seg_golden::inputs::filled;

/// The factor of the map that the JSON gives in words, `fill *4`.
fn factor(run: &Run<'_, '_>) -> Option<f32> {
    run.case.inputs["doc"].as_str()?.rsplit_once('*')?.1.trim().parse().ok()
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let dims = run.inputs().shape("input.x")?;
    let x = match case.stored_input("input.x", device) {
        Some(stored) => stored?,
        None => filled("input.x", &dims, &case.salt, factor(run).unwrap_or(1.), device)?,
    };
    let last = x.permute((0, 2, 3, 1))?.contiguous()?;
    let vb = case.generated("conv")?.var_builder(DType::F32, device);
    let kernels: Vec<String> =
        case.output_names().filter_map(|name| name.strip_suffix(".out")).map(str::to_owned).collect();
    for name in kernels {
        let outputs = case.output(&format!("{name}.out")).and_then(|o| o.shape.get(1).copied());
        let (Some(kernel), Some(outputs)) = (name.strip_prefix('k').and_then(|k| k.parse().ok()), outputs) else {
            let problem = "expected an output such as k3.out of four axes";
            return Err(VerifyError::from(case.field_error(&name, problem)));
        };
        let conv = DeformableConv2d::new(x.dim(1)?, outputs, kernel, vb.pp(&name))?;
        let (offset, mask) = conv.moves(&last)?;
        let mut check = |what: &str, tensor: &candle_core::Tensor| -> Result<()> {
            run.checks.tensor(&format!("{name}.{what}"), &tensor.permute((0, 3, 1, 2))?);
            Ok(())
        };
        check("offset", &offset)?;
        check("mask", &mask)?;
        check("out", &conv.forward_moved(&last, &offset, &mask)?)?;
    }
    Ok(())
}
