//! What a run writes beside its checkpoints: what it is made of, and weights to use.

use super::measure::Swapped;
use super::{Run, VERSION};
use crate::ema::Ema;
use crate::recipe::{CheckpointPart, LengthPart, Recipe, ValidationPart};
use crate::schedule::Curve;
use crate::store::Entry;
use crate::{Result, TrainError};
use fs4::{FileExt, TryLockError};
use seg_checkpoints::write_safetensors;
use seg_data::output::{Overwrite, create_folder, write};
use seg_models::registry::Architecture;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

const RECIPE: &str = "recipe.toml";
const ABOUT: &str = "run.json";

/// `run.json`.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    version: String,
    system: String,
    /// Of the recipe's parts that the result depends on, and of the data.
    run: String,
    recipe: String,
    data: String,
    /// Processes that train together.
    #[serde(default = "one")]
    processes: usize,
    validation: Option<String>,
}

fn one() -> usize {
    1
}

/// The folder of a run, which no other process works in meanwhile.
pub(super) struct Folder {
    out: PathBuf,
    about: Option<About>,
    /// Held until the end.
    lock: Option<File>,
    /// What the run's result depends on.
    pub(super) digest: String,
}

impl Folder {
    /// Compares with what is written there, or makes ready to write. Nothing is written yet.
    pub(super) fn open(run: &Run, resume: bool) -> Result<Self> {
        let refuse = |path: PathBuf, problem: String| Err(TrainError::Run { path, problem });
        let about_path = run.out.join(ABOUT);
        let there = about_path.exists();
        if there && !resume {
            let problem = "there is a run in this folder; go on with it by --resume, or give another --out".into();
            return refuse(run.out.clone(), problem);
        }
        let recipe = digest(decisive(&run.recipe).to_toml()?.as_bytes());
        let data = run.data.digest()?;
        let processes = run.group.ranks();
        let whole = digest(format!("{recipe}\n{data}\n{processes}").as_bytes());
        if there {
            let text = std::fs::read(&about_path).map_err(TrainError::io(&about_path, "read it"))?;
            let about: About = serde_json::from_slice(&text)
                .map_err(|e| TrainError::Run { path: about_path.clone(), problem: e.to_string() })?;
            let start =
                format!("start a new run with --set start.weights={}", run.out.join("last.safetensors").display());
            if about.recipe != recipe {
                let problem = match only_longer(run, &about.recipe)? {
                    true => "its length has changed, and with it every rate: only runs with schedule.curve = { kind = \"constant\" } can be made longer".to_owned(),
                    false => format!("the run was made with another recipe ({RECIPE} beside it); use that, or {start}"),
                };
                return refuse(about_path, problem);
            }
            if about.data != data {
                return refuse(about_path, format!("the run was made on other data; give the same, or {start}"));
            }
            if about.processes != processes {
                let made = about.processes;
                let problem =
                    format!("the run was made by {made} processes, not by {processes}; start {made}, or {start}");
                return refuse(about_path, problem);
            }
        }
        if !there && run.group.rank() == 0 {
            writable(&run.out)?;
        }
        let about = match there {
            true => None,
            false => Some(About {
                version: VERSION.into(),
                system: run.recipe.system.as_str().to_owned(),
                run: whole.clone(),
                recipe,
                data,
                processes,
                validation: run.validation.as_ref().map(|examples| examples.digest()).transpose()?,
            }),
        };
        // the first process holds it for all
        let lock = if there && run.group.rank() == 0 { Some(lock(&run.out)?) } else { None };
        Ok(Self { out: run.out.clone(), about, lock, digest: whole })
    }

