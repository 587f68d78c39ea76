//! What a frozen encoder makes of pictures, kept on disk: each picture goes through it once.
//!
//! A file is named by the SHA-256 of the encoder's weights and of the picture as the encoder sees it, all transforms done: a flipped picture is another one. Its first
//! line tells the shapes and a checksum, behind it are the numbers as they are: what comes from a file is to the bit what the encoder gave.

use crate::learners::Learner;
use crate::{Result, TrainError};
use candle_core::{DType, Device, Tensor};
use seg_data::output::{Overwrite, create_folder, write_with};
use seg_data::training::{Examples, Transforms};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counted in every name: files of another form are never looked at.
const VERSION: &str = concat!("embeddings 1, hrseg ", env!("CARGO_PKG_VERSION"));
/// Different results of the transforms on a picture that are worth keeping.
const OUTCOMES: u64 = 8;
/// Bytes that are left free on the disk.
const SPARE: u64 = 1 << 30;
/// Bytes of a first line.
const HEADER: u64 = 1 << 12;

/// The first line of a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    shapes: Vec<Vec<usize>>,
    crc32c: u32,
}

/// Embeddings in a folder.
pub struct EmbeddingCache {
    folder: PathBuf,
    encoder: [u8; 32],
    limit: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: u64,
    /// Why nothing is written any more.
    closed: bool,
    notes: Vec<String>,
    counts: Counts,
}

/// What a cache has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Embeddings that came from a file.
    pub found: u64,
    /// Those that the encoder made.
    pub made: u64,
}

impl EmbeddingCache {
    /// Bytes that are kept at most, where nothing else is said: 16 GiB.
    pub const LIMIT: u64 = 16 << 30;

    /// In `folder`, which is made; of the files there all count towards `limit` bytes.
    ///
    /// # Errors
    /// A learner without a frozen encoder; data that never ends, or transforms by which a picture is hardly ever seen again; a folder that cannot be made or read.
    pub fn open(
        folder: &Path,
        limit: u64,
        learner: &dyn Learner,
        transforms: &Transforms,
        data: &dyn Examples,
    ) -> Result<Self> {
        let refuse = |problem: String| Err(TrainError::Run { path: folder.into(), problem });
        let Some(part) = learner.frozen_encoder() else {
            return refuse("there is nothing to keep: the system has no frozen encoder before what learns".into());
        };
        if data.len().is_none() {
            return refuse(
                "embeddings are of use where pictures come again, and this data never ends; say how many to keep to, by data.pictures=500".into(),
            );
        }
        match transforms.outcomes() {
            Err(step) => {
                return refuse(format!(
                    "embeddings are of use where pictures come again, and the transform `{}` makes another picture in every pass; give `transforms` without it",
                    step.name()
                ));
            }
            Ok(outcomes) if outcomes > OUTCOMES => {
                return refuse(format!(
                    "the transforms make {outcomes} different pictures of each, expected at most {OUTCOMES}"
                ));
            }
            Ok(_) => {}
        }
        Self::of_encoder(folder, limit, digest_of(learner, part)?)
    }

    /// The same for the encoder that a digest means, whatever asks for it.
    ///
    /// # Errors
    /// A folder that cannot be made or read.
    pub fn of_encoder(folder: &Path, limit: u64, encoder: [u8; 32]) -> Result<Self> {
        create_folder(folder)?;
        let state = Mutex::new(State { bytes: size_of(folder)?, ..State::default() });
        Ok(Self { folder: folder.into(), encoder, limit, state })
    }

