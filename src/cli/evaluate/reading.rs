//! What the files of a pair are read as, and what is to be told of them.

use std::collections::BTreeMap;

use seg_data::{DecodeLimits, GrayImage, MaskReader, MaskRole, Meaning, load_levels};
use seg_metrics::Protocol;
use seg_metrics::protocol::{GtRule, Reader};
use serde::{Deserialize, Serialize};

use super::pairs::Pair;

/// A pair in grey levels.
pub struct Read {
    pub pred: GrayImage,
    pub gt: GrayImage,
    pub facts: Facts,
}

/// What is told of a pair's files.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pred: Meaning,
    gt: Meaning,
    /// Whether the ground truth has foreground by the protocol's rule.
    foreground: bool,
    /// Whether every pixel of the ground truth is white, or nearly.
    full: bool,
    /// Whether the prediction is black, though there is foreground.
    blank: bool,
}

/// Reads both files as the protocol does.
pub fn read(pair: &Pair, protocol: &Protocol, limits: &DecodeLimits) -> seg_data::Result<Read> {
    let reader = match protocol.reader {
        Reader::Meaning => MaskReader::Meaning,
        Reader::Opencv => MaskReader::OpenCv,
        Reader::Pillow => MaskReader::Pillow,
    };
    let (pred, gt) = rayon::join(
        || load_levels(&pair.pred, MaskRole::Prediction, reader, limits),
        || load_levels(&pair.gt, MaskRole::Truth, reader, limits),
    );
    let (pred, gt) = (pred?, gt?);
    let foreground = has_foreground(&gt.levels, protocol);
    let blank = foreground && pred.levels.as_raw().iter().all(|v| *v == 0);
    let full = gt.levels.as_raw().iter().all(|v| *v > 128);
    let facts = Facts { pred: pred.meaning, gt: gt.meaning, foreground, full, blank };
    Ok(Read { pred: pred.levels, gt: gt.levels, facts })
}

fn has_foreground(gt: &GrayImage, protocol: &Protocol) -> bool {
    let levels = gt.as_raw();
    match protocol.ground_truth {
        GtRule::Above(limit) => levels.iter().any(|&v| v > limit),
        GtRule::UpperHalfOfRange => levels.iter().any(|&v| v != levels[0]),
        GtRule::AboveHalfOfMaximum => levels.iter().any(|&v| v > 0),
    }
}

/// What was found in the files of a run; of shards it adds up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Found {
    /// Ground truths that were read.
    truths: usize,
    /// Those without foreground.
    empty: usize,
    /// Those without background.
    #[serde(default)]
    full: usize,
    /// Predictions without a pixel above 0 where the ground truth has foreground.
    #[serde(default)]
    blank: usize,
    /// How often files were not plain levels: in words, for predictions and ground truths.
    predictions: BTreeMap<String, usize>,
    ground_truths: BTreeMap<String, usize>,
}

impl Found {
    /// Adds a pair.
    pub fn add(&mut self, facts: Facts) {
        self.truths += 1;
        self.empty += usize::from(!facts.foreground);
        self.full += usize::from(facts.full);
        self.blank += usize::from(facts.blank);
        for (meaning, counts) in [(facts.pred, &mut self.predictions), (facts.gt, &mut self.ground_truths)] {
            if meaning != Meaning::Levels {
                *counts.entry(meaning.to_string()).or_default() += 1;
            }
        }
    }

    /// Adds what another shard has found.
    pub fn merge(&mut self, other: Self) {
        self.truths += other.truths;
        self.empty += other.empty;
        self.full += other.full;
        self.blank += other.blank;
        for (ours, theirs) in
            [(&mut self.predictions, other.predictions), (&mut self.ground_truths, other.ground_truths)]
        {
            theirs.into_iter().for_each(|(meaning, count)| *ours.entry(meaning).or_default() += count);
        }
    }

    /// Whether there were ground truths, and none of them has foreground: then no score says anything.
    pub fn nothing_inside(&self) -> bool {
        self.truths > 0 && self.empty == self.truths
    }

    /// What the user should know, in lines.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (what, counts) in [("predictions", &self.predictions), ("ground truths", &self.ground_truths)] {
            notes.extend(
                counts.iter().map(|(meaning, count)| format!("{count} of {} {what} have {meaning}", self.truths)),
            );
        }
        if self.blank > 0 {
            let blank = self.blank;
            notes.push(format!(
                "{blank} of {} predictions are black, though the ground truth has foreground",
                self.truths
            ));
        }
        if self.full > 0 {
            notes.push(format!("{} of {} ground truths have every pixel inside", self.full, self.truths));
        }
        if self.nothing_inside() {
            notes.push(format!(
                "none of the {} ground truths has a pixel of foreground by the protocol's threshold: these scores say nothing (protocol default takes \
                 masks by their meaning)",
                self.truths
            ));
        } else if self.empty > 0 {
            notes.push(format!("{} of {} ground truths have no foreground", self.empty, self.truths));
        }
        notes
    }
}
