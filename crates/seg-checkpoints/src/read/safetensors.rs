//! The safetensors container: 8 bytes header length, a JSON header, then the bytes of all tensors without gaps.

use super::{Index, Placed, Reader, skip};
use crate::dtype::FileDtype;
use crate::error::{Fault, shorten};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::collections::BTreeMap;

/// As in the reference implementation.
const MAX_HEADER: u64 = 100_000_000;
const METADATA: &str = "__metadata__";

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

#[derive(Default)]
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Entry>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Header;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                while let Some(key) = map.next_key::<String>()? {
                    if key == METADATA {
                        header.metadata = map.next_value::<Option<_>>()?.unwrap_or_default();
                    } else {
                        let entry = map.next_value()?;
                        // serde_json would take the last one silently: which one the writer meant is unknown.
                        if header.tensors.insert(key.clone(), entry).is_some() {
                            return Err(serde::de::Error::custom(format!(
                                "tensor '{}' is listed twice",
                                shorten(&key)
                            )));
                        }
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Map)
    }
}

pub(super) fn index(reader: &Reader) -> Result<Index, Fault> {
    let mut length = [0u8; 8];
    reader.read_at(0, &mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(Fault::limit(format!("the safetensors header claims {length} bytes, the limit is {MAX_HEADER}")));
    }
    let data_start = 8 + length;
    let header: Header = serde_json::from_slice(&reader.bytes(8, length as usize)?)
        .map_err(|e| Fault::malformed(format!("the safetensors header is not valid: {e}")))?;

    let mut index = Index { metadata: header.metadata, ..Index::default() };
    let mut ranges = Vec::with_capacity(header.tensors.len());
    for (name, entry) in header.tensors {
        let shown = shorten(&name);
        let (begin, end) = entry.data_offsets;
        let bytes = end.checked_sub(begin).ok_or_else(|| {
            Fault::malformed(format!("tensor '{shown}' ends at byte {end}, before its start {begin}"))
        })?;
        let Some(dtype) = FileDtype::from_safetensors(&entry.dtype) else {
            ranges.push((begin, end, name.clone()));
            skip(&mut index.skipped, name, format!("a tensor of {}", shorten(&entry.dtype)));
            continue;
        };
        let shape = entry.shape.iter().map(|&d| usize::try_from(d)).collect::<Result<Vec<_>, _>>();
        let shape =
            shape.map_err(|_| Fault::malformed(format!("tensor '{shown}': shape {:?} is too large", entry.shape)))?;
        let offset = data_start
            .checked_add(begin)
            .ok_or_else(|| Fault::malformed(format!("tensor '{shown}' begins at byte {begin}, out of range")))?;
        let placed = Placed::contiguous(dtype, shape, offset, bytes).map_err(|f| match f {
            Fault::Malformed(m) => Fault::Malformed(format!("tensor '{shown}': {m}")),
            other => other,
        })?;
        ranges.push((begin, end, name.clone()));
        index.tensors.insert(name, placed);
    }

    ranges.sort_unstable();
    let mut at = 0;
    for (begin, end, name) in &ranges {
        if *begin != at {
            let what = if *begin < at { "overlaps the tensor before it" } else { "leaves a gap before it" };
            return Err(Fault::malformed(format!(
                "tensor '{}' {what}: it begins at byte {begin}, expected {at}",
                shorten(name)
            )));
        }
        at = *end;
    }
    let expected = data_start.checked_add(at).ok_or_else(|| Fault::malformed("the tensors' length overflows"))?;
    match reader.len() {
        actual if actual < expected => Err(Fault::Truncated { expected, actual }),
        actual if actual > expected => {
            Err(Fault::malformed(format!("the tensors end at byte {expected}, but the file has {actual} bytes")))
        }
        _ => Ok(index),
    }
}
