//! The measures by which DIS-SAM's and IS-Net's training choose a checkpoint (`IS_Net/basics.py`, `f1_mae_torch`).

use crate::error::{Error, Result};

/// Levels of the curves.
const BINS: usize = 255;
/// Weight of precision against recall, beta squared.
const BETA2: f32 = 0.3;

/// Curves over thresholds from 254 down to 0, and the mean absolute error, of one image or of the mean of many.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidationMeasures {
    /// Precision at each threshold.
    pub precision: Vec<f32>,
    /// Recall at each threshold.
    pub recall: Vec<f32>,
    /// F-measure at each threshold, beta² 0.3.
    pub f_measure: Vec<f32>,
    /// Mean absolute error, 0..1.
    pub mae: f64,
}

impl ValidationMeasures {
    /// Of one image: `prediction` in 0..255, not rounded; `truth` bytes, above 128 inside.
    ///
    /// # Errors
    /// When both are not of one length.
    pub fn of_image(prediction: &[f32], truth: &[u8]) -> Result<Self> {
        if prediction.len() != truth.len() {
            return Err(Error::MapLength { len: prediction.len(), size: (truth.len() as u32, 1) });
        }
        let (mut inside, mut outside, mut objects) = ([0u64; BINS], [0u64; BINS], 0u64);
        let mut error = 0f64;
        for (&p, &t) in prediction.iter().zip(truth) {
            error += f64::from((p - f32::from(t)).abs());
            objects += u64::from(t > 128);
            if (0. ..=BINS as f32).contains(&p) {
                // the last bin has its upper edge, too
                let bin = (p as usize).min(BINS - 1);
                if t > 128 { inside[bin] += 1 } else { outside[bin] += 1 }
            }
        }
        let (mut hits, mut alarms) = (0f32, 0f32);
        let mut this = Self { precision: vec![], recall: vec![], f_measure: vec![], mae: 0. };
        for bin in (0..BINS).rev() {
            hits += inside[bin] as f32;
            alarms += outside[bin] as f32;
            let (precision, recall) = (hits / (hits + alarms + 1e-4), hits / (objects as f32 + 1e-4));
            this.precision.push(precision);
            this.recall.push(recall);
            this.f_measure.push((1. + BETA2) * precision * recall / (BETA2 * precision + recall + 1e-4));
        }
        this.mae = error / (truth.len() as f64 * 255. + 1e-4);
        Ok(this)
    }

    /// The largest F-measure of one image.
    pub fn max_f_measure(&self) -> f32 {
        self.f_measure.iter().copied().fold(0., f32::max)
    }

    /// The number that training goes by: the curves of all images averaged, then the largest F-measure of those.
    pub fn max_f_measure_of_means(images: &[Self]) -> f64 {
        let n = images.len().max(1) as f64;
        let mean = |bin: usize, curve: fn(&Self) -> &[f32]| -> f64 {
            images.iter().filter_map(|i| curve(i).get(bin)).map(|&v| f64::from(v)).sum::<f64>() / n
        };
        let beta2 = f64::from(BETA2);
        (0..BINS)
            .map(|bin| (mean(bin, |i| &i.precision), mean(bin, |i| &i.recall)))
            .map(|(p, r)| (1. + beta2) * p * r / (beta2 * p + r + 1e-8))
            .fold(0., f64::max)
    }
}
