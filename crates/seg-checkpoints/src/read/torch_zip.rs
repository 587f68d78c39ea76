//! torch's container since 1.6: a zip archive of `<root>/data.pkl` and one stored entry a storage, `<root>/data/<key>`.

use super::{Checksum, Index, Placed, Reader};
use crate::error::{Fault, shorten};
use crate::pickle::{self, Bytes, Data, RawTensor, Tree};
use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

/// Bytes of an entry in the file.
#[derive(Clone)]
struct Stored {
    offset: u64,
    len: u64,
    /// torch stores its entries as they are (the code of a TorchScript program aside, which is not read).
    compressed: bool,
    checksum: Option<Arc<Checksum>>,
}

impl Stored {
    fn check(&self, reader: &Reader) -> Result<(), Fault> {
        self.checksum.as_ref().map_or(Ok(()), |checksum| checksum.check(reader))
    }
}

/// A [`Reader`] with a position, as the zip crate wants it.
struct Cursor<'r> {
    reader: &'r Reader,
    at: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.reader.len().saturating_sub(self.at).min(buf.len() as u64) as usize;
        self.reader.read_at(self.at, &mut buf[..n]).map_err(std::io::Error::other)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, pos: SeekFrom) -> std::io::Result<u64> {
        let to = match pos {
            SeekFrom::Start(p) => Some(p),
            SeekFrom::End(d) => self.reader.len().checked_add_signed(d),
            SeekFrom::Current(d) => self.at.checked_add_signed(d),
        };
        self.at = to.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

pub(super) fn index(reader: &Reader) -> Result<Index, Fault> {
    let entries = entries(reader)?;
    let mut pickles = entries.keys().filter(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let Some(name) = pickles.next().cloned() else {
        return Err(Fault::NotACheckpoint(other_archive(&entries)));
    };
    if let Some(other) = pickles.next() {
        return Err(Fault::malformed(format!(
            "two pickles in one archive: '{}' and '{}'",
            shorten(&name),
            shorten(other)
        )));
    }
    let root = name.strip_suffix("data.pkl").unwrap_or_default();
    let has = |part: &str| entries.contains_key(&format!("{root}{part}"));
    let get = |part: &str| match entries.get(&format!("{root}{part}")) {
        Some(entry) if entry.compressed => Err(Fault::limit(format!(
            "entry '{}' of the archive is compressed; torch stores its entries as they are",
            shorten(&format!("{root}{part}"))
        ))),
        entry => Ok(entry.cloned()),
    };

    if let Some(order) = get("byteorder")? {
        order.check(reader)?;
        let order = reader.bytes(order.offset, order.len.min(16) as usize)?;
        if order != b"little" {
            return Err(Fault::Unsupported("big-endian numbers".into()));
        }
    }
    let object = get("data.pkl")?.ok_or_else(|| Fault::malformed("no data.pkl"))?;
    object.check(reader)?;
    let Stored { offset, len, .. } = object;
    let (tree, _) = pickle::parse(reader, offset..offset + len, offset)?;
    let state = pickle::state_dict(&tree).map_err(|fault| match fault {
        Fault::NotACheckpoint(_) if has("constants.pkl") => {
            Fault::Unsupported("TorchScript programs: save the module's state_dict() instead".into())
        }
        other => other,
    })?;

    let mut index = Index { nested: state.nested, notes: state.notes, skipped: state.skipped, ..Index::default() };
    for (name, raw) in state.tensors {
        let mut checksum = None;
        let placed = place(&name, raw, &tree, |key| {
            let storage = get(&format!("data/{key}"))?
                .ok_or_else(|| Fault::malformed(format!("storage '{}' is not in the archive", shorten(key))))?;
            checksum = storage.checksum;
            Ok((storage.offset, storage.len))
        })?;
        index.tensors.insert(name, placed.with_checksum(checksum));
    }
    Ok(index)
}

/// What an archive is that torch did not write.
fn other_archive(entries: &HashMap<String, Stored>) -> String {
    const WEIGHTS: [&str; 6] = [".pt", ".pth", ".safetensors", ".ckpt", ".bin", ".onnx"];
    if !entries.is_empty() && entries.keys().all(|name| name.ends_with(".npy")) {
        return "it is a NumPy archive (.npz), which no model here is saved as: save the arrays as .safetensors".into();
    }
    let inside = entries.keys().filter(|name| WEIGHTS.iter().any(|ending| name.ends_with(ending))).min();
    let what = "it is a zip archive without a data.pkl, so torch.save did not write it";
    inside.map_or_else(|| what.into(), |name| format!("{what}; '{}' is in it: unpack it first", shorten(name)))
}

/// A tensor's place, given where a storage lies: its offset and length in bytes.
pub(super) fn place(
    name: &str,
    raw: RawTensor<'_>,
    tree: &Tree,
    storage: impl FnOnce(&str) -> Result<(u64, u64), Fault>,
) -> Result<Placed, Fault> {
    let name = shorten(name);
    let (size, negative, dtype) = (raw.stored.size(), raw.negative, raw.dtype);
    let strided = |offset, bytes: u64| {
        let elements = usize::try_from(bytes).unwrap_or(usize::MAX) / size;
        Placed::strided(raw.stored, raw.shape, raw.strides, raw.first, offset, elements)
    };
    let placed = match raw.data {
        Data::Storage { key, bytes } => storage(key).and_then(|(offset, len)| {
            if bytes > len {
                return Err(Fault::malformed(format!("its storage should have {bytes} bytes, the file has {len}")));
            }
            strided(offset, bytes)
        }),
        Data::Pickle { bytes, big_endian } => {
            let placed = match bytes {
                Bytes::Kept(span) => {
                    strided(span.start.into(), (span.end - span.start).into()).map(|p| p.within(tree.kept.clone()))
                }
                Bytes::File { at, len } => strided(at, len),
                Bytes::Latin1 { at, len, bytes } => strided(at, bytes).map(|p| p.in_text(len)),
            };
            if big_endian { placed.map(Placed::big_endian) } else { placed }
        }
    };
    let placed = placed.map_err(|fault| match fault {
        Fault::Malformed(m) => Fault::Malformed(format!("tensor '{name}': {m}")),
        Fault::Limit(m) => Fault::Limit(format!("tensor '{name}': {m}")),
        other => other,
    })?;
    let placed = placed.converted(dtype);
    Ok(if negative { placed.negated() } else { placed })
}

/// All files of the archive, checked to be stored as they are, inside the file, and apart from each other.
fn entries(reader: &Reader) -> Result<HashMap<String, Stored>, Fault> {
    let mut archive = zip::ZipArchive::new(Cursor { reader, at: 0 }).map_err(|e| match e {
        zip::result::ZipError::Io(e) => Fault::Io(e),
        _ => Fault::Malformed(format!(
            "truncated or broken: the directory at the end of the archive is missing or unreadable ({} bytes in the file); if it \
             was downloaded, get it again",
            reader.len()
        )),
    })?;
    let mut entries = HashMap::new();
    let mut ranges = Vec::new();
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i).map_err(|e| {
            Fault::malformed(format!("truncated or broken: entry {i} of the archive is unreadable ({e})"))
        })?;
        if entry.is_dir() {
            continue;
        }
        let name = match entry.name() {
            Ok(name) => name.into_owned(),
            Err(e) => return Err(Fault::malformed(format!("entry {i} of the archive has an unreadable name ({e})"))),
        };
        if entry.encrypted() {
            return Err(Fault::Unsupported(format!("encrypted archives (entry '{}')", shorten(&name))));
        }
        let compressed =
            entry.compression() != zip::CompressionMethod::Stored || entry.size() != entry.compressed_size();
        let offset = entry
            .data_start()
            .ok_or_else(|| Fault::malformed(format!("entry '{}' of the archive has no data", shorten(&name))))?;
        let len = entry.compressed_size();
        let end = offset.saturating_add(len);
        if end > reader.len() {
            return Err(Fault::Truncated { expected: end, actual: reader.len() });
        }
        if len > 0 {
            ranges.push((offset, end));
        }
        let checksum = Checksum::new(name.clone(), offset, len, entry.crc32()).map(Arc::new);
        if entries.insert(name.clone(), Stored { offset, len, compressed, checksum }).is_some() {
            return Err(Fault::malformed(format!("entry '{}' is twice in the archive", shorten(&name))));
        }
    }
    ranges.sort_unstable();
    if let Some(pair) = ranges.windows(2).find(|p| p[1].0 < p[0].1) {
        return Err(Fault::malformed(format!("entries of the archive overlap at byte {}", pair[1].0)));
    }
    Ok(entries)
}
