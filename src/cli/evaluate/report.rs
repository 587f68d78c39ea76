//! The results of one model on one data set, and their JSON.

use std::collections::BTreeMap;

use seg_metrics::{Accumulator, Aggregate, Metric, Number, Protocol};
use serde::ser::{Error as _, SerializeMap, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::reading::Found;

/// One model on one data set.
#[derive(Debug)]
pub struct Report {
    pub model: String,
    pub dataset: String,
    pub all: Accumulator,
    pub aggregate: Aggregate,
    pub failed: BTreeMap<String, String>,
    pub orphans: Orphans,
    pub found: Found,
    /// Which part of the pairs, where not all.
    pub shard: Option<String>,
    pub curves: bool,
}

/// Files without a partner, by stem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphans {
    /// Predictions.
    pub pred: Vec<String>,
    /// Ground truths.
    pub gt: Vec<String>,
}

impl Report {
    /// Whether every file was measured, and there was something to measure.
    pub fn complete(&self) -> bool {
        self.failed.is_empty() && self.orphans == Orphans::default() && !self.found.nothing_inside()
    }
}

/// The first digits of the SHA-256 of protocol and metrics: numbers with the same hash may be compared.
pub fn hash(protocol: &Protocol, metrics: &[Metric]) -> String {
    let text = serde_json::to_string(&(protocol, metrics)).unwrap_or_default();
    hex::encode(&Sha256::digest(text.as_bytes())[..6])
}

/// The other name under which a result is written, if it has one.
fn alias(name: &str) -> Option<&'static str> {
    match name {
        "emeasure.adp" => Some("emeasure.adaptive"),
        "fmeasure.adp" => Some("fmeasure.adaptive"),
        _ => None,
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Report", 12)?;
        out.serialize_field("model", &self.model)?;
        out.serialize_field("dataset", &self.dataset)?;
        out.serialize_field("protocol", &rules(&self.all))?;
        out.serialize_field("pairs", &PairsMap(self))?;
        out.serialize_field("aggregate", &AggregateMap(self))?;
        out.serialize_field("undefined", &self.aggregate.undefined)?;
        out.serialize_field("failed", &self.failed)?;
        out.serialize_field("orphans", &self.orphans)?;
        out.serialize_field("notes", &self.found.notes())?;
        if let Some(shard) = &self.shard {
            out.serialize_field("shard", shard)?;
            out.serialize_field("found", &self.found)?;
            out.serialize_field("state", &self.all)?;
        }
        out.end()
    }
}

/// The protocol with its metrics and its hash.
fn rules(all: &Accumulator) -> serde_json::Value {
    let mut value = serde_json::to_value(all.protocol()).unwrap_or_default();
    value["metrics"] = serde_json::json!(all.metrics());
    value["hash"] = hash(all.protocol(), all.metrics()).into();
    value
}

/// The pairs, written one at a time.
struct PairsMap<'a>(&'a Report);

impl Serialize for PairsMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.all.len()))?;
        for measured in self.0.all.pairs() {
            let measured = measured.map_err(S::Error::custom)?;
            let mut pair = serde_json::Map::new();
            for (name, value) in measured.numbers() {
                insert(&mut pair, name, &Number(value));
            }
            for (name, curve) in measured.curves() {
                insert(&mut pair, name, &curve);
            }
            map.serialize_entry(measured.stem, &pair)?;
        }
        map.end()
    }
}

struct AggregateMap<'a>(&'a Report);

impl Serialize for AggregateMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serde_json::Map::new();
        for (name, &value) in &self.0.aggregate.values {
            insert(&mut all, name, &Number(value));
        }
        if self.0.curves {
            for (name, curve) in &self.0.aggregate.curves {
                insert(&mut all, name, &curve.iter().copied().map(Number).collect::<Vec<_>>());
            }
        }
        all.serialize(serializer)
    }
}

fn insert(map: &mut serde_json::Map<String, serde_json::Value>, name: &str, value: &impl Serialize) {
    let value = serde_json::to_value(value).unwrap_or_default();
    if let Some(other) = alias(name) {
        map.insert(other.to_owned(), value.clone());
    }
    map.insert(name.to_owned(), value);
}

/// What of a shard's JSON is needed to join it with others.
#[derive(Debug, Deserialize)]
pub struct Part {
    pub model: String,
    pub dataset: String,
    pub failed: BTreeMap<String, String>,
    pub orphans: Orphans,
    pub found: Found,
    pub shard: String,
    pub state: Accumulator,
}

/// One report alone, or several as `{"runs": [...]}`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Parts {
    /// Of several models or data sets.
    Several {
        /// A report each.
        runs: Vec<Part>,
    },
    /// Of one.
    One(Box<Part>),
}

impl Parts {
    /// # Errors
    /// What the text is instead, in words.
    pub fn read(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Whole {
            #[serde(rename = "aggregate")]
            _aggregate: serde::de::IgnoredAny,
        }
        #[derive(Deserialize)]
        struct Wholes {
            #[serde(rename = "runs")]
            _runs: Vec<Whole>,
        }
        serde_json::from_str(text).map_err(|error| {
            if serde_json::from_str::<Whole>(text).is_ok() || serde_json::from_str::<Wholes>(text).is_ok() {
                "it is the result of a whole evaluation, not of a part of one".to_owned()
            } else if error.is_data() {
                "it is another JSON file".to_owned()
            } else {
                format!("it is no JSON ({error})")
            }
        })
    }
}

/// Writes one report as it is, several as `{"runs": [...]}`.
pub fn write_json(reports: &[Report], out: &mut dyn std::io::Write) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct Runs<'a> {
        runs: &'a [Report],
    }
    match reports {
        [one] => serde_json::to_writer_pretty(&mut *out, one)?,
        runs => serde_json::to_writer_pretty(&mut *out, &Runs { runs })?,
    }
    writeln!(out)
}
