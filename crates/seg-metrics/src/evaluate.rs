//! All chosen metrics of one pair.

use std::borrow::Cow;

use crate::overlap::Overlap;
use crate::pixel::confusion::{Confusion, Ratio};
use crate::pixel::context::context_measure;
use crate::pixel::emeasure::emeasure;
use crate::pixel::fmeasure::{self, FCurves};
use crate::pixel::size_invariant::size_invariant;
use crate::pixel::{errors, smeasure, smeasure_swapped, thresholded, weighted_f::weighted_f};
use crate::prepare::Prepared;
use crate::protocol::{MaeRule, Metric, Protocol};
use crate::tally::Tallies;
use crate::{Plane, Result};

/// The name of a result, such as `fmeasure_v2.iou.binary`.
pub type Name = Cow<'static, str>;

/// Measures pairs under one protocol.
#[derive(Clone, Debug)]
pub struct Evaluator {
    protocol: Protocol,
    metrics: Vec<Metric>,
}

/// The results of one pair.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    /// Numbers. NaN is a result that is undefined for this pair.
    pub values: Vec<(Name, f64)>,
    /// Curves, one value a threshold.
    pub curves: Vec<(Name, Vec<f64>)>,
    /// The counts above a half, for ratios over a whole data set.
    pub binary: Confusion,
    /// The overlap of the masks, where `mask_iou` was measured.
    pub overlap: Option<Overlap>,
}

impl Scores {
    /// The number called `name`.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }

    /// The curve called `name`.
    pub fn curve(&self, name: &str) -> Option<&[f64]> {
        self.curves.iter().find(|(n, _)| n == name).map(|(_, curve)| curve.as_slice())
    }

    pub(crate) fn push(&mut self, name: impl Into<Name>, value: f64) {
        self.values.push((name.into(), value));
    }

    /// Adds a curve, and its mean and maximum under the two names.
    pub(crate) fn push_curve(
        &mut self,
        name: impl Into<Name>,
        mean: impl Into<Name>,
        max: impl Into<Name>,
        curve: Vec<f64>,
    ) {
        self.push(mean, average(&curve));
        self.push(max, maximum(&curve));
        self.curves.push((name.into(), curve));
    }
}

pub(crate) fn average(curve: &[f64]) -> f64 {
    curve.iter().sum::<f64>() / curve.len() as f64
}

/// The largest value; NaN if there is one, or if there is none.
pub(crate) fn maximum(curve: &[f64]) -> f64 {
    curve.iter().copied().reduce(|a, b| if a.is_nan() || a > b { a } else { b }).unwrap_or(f64::NAN)
}

impl Evaluator {
    /// Measures what `metrics` names, as far as it exists under the protocol.
    pub fn new(protocol: Protocol, metrics: &[Metric]) -> Self {
        let metrics = protocol.metrics.iter().copied().filter(|metric| metrics.contains(metric)).collect();
        Self { protocol, metrics }
    }

    /// Measures everything that exists under the protocol.
    pub fn all(protocol: Protocol) -> Self {
        let metrics = protocol.metrics.clone();
        Self { protocol, metrics }
    }

    /// The protocol.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// What is measured.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// The results of one pair of 8-bit images.
    ///
    /// # Errors
    /// Those of [`Prepared::new`].
    pub fn measure(&self, pred: Plane<'_>, gt: Plane<'_>) -> Result<Scores> {
        Ok(self.measure_prepared(&Prepared::new(pred, gt, &self.protocol)?))
    }

    /// The results of a prepared pair. Metrics that need an 8-bit prediction are left out where it was made of floats.
    pub fn measure_prepared(&self, pair: &Prepared<'_>) -> Scores {
        let counts = Counts::new(pair);
        let mut scores = Scores { binary: counts.binary, ..Scores::default() };
        for &metric in &self.metrics {
            self.add(metric, pair, &counts, &mut scores);
        }
        scores
    }

