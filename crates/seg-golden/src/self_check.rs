//! The case that checks this crate alone: samples of the fill rule and of the generated inputs (`sam1_inputs`).

use crate::checker::Checker;
use crate::error::Result;
use crate::fill::{fill_tensor, fnv1a64, uniform};
use crate::inputs::{Pattern, ellipse};
use candle_core::{Device, Tensor};
use serde_json::Value;

/// Generate and compare every output of a `sam1_inputs` case. The names say what to generate: `input.image.norm.<size>`,
/// `<input>.255.<size>`, `input.u8.<h>x<w>`, `fill.<key>`, `uniform.<name>[:n]`, `ellipse.<cx>.<cy>.<rx>.<ry>.<size>`
/// (in hundredths of the image).
pub fn check_generators(checks: &mut Checker<'_>) -> Result<()> {
    let case = checks.case();
    if let Some(Value::Object(hashes)) = case.values.get("fnv1a64") {
        for (name, hash) in hashes {
            let (ours, theirs) = (format!("{:#x}", fnv1a64(name)), hash.as_str().unwrap_or_default());
            checks.fact(&format!("fnv1a64({name:?})"), ours == theirs, format!("{ours}, expected {theirs}"));
        }
    }
    for name in case.output_names() {
        let Some(shape) = case.output(name).map(|o| o.shape.as_slice()) else { continue };
        match generate(name, shape, &case.salt)? {
            Some(tensor) => checks.tensor(name, &tensor),
            None => checks.fact(name, false, "no generator for a name of this form"),
        }
    }
    Ok(())
}

fn generate(name: &str, shape: &[usize], salt: &str) -> Result<Option<Tensor>> {
    let cpu = &Device::Cpu;
    if let Some(key) = name.strip_prefix("fill.") {
        return Ok(Some(fill_tensor(key, shape, salt, cpu)?));
    }
    if let Some((what, n)) = name.strip_prefix("uniform.").and_then(|r| r.strip_suffix(']')?.split_once("[:")) {
        let n = n.parse().unwrap_or(0);
        return Ok(Some(Tensor::from_vec(uniform(&format!("{salt}{what}"), n), n, cpu)?));
    }
    let Some((rest, size)) = name.rsplit_once('.') else { return Ok(None) };
    let Some((h, w)) = height_width(size) else { return Ok(None) };
    let tensor = if let Some(rest) = rest.strip_prefix("ellipse.") {
        let parts: Vec<f64> = rest.split('.').filter_map(|p| Some(p.parse::<f64>().ok()? / 100.0)).collect();
        let [cx, cy, rx, ry] = parts[..] else { return Ok(None) };
        Tensor::from_vec(ellipse((cx, cy), (rx, ry), h, w), (h, w), cpu)?
    } else if let Some(input) = rest.strip_suffix(".norm") {
        Pattern::salted(salt, input).sam_image(h, w, cpu)?
    } else if let Some(input) = rest.strip_suffix(".255") {
        Pattern::salted(salt, input).image_255(h, w, cpu)?
    } else if rest.ends_with(".u8") {
        Tensor::from_vec(Pattern::salted(salt, rest).image_u8(h, w), (h, w, 3), cpu)?
    } else {
        return Ok(None);
    };
    Ok(Some(tensor))
}

/// `256` or `203x317`.
fn height_width(size: &str) -> Option<(usize, usize)> {
    match size.split_once('x') {
        Some((h, w)) => Some((h.parse().ok()?, w.parse().ok()?)),
        None => size.parse().ok().map(|n| (n, n)),
    }
}
