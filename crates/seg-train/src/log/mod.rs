//! What a run tells while it goes: lines of JSON, TensorBoard's scalars, a picture of the curves.

mod curve;

mod tensorboard;

pub(crate) use curve::Canvas;
pub use curve::curves;
pub use tensorboard::EventWriter;

use crate::{Result, TrainError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Numbers of one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Steps that are done.
    pub step: u64,
    /// Names and values: `train/loss`, `train/lr`, `val/smeasure`.
    #[serde(flatten)]
    pub scalars: BTreeMap<String, f64>,
}

/// The log of a run: `log.jsonl`, a line each, and the same for TensorBoard.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    events: EventWriter,
    lines: Vec<Line>,
}

impl Log {
    /// Opens the log in `out`, with what earlier runs have written up to and including `step`; what is behind it will come again, and is taken out.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn open(out: &Path, step: u64) -> Result<Self> {
        let path = out.join("log.jsonl");
        let mut lines = Vec::new();
        if let Ok(file) = File::open(&path) {
            for line in BufReader::new(file).lines() {
                let line = line.map_err(TrainError::io(&path, "read it"))?;
                // a line that a kill has cut is among those that come again
                if let Ok(line) = serde_json::from_str::<Line>(&line)
                    && line.step <= step
                {
                    lines.push(line);
                }
            }
        }
        let kept: String = lines.iter().map(text).collect();
        seg_data::output::write(&path, kept.as_bytes(), seg_data::output::Overwrite::Replace)?;
        let file = File::options().append(true).open(&path).map_err(TrainError::io(&path, "open it"))?;
        let events = EventWriter::create(&out.join("tensorboard"), step)?;
        Ok(Self { path, file, events, lines })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// A full disk and the like.
    pub fn add(&mut self, line: Line) -> Result<()> {
        self.file.write_all(text(&line).as_bytes()).map_err(TrainError::io(&self.path, "write to it"))?;
        for (name, value) in &line.scalars {
            self.events.scalar(name, *value, line.step)?;
        }
        self.events.flush()?;
        self.lines.push(line);
        Ok(())
    }

    /// All lines so far.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

fn text(line: &Line) -> String {
    serde_json::to_string(line).map_or_else(|_| String::new(), |text| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64) -> Line {
        Line { step, scalars: BTreeMap::from([("train/loss".to_owned(), 1. / step as f64)]) }
    }

    #[test]
    fn a_resumed_log_has_every_step_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path(), 0).unwrap();
        (1..=5).for_each(|step| log.add(line(step)).unwrap());
        drop(log);
        // a line that was cut
        let path = dir.path().join("log.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 4]).unwrap();
        let mut log = Log::open(dir.path(), 3).unwrap();
        log.add(line(4)).unwrap();
        let steps: Vec<u64> = log.lines().iter().map(|line| line.step).collect();
        assert_eq!(steps, [1, 2, 3, 4]);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);
    }
}
