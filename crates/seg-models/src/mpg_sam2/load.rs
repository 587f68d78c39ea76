//! MPG-SAM 2 from files, with its tokenizer.

use std::path::{Path, PathBuf};

use beit3_encoder::Tokenizer;
use seg_checkpoints::{Checkpoint, LoadPolicy, LoadReport, load_strict};

use super::config::MpgSam2Config;
use super::model::MpgSam2;
use super::predictor::MpgSam2Predictor;
use crate::error::{Error, Result};
use crate::registry::{Architecture, LoadOptions};

/// Names of the sentencepiece model: in a saved folder, as BEiT-3's authors publish it, and what transformers 5 writes in its place.
const TOKENIZERS: [&str; 3] = ["sentencepiece.bpe.model", "beit3.spm", "tokenizer.json"];

/// Loads MPG-SAM 2, strictly: `path` is a folder that transformers saved (one file or several parts), a single file with everything, or a state of the
/// authors' training, whose names begin with `module.evf_model.`. Sizes are those of the file, by what it says, or by its tensors' shapes. The sentencepiece model is `tokenizer`, or lies beside
/// the weights as `sentencepiece.bpe.model`, `beit3.spm` or `tokenizer.json`. The report says what the file has too much or too little of.
///
/// # Errors
/// Files that cannot be read, that are not of this model, or whose sizes contradict each other; [`Error::NoTokenizer`].
pub fn load(path: &Path, tokenizer: Option<&Path>, options: &LoadOptions) -> Result<(MpgSam2Predictor, LoadReport)> {
    let file = Checkpoint::open(path)?;
    let tokenizer = match tokenizer {
        Some(tokenizer) => tokenizer.to_path_buf(),
        None => tokenizer_beside(path)?,
    };
    let tokenizer = Tokenizer::open(tokenizer)?;
    let policy = LoadPolicy::strict().unused(MpgSam2::UNUSED);
    let (config, policy) = match Architecture::of(&file)? {
        Some(Architecture::MpgSam2(config)) => (*config, policy.ends_at_first_misfit()),
        _ => (MpgSam2Config::of(&file)?, policy),
    };
    let (model, report) = load_strict(&file, options.dtype, &options.device, &policy, |vb| MpgSam2::new(&config, vb))?;
    Ok((MpgSam2Predictor::new(model, tokenizer, options.dtype, &options.device), report))
}

/// The sentencepiece model beside the weights.
///
/// # Errors
/// [`Error::NoTokenizer`].
pub fn tokenizer_beside(path: &Path) -> Result<PathBuf> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let found = TOKENIZERS.iter().map(|name| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| Error::NoTokenizer { folder: folder.to_path_buf(), names: TOKENIZERS.to_vec() })
}
