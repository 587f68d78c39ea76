//! `isnet_*`, `dissam_small`, `dissam_1024`: IS-Net in both forms, its ground-truth encoder, its blocks.

use super::{Result, Run, field, fill_spec, scalar};
use crate::verify::labels;
use crate::verify::weights::Weights;
use candle_core::{Device, Tensor};
use detail_refine::{IsNet, IsNetConfig, IsNetGtConfig, IsNetGtEncoder, Rsu, RsuConfig};
use seg_golden::{Case, Pattern};

/// The one module of these cases.
const NET: &str = "net";

/// The whole network; the number of input channels tells its form.
pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let shape: [usize; 4] = field(case, "inputs.shape", &case.inputs["shape"])?;
    let cfg = IsNetConfig { in_channels: shape[1], ..IsNetConfig::is_net() };
    let weights = Weights::of(case, NET)?;
    let net = IsNet::new(&cfg, weights.var_builder(device))?;
    weights.check(run.checks, &[]);
    let images = images(case, shape, device)?;
    net.forward_observed(&images, false, &mut |name: &str, tensor: &Tensor| {
        run.checks.tensor(name, tensor);
        Ok(())
    })?;
    Ok(())
}

pub(super) fn gt_encoder(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let [count, channels, h, w]: [usize; 4] = field(case, "inputs.shape", &case.inputs["shape"])?;
    let cfg = IsNetGtConfig { in_channels: channels, ..IsNetGtConfig::published() };
    let weights = Weights::of(case, NET)?;
    let net = IsNetGtEncoder::new(&cfg, weights.var_builder(device))?;
    weights.check(run.checks, &[]);
    let masks = planes(count, (h, w), device, |index| labels::mask(&case.salt, index, h, w))?;
    let output = net.forward_observed(&masks, false, &mut |name: &str, tensor: &Tensor| {
        run.checks.tensor(name, tensor);
        Ok(())
    })?;
    for (i, feature) in output.features.iter().enumerate() {
        run.checks.tensor(&format!("f{}", i + 1), feature);
    }
    losses(run, &output.probabilities, &masks)
}

/// The losses of the case, of the masks themselves as the labels.
fn losses(run: &mut Run<'_, '_>, probabilities: &[Tensor], masks: &Tensor) -> Result<()> {
    use seg_train::losses::DichotomousLoss;
    for (name, loss) in [("losses_dissam", DichotomousLoss::DIS_SAM), ("losses_original", DichotomousLoss::IS_NET)] {
        let expected = &run.case.values[name];
        if expected.is_null() {
            continue;
        }
        let terms = loss.forward(probabilities, masks, None)?;
        for (part, actual) in [("target", &terms.first), ("total", &terms.total)] {
            let expected: f64 = field(run.case, &format!("values.{name}.{part}"), &expected[part])?;
            run.checks.number(&format!("{name}.{part}"), scalar(actual)?, expected, 0.);
        }
    }
    Ok(())
}

/// Each block that the case lists, on one input; a block is filled under its name in front of its own keys.
pub(super) fn blocks(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let (dims, factor) = fill_spec(case, "x")?;
    let x = run.inputs().noise("input.x", &dims, factor)?;
    let names: Vec<&str> = case.output_names().collect();
    for name in names {
        let weights = Weights::with(case, name, |rule| rule.prefix(format!("{name}.")))?;
        let (in_channels, cfg) = block_config(case, name)?;
        let block = Rsu::new(in_channels, &cfg, false, weights.var_builder(device))?;
        weights.check(run.checks, &[]);
        let y = block.forward_t(x.permute((0, 2, 3, 1))?.contiguous()?, false)?;
        run.checks.tensor(name, &y.permute((0, 3, 1, 2))?);
    }
    Ok(())
}

/// `RSU7` to `RSU4`, `RSU4F`, with the widths of the case's keys.
fn block_config(case: &Case, name: &str) -> Result<(usize, RsuConfig)> {
    let at = format!("modules.{name}");
    let official = case.official(name).unwrap_or_default();
    let shape = |key: &str| official.iter().find(|n| n.name == key).map(|n| n.shape.clone()).unwrap_or_default();
    let ([out, inputs, ..], [mid, ..]) =
        (&shape("rebnconvin.conv_s1.weight")[..], &shape("rebnconv1.conv_s1.weight")[..])
    else {
        return Err(case.field_error(&at, "no weights of rebnconvin and rebnconv1".to_string()).into());
    };
    let cfg = match name.strip_prefix("RSU") {
        Some("4F") => RsuConfig::dilated(*mid, *out),
        Some(levels) => {
            let levels = levels.parse().map_err(|_| case.field_error(&at, "expected RSU and a number".to_string()))?;
            RsuConfig::pooled(levels, *mid, *out)
        }
        None => return Err(case.field_error(&at, "expected RSU and a number".to_string()).into()),
    };
    Ok((*inputs, cfg))
}

/// RGB, and in DIS-SAM's form mask and box: `[B, 3 or 5, H, W]`.
pub(super) fn images(case: &Case, [count, channels, h, w]: [usize; 4], device: &Device) -> Result<Tensor> {
    let images = (0..count).map(|index| {
        let pattern = match index {
            0 => Pattern::salted(&case.salt, "input.image"),
            b => Pattern::salted(&case.salt, &format!("input.image.{b}")).shifted(0.04 * b as f64),
        };
        pattern.map((3, h, w), device, |_, v| v - 0.5)
    });
    let rgb = Tensor::cat(&images.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
    if channels == 3 {
        return Ok(rgb);
    }
    with_mask_and_box(case, rgb)
}

/// `[B, 3, H, W]` to `[B, 5, H, W]`: each image's mask and the box around it behind its colours.
pub(super) fn with_mask_and_box(case: &Case, rgb: Tensor) -> Result<Tensor> {
    let (count, _, h, w) = rgb.dims4()?;
    let mask = |index| labels::mask(&case.salt, index, h, w);
    let boxes = (0..count).map(|index| labels::open_box(&mask(index), h, w)).collect::<seg_data::Result<Vec<_>>>()?;
    let masks = planes(count, (h, w), rgb.device(), mask)?;
    let boxes = planes(count, (h, w), rgb.device(), |index| boxes[index].clone())?;
    Ok(Tensor::cat(&[rgb, masks, boxes], 1)?)
}

/// One plane an image, `[B, 1, H, W]`.
pub(super) fn planes(
    count: usize,
    (h, w): (usize, usize),
    device: &Device,
    plane: impl Fn(usize) -> Vec<u8>,
) -> Result<Tensor> {
    let values: Vec<f32> = (0..count).flat_map(plane).map(f32::from).collect();
    Ok(Tensor::from_vec(values, (count, 1, h, w), device)?)
}