    /// Makes the folder and writes down what the run is made of, if it begins: in the first process.
    pub(super) fn begin(&mut self, run: &Run) -> Result<()> {
        let Some(about) = self.about.take() else {
            // what may change has perhaps changed
            return Ok(write(run.out.join(RECIPE), run.recipe.to_toml()?.as_bytes(), Overwrite::Replace)?);
        };
        create_folder(&run.out)?;
        self.lock = Some(lock(&run.out)?);
        write(run.out.join(RECIPE), run.recipe.to_toml()?.as_bytes(), Overwrite::Replace)?;
        if let Some((name, content)) = run.learner.beside() {
            write(run.out.join(name), content, Overwrite::Replace)?;
        }
        let path = run.out.join(ABOUT);
        let text = serde_json::to_vec_pretty(&about)
            .map_err(|e| TrainError::Run { path: path.clone(), problem: e.to_string() })?;
        Ok(write(&path, &text, Overwrite::Replace)?)
    }

    /// Refuses a checkpoint of another run.
    pub(super) fn same_run(&self, entry: &Entry) -> Result<()> {
        if entry.run == self.digest {
            return Ok(());
        }
        let problem = format!("the checkpoint of step {} is of another run", entry.step);
        Err(TrainError::Run { path: self.out.clone(), problem })
    }

    /// Writes the whole state dict under its official names: running means in place of weights, where there are any.
    pub(super) fn write_weights(&self, name: &str, run: &Run, ema: Option<&Ema>, step: u64) -> Result<()> {
        let _means = ema.map(|ema| Swapped::new(run, ema)).transpose()?;
        let mut metadata = BTreeMap::from([
            ("system".to_owned(), run.recipe.system.as_str().to_owned()),
            ("step".to_owned(), step.to_string()),
            ("trained_by".to_owned(), VERSION.to_owned()),
            ("run".to_owned(), self.digest.clone()),
            // what it has learnt at: `hrseg segment` asks it at the same
            ("image_size".to_owned(), run.learner.image_size().to_string()),
        ]);
        if let Some(made) = run.learner.architecture() {
            let text =
                made.to_text().map_err(|e| TrainError::Run { path: self.out.clone(), problem: e.to_string() })?;
            metadata.insert(Architecture::KEY.into(), text);
        }
        Ok(write_safetensors(self.out.join(name), &run.learner.weights().state(), &metadata)?)
    }
}

/// Refuses a folder that could not be made or written into, before a long proof finds out.
fn writable(out: &Path) -> Result<()> {
    let there = out.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    match tempfile::Builder::new().prefix(".hrseg-").tempfile_in(there) {
        Ok(_) => Ok(()),
        Err(error) => Err(TrainError::io(there, "write into it")(error.kind().into())),
    }
}

/// The lock of a folder, which the system takes back whatever happens to the process.
fn lock(out: &Path) -> Result<File> {
    let path = out.join(".lock");
    let file = File::options().create(true).append(true).open(&path).map_err(TrainError::io(&path, "open it"))?;
    match FileExt::try_lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(TrainError::Run { path: out.into(), problem: "another training is at work in this folder".into() })
        }
        Err(TryLockError::Error(error)) => Err(TrainError::io(&path, "lock it")(error)),
    }
}

/// The recipe without what its result does not depend on.
fn decisive(recipe: &Recipe) -> Recipe {
    let mut recipe = recipe.clone();
    recipe.validation = ValidationPart::default();
    recipe.checkpoint = CheckpointPart::default();
    recipe.data.workers = 0;
    if recipe.schedule.curve == Curve::Constant {
        // a step's rate does not depend on how many there are
        recipe.length = LengthPart::Steps(1);
    }
    recipe
}

/// Whether the recipe that the run was made with, `digest`, differs from this one in its length alone.
fn only_longer(run: &Run, digest_there: &str) -> Result<bool> {
    let Ok(there) = std::fs::read_to_string(run.out.join(RECIPE)) else { return Ok(false) };
    let Ok(there) = Recipe::parse(&there, RECIPE, &[]) else { return Ok(false) };
    let as_there = Recipe { length: there.length, ..run.recipe.clone() };
    Ok(digest(decisive(&as_there).to_toml()?.as_bytes()) == digest_there)
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
