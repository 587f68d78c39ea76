//! Memory banks on the disk.

use candle_core::{Device, Tensor};
use seg_checkpoints::Checkpoint;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use video_memory::{MemoryBank, MemoryFrame};

use super::config::Sam2VideoConfig;
use crate::error::{Error, Result};

/// Kinds of frames in tensor names.
const KINDS: [&str; 2] = ["conditioning", "tracked"];

/// Adds the tensors of a bank: `<prefix>.<kind>.<frame>.<part>`.
pub(crate) fn put_bank(tensors: &mut BTreeMap<String, Tensor>, prefix: &str, bank: &MemoryBank) {
    for (kind, frames) in KINDS.iter().zip([bank.conditioning(), bank.tracked()]) {
        for (frame, memory) in frames {
            let MemoryFrame { maskmem_features, obj_ptr, object_score_logits, pred_masks } = memory;
            let parts = [
                ("map", maskmem_features.as_ref()),
                ("obj_ptr", Some(obj_ptr)),
                ("score", Some(object_score_logits)),
                ("masks", pred_masks.as_ref()),
            ];
            let there = parts.into_iter().filter_map(|(part, tensor)| Some((part, tensor?)));
            tensors.extend(there.map(|(part, tensor)| (format!("{prefix}.{kind}.{frame}.{part}"), tensor.clone())));
        }
    }
}

/// A file with banks.
#[derive(Debug)]
pub(crate) struct BankFile {
    path: PathBuf,
    file: Checkpoint,
}

impl BankFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), file: Checkpoint::open(path)? })
    }

    pub(crate) fn metadata(&self) -> &BTreeMap<String, String> {
        self.file.metadata()
    }

    /// The error of a file that is not what it should be.
    pub(crate) fn wrong(&self, problem: String) -> Error {
        Error::SessionFile { path: self.path.clone(), problem }
    }

    /// Puts the frames named `prefix` into `bank`, on `device`; their shapes must be those of `cfg`.
    pub(crate) fn read(
        &self,
        prefix: &str,
        cfg: &Sam2VideoConfig,
        device: &Device,
        bank: &mut MemoryBank,
    ) -> Result<()> {
        let (size, dim) = (cfg.sam2.image_size, cfg.memory.attention.d_model);
        for kind in KINDS {
            let prefix = format!("{prefix}.{kind}.");
            let names = self.file.keys().filter_map(|key| key.strip_prefix(&prefix)?.split_once('.'));
            let frames: BTreeSet<&str> = names.map(|(frame, _)| frame).collect();
            for text in frames {
                let frame: usize =
                    text.parse().map_err(|_| self.wrong(format!("frame `{text}`, expected a number")))?;
                let read = |part: &str, shape: &[usize]| -> Result<Option<Tensor>> {
                    let name = format!("{prefix}{text}.{part}");
                    let Some(info) = self.file.tensors().get(&name) else { return Ok(None) };
                    if info.shape != shape {
                        return Err(self.wrong(format!("{name} of shape {:?}, expected {shape:?}", info.shape)));
                    }
                    Ok(Some(self.file.tensor(&name, device)?))
                };
                let missing = |part: &str| self.wrong(format!("{prefix}{text} has no {part}"));
                let memory = MemoryFrame {
                    maskmem_features: read("map", &[1, cfg.memory.encoder.out_dim, size / 16, size / 16])?,
                    obj_ptr: read("obj_ptr", &[1, dim])?.ok_or_else(|| missing("obj_ptr"))?,
                    object_score_logits: read("score", &[1, 1])?.ok_or_else(|| missing("score"))?,
                    pred_masks: read("masks", &[1, 1, size / 4, size / 4])?,
                };
                if kind == KINDS[0] {
                    bank.insert_conditioning(frame, memory);
                } else {
                    bank.correct(frame, memory);
                }
            }
        }
        Ok(())
    }
}
