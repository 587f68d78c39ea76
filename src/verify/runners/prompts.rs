//! Prompts, from the JSON to tensors.

use super::Result;
use candle_core::{Device, Tensor};
use hr_decoders::PointPrompts;

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
