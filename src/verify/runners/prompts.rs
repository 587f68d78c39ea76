//! Prompts and described inputs, from the JSON to tensors.

use super::{Result, field};
use candle_core::{Device, Tensor};
use hr_decoders::PointPrompts;
use seg_golden::Case;

/// `[B, N, 2]` points with `[B, N]` labels from nested lists; all rows are of the same length.
pub(super) fn points(coords: &[Vec<[f32; 2]>], labels: &[Vec<i64>], device: &Device) -> Result<PointPrompts> {
    let (b, n) = (coords.len(), coords.first().map_or(0, Vec::len));
    let xy: Vec<f32> = coords.iter().flatten().flatten().copied().collect();
    let labels: Vec<i64> = labels.iter().flatten().copied().collect();
    Ok(PointPrompts {
        coords: Tensor::from_vec(xy, (b, n, 2), device)?,
        labels: Tensor::from_vec(labels, (b, n), device)?,
    })
}

/// `[B, 4]` boxes.
pub(super) fn boxes(boxes: &[[f32; 4]], device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_vec(boxes.concat(), (boxes.len(), 4), device)?)
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
        Some(factor) => factor.trim().parse().ok()?,
        None => 1.0,
    };
    Some((dims, factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_descriptions() {
        assert_eq!(parse_fill("fill (1,1,256,256)*10"), Some((vec![1, 1, 256, 256], 10.0)));
        assert_eq!(parse_fill("fill input.low_res.<k> (1, 3) * 20"), Some((vec![1, 3], 20.0)));
        assert_eq!(parse_fill("fill (2)"), Some((vec![2], 1.0)));
        assert_eq!(parse_fill("fill"), None);
    }
}
