//! A session on the disk, to go on with later.

use seg_checkpoints::write_safetensors;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use video_memory::Direction;

use super::predictor::Sam2VideoPredictor;
use super::session::{SessionOptions, VideoSession};
use super::stored::{BankFile, put_bank};
use crate::error::Result;

/// Metadata key of the objects' numbers, in order.
const OBJECTS: &str = "objects";
/// Beginning of the metadata keys of runs of tracked frames, by object.
const TRACKED: &str = "tracked.";

impl VideoSession<'_> {
    /// Writes what is remembered as safetensors, in one step: a reader sees the old file or the new one. New prompts are taken into the
    /// memory first. `notes` come back from [`Sam2VideoPredictor::restore`].
    ///
    /// The file is as small as the memory: with [`video_memory::Retention::Reach`] some ten megabytes an object at 1024 pixels.
    pub fn save(&mut self, path: impl AsRef<Path>, notes: &BTreeMap<String, String>) -> Result<()> {
        let model = self.predictor().model();
        let mut tensors = BTreeMap::new();
        let mut metadata = notes.clone();
        let ids: Vec<String> = self.objects.iter().map(|o| o.id.to_string()).collect();
        metadata.insert(OBJECTS.into(), ids.join(","));
        for object in &mut self.objects {
            object.commit(model)?;
            let runs: Vec<String> = object.tracked.runs().map(|(run, d)| run_text(&run, d)).collect();
            metadata.insert(format!("{TRACKED}{}", object.id), runs.join(","));
            put_bank(&mut tensors, &object.id.to_string(), &object.bank);
        }
        Ok(write_safetensors(path, &tensors, &metadata)?)
    }
}

impl Sam2VideoPredictor {
    /// The session that [`VideoSession::save`] wrote, and its notes.
    ///
    /// # Errors
    /// A file that cannot be read, or that is not of a session with this model's sizes.
    pub fn restore(
        &self,
        path: impl AsRef<Path>,
        options: SessionOptions,
    ) -> Result<(VideoSession<'_>, BTreeMap<String, String>)> {
        let file = BankFile::open(path.as_ref())?;
        let mut notes = file.metadata().clone();
        let ids = notes.remove(OBJECTS).ok_or_else(|| file.wrong(format!("it has no `{OBJECTS}`")))?;
        let mut session = self.session(options);
        for id in ids.split(',').filter(|id| !id.is_empty()) {
            let id: u32 = id.parse().map_err(|_| file.wrong(format!("object `{id}`, expected a number")))?;
            let mut object = session.new_object(id);
            let runs = notes.remove(&format!("{TRACKED}{id}")).unwrap_or_default();
            for run in runs.split(',').filter(|run| !run.is_empty()) {
                let (frames, direction) =
                    parse_run(run).ok_or_else(|| file.wrong(format!("frames `{run}`, expected such as f0-10")))?;
                object.tracked.extend(frames, direction);
            }
            let device = session.options.storage.as_ref().unwrap_or(self.device());
            file.read(&id.to_string(), self.model().config(), device, &mut object.bank)?;
            session.objects.push(object);
        }
        Ok((session, notes))
    }
}

/// `f0-10`: frames 0 to 9, forwards.
fn run_text(run: &Range<usize>, direction: Direction) -> String {
    let letter = match direction {
        Direction::Forward => 'f',
        Direction::Backward => 'b',
    };
    format!("{letter}{}-{}", run.start, run.end)
}

fn parse_run(text: &str) -> Option<(Range<usize>, Direction)> {
    let (direction, frames) = match text.split_at_checked(1)? {
        ("f", frames) => (Direction::Forward, frames),
        ("b", frames) => (Direction::Backward, frames),
        _ => return None,
    };
    let (start, end) = frames.split_once('-')?;
    let run = start.parse().ok()?..end.parse().ok()?;
    (run.start < run.end).then_some((run, direction))
}
