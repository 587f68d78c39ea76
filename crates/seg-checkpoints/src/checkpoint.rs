//! An open checkpoint.

use crate::backend::FileBackend;
use crate::dtype::FileDtype;
use crate::error::{Error, Fault, Result, shorten};
use crate::parts;
use crate::place::Place;
use crate::read::{self, Reader};
use crate::transformers;
use crate::wrappers::Unwrapped;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The container of a checkpoint, known by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// `.safetensors`
    Safetensors,
    /// `.pt`/`.pth` as torch has written it since 1.6: a zip archive with a pickle
    TorchZip,
    /// `.pt`/`.pth` before torch 1.6: pickles, then storages
    TorchLegacy,
    /// `.onnx`: the weights of an exported model, under the names of its modules
    Onnx,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "torch (zip)",
            Self::TorchLegacy => "torch (before 1.6)",
            Self::Onnx => "ONNX",
        })
    }
}

/// Shape and element type of a tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The shape, outermost axis first; empty for a scalar.
    pub shape: Vec<usize>,
    /// How the file stores the elements.
    pub dtype: FileDtype,
}

impl TensorInfo {
    /// How many elements there are.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A checkpoint file, or several that make up one: the directory is in memory, tensors are read from the file one by one on request.
///
/// Cheap to clone; clones share the open file. Reads are positioned, nothing is mapped: a file that is cut while it is
/// open gives an error, not a crash.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    format: Format,
    /// The files; tensors know theirs by its place here.
    parts: Vec<Part>,
    infos: BTreeMap<String, TensorInfo>,
    places: BTreeMap<String, Place>,
    metadata: BTreeMap<String, String>,
    nested: Option<String>,
    stripped: Option<String>,
    skipped: BTreeMap<String, String>,
    renamed: Option<&'static str>,
    notes: Vec<String>,
    hints: Vec<String>,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    reader: Reader,
}

/// Skipped tensors that are named in notes.
const NAMED: usize = 20;

