//! Checkpoints of a run: whole or not there, digests checked, the one before taken where the last is damaged.
//!
//! A checkpoint is a folder `checkpoints/00001200` with `weights.safetensors` (what moves, under the official names), `state.safetensors` (the
//! optimiser's, averages) and `checkpoint.json` (position, scores, SHA-256 of both). It is written under another name, flushed to the disk and renamed.

mod files;

use crate::{Result, TrainError};
use candle_core::{Device, Tensor};
use files::{numbered, remove, sync};
use seg_checkpoints::{sha256_file, write_safetensors};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const WEIGHTS: &str = "weights.safetensors";
const STATE: &str = "state.safetensors";
const ENTRY: &str = "checkpoint.json";

/// What stands beside the tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Steps that are done.
    pub step: u64,
    /// The best value of the watched score so far, and its step.
    pub best: Option<(f64, u64)>,
    /// Digest of the recipe and data that the run was made of.
    pub run: String,
    /// Version that wrote it.
    pub version: String,
    /// SHA-256 of the tensors' files.
    #[serde(default)]
    pub digests: BTreeMap<String, String>,
}

/// A checkpoint in memory.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Position and scores.
    pub entry: Entry,
    /// Weights and statistics by their official names.
    pub weights: BTreeMap<String, Tensor>,
    /// The optimiser's state and averages.
    pub state: BTreeMap<String, Tensor>,
}

/// The checkpoints of one run.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    keep: usize,
}

impl Store {
    /// Of the run in `out`; the newest `keep` checkpoints are kept (at least 2: one to fall back to).
    pub fn new(out: &Path, keep: usize) -> Self {
        Self { folder: out.join("checkpoints"), keep: keep.max(2) }
    }

    /// Writes a checkpoint, then removes the oldest beyond those that are kept. One of the same step is left as it is: it is the same.
    ///
    /// # Errors
    /// A full disk and the like; what was there before is untouched then.
    pub fn save(&self, saved: &Saved) -> Result<PathBuf> {
        std::fs::create_dir_all(&self.folder).map_err(TrainError::io(&self.folder, "make it"))?;
        self.sweep();
        let target = self.folder.join(format!("{:08}", saved.entry.step));
        if target.exists() && self.read(&target).is_ok() {
            return Ok(target);
        }
        let part = self.folder.join(format!(".{:08}.{}.part", saved.entry.step, std::process::id()));
        let written = self.write(&part, saved).and_then(|()| {
            // a damaged one of the same step makes way
            remove(&target)?;
            std::fs::rename(&part, &target).map_err(TrainError::io(&target, "write it"))?;
            sync(&self.folder)
        });
        if let Err(error) = written {
            let _ = remove(&part); // the first error is the one to tell
            return Err(error);
        }
        for old in self.all()?.into_iter().rev().skip(self.keep) {
            remove(&old)?;
        }
        Ok(target)
    }

    fn write(&self, part: &Path, saved: &Saved) -> Result<()> {
        std::fs::create_dir_all(part).map_err(TrainError::io(part, "make it"))?;
        let mut entry = saved.entry.clone();
        for (name, tensors) in [(WEIGHTS, &saved.weights), (STATE, &saved.state)] {
            let path = part.join(name);
            write_safetensors(&path, tensors, &BTreeMap::new())?;
            entry.digests.insert(name.to_owned(), sha256_file(&path)?);
        }
        let path = part.join(ENTRY);
        let text = serde_json::to_vec_pretty(&entry)
            .map_err(|e| TrainError::Run { path: path.clone(), problem: e.to_string() })?;
        std::fs::write(&path, text).map_err(TrainError::io(&path, "write it"))?;
        sync(&path)?;
        sync(part)
    }

    /// The newest checkpoint that is whole, and a note for each newer one that is not. `None`: there is none at all.
    ///
    /// # Errors
    /// Where checkpoints are there but none of them is whole.
    pub fn latest(&self) -> Result<(Option<Saved>, Vec<String>)> {
        let mut notes = Vec::new();
        for path in self.all()?.into_iter().rev() {
            match self.read(&path) {
                Ok(saved) => {
                    if !notes.is_empty() {
                        notes.push(format!("going on from {}, the one before", path.display()));
                    }
                    return Ok((Some(saved), notes));
                }
                Err(error) => notes.push(format!("{} is damaged ({error})", path.display())),
            }
        }
        match notes.is_empty() {
            true => Ok((None, notes)),
            false => {
                let problem = format!("no checkpoint is whole: {}", notes.join("; "));
                Err(TrainError::Run { path: self.folder.clone(), problem })
            }
        }
    }

