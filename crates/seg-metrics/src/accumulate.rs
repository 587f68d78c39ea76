//! From pairs to a data set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evaluate::{Scores, average, maximum};
use crate::number::Number;
use crate::overlap::{PRECISION_AT, ReferringIou};
use crate::pixel::confusion::{Confusion, Ratio};
use crate::pixel::fmeasure::{area, f_of};
use crate::protocol::{MaxF, Metric, Protocol, Undefined};
use crate::spool::{Record, Spool};
use crate::sum::ExactSum;
use crate::{Error, Result};

/// The results of many pairs under one protocol: of each its numbers, of all together the sums of their curves.
///
/// Pairs may come in any order and in parts ([`Accumulator::merge`]): the results are the same to the last bit. What is kept
/// of each pair lies in a temporary file; memory has its name and its place, and the sums of the curves.
#[derive(Debug, Serialize, Deserialize)]
pub struct Accumulator {
    protocol: Protocol,
    metrics: Vec<Metric>,
    /// Names of numbers, as they first came.
    columns: Vec<String>,
    /// Names of kept curves, as they first came.
    #[serde(default)]
    curve_names: Vec<String>,
    #[serde(with = "records")]
    pairs: Spool,
    curves: BTreeMap<String, CurveSum>,
    binary: Confusion,
    masks: ReferringIou,
    /// Whether the curves of every pair are kept.
    #[serde(default)]
    keep_curves: bool,
}

/// What was measured of one pair.
#[derive(Clone, Debug)]
pub struct Measured<'a> {
    /// Its name.
    pub stem: &'a str,
    columns: &'a [String],
    curve_names: &'a [String],
    record: Record,
}

