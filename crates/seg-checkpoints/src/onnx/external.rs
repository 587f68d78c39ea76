//! Data in files beside the model (`model.onnx.data`, `weights.bin`).

use super::proto::{Message, Value};
use crate::error::{Fault, shorten};
use crate::read::{Placed, Reader};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

/// Files that a model's data may be in: some exporters write one a tensor.
const MAX_FILES: usize = 1024;

/// Where a tensor's data is, as the model says.
#[derive(Debug, Default)]
pub(super) struct Location {
    pub file: String,
    pub offset: u64,
    /// None: as many bytes as the shape takes.
    pub length: Option<u64>,
}

impl Location {
    /// StringStringEntryProto: 1 key, 2 value.
    pub fn entry(&mut self, message: &mut Message<'_>) -> Result<(), Fault> {
        let (mut key, mut value) = (String::new(), String::new());
        while let Some((field, found)) = message.field()? {
            match (field, found) {
                (1, Value::Bytes { at, len }) => key = message.text(at, len)?,
                (2, Value::Bytes { at, len }) => value = message.text(at, len)?,
                _ => {}
            }
        }
        let number = || {
            let bad = |_| Fault::malformed(format!("external data with {key} '{}', expected bytes", shorten(&value)));
            value.parse::<u64>().map_err(bad)
        };
        match key.as_str() {
            "offset" => self.offset = number()?,
            "length" => self.length = Some(number()?),
            "location" => self.file = value,
            _ => {}
        }
        Ok(())
    }
}

/// The files beside a model, each opened once.
pub(super) struct Files {
    folder: PathBuf,
    readers: Vec<(PathBuf, Reader)>,
    numbers: BTreeMap<String, usize>,
}

impl Files {
    pub fn beside(model: &Path) -> Self {
        let folder = model.parent().map(Path::to_path_buf).unwrap_or_default();
        Self { folder, readers: Vec::new(), numbers: BTreeMap::new() }
    }

    /// The number of the file that a tensor is in, which has all of its bytes.
    pub fn check(&mut self, tensor: &str, location: &Location, placed: &Placed) -> Result<usize, Fault> {
        let number = match self.numbers.get(location.file.as_str()) {
            Some(&number) => number,
            None => self.open(tensor, &location.file)?,
        };
        let (end, len) = (location.offset.saturating_add(placed.bytes()), self.readers[number].1.len());
        if end > len {
            let (tensor, file) = (shorten(tensor), shorten(&location.file));
            return Err(Fault::malformed(format!(
                "tensor '{tensor}' ends at byte {end} of '{file}', which has {len} bytes"
            )));
        }
        Ok(number)
    }

    fn open(&mut self, tensor: &str, name: &str) -> Result<usize, Fault> {
        let (tensor, shown) = (shorten(tensor), shorten(name));
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if name.is_empty() || !Path::new(name).components().all(inside) {
            return Err(Fault::malformed(format!(
                "the data of '{tensor}' is in '{shown}', expected a file in the model's own folder"
            )));
        }
        if self.readers.len() == MAX_FILES {
            return Err(Fault::limit(format!("an ONNX model with data in more than {MAX_FILES} files")));
        }
        let path = self.folder.join(name);
        // before opening: to open a pipe would wait for a writer
        let file = std::fs::metadata(&path).and_then(|kind| match kind.is_file() {
            true => File::open(&path).and_then(Reader::new),
            false => Err(std::io::Error::other("it is not a regular file")),
        });
        let reader = file.map_err(|e| {
            Fault::Io(std::io::Error::new(
                e.kind(),
                format!("the data of '{tensor}' is in '{shown}', a file that belongs beside it: {e}"),
            ))
        })?;
        self.readers.push((path, reader));
        self.numbers.insert(name.to_owned(), self.readers.len() - 1);
        Ok(self.readers.len() - 1)
    }

    pub fn into_readers(self) -> Vec<(PathBuf, Reader)> {
        self.readers
    }
}
