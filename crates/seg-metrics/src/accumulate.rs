//! From pairs to a data set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evaluate::{Scores, average, maximum};
use crate::number::Number;
use crate::overlap::{PRECISION_AT, ReferringIou};
use crate::pixel::confusion::{Confusion, Ratio};
use crate::pixel::fmeasure::{area, f_of};
use crate::protocol::{MaxF, Metric, Protocol, Undefined};
use crate::sum::ExactSum;
use crate::{Error, Result};

/// The results of many pairs under one protocol: of each its numbers, of all together the sums of their curves.
///
/// Pairs may come in any order and in parts ([`Accumulator::merge`]): the results are the same to the last bit. What a
/// pair takes is a few bytes a number; curves are summed, and kept only if asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Accumulator {
    protocol: Protocol,
    metrics: Vec<Metric>,
    /// Names of numbers, as they first came.
    columns: Vec<String>,
    /// The numbers of each pair in the order of the columns; what a pair does not have is `None`.
    #[serde(with = "rows")]
    pairs: BTreeMap<String, Vec<Option<f64>>>,
    curves: BTreeMap<String, CurveSum>,
    binary: Confusion,
    masks: ReferringIou,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept: Option<BTreeMap<String, BTreeMap<String, Vec<Number>>>>,
}

/// The sum of the pairs' curves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct CurveSum {
    pairs: u64,
    sums: Vec<ExactSum>,
}

impl CurveSum {
    fn add(&mut self, curve: &[f64]) {
        self.pairs += 1;
        self.sums.resize(curve.len(), ExactSum::default());
        self.sums.iter_mut().zip(curve).for_each(|(sum, &v)| sum.add(v));
    }

    fn merge(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.sums.resize(other.sums.len().max(self.sums.len()), ExactSum::default());
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| a.merge(b));
    }

    fn mean(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum.mean(self.pairs)).collect()
    }
}

/// What a data set has as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aggregate {
    /// Numbers by name.
    pub values: BTreeMap<String, f64>,
    /// Mean curves by name.
    pub curves: BTreeMap<String, Vec<f64>>,
    /// For how many pairs a number was undefined, where for any.
    pub undefined: BTreeMap<String, u64>,
}

impl Accumulator {
    /// Nothing yet. With `keep_curves` the curves of every pair are kept, about 2 KiB each.
    pub fn new(protocol: Protocol, metrics: Vec<Metric>, keep_curves: bool) -> Self {
        Self {
            protocol,
            metrics,
            columns: Vec::new(),
            pairs: BTreeMap::new(),
            curves: BTreeMap::new(),
            binary: Confusion::default(),
            masks: ReferringIou::default(),
            kept: keep_curves.then(BTreeMap::new),
        }
    }

    /// The protocol.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// What was measured.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// Pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Adds the results of the pair called `stem`.
    ///
    /// # Errors
    /// [`Error::Twice`] when there is one of this name.
    pub fn add(&mut self, stem: &str, scores: &Scores) -> Result<()> {
        if self.pairs.contains_key(stem) {
            return Err(Error::Twice { stem: stem.to_owned() });
        }
        let mut row = vec![None; self.columns.len()];
        for (i, (name, value)) in scores.values.iter().enumerate() {
            // nearly always the columns stand as the names come
            let column = match self.columns.get(i).filter(|column| *column == name) {
                Some(_) => i,
                None => self.column(name),
            };
            row.resize(self.columns.len().max(row.len()), None);
            row[column] = Some(*value);
        }
        row.shrink_to_fit();
        self.pairs.insert(stem.to_owned(), row);
        for (name, curve) in &scores.curves {
            match self.curves.get_mut(name.as_ref()) {
                Some(sum) => sum.add(curve),
                None => self.curves.entry(name.to_string()).or_default().add(curve),
            }
        }
        if let Some(kept) = &mut self.kept {
            let numbers = |curve: &[f64]| curve.iter().copied().map(Number).collect();
            kept.insert(stem.to_owned(), scores.curves.iter().map(|(n, c)| (n.to_string(), numbers(c))).collect());
        }
        self.binary = self.binary.plus(&scores.binary);
        if let Some(overlap) = scores.overlap {
            self.masks.add(overlap);
        }
        Ok(())
    }

    fn column(&mut self, name: &str) -> usize {
        self.columns.iter().position(|column| column == name).unwrap_or_else(|| {
            self.columns.push(name.to_owned());
            self.columns.len() - 1
        })
    }

