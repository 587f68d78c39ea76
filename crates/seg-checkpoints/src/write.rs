//! Writing checkpoints so that a reader sees the old file or the new one, never a part.

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::fetch::{sha256_file, sync_folder};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes tensors as safetensors.
///
/// The file is written beside `path` under a temporary name, flushed to the disk and renamed: whatever fails (a full
/// disk, a power cut), `path` is what it was before, and the temporary file is deleted.
///
/// # Errors
/// [`Error::Io`] when writing fails; [`Error::Argument`] when a tensor's type has no equal in safetensors.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    tensors: &BTreeMap<String, Tensor>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let plan = tensors
        .iter()
        .map(|(name, t)| {
            dtype_name(t).map(|d| (name.as_str(), d, t.dims(), t.elem_count() * t.dtype().size_in_bytes()))
        })
        .collect::<Result<Vec<_>>>()?;
    write(path.as_ref(), &plan, metadata, |name, out| {
        let bytes = bytes_of(&tensors[name]).map_err(|source| Error::Tensor { name: name.to_owned(), source })?;
        Ok(out.write_all(&bytes))
    })
}

/// Writes a checkpoint as safetensors, one tensor in memory at a time, with its provenance as metadata: the source's
/// file name and SHA-256 (of several files all of them), its format, this crate's version, and what the source's own metadata says.
///
/// # Errors
/// As [`write_safetensors`]; [`Error::File`] when the source cannot be read.
pub fn convert(checkpoint: &Checkpoint, path: impl AsRef<Path>) -> Result<()> {
    let mut metadata = checkpoint.metadata().clone();
    let files: Vec<&Path> = checkpoint.files().collect();
    let names = files.iter().map(|file| file.file_name().unwrap_or_default().to_string_lossy().into_owned());
    metadata.insert("source_file".into(), names.collect::<Vec<_>>().join(", "));
    let digests = files.iter().map(|file| sha256_file(file)).collect::<Result<Vec<_>>>()?;
    metadata.insert("source_sha256".into(), digests.join(", "));
    metadata.insert("source_format".into(), checkpoint.format().to_string());
    metadata.insert("converted_by".into(), concat!("hrseg ", env!("CARGO_PKG_VERSION")).into());
    if let Some(key) = checkpoint.nested_key() {
        metadata.insert("source_key".into(), key.into());
    }
    if let Some(prefix) = checkpoint.stripped_prefix() {
        metadata.insert("stripped_prefix".into(), prefix.into());
    }
    let tensors = checkpoint.keys().map(|name| (name, (checkpoint, name))).collect();
    write_from(path.as_ref(), &tensors, &metadata, |_, _| Ok(()))
}

/// Writes tensors of open files: by the name to write, the file and the name there. One tensor is in memory at a time; each is read once, in the order of the names, and
/// shown to `look` before it is written. Where that fails nothing is written.
pub(crate) fn write_from(
    path: &Path,
    tensors: &BTreeMap<&str, (&Checkpoint, &str)>,
    metadata: &BTreeMap<String, String>,
    mut look: impl FnMut(&str, &Tensor) -> Result<()>,
) -> Result<()> {
    let mut plan = Vec::with_capacity(tensors.len());
    for (name, (file, there)) in tensors {
        let Some(info) = file.get(there) else { continue };
        let dtype = info.dtype.candle();
        let bytes = info.elements() * dtype.size_in_bytes();
        plan.push((*name, dtype_str(dtype, name)?, info.shape.as_slice(), bytes));
    }
    write(path, &plan, metadata, |name, out| {
        let (file, there) = tensors[name];
        let tensor = file.tensor(there, &Device::Cpu)?;
        look(name, &tensor)?;
        let bytes = bytes_of(&tensor).map_err(|source| Error::Tensor { name: name.to_owned(), source })?;
        Ok(out.write_all(&bytes))
    })
}

/// Name, type, shape, bytes.
type Planned<'a> = (&'a str, &'static str, &'a [usize], usize);