impl Checkpoint {
    /// Opens a file and reads its directory; recognised by content, not by name. Of a folder that transformers saved (`model.safetensors`,
    /// `pytorch_model.bin`) or that has a single checkpoint in it, or of the list of a checkpoint's parts in it (`….index.json`), all parts are opened as one.
    ///
    /// # Errors
    /// [`Error::File`] when the file is no checkpoint, is truncated or damaged, or goes beyond a limit;
    /// [`Error::Io`] when it cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut parts = Vec::new();
        let mut places = BTreeMap::new();
        let (mut metadata, mut notes, mut skipped) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        let (mut formats, mut nested, mut hints) = (Vec::new(), None, Vec::new());
        for file in parts::files(path)? {
            let (reader, index, format) = open_part(&file)?;
            for (name, placed) in index.tensors {
                let part = parts.len() + index.elsewhere.get(&name).map_or(0, |further| further + 1);
                if places.insert(name.clone(), Place::one(part, placed)).is_some() {
                    return Err(Fault::Malformed(format!("tensor '{name}' is in two parts")).at(path));
                }
            }
            metadata.extend(index.metadata);
            notes.extend(index.notes);
            hints.extend(index.hints);
            skipped.extend(index.skipped);
            nested = nested.or(index.nested);
            formats.push(format);
            parts.push(Part { path: file, reader });
            parts.extend(index.files.into_iter().map(|(path, reader)| Part { path, reader }));
        }
        let Some(&format) = formats.first() else {
            return Err(Fault::NotACheckpoint("it has no parts".into()).at(path));
        };
        let unwrapped = Unwrapped::find(&infos(&places), skipped.keys());
        let (mut places, mut skipped) = (unwrapped.apply(places), unwrapped.apply(skipped));
        let renamed = transformers::rename(&mut places, &mut skipped).map_err(|fault| fault.at(path))?;
        notes.extend(skipped.iter().take(NAMED).map(|(name, what)| format!("skipped '{}': {what}", shorten(name))));
        if skipped.len() > NAMED {
            notes.push(format!("… and {} more tensors skipped", skipped.len() - NAMED));
        }
        hints.extend(unwrapped.hints.iter().cloned());
        notes.splice(0..0, hints.iter().cloned());
        notes.extend(unwrapped.notes);
        if let Some(renamed) = &renamed {
            notes.push(renamed.note(|part| &parts[part].reader));
        }
        let renamed = renamed.map(|renamed| renamed.family);
        let infos = infos(&places);
        notes.extend(FileDtype::SMALL_FLOATS.into_iter().filter_map(|dtype| {
            let count = infos.values().filter(|info| info.dtype == dtype).count();
            (count > 0)
                .then(|| format!("{count} tensors of 8-bit floats ({dtype}) read as 32-bit ones of the same values"))
        }));
        let (path, stripped) = (path.to_path_buf(), unwrapped.prefix);
        let inner =
            Inner { path, format, parts, infos, places, metadata, nested, stripped, skipped, renamed, notes, hints };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// All files, in order of their names: one, unless the checkpoint is spread over several.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.inner.parts.iter().map(|part| part.path.as_path())
    }

    /// What was opened: the file, or the folder or list of several.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The container.
    pub fn format(&self) -> Format {
        self.inner.format
    }

    /// Length of the file in bytes; of all files together.
    pub fn file_len(&self) -> u64 {
        self.inner.parts.iter().map(|part| part.reader.len()).sum()
    }

    /// All tensors by name, sorted.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.inner.infos
    }

    /// The names of all tensors, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.inner.infos.keys().map(String::as_str)
    }

    /// Shape and type of one tensor.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.inner.infos.get(name)
    }

    /// The metadata of a safetensors file; empty for others.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.inner.metadata
    }

    /// The key under which the state dict was found (`model`, `state_dict`…); none when it was at the top.
    pub fn nested_key(&self) -> Option<&str> {
        self.inner.nested.as_deref()
    }

    /// What was taken off the beginning of every name (`module.` of data-parallel training, `module._orig_mod.` when the model was compiled,
    /// too), if any. [`Checkpoint::notes`] tell what was taken out of the middle of names.
    pub fn stripped_prefix(&self) -> Option<&str> {
        self.inner.stripped.as_deref()
    }

    /// Tensors that are there and cannot be read, by name, and as what they are there: `a sparse tensor`.
    pub fn skipped(&self) -> &BTreeMap<String, String> {
        &self.inner.skipped
    }

    /// transformers' classes that a file's names are of, when they were brought under the authors' names: `SamModel (SAM)`.
    pub fn transformers(&self) -> Option<&'static str> {
        self.inner.renamed
    }

    /// What was left out, taken off or read in another way, in plain words.
    pub fn notes(&self) -> &[String] {
        &self.inner.notes
    }

    /// Those of the notes that say why names may be others than a model asks for, and what to do about it.
    pub(crate) fn hints(&self) -> &[String] {
        &self.inner.hints
    }

    /// How many elements all tensors have together (buffers included).
    pub fn elements(&self) -> u64 {
        self.inner.infos.values().map(|t| t.elements() as u64).sum()
    }

    /// Bytes of all tensors together, each in its own type.
    pub fn tensor_bytes(&self) -> u64 {
        self.inner.places.values().map(Place::bytes).sum()
    }

    /// Compares all checksums that the file has of its tensors (torch's zip archives have them), which reads all of it. Reading a tensor
    /// compares its own.
    ///
    /// # Errors
    /// [`Error::File`] that names the entry whose bytes are others.
    pub fn check(&self) -> Result<()> {
        let parts = &self.inner.parts;
        let check = |place: &Place| place.check(|part| &parts[part].reader);
        self.inner.places.values().try_for_each(check).map_err(|(part, fault)| fault.at(&parts[part].path))
    }

    /// Reads one tensor, in [`FileDtype::candle`]'s type, onto `device`.
    ///
    /// # Errors
    /// [`Error::NoTensor`] when there is none of that name; [`Error::File`] when it is one of [`Checkpoint::skipped`], or the file cannot be
    /// read any more, or has another checksum of it.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<Tensor> {
        let inner = &*self.inner;
        if let Some(what) = inner.skipped.get(name) {
            return Err(Fault::Unsupported(format!("tensor '{}', which is {what}", shorten(name))).at(&inner.path));
        }
        let place = inner.places.get(name).ok_or_else(|| Error::NoTensor {
            path: inner.path.clone(),
            name: name.to_owned(),
            count: inner.places.len(),
        })?;
        place.read(|part| &inner.parts[part].reader, device).map_err(|(part, e)| match e {
            read::ReadError::File(fault) => fault.at(&inner.parts[part].path),
            read::ReadError::Candle(source) => Error::Tensor { name: name.to_owned(), source },
        })
    }

    /// A `VarBuilder` at the root of the state dict, which reads each tensor when the model asks for it and gives it
    /// in `dtype` on `device`. Names and shapes are checked one by one; for a report of all that does not fit, use
    /// [`crate::load_strict`].
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(FileBackend::new(self.clone())), dtype, device.clone())
    }
}

/// The directory of one file.
fn open_part(path: &Path) -> Result<(Reader, read::Index, Format)> {
    let file = File::open(path).map_err(Error::io(path, "open it"))?;
    let reader = Reader::new(file).map_err(Error::io(path, "open it"))?;
    let read = || {
        let container = read::sniff(&reader)?;
        read::index(&reader, container, path)
    };
    let (index, format) =
        read().map_err(|fault| crate::manifest::with_published_size(fault, path, reader.len()).at(path))?;
    Ok((reader, index, format))
}

fn infos(places: &BTreeMap<String, Place>) -> BTreeMap<String, TensorInfo> {
    places.iter().map(|(name, place)| (name.clone(), place.info())).collect()
}
