//! A session on the disk, to go on with later.

use candle_core::{Device, Tensor};
use seg_checkpoints::{Checkpoint, write_safetensors};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use video_memory::{Direction, MemoryFrame};

use super::object::TrackedObject;
use super::predictor::Sam2VideoPredictor;
use super::session::{SessionOptions, VideoSession};
use crate::error::{Error, Result};

/// Metadata key of the objects' numbers, in order.
const OBJECTS: &str = "objects";
/// Beginning of the metadata keys of runs of tracked frames, by object.
const TRACKED: &str = "tracked.";
/// Kinds of frames in tensor names.
const KINDS: [&str; 2] = ["conditioning", "tracked"];

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
            for (kind, frames) in KINDS.iter().zip([object.bank.conditioning(), object.bank.tracked()]) {
                for (frame, memory) in frames {
                    put(&mut tensors, &format!("{}.{kind}.{frame}", object.id), memory);
                }
            }
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
        let path = path.as_ref();
        let file = Checkpoint::open(path)?;
        let wrong = |problem: String| Error::SessionFile { path: path.to_owned(), problem };
        let mut notes = file.metadata().clone();
        let ids = notes.remove(OBJECTS).ok_or_else(|| wrong(format!("it has no `{OBJECTS}`")))?;
        let mut session = self.session(options);
        for id in ids.split(',').filter(|id| !id.is_empty()) {
            let id: u32 = id.parse().map_err(|_| wrong(format!("object `{id}`, expected a number")))?;
            let mut object = session.new_object(id);
            let runs = notes.remove(&format!("{TRACKED}{id}")).unwrap_or_default();
            for run in runs.split(',').filter(|run| !run.is_empty()) {
                let (frames, direction) =
                    parse_run(run).ok_or_else(|| wrong(format!("frames `{run}`, expected such as f0-10")))?;
                object.tracked.extend(frames, direction);
            }
            self.read_object(&file, &mut object, &wrong, session.options.storage.as_ref())?;
            session.objects.push(object);
        }
        Ok((session, notes))
    }

    fn read_object(
        &self,
        file: &Checkpoint,
        object: &mut TrackedObject,
        wrong: &impl Fn(String) -> Error,
        storage: Option<&Device>,
    ) -> Result<()> {
        let cfg = self.model().config();
        let (size, dim) = (cfg.sam2.image_size, cfg.memory.attention.d_model);
        let device = storage.unwrap_or(self.device());
        for kind in KINDS {
            let prefix = format!("{}.{kind}.", object.id);
            let names = file.keys().filter_map(|key| key.strip_prefix(&prefix)?.split_once('.'));
            let frames: BTreeSet<&str> = names.map(|(frame, _)| frame).collect();
            for text in frames {
                let frame: usize = text.parse().map_err(|_| wrong(format!("frame `{text}`, expected a number")))?;
                let read = |part: &str, shape: [usize; 4], rank: usize| -> Result<Option<Tensor>> {
                    let name = format!("{prefix}{text}.{part}");
                    let Some(info) = file.tensors().get(&name) else { return Ok(None) };
                    if info.shape != shape[4 - rank..] {
                        let expected = &shape[4 - rank..];
                        return Err(wrong(format!("{name} of shape {:?}, expected {expected:?}", info.shape)));
                    }
                    Ok(Some(file.tensor(&name, device)?))
                };
                let missing = |part: &str| wrong(format!("{prefix}{text} has no {part}"));
                let memory = MemoryFrame {
                    maskmem_features: read("map", [1, cfg.memory.encoder.out_dim, size / 16, size / 16], 4)?,
                    obj_ptr: read("obj_ptr", [0, 0, 1, dim], 2)?.ok_or_else(|| missing("obj_ptr"))?,
                    object_score_logits: read("score", [0, 0, 1, 1], 2)?.ok_or_else(|| missing("score"))?,
                    pred_masks: read("masks", [1, 1, size / 4, size / 4], 4)?,
                };
                if kind == KINDS[0] {
                    object.bank.insert_conditioning(frame, memory);
                } else {
                    object.bank.correct(frame, memory);
                }
            }
        }
        Ok(())
    }
}

fn put(tensors: &mut BTreeMap<String, Tensor>, prefix: &str, memory: &MemoryFrame) {
    let MemoryFrame { maskmem_features, obj_ptr, object_score_logits, pred_masks } = memory;
    let parts = [
        ("map", maskmem_features.as_ref()),
        ("obj_ptr", Some(obj_ptr)),
        ("score", Some(object_score_logits)),
        ("masks", pred_masks.as_ref()),
    ];
    let parts = parts.into_iter().filter_map(|(part, tensor)| Some((format!("{prefix}.{part}"), tensor?.clone())));
    tensors.extend(parts);
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
