//! Position encodings of time.

use candle_core::{Device, Result, Tensor};

/// Sine encoding of `positions` (any real numbers), `[N, channels]`: all sines, then all cosines, two neighbouring
/// channels with the same wavelength (`get_1d_sine_pe` in sam2/modeling/sam2_utils.py).
pub fn sine_position_1d(positions: &[f64], channels: usize, device: &Device) -> Result<Tensor> {
    const TEMPERATURE: f64 = 10_000.0;
    if channels == 0 || !channels.is_multiple_of(2) {
        candle_core::bail!("sine_position_1d: {channels} channels, expected a positive even number");
    }
    let half = channels / 2;
    let mut values = Vec::with_capacity(positions.len() * channels);
    for &position in positions {
        let angle = |i: usize| position / TEMPERATURE.powf((2 * (i / 2)) as f64 / half as f64);
        values.extend((0..half).map(|i| angle(i).sin() as f32));
        values.extend((0..half).map(|i| angle(i).cos() as f32));
    }
    Tensor::from_vec(values, (positions.len(), channels), device)
}