    /// The embedding of a picture, `[1, C, H, W]`: from its file, or by `make` and then into its file. What is wrong with files is noted, and stops nothing.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get(&self, picture: &Tensor, make: impl FnOnce() -> Result<Vec<Tensor>>) -> Result<Vec<Tensor>> {
        let path = self.path(picture)?;
        match read(&path) {
            Ok(Some(tensors)) => {
                self.lock().counts.found += 1;
                return tensors.into_iter().map(|tensor| Ok(tensor.to_device(picture.device())?)).collect();
            }
            Ok(None) => {}
            Err(error) => self.note(format!("{error}; made again")),
        }
        let tensors = make()?;
        self.lock().counts.made += 1;
        self.keep(&path, &tensors)?;
        Ok(tensors)
    }

    /// What there is to tell since the last call.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().notes)
    }

    /// What has been found and made.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    fn path(&self, picture: &Tensor) -> Result<PathBuf> {
        let mut hash = Sha256::new();
        hash.update(self.encoder);
        hash.update(format!("{:?}", picture.dims()));
        hash.update(bytes_of(picture)?);
        let name = hex::encode(hash.finalize());
        let (first, _) = name.split_at(2);
        Ok(self.folder.join(first).join(format!("{name}.embedding")))
    }

    fn keep(&self, path: &Path, tensors: &[Tensor]) -> Result<()> {
        let bytes = tensors.iter().map(bytes_of).collect::<Result<Vec<_>>>()?.concat();
        let shapes = tensors.iter().map(|tensor| tensor.dims().to_vec()).collect();
        let header = serde_json::to_string(&Header { shapes, crc32c: crc32c::crc32c(&bytes) })
            .map_err(|e| TrainError::Run { path: path.into(), problem: e.to_string() })?;
        let all = (header.len() + 1 + bytes.len()) as u64;
        {
            let mut state = self.lock();
            if state.closed {
                return Ok(());
            }
            let spare = fs4::available_space(&self.folder).unwrap_or(u64::MAX);
            if state.bytes + all > self.limit || spare < all + SPARE {
                state.closed = true;
                let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
                let why = match state.bytes + all > self.limit {
                    true => format!("as large as it may be ({:.1} GiB; --cache-limit allows more)", gib(self.limit)),
                    false => format!("on a disk that has only {:.1} GiB left", gib(spare)),
                };
                let note = format!(
                    "{}: the cache of embeddings is {why}; further ones are made anew each time",
                    self.folder.display()
                );
                state.notes.push(note);
                return Ok(());
            }
            state.bytes += all;
        }
        let folder = path.parent().unwrap_or(&self.folder);
        let written = create_folder(folder).and_then(|()| {
            write_with(path, Overwrite::Replace, |out| {
                out.write_all(header.as_bytes())?;
                out.write_all(b"\n")?;
                out.write_all(&bytes)
            })
        });
        if let Err(error) = written {
            self.lock().closed = true;
            self.note(format!("{error}; further embeddings are made anew each time"));
        }
        Ok(())
    }

    fn note(&self, text: String) {
        self.lock().notes.push(text);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the frozen weights whose names begin with `part`, and of the size of the input.
fn digest_of(learner: &dyn Learner, part: &str) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    hash.update(format!("{VERSION}\n{}\n", learner.image_size()));
    for (name, tensor) in learner.weights().frozen().into_iter().filter(|(name, _)| name.starts_with(part)) {
        hash.update(format!("{name} {:?}\n", tensor.dims()));
        hash.update(bytes_of(&tensor)?);
    }
    Ok(hash.finalize().into())
}

/// The numbers in f32, little-endian.
fn bytes_of(tensor: &Tensor) -> Result<Vec<u8>> {
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.into_iter().flat_map(f32::to_le_bytes).collect())
}

/// The embedding in a file; `None` where there is no file.
fn read(path: &Path) -> Result<Option<Vec<Tensor>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(TrainError::io(path, "open it")(error)),
    };
    let damaged = |what: &str| TrainError::Run { path: path.into(), problem: format!("a damaged embedding: {what}") };
    let length = file.metadata().map_err(TrainError::io(path, "read it"))?.len();
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    reader.by_ref().take(HEADER).read_until(b'\n', &mut line).map_err(TrainError::io(path, "read it"))?;
    let header: Header = serde_json::from_slice(&line).map_err(|_| damaged("its first line"))?;
    let elements = |shape: &Vec<usize>| shape.iter().try_fold(1u64, |all, side| all.checked_mul(*side as u64));
    let total = header.shapes.iter().try_fold(0u64, |all, shape| all.checked_add(elements(shape)?));
    let expected = total.and_then(|total| total.checked_mul(4)?.checked_add(line.len() as u64));
    if expected != Some(length) {
        return Err(damaged("its length"));
    }
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(TrainError::io(path, "read it"))?;
    if crc32c::crc32c(&bytes) != header.crc32c {
        return Err(damaged("its checksum"));
    }
    let mut rest = bytes.as_slice();
    let mut tensors = Vec::with_capacity(header.shapes.len());
    for shape in header.shapes {
        let (own, behind) =
            rest.split_at_checked(4 * shape.iter().product::<usize>()).ok_or_else(|| damaged("its length"))?;
        rest = behind;
        let values: Vec<f32> = own.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        tensors.push(Tensor::from_vec(values, shape, &Device::Cpu)?);
    }
    Ok(Some(tensors))
}

/// Bytes of the files in the folders of `folder`.
fn size_of(folder: &Path) -> Result<u64> {
    let list = |folder: &Path| std::fs::read_dir(folder).map_err(TrainError::io(folder, "read it"));
    let mut bytes = 0;
    for entry in list(folder)? {
        let path = entry.map_err(TrainError::io(folder, "read it"))?.path();
        if !path.is_dir() {
            continue;
        }
        for file in list(&path)? {
            let file = file.map_err(TrainError::io(&path, "read it"))?;
            // one that has gone in the meantime takes no place
            bytes += file.metadata().map_or(0, |about| about.len());
        }
    }
    Ok(bytes)
}
