//! Which container a file is, by its first bytes: names lie.

use super::Reader;
use crate::error::Fault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    Safetensors,
    TorchZip,
    TorchLegacy,
    Onnx,
}

/// torch's magic number in a pickle of protocol 2 or later, behind the protocol; how files began before torch 1.6.
const MAGIC: [u8; 13] = [0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
/// The same in protocols 0 and 1.
const MAGIC_TEXT: &[u8] = b"L119547037146038801333356L\n.";
/// Enough for every mark, a tar's at byte 257 included.
const HEAD: u64 = 512;

pub(crate) fn sniff(reader: &Reader) -> Result<Container, Fault> {
    if reader.len() == 0 {
        return Err(Fault::NotACheckpoint("the file is empty (0 bytes)".into()));
    }
    let head = reader.bytes(0, reader.len().min(HEAD) as usize)?;
    let not = |what: &str| Err(Fault::NotACheckpoint(what.into()));
    if head.starts_with(b"PK\x03\x04") {
        return Ok(Container::TorchZip);
    }
    if is_legacy(&head, |head, form| head.starts_with(form)) {
        return Ok(Container::TorchLegacy);
    }
    if head.len() > 8 && head[8] == b'{' && (head[7] == 0 || !is_text(&head[..8])) {
        return Ok(Container::Safetensors);
    }
    if is_onnx(&head) {
        return Ok(Container::Onnx);
    }
    if is_legacy(&head, |head, form| form.starts_with(head)) || (head.len() < 9 && !is_text(&head)) {
        return Err(Fault::Malformed(format!("cut off after {} bytes, before anything could be read", head.len())));
    }
    let trimmed: Vec<u8> = head.iter().skip_while(|b| b.is_ascii_whitespace()).take(64).copied().collect();
    let lower = trimmed.to_ascii_lowercase();
    match () {
        () if head.starts_with(b"PK\x05\x06") => not("it is an empty zip archive"),
        () if lower.starts_with(b"<!doctype html") || lower.starts_with(b"<html") => {
            not("it is a web page (HTML): the download gave a page instead of the file")
        }
        () if lower.starts_with(b"<?xml") => {
            not("it is an XML text: the download gave an error page instead of the file")
        }
        () if head.starts_with(b"version https://git-lfs") => {
            not("it is a Git LFS pointer: fetch the file itself with 'git lfs pull'")
        }
        () if head.starts_with(b"GGUF") => Err(Fault::Unsupported("GGUF files".into())),
        () if head.starts_with(b"\x89HDF") => Err(Fault::Unsupported("HDF5 files (Keras)".into())),
        () if head.starts_with(b"\x1f\x8b") => not("it is compressed with gzip: unpack it first"),
        () if head.get(257..262) == Some(b"ustar") => {
            not("it is a tar archive: unpack it first (torch files of 2017 are such archives and are not supported)")
        }
        () if is_pickle(&head) => not("it is a Python pickle that torch.save did not write"),
        () if is_text(&head) => not("it is a text file"),
        () => not("its first bytes are neither safetensors, torch's .pt/.pth nor ONNX"),
    }
}

/// Whether the file begins in a form of torch's old container, by `compare`.
fn is_legacy(head: &[u8], compare: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    // protocols 4 and 5 say first how long the pickle is
    let mut frame = vec![0x95];
    frame.extend((MAGIC.len() as u64).to_le_bytes());
    let framed = [&frame, MAGIC.as_slice()].concat();
    let plain = |body: &[u8]| (2..=5).any(|protocol| compare(head, &[&[0x80, protocol], body].concat()));
    plain(&MAGIC) || plain(&framed) || compare(head, MAGIC_TEXT)
}

/// The version of the format, then one of the next fields of ONNX's `ModelProto`: producer, its version, domain, model version,
/// documentation, graph, or the operators' versions.
fn is_onnx(head: &[u8]) -> bool {
    matches!(head, [0x08, 3..=64, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..])
}

/// A pickle: protocols 2 to 5 begin with their number, 0 and 1 with a dictionary if it is a state dict.
fn is_pickle(head: &[u8]) -> bool {
    const STARTS: [&[u8]; 4] = [b"(dp", b"}q\0", b"ccollections\n", b"(lp"];
    matches!(head, [0x80, 1..=5, ..]) || STARTS.iter().any(|start| head.starts_with(start))
}

fn is_text(bytes: &[u8]) -> bool {
    // The last character may be cut in two.
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(e) => e.error_len().is_none() && e.valid_up_to() > 0,
    };
    valid && bytes.iter().all(|&b| b >= 0x20 || matches!(b, b'\t' | b'\n' | b'\r' | 0x0c))
}
