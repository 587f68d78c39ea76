//! Which files a checkpoint is spread over.

use crate::error::{Error, Fault, Result, shorten};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What transformers calls its files in a saved folder, in the order in which it looks for them.
const NAMES: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
/// How the name of a checkpoint ends that is taken when it is the only one in a folder.
const ENDINGS: [&str; 6] = ["safetensors", "pt", "pth", "bin", "ckpt", "onnx"];
/// The list of parts of `torch.distributed.checkpoint`, as FSDP and accelerate save sharded weights.
const DISTRIBUTED: &str = ".metadata";
/// How the list of a checkpoint's parts ends.
const INDEX: &str = ".index.json";
/// Bytes of such a list, and files in it, that no checkpoint has.
const MAX_INDEX: u64 = 64 << 20;
const MAX_FILES: usize = 1024;

/// The files of the checkpoint at `path`: a file, the list of its parts that transformers writes, a saved folder with either in it, or a folder with a single checkpoint.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let kind = std::fs::metadata(path).map_err(Error::io(path, "open it"))?;
    if kind.is_dir() {
        let found = NAMES.iter().map(|name| path.join(name)).find(|file| file.is_file());
        let file = match found {
            Some(file) => file,
            None => only(path)?,
        };
        return if is_index(&file) { listed(&file) } else { Ok(vec![file]) };
    }
    // before opening: to open a pipe would wait for a writer
    if !kind.is_file() {
        return Err(Fault::NotACheckpoint("it is not a regular file".into()).at(path));
    }
    if is_index(path) { listed(path) } else { Ok(vec![path.to_path_buf()]) }
}

/// The only checkpoint in a folder that has none under transformers' names.
fn only(folder: &Path) -> Result<PathBuf> {
    let not = |what: String| Err(Fault::NotACheckpoint(what).at(folder));
    if folder.join(DISTRIBUTED).is_file() {
        return not("torch.distributed.checkpoint saved it: make one file of it with 'python -m torch.distributed.checkpoint.format_utils dcp_to_torch'".into());
    }
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder, "list it"))?;
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|file| is_one(file)).collect();
    found.sort();
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => not(format!(
            "it is a folder with none of {}, nor any file that ends in .{}",
            NAMES.join(", "),
            ENDINGS.join(", .")
        )),
        several => {
            let names =
                several.iter().take(4).filter_map(|file| file.file_name()).map(|name| shorten(&name.to_string_lossy()));
            let names = names.collect::<Vec<_>>().join(", ");
            let more = if several.len() > 4 { " …" } else { "" };
            not(format!("it is a folder of {} checkpoints ({names}{more}): name one of them", several.len()))
        }
    }
}

/// A file, not a hidden one, whose name ends as a checkpoint's.
fn is_one(file: &Path) -> bool {
    let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let ending = file.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    !hidden && ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) && file.is_file()
}

fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(INDEX))
}

#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files that the list `path` names, each once; they lie beside it.
fn listed(path: &Path) -> Result<Vec<PathBuf>> {
    let len = std::fs::metadata(path).map_err(Error::io(path, "open it"))?.len();
    if len > MAX_INDEX {
        return Err(Fault::Limit(format!("a list of {len} bytes, the limit is {MAX_INDEX}")).at(path));
    }
    let text = std::fs::read(path).map_err(Error::io(path, "read it"))?;
    let index: Index = serde_json::from_slice(&text)
        .map_err(|e| Fault::Malformed(format!("not a list of a checkpoint's parts: {e}")).at(path))?;
    let names: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
    if names.is_empty() || names.len() > MAX_FILES {
        let found = format!("a list of {} files, expected 1 to {MAX_FILES}", names.len());
        return Err(Fault::Malformed(found).at(path));
    }
    let beside = |name: &&str| -> Result<PathBuf> {
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(
                Fault::Malformed(format!("the part '{name}', expected a file's name without a folder")).at(path)
            );
        }
        Ok(path.with_file_name(name))
    };
    names.iter().map(beside).collect()
}