    /// The folders of checkpoints, oldest first.
    ///
    /// # Errors
    /// A folder that cannot be read; one that is not there has none.
    pub fn all(&self) -> Result<Vec<PathBuf>> {
        numbered(&self.folder)
    }

    fn read(&self, path: &Path) -> Result<Saved> {
        let file = path.join(ENTRY);
        let text = std::fs::read(&file).map_err(TrainError::io(&file, "read it"))?;
        let problem = |problem: String| TrainError::Run { path: file.clone(), problem };
        let entry: Entry = serde_json::from_slice(&text).map_err(|e| problem(e.to_string()))?;
        let tensors = |name: &str| -> Result<BTreeMap<String, Tensor>> {
            let path = path.join(name);
            let (found, noted) = (sha256_file(&path)?, entry.digests.get(name));
            if noted != Some(&found) {
                let noted = noted.map_or("none", String::as_str);
                return Err(TrainError::Run { path, problem: format!("its SHA-256 is {found}, expected {noted}") });
            }
            // as they are: nothing is taken for a wrapper around names
            Ok(candle_core::safetensors::load(&path, &Device::Cpu)?.into_iter().collect())
        };
        Ok(Saved { weights: tensors(WEIGHTS)?, state: tensors(STATE)?, entry })
    }

    /// Removes what a run that was killed has left half written.
    fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with('.') && name.to_string_lossy().ends_with(".part") {
                let _ = remove(&entry.path()); // the next one tries again
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;

    fn saved(step: u64) -> Saved {
        let tensor = Tensor::full(step as f32, 100, &Device::Cpu).unwrap();
        Saved {
            entry: Entry { step, best: Some((0.5, 1)), run: "r".into(), version: "0".into(), ..Entry::default() },
            weights: BTreeMap::from([("a.weight".to_owned(), tensor.clone())]),
            state: BTreeMap::from([
                ("adam.first.a.weight".to_owned(), tensor),
                ("ema.a.weight".to_owned(), Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap()),
                ("adam.steps.a.weight".to_owned(), Tensor::zeros((), DType::I64, &Device::Cpu).unwrap()),
            ]),
        }
    }

    fn step_of(store: &Store) -> (Option<u64>, Vec<String>) {
        let (found, notes) = store.latest().unwrap();
        (found.map(|saved| saved.entry.step), notes)
    }

    #[test]
    fn the_newest_ones_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), 2);
        assert_eq!(step_of(&store), (None, Vec::new()));
        for step in [1, 2, 10] {
            store.save(&saved(step)).unwrap();
        }
        let names: Vec<_> = store.all().unwrap().iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["00000002", "00000010"]);
        let (found, _) = store.latest().unwrap();
        let found = found.unwrap();
        assert_eq!(found.weights["a.weight"].to_vec1::<f32>().unwrap(), vec![10.; 100]);
        assert_eq!(found.state["adam.steps.a.weight"].to_scalar::<i64>().unwrap(), 0);
        assert_eq!(found.state.keys().collect::<Vec<_>>(), saved(10).state.keys().collect::<Vec<_>>());
        assert_eq!(found.entry.best, Some((0.5, 1)));
    }

    #[test]
    fn a_damaged_one_gives_way_to_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), 3);
        let paths: Vec<PathBuf> = [1, 2, 3].map(|step| store.save(&saved(step)).unwrap()).into();
        let flip = |path: &Path| {
            let mut bytes = std::fs::read(path).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            std::fs::write(path, bytes).unwrap();
        };
        flip(&paths[2].join(STATE));
        let (step, notes) = step_of(&store);
        assert_eq!(step, Some(2));
        assert!(
            notes[0].contains("00000003") && notes[0].contains("SHA-256") && notes[1].contains("00000002"),
            "{notes:?}"
        );
        std::fs::remove_file(paths[1].join(WEIGHTS)).unwrap();
        assert_eq!(step_of(&store).0, Some(1));
        // written again, it is whole again
        store.save(&saved(3)).unwrap();
        assert_eq!(step_of(&store), (Some(3), Vec::new()));
        std::fs::write(paths[0].join(ENTRY), b"{").unwrap();
        flip(&paths[2].join(WEIGHTS));
        assert!(store.latest().unwrap_err().to_string().contains("no checkpoint is whole"));
    }

    #[test]
    fn what_a_kill_leaves_is_swept_and_never_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), 2);
        store.save(&saved(1)).unwrap();
        let part = dir.path().join("checkpoints/.00000002.77.part");
        std::fs::create_dir(&part).unwrap();
        std::fs::write(part.join(WEIGHTS), b"half").unwrap();
        assert_eq!(step_of(&store), (Some(1), Vec::new()));
        store.save(&saved(2)).unwrap();
        assert!(!part.exists());
        assert_eq!(step_of(&store).0, Some(2));
    }
}
