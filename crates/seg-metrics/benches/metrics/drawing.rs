//! A drawn pair: thick blobs with a rough edge, thin stripes, islands and holes, and a prediction that blurs and misses
//! some of it. No two runs differ.

/// Prediction and ground truth, row by row.
pub fn pair(width: usize, height: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut pred, mut gt) = (Vec::with_capacity(width * height), Vec::with_capacity(width * height));
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f64 / width as f64, y as f64 / height as f64);
            let wave = |a: f64, b: f64, phase: f64| (std::f64::consts::TAU * (a * u + b * v) + phase).sin();
            let blob = wave(1.3, 0.4, 0.5) + wave(-0.6, 1.7, 2.) + 0.4 * wave(5.1, 3.3, 1.) * wave(-2.2, 6.4, 0.);
            let rough = 0.15 * wave(41., 17., 0.) * wave(-23., 38., 1.);
            let stripes = wave(60., 11., 0.) > 0.85 && wave(0.9, -1.1, 3.) > 0.3;
            let inside = blob + rough > 0.35 || stripes;
            let missed = if stripes && wave(9., 4., 1.) > 0.2 { -1. } else { 0. };
            let guess = blob + 0.5 * rough - 0.35 + 0.25 * wave(13., -9., 2.) + if stripes { 1. } else { 0. } + missed;
            gt.push(if inside { 255 } else { 0 });
            pred.push((255. / (1. + (-6. * guess).exp())) as u8);
        }
    }
    (pred, gt)
}
