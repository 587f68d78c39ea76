//! How the learning rate goes.

use crate::{Result, TrainError};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The form of the curve along which the rate goes from its height to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Curve {
    /// The same all the time.
    Constant,
    /// Half a cosine down to `last` (torch's `CosineAnnealingLR`, whose `eta_min` this is).
    Cosine {
        /// The rate at the end.
        #[serde(default)]
        last: f64,
    },
    /// `(1 − progress)^power` of the height.
    Poly {
        /// The exponent, above 0.
        power: f64,
    },
    /// Multiplied by `factor` at each milestone.
    MultiStep {
        /// Progress at which it falls, each in 0..1 of the run.
        milestones: Vec<f64>,
        /// What is left of the rate at each.
        factor: f64,
    },
}

/// When the rate changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// With every step of the optimiser.
    #[default]
    Step,
    /// Once a pass over the data; the same rate within it.
    Epoch,
}

/// The learning rate of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The rate at its height.
    pub lr: f64,
    /// Steps in which it rises to its height, along a line from nothing; they are part of the run.
    #[serde(default)]
    pub warm_up: u64,
    /// When it changes.
    #[serde(default)]
    pub per: Per,
    /// How it goes on.
    pub curve: Curve,
}

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Steps of the optimiser, at least 1.
    pub steps: u64,
    /// Steps in a pass over the data, at least 1.
    pub steps_per_epoch: u64,
}

impl Schedule {
    /// The rate of the step number `step`, counted from 0.
    pub fn rate(&self, step: u64, length: Length) -> f64 {
        let per_epoch = length.steps_per_epoch.max(1);
        let (done, of) = match self.per {
            Per::Step => (step, length.steps),
            Per::Epoch => (step / per_epoch, length.steps.div_ceil(per_epoch)),
        };
        let progress = done.min(of) as f64 / of.max(1) as f64;
        let rate = match &self.curve {
            Curve::Constant => self.lr,
            Curve::Cosine { last } => last + (self.lr - last) * (1. + (PI * progress).cos()) / 2.,
            Curve::Poly { power } => self.lr * (1. - progress).powf(*power),
            Curve::MultiStep { milestones, factor } => {
                self.lr * factor.powi(milestones.iter().filter(|at| **at <= progress).count() as i32)
            }
        };
        match step < self.warm_up {
            true => rate * (step + 1) as f64 / self.warm_up as f64,
            false => rate,
        }
    }

    /// # Errors
    /// A number that makes no sense.
    pub fn check(&self) -> Result<()> {
        let refuse = |name, got, expected| Err(TrainError::Setting { name, got, expected });
        let sensible = |v: f64| v.is_finite() && v >= 0.;
        if !sensible(self.lr) || self.lr == 0. {
            return refuse("schedule.lr", self.lr, "above 0");
        }
        match &self.curve {
            Curve::Cosine { last } if !sensible(*last) => refuse("schedule.curve.last", *last, "at least 0"),
            Curve::Poly { power } if !sensible(*power) || *power == 0. => {
                refuse("schedule.curve.power", *power, "above 0")
            }
            Curve::MultiStep { factor, .. } if !sensible(*factor) => {
                refuse("schedule.curve.factor", *factor, "at least 0")
            }
            Curve::MultiStep { milestones, .. } => match milestones.iter().find(|at| !(0. ..1.).contains(*at)) {
                Some(at) => refuse("schedule.curve.milestones", *at, "parts of the run, at least 0 and below 1"),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mgd_sam2, sam2_unet};

    const LENGTH: Length = Length { steps: 200, steps_per_epoch: 10 };

    #[test]
    fn the_papers_rates() {
        let (unet, mgd) = (sam2_unet::Recipe::SAM2_UNET, mgd_sam2::Recipe::DIS);
        let rates = |schedule: Schedule, epochs: usize, at: [u64; 3]| {
            let length = Length { steps: 10 * epochs as u64, steps_per_epoch: 10 };
            // the same in all steps of an epoch
            at.map(|epoch| [10 * epoch, 10 * epoch + 9].map(|step| schedule.rate(step, length)))
        };
        let near = |rates: [[f64; 2]; 3], right: [f64; 3]| {
            rates.iter().zip(right).all(|(rates, right)| rates.iter().all(|rate| (rate - right).abs() < 1e-12))
        };
        assert!(near(rates(unet.schedule(), unet.epochs, [0, 10, 20]), [1e-3, (1e-3 + 1e-7) / 2., 1e-7]));
        assert!(near(rates(mgd.schedule(), mgd.epochs, [0, 30, 60]), [2e-4, 2e-4 * 0.5f64.powf(0.9), 0.]));
    }

    #[test]
    fn warm_up_and_milestones() {
        let curve = Curve::MultiStep { milestones: vec![0.5, 0.75], factor: 0.1 };
        let schedule = Schedule { lr: 1., warm_up: 4, per: Per::Step, curve };
        let rates: Vec<f64> = [0, 3, 4, 99, 100, 149, 150].map(|step| schedule.rate(step, LENGTH)).into();
        for (rate, right) in rates.iter().zip([0.25, 1., 1., 1., 0.1, 0.1, 0.01]) {
            assert!((rate - right).abs() < 1e-12, "{rates:?}");
        }
        assert!(schedule.check().is_ok());
        assert!(Schedule { lr: f64::NAN, ..schedule.clone() }.check().is_err());
        let late = Curve::MultiStep { milestones: vec![30.], factor: 0.1 };
        assert!(Schedule { curve: late, ..schedule }.check().unwrap_err().to_string().contains("milestones is 30"));
    }
}
