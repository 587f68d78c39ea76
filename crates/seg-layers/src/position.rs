//! Position encodings.

use candle_core::{Device, Result, Tensor};
use candle_nn::VarBuilder;
use std::f64::consts::TAU;

/// SAM 2's sine position map, `[1, channels, height, width]`, values in −1..1
/// (sam2/modeling/position_encoding.py, normalised form).
///
/// Row and column indices count from 1, are divided by their number and scaled to 2π; half of the channels
/// encode the row, then half the column, sine and cosine interleaved, with wavelengths up to 10000·2π.
pub fn sine_position_map(channels: usize, height: usize, width: usize, device: &Device) -> Result<Tensor> {
    sine_position_map_at(channels, (height, width), 1.0, device)
}

/// As [`sine_position_map`], with indices that count from `first` in place of 1: 0.5 is the pixels' centres.
pub fn sine_position_map_at(
    channels: usize,
    (height, width): (usize, usize),
    first: f64,
    device: &Device,
) -> Result<Tensor> {
    const EPS: f64 = 1e-6;
    const TEMPERATURE: f64 = 10_000.0;
    if channels == 0 || !channels.is_multiple_of(4) {
        candle_core::bail!("sine_position_map: {channels} channels, expected a positive multiple of 4");
    }
    let half = channels / 2;
    // one axis: [half, n]
    let encode = |n: usize| -> Vec<f32> {
        let mut table = Vec::with_capacity(half * n);
        for i in 0..half {
            let wavelength = TEMPERATURE.powf((2 * (i / 2)) as f64 / half as f64);
            for k in 0..n {
                let angle = (k as f64 + first) / (n as f64 + EPS) * TAU / wavelength;
                table.push((if i % 2 == 0 { angle.sin() } else { angle.cos() }) as f32);
            }
        }
        table
    };
    let rows = Tensor::from_vec(encode(height), (1, half, height, 1), device)?.expand((1, half, height, width))?;
    let columns = Tensor::from_vec(encode(width), (1, half, 1, width), device)?.expand((1, half, height, width))?;
    Tensor::cat(&[rows, columns], 1)
}

/// SAM's random Fourier position encoding: a point in 0..1 becomes sines and cosines of a fixed random projection
/// (segment_anything/modeling/prompt_encoder.py, `PositionEmbeddingRandom`).
///
/// Key: `positional_encoding_gaussian_matrix [2, features]`, row 0 for x, row 1 for y.
#[derive(Clone, Debug)]
pub struct RandomFourierPosition {
    gaussian_matrix: Tensor,
}

impl RandomFourierPosition {
    /// Reads the matrix; the encoding has `2 * features` channels.
    pub fn new(features: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self { gaussian_matrix: vb.get((2, features), "positional_encoding_gaussian_matrix")? })
    }

    /// Whether the matrix is a variable, so that its numbers, and with them every encoding, may change.
    pub fn is_variable(&self) -> bool {
        self.gaussian_matrix.is_variable()
    }

    /// `xy` in 0..1, `[..., 2]`, to `[..., 2 * features]`: all sines, then all cosines.
    pub fn encode(&self, xy: &Tensor) -> Result<Tensor> {
        let mut dims = xy.dims().to_vec();
        let centred = ((xy * 2.)? - 1.)?.reshape(((), 2))?.to_dtype(self.gaussian_matrix.dtype())?;
        // two products and a sum, as the reference's 2-wide matrix product does them
        let angles = (centred.contiguous()?.matmul(&self.gaussian_matrix)? * TAU)?;
        let features = Tensor::cat(&[angles.sin()?, angles.cos()?], 1)?;
        if let Some(last) = dims.last_mut() {
            *last = features.dim(1)?;
        }
        features.reshape(dims)
    }

    /// The encoding at the pixel centres of a `height × width` grid: `[1, 2 * features, height, width]`.
    pub fn dense(&self, height: usize, width: usize) -> Result<Tensor> {
        let mut grid = Vec::with_capacity(height * width * 2);
        for y in 0..height {
            for x in 0..width {
                grid.push((x as f32 + 0.5) / width as f32);
                grid.push((y as f32 + 0.5) / height as f32);
            }
        }
        let grid = Tensor::from_vec(grid, (1, height, width, 2), self.gaussian_matrix.device())?;
        self.encode(&grid)?.permute((0, 3, 1, 2))
    }
}
