//! Small writers of checkpoints, so that tests can make good and bad ones byte by byte.
#![allow(dead_code)] // each test file uses its part

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;

/// A file beside this folder, made by `data/make_fixtures.py`.
pub fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Writes bytes to a file in `folder`.
pub fn put(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A pickle under construction.
pub struct Pickle(pub Vec<u8>);

impl Pickle {
    pub fn new() -> Self {
        Self(vec![0x80, 2])
    }

    pub fn op(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn str(self, s: &str) -> Self {
        self.op(b"X").op(&(s.len() as u32).to_le_bytes()).op(s.as_bytes())
    }

    pub fn int(self, v: i64) -> Self {
        match i32::try_from(v) {
            Ok(v) => self.op(b"J").op(&v.to_le_bytes()),
            Err(_) => self.op(&[0x8a, 8]).op(&v.to_le_bytes()),
        }
    }

    pub fn global(self, module: &str, name: &str) -> Self {
        self.op(format!("c{module}\n{name}\n").as_bytes())
    }

    pub fn ints(mut self, values: &[i64]) -> Self {
        self = self.op(b"(");
        for &v in values {
            self = self.int(v);
        }
        self.op(b"t")
    }

    pub fn tensor(self, class: &str, key: &str, numel: i64, first: i64, shape: &[i64], strides: &[i64]) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .op(b"((")
            .str("storage")
            .global("torch", class)
            .str(key)
            .str("cpu")
            .int(numel)
            .op(b"tQ")
            .int(first)
            .ints(shape)
            .ints(strides)
            .op(&[0x89])
            .global("collections", "OrderedDict")
            .op(b")RtR")
    }

    /// `{name: <one contiguous float tensor of 4 elements in storage 0>}`
    pub fn one_tensor(name: &str) -> Self {
        Self::new().op(b"}(").str(name).tensor("FloatStorage", "0", 4, 0, &[2, 2], &[2, 1]).op(b"u")
    }

    pub fn end(self) -> Vec<u8> {
        self.op(b".").0
    }
}

pub fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A torch zip of a pickle and storages.
pub fn torch_zip(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut entries = vec![("archive/data.pkl", pickle.to_vec()), ("archive/byteorder", b"little".to_vec())];
    let names: Vec<String> = storages.iter().map(|(k, _)| format!("archive/data/{k}")).collect();
    entries.extend(names.iter().zip(storages).map(|(n, (_, b))| (n.as_str(), b.to_vec())));
    zip_of(&entries, zip::CompressionMethod::Stored)
}

pub fn zip_of(entries: &[(&str, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A safetensors file with a header given as text.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(data);
    out
}

/// The state dicts that a golden case tells of: the module, then names and shapes.
pub fn state_dicts(case: &Path) -> Vec<(String, BTreeMap<String, Vec<usize>>)> {
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(case).unwrap()).unwrap();
    let row = |row: &serde_json::Value| {
        let shape = row[1].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
        (row[0].as_str().unwrap().to_owned(), shape)
    };
    let modules = json["modules"].as_object().into_iter().flatten();
    let listed = modules.filter_map(|(module, value)| Some((module, value["state_dict"].as_array()?)));
    listed.map(|(module, list)| (module.clone(), list.iter().map(row).collect())).collect()
}