fn write(
    path: &Path,
    plan: &[Planned<'_>],
    metadata: &BTreeMap<String, String>,
    mut put: impl FnMut(&str, &mut dyn Write) -> Result<std::io::Result<()>>,
) -> Result<()> {
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), serde_json::json!(metadata));
    }
    let mut at = 0;
    for (name, dtype, shape, bytes) in plan {
        if *name == "__metadata__" {
            return Err(Error::Argument {
                what: "tensor",
                value: (*name).into(),
                expected: "this name is reserved".into(),
            });
        }
        header.insert(
            (*name).into(),
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [at, at + bytes]}),
        );
        at += bytes;
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' '); // tensors begin at a multiple of 8 bytes

    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let io = || Error::io(path, "write it");
    // dropped on any error, which deletes it
    let temporary = tempfile::Builder::new()
        .prefix(".hrseg-")
        .suffix(".part")
        .tempfile_in(folder)
        .map_err(Error::io(folder, "write into it"))?;
    let mut out = BufWriter::with_capacity(1 << 20, temporary);
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(io())?;
    out.write_all(&header).map_err(io())?;
    for (name, ..) in plan {
        put(name, &mut out)?.map_err(io())?;
    }
    let temporary = out.into_inner().map_err(|e| io()(e.into_error()))?;
    temporary.as_file().sync_all().map_err(io())?;
    set_usual_permissions(temporary.as_file()).map_err(io())?;
    temporary.persist(path).map_err(|e| io()(e.error))?;
    sync_folder(path);
    Ok(())
}

/// Temporary files are for their owner only; a checkpoint is a file like any other.
fn set_usual_permissions(file: &std::fs::File) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    let _ = file;
    Ok(())
}

fn dtype_name(tensor: &Tensor) -> Result<&'static str> {
    dtype_str(tensor.dtype(), "")
}

fn dtype_str(dtype: candle_core::DType, name: &str) -> Result<&'static str> {
    use candle_core::DType;
    Ok(match dtype {
        DType::U8 => "U8",
        DType::U32 => "U32",
        DType::I16 => "I16",
        DType::I32 => "I32",
        DType::I64 => "I64",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        DType::F32 => "F32",
        DType::F64 => "F64",
        other => {
            return Err(Error::Argument {
                what: "tensor",
                value: name.to_owned(),
                expected: format!("elements of type {other:?} cannot be written to safetensors"),
            });
        }
    })
}

/// The elements in row-major order, little-endian.
pub(crate) fn bytes_of(tensor: &Tensor) -> candle_core::Result<Vec<u8>> {
    use candle_core::DType;
    let flat = tensor.flatten_all()?;
    macro_rules! bytes {
        ($t:ty) => {
            flat.to_vec1::<$t>()?.iter().flat_map(|v| v.to_le_bytes()).collect()
        };
    }
    Ok(match tensor.dtype() {
        DType::U8 => flat.to_vec1::<u8>()?,
        DType::U32 => bytes!(u32),
        DType::I16 => bytes!(i16),
        DType::I32 => bytes!(i32),
        DType::I64 => bytes!(i64),
        DType::F16 => bytes!(half::f16),
        DType::BF16 => bytes!(half::bf16),
        DType::F32 => bytes!(f32),
        DType::F64 => bytes!(f64),
        other => candle_core::bail!("elements of type {other:?} cannot be written to safetensors"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_disk_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        std::fs::write(&path, b"old").unwrap();
        let plan: [Planned<'_>; 2] = [("a", "U8", &[3], 3), ("b", "U8", &[3], 3)];
        let error = write(&path, &plan, &BTreeMap::new(), |name, out| {
            Ok(match name {
                "a" => out.write_all(b"abc"),
                _ => Err(std::io::ErrorKind::StorageFull.into()),
            })
        })
        .unwrap_err();
        assert!(error.to_string().contains("x.safetensors: cannot write it: "), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