    fn add(&self, metric: Metric, pair: &Prepared<'_>, counts: &Counts, scores: &mut Scores) {
        let (protocol, values, whole) = (&self.protocol, pair.values(), &counts.tallies.whole);
        match metric {
            Metric::Mae => scores.push(
                "mae",
                match protocol.mae {
                    MaeRule::Prepared => errors::mae(whole, values),
                    MaeRule::Gray => errors::gray_mae(pair),
                },
            ),
            Metric::Mse => scores.push("mse", errors::mse(whole, values)),
            Metric::Smeasure => self.add_smeasure(pair, counts, scores),
            Metric::Emeasure => {
                scores.push("emeasure.adp", emeasure(&counts.adaptive, &protocol.emeasure));
                if protocol.emeasure.curve {
                    let curve = counts.dynamic.iter().map(|c| emeasure(c, &protocol.emeasure)).collect();
                    scores.push_curve("emeasure.curve", "emeasure.mean", "emeasure.max", curve);
                }
            }
            Metric::Fmeasure => self.add_fmeasure(pair, counts, scores),
            Metric::Wfm => {
                let results = weighted_f(pair, whole, &protocol.weighted_f);
                for (beta2, value) in protocol.weighted_f.beta2.iter().zip(results) {
                    scores.push(format!("wfm_beta{beta2}"), value);
                }
            }
            Metric::FmeasureV2 => {
                for ratio in Ratio::ALL {
                    let name = |what: &str| format!("fmeasure_v2.{}.{what}", ratio.name());
                    scores.push(name("adaptive"), ratio.of(&counts.adaptive));
                    scores.push(name("binary"), ratio.of(&counts.binary));
                    let curve = counts.dynamic.iter().map(|c| ratio.of(c)).collect();
                    scores.push_curve(name("dynamic"), name("dynamic_mean"), name("dynamic_max"), curve);
                }
            }
            Metric::Auc => {
                let curve = |ratio: Ratio| counts.dynamic.iter().map(|c| ratio.of(c)).collect::<Vec<_>>();
                let (precision, recall, fpr) = (curve(Ratio::Pre), curve(Ratio::Rec), curve(Ratio::Fpr));
                scores.push("auc_pr", fmeasure::area(&recall, &precision));
                scores.push("auc_roc", fmeasure::area(&fpr, &recall));
                let names = ["auc.precision", "auc.recall", "auc.fpr"];
                scores.curves.extend(names.into_iter().map(Name::from).zip([precision, recall, fpr]));
            }
            Metric::Threshold125 => {
                let named = thresholded::threshold125(pair);
                named.into_iter().for_each(|(name, value)| scores.push(name, value));
            }
            Metric::Smoothed => {
                let named = thresholded::smoothed(whole, values);
                named.into_iter().for_each(|(name, value)| scores.push(name, value));
            }
            Metric::ContextMeasure => scores.push("context_measure", context_measure(pair, protocol.context)),
            Metric::SizeInvariance => {
                let found = size_invariant(pair, whole, protocol.covered);
                scores.push("size_invariance.components", found.components as f64);
                scores.push("size_invariance.mae", found.mae);
                for ratio in Ratio::ALL {
                    let names = ["adaptive", "binary", "dynamic_mean", "dynamic_max"];
                    for (what, value) in names.into_iter().zip(found.means(ratio)) {
                        scores.push(format!("size_invariance.v2.{}.{what}", ratio.name()), value);
                    }
                }
            }
            Metric::Hce | Metric::BoundaryIou | Metric::MaskIou | Metric::Biou | Metric::Mba | Metric::Msiou => {
                crate::shape::add(metric, pair, counts, protocol, scores);
            }
        }
    }

    fn add_smeasure(&self, pair: &Prepared<'_>, counts: &Counts, scores: &mut Scores) {
        let rule = &self.protocol.smeasure;
        let size = (pair.width(), pair.height());
        let found = if rule.swapped {
            smeasure_swapped::smeasure(pair, rule)
        } else {
            Some(smeasure::smeasure(&counts.tallies, size, pair.values(), rule))
        };
        scores.push("smeasure.sm", found.map_or(f64::NAN, |s| s.sm));
        if let Some(terms) = found.and_then(|s| s.terms) {
            scores.push("smeasure.object", terms.object);
            scores.push("smeasure.region", terms.region);
        }
    }

    fn add_fmeasure(&self, pair: &Prepared<'_>, counts: &Counts, scores: &mut Scores) {
        let rule = &self.protocol.fmeasure;
        scores.push("fmeasure.adp", fmeasure::adaptive(&counts.adaptive, rule));
        match fmeasure::curves(&counts.tallies.whole, pair.values(), &counts.dynamic, rule) {
            Some(FCurves { precision, recall, f }) => {
                scores.push_curve("fmeasure.curve", "fmeasure.mean", "fmeasure.max", f);
                scores.curves.push(("fmeasure.precision".into(), precision));
                scores.curves.push(("fmeasure.recall".into(), recall));
            }
            None => {
                scores.push("fmeasure.mean", f64::NAN);
                scores.push("fmeasure.max", f64::NAN);
            }
        }
    }
}

/// What several metrics need.
pub(crate) struct Counts {
    pub(crate) tallies: Tallies,
    dynamic: Vec<Confusion>,
    adaptive: Confusion,
    binary: Confusion,
}

impl Counts {
    fn new(pair: &Prepared<'_>) -> Self {
        let tallies = Tallies::new(pair);
        let (whole, values) = (&tallies.whole, pair.values());
        let threshold = fmeasure::adaptive_threshold(whole, values);
        Self {
            dynamic: fmeasure::dynamic(whole, &pair.quantised()),
            adaptive: fmeasure::at_least(whole, values, threshold),
            binary: fmeasure::above(whole, values, 0.5),
            tallies,
        }
    }
}