impl Measured<'_> {
    /// Its numbers by name.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, f64)> {
        let named = self.columns.iter().zip(&self.record.numbers);
        named.filter_map(|(name, value)| Some((name.as_str(), (*value)?.0)))
    }

    /// Its curves by name, where they were kept.
    pub fn curves(&self) -> impl Iterator<Item = (&str, &[Number])> {
        let name = |i: u32| self.curve_names.get(i as usize).map(String::as_str);
        self.record.curves.iter().filter_map(move |(i, curve)| Some((name(*i)?, curve.as_slice())))
    }
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
    /// Nothing yet. With `keep_curves` the curves of every pair are kept, about 2 KiB each, in the temporary file.
    pub fn new(protocol: Protocol, metrics: Vec<Metric>, keep_curves: bool) -> Self {
        Self {
            protocol,
            metrics,
            columns: Vec::new(),
            curve_names: Vec::new(),
            pairs: Spool::default(),
            curves: BTreeMap::new(),
            binary: Confusion::default(),
            masks: ReferringIou::default(),
            keep_curves,
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
        self.pairs.len() == 0
    }

    /// Adds the results of the pair called `stem`.
    ///
    /// # Errors
    /// [`Error::Twice`] when there is one of this name, [`Error::Spool`] when the temporary file cannot be written.
    pub fn add(&mut self, stem: &str, scores: &Scores) -> Result<()> {
        let mut numbers = vec![None; self.columns.len()];
        for (i, (name, value)) in scores.values.iter().enumerate() {
            let column = place(&mut self.columns, i, name);
            numbers.resize(self.columns.len().max(numbers.len()), None);
            numbers[column] = Some(Number(*value));
        }
        let mut curves = Vec::new();
        if self.keep_curves {
            for (i, (name, curve)) in scores.curves.iter().enumerate() {
                let name = place(&mut self.curve_names, i, name) as u32;
                curves.push((name, curve.iter().copied().map(Number).collect()));
            }
        }
        self.pairs.put(stem, &Record { numbers, curves })?;
        for (name, curve) in &scores.curves {
            match self.curves.get_mut(name.as_ref()) {
                Some(sum) => sum.add(curve),
                None => self.curves.entry(name.to_string()).or_default().add(curve),
            }
        }
        self.binary = self.binary.plus(&scores.binary);
        if let Some(overlap) = scores.overlap {
            self.masks.add(overlap);
        }
        Ok(())
    }

    /// Adds the pairs of another part of the same data set.
    ///
    /// # Errors
    /// [`Error::OtherProtocol`] when protocols or metrics differ, [`Error::Twice`] for a pair that both have,
    /// [`Error::Spool`] when a temporary file cannot be read or written.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if self.protocol != other.protocol || self.metrics != other.metrics {
            return Err(Error::OtherProtocol { ours: self.protocol.name.clone(), theirs: other.protocol.name });
        }
        if let Some(stem) = other.pairs.names().find(|stem| self.pairs.contains(stem)) {
            return Err(Error::Twice { stem: stem.to_owned() });
        }
        // where some pairs have no curves, those of the others are of no use
        self.keep_curves &= other.keep_curves;
        let columns: Vec<usize> = other.columns.iter().map(|name| place(&mut self.columns, 0, name)).collect();
        let names: Vec<usize> = other.curve_names.iter().map(|name| place(&mut self.curve_names, 0, name)).collect();
        for theirs in other.pairs() {
            let Measured { stem, record, .. } = theirs?;
            let mut numbers = vec![None; self.columns.len()];
            record.numbers.into_iter().zip(&columns).for_each(|(value, &column)| numbers[column] = value);
            let renamed = |(name, curve): (u32, _)| Some((*names.get(name as usize)? as u32, curve));
            let curves = record.curves.into_iter().filter(|_| self.keep_curves).filter_map(renamed).collect();
            self.pairs.put(stem, &Record { numbers, curves })?;
        }
        for (name, sum) in &other.curves {
            self.curves.entry(name.clone()).or_default().merge(sum);
        }
        self.binary = self.binary.plus(&other.binary);
        self.masks.merge(&other.masks);
        Ok(())
    }

    /// The pairs in the order of their names. An item is an [`Error::Spool`] when the temporary file cannot be read.
    pub fn pairs(&self) -> impl Iterator<Item = Result<Measured<'_>>> {
        self.pairs.names().map(|stem| {
            let mut record = self.pairs.get(stem)?.unwrap_or_default();
            if !self.keep_curves {
                record.curves.clear();
            }
            Ok(Measured { stem, columns: &self.columns, curve_names: &self.curve_names, record })
        })
    }

    /// The names of all numbers that some pair has.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// What the pairs give together.
    ///
    /// A number is the mean over the pairs that have it; the maximum of a curve is that of the mean curve, where the
    /// protocol does not say otherwise.
    ///
    /// # Errors
    /// [`Error::Spool`] when the temporary file cannot be read.
    pub fn aggregate(&self) -> Result<Aggregate> {
        let mut out = Aggregate::default();
        let mut sums = vec![(ExactSum::default(), 0); self.columns.len()];
        for pair in self.pairs() {
            for ((value, name), (sum, n)) in pair?.record.numbers.iter().zip(&self.columns).zip(&mut sums) {
                let Some(Number(value)) = *value else { continue };
                if value.is_nan() {
                    *out.undefined.entry(name.clone()).or_default() += 1;
                    if self.protocol.undefined == Undefined::IsCounted {
                        continue;
                    }
                }
                sum.add(value);
                *n += 1;
            }
        }
        out.values.extend(self.columns.iter().zip(sums).map(|(name, (sum, n))| (name.clone(), sum.mean(n))));
        for (name, sum) in &self.curves {
            out.curves.insert(name.clone(), sum.mean());
        }
        self.combine_curves(&mut out);
        self.add_overall(&mut out.values);
        Ok(out)
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
        if self.is_empty() {
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

/// Where a name stands, which is added if it is not there; most often it is where it is expected.
fn place(names: &mut Vec<String>, expected: usize, name: &str) -> usize {
    if names.get(expected).is_some_and(|known| known == name) {
        return expected;
    }
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

/// The records as a map, read and written one at a time.
mod records {
    use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
    use serde::ser::{Error as _, SerializeMap, Serializer};

    use super::{Record, Spool};

    pub(super) fn serialize<S: Serializer>(pairs: &Spool, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(pairs.len()))?;
        for stem in pairs.names() {
            map.serialize_entry(stem, &pairs.get(stem).map_err(S::Error::custom)?.unwrap_or_default())?;
        }
        map.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Spool, D::Error> {
        struct Records;
        impl<'de> Visitor<'de> for Records {
            type Value = Spool;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map from the names of pairs to their results")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Spool, A::Error> {
                let mut pairs = Spool::default();
                while let Some((stem, record)) = map.next_entry::<String, Record>()? {
                    pairs.put(&stem, &record).map_err(A::Error::custom)?;
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Records)
    }
}