    /// Adds the pairs of another part of the same data set.
    ///
    /// # Errors
    /// [`Error::OtherProtocol`] when protocols or metrics differ, [`Error::Twice`] for a pair that both have.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if self.protocol != other.protocol || self.metrics != other.metrics {
            return Err(Error::OtherProtocol { ours: self.protocol.name.clone(), theirs: other.protocol.name });
        }
        if let Some(stem) = other.pairs.keys().find(|stem| self.pairs.contains_key(*stem)) {
            return Err(Error::Twice { stem: stem.clone() });
        }
        let columns: Vec<usize> = other.columns.iter().map(|name| self.column(name)).collect();
        for (stem, theirs) in other.pairs {
            let mut row = vec![None; self.columns.len()];
            theirs.into_iter().zip(&columns).for_each(|(value, &column)| row[column] = value);
            self.pairs.insert(stem, row);
        }
        for (name, sum) in &other.curves {
            self.curves.entry(name.clone()).or_default().merge(sum);
        }
        self.binary = self.binary.plus(&other.binary);
        self.masks.merge(&other.masks);
        match (&mut self.kept, other.kept) {
            (Some(ours), Some(theirs)) => ours.extend(theirs),
            // the curves of some pairs would be missing
            (kept, _) => *kept = None,
        }
        Ok(())
    }

    /// The pairs by name, each with its numbers by name.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = (&str, f64)>)> {
        self.pairs.iter().map(|(stem, row)| {
            let named = self.columns.iter().zip(row).filter_map(|(name, value)| Some((name.as_str(), (*value)?)));
            (stem.as_str(), named)
        })
    }

    /// The kept curves of a pair.
    pub fn curves_of(&self, stem: &str) -> impl Iterator<Item = (&str, &[Number])> {
        let kept = self.kept.as_ref().and_then(|kept| kept.get(stem));
        kept.into_iter().flatten().map(|(name, curve)| (name.as_str(), curve.as_slice()))
    }

    /// What the pairs give together.
    ///
    /// A number is the mean over the pairs that have it; the maximum of a curve is that of the mean curve, where the
    /// protocol does not say otherwise.
    pub fn aggregate(&self) -> Aggregate {
        let mut out = Aggregate::default();
        for (i, name) in self.columns.iter().enumerate() {
            let values = self.pairs.values().filter_map(|row| row.get(i).copied().flatten());
            let (mut sum, mut n) = (ExactSum::default(), 0);
            for value in values {
                if value.is_nan() {
                    *out.undefined.entry(name.clone()).or_default() += 1;
                    if self.protocol.undefined == Undefined::IsCounted {
                        continue;
                    }
                }
                sum.add(value);
                n += 1;
            }
            out.values.insert(name.clone(), sum.mean(n));
        }
        for (name, sum) in &self.curves {
            out.curves.insert(name.clone(), sum.mean());
        }
        self.combine_curves(&mut out);
        self.add_overall(&mut out.values);
        out
    }

    /// Means and maxima of the mean curves.
    fn combine_curves(&self, out: &mut Aggregate) {
        if self.protocol.fmeasure.maximum == MaxF::MeanOfMaxima {
            return;
        }
        if let (MaxF::OfMeanPrecisionRecall, Some(precision), Some(recall)) =
            (self.protocol.fmeasure.maximum, out.curves.get("fmeasure.precision"), out.curves.get("fmeasure.recall"))
        {
            let curve = f_of(precision, recall, &self.protocol.fmeasure);
            out.curves.insert("fmeasure.curve".into(), curve);
        }
        for (name, curve) in &out.curves {
            let names = match name.rsplit_once('.') {
                Some((before, "curve")) => [format!("{before}.mean"), format!("{before}.max")],
                Some((before, "dynamic")) => [format!("{before}.dynamic_mean"), format!("{before}.dynamic_max")],
                _ => continue,
            };
            for (name, value) in names.into_iter().zip([average(curve), maximum(curve)]) {
                if let Some(slot) = out.values.get_mut(&name) {
                    *slot = value;
                }
            }
        }
        let curve = |name: &str| out.curves.get(name).map(Vec::as_slice);
        if let (Some(precision), Some(recall), Some(fpr)) =
            (curve("auc.precision"), curve("auc.recall"), curve("auc.fpr"))
        {
            let areas = [("auc_pr", area(recall, precision)), ("auc_roc", area(fpr, recall))];
            out.values.extend(areas.map(|(name, value)| (name.to_owned(), value)));
        }
    }

    /// Ratios of the counts of all pairs together.
    fn add_overall(&self, values: &mut BTreeMap<String, f64>) {
        if self.pairs.is_empty() {
            return;
        }
        if self.metrics.contains(&Metric::FmeasureV2) {
            for ratio in Ratio::ALL {
                values.insert(format!("fmeasure_v2.{}.overall", ratio.name()), ratio.of(&self.binary));
            }
        }
        if self.masks.pairs() > 0 {
            values.insert("overall_iou".into(), self.masks.overall());
            values.insert("mean_iou".into(), self.masks.mean());
            for (k, share) in PRECISION_AT.into_iter().zip(self.masks.precision_at()) {
                values.insert(format!("precision_at.{k}"), share);
            }
        }
    }
}

/// The rows of pairs, with undefined numbers as text.
mod rows {
    use super::{BTreeMap, Deserialize, Number};
    use serde::{Deserializer, Serializer, ser::SerializeMap};

    pub(super) fn serialize<S: Serializer>(
        pairs: &BTreeMap<String, Vec<Option<f64>>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(pairs.len()))?;
        for (stem, row) in pairs {
            map.serialize_entry(stem, &row.iter().map(|v| v.map(Number)).collect::<Vec<_>>())?;
        }
        map.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Vec<Option<f64>>>, D::Error> {
        let rows = BTreeMap::<String, Vec<Option<Number>>>::deserialize(deserializer)?;
        Ok(rows.into_iter().map(|(stem, row)| (stem, row.into_iter().map(|v| v.map(|n| n.0)).collect())).collect())
    }
}
