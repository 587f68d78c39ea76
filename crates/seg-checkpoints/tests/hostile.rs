//! Files that must be refused: each an error with its cause, never a panic, never memory beyond the limits.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

mod common;

use candle_core::Device;
use common::{Pickle, data, floats, put, safetensors, torch_zip, zip_of};
use proptest::prelude::*;
use seg_checkpoints::{Checkpoint, Error, Fault};
use std::path::Path;

/// Good files of torch's.
const SEEDS: [&str; 8] = [
    "training_state.pth.bin",
    "ddp_legacy.pth.bin",
    "views.pth.bin",
    "math_bits.pth.bin",
    "arrays_0.pth.bin",
    "arrays_5.pth.bin",
    "protocol_0_old.pth.bin",
    "protocol_4_old.pth.bin",
];

/// Opens and reads everything.
fn read_all(path: &Path) -> Result<usize, Error> {
    let c = Checkpoint::open(path)?;
    for name in c.keys() {
        c.tensor(name, &Device::Cpu)?;
    }
    Ok(c.tensors().len())
}

fn refusal(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = put(&dir, "model.pt", bytes);
    let text = read_all(&path).unwrap_err().to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    text
}

#[track_caller]
fn refused(bytes: &[u8], cause: &str) {
    let text = refusal(bytes);
    assert!(text.contains(cause), "expected «{cause}» in «{text}»");
}

fn pickled(pickle: Pickle) -> Vec<u8> {
    torch_zip(&pickle.end(), &[("0", &floats(&[1., 2., 3., 4.]))])
}

#[test]
fn things_that_are_no_checkpoints() {
    refused(b"", "the file is empty (0 bytes)");
    refused(b"hello, this is a text\n", "it is a text file");
    refused("déjà vu, voilà".as_bytes(), "it is a text file");
    refused(b"\n <!DOCTYPE html><html><body>404</body></html>", "web page (HTML)");
    refused(b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML");
    refused(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 40728226\n", "Git LFS pointer");
    refused(b"{\"error\": \"not found\"}", "it is a text file");
    refused(b"GGUF\x03\0\0\0\0\0\0\0", "GGUF");
    refused(b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "gzip");
    refused(b"\x80\x04\x95\x0b\0\0\0\0\0\0\0}.", "pickle that torch.save did not write");
    refused(b"(dp0\nVw\np1\nI1\ns.", "pickle that torch.save did not write");
    refused(b"}q\0X\x01\0\0\0wq\x01K\x01s.", "pickle that torch.save did not write");
    refused(&[0x93, 0xff, 0x00, 0x12, 0x80, 0x81, 0x82, 0x83, 0x99, 0xfe], "first bytes");
    refused(b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "empty zip");
    refused(&zip_of(&[("readme.txt", b"hi".to_vec())], zip::CompressionMethod::Stored), "without a data.pkl");
    let dir = tempfile::tempdir().unwrap();
    assert!(Checkpoint::open(dir.path()).is_err(), "a folder");
    assert!(matches!(Checkpoint::open(dir.path().join("nothing.pt")), Err(Error::Io { .. })));
}

#[test]
fn every_truncation_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let good = safetensors(r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#, &floats(&[1., 2., 3., 4.]));
    let mut files = vec![("safetensors", good, 1)];
    for name in SEEDS {
        files.push((name, std::fs::read(data(name)).unwrap(), 13));
    }
    files.push(("legacy_p3.pth.bin", std::fs::read(data("legacy_p3.pth.bin")).unwrap(), 3));
    for (name, bytes, step) in files {
        assert!(read_all(&put(&dir, "whole", &bytes)).unwrap() > 0, "{name} is good");
        for cut in (0..bytes.len()).step_by(step) {
            let path = put(&dir, "cut", &bytes[..cut]);
            assert!(read_all(&path).is_err(), "{name} cut to {cut} of {} bytes was accepted", bytes.len());
        }
    }
}

#[test]
fn truncation_says_both_lengths() {
    let whole = safetensors(r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#, &floats(&[1., 2., 3., 4.]));
    let text = refusal(&whole[..whole.len() - 5]);
    assert!(text.contains(&format!("expected {} bytes, the file has {}", whole.len(), whole.len() - 5)), "{text}");
    // a zip cannot say; the manifest can, for a published file's name
    let dir = tempfile::tempdir().unwrap();
    let zip = pickled(Pickle::one_tensor("w"));
    let path = put(&dir, "mobile_sam.pt", &zip[..zip.len() / 2]);
    let error = Checkpoint::open(&path).unwrap_err();
    assert!(matches!(error, Error::File { fault: Fault::Truncated { expected: 40_728_226, .. }, .. }), "{error}");
    // a file that shrinks while it is open
    let path = put(&dir, "shrinks.safetensors", &whole);
    let c = Checkpoint::open(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let error = c.tensor("a", &Device::Cpu).unwrap_err();
    assert!(matches!(error, Error::File { fault: Fault::Truncated { .. }, .. }), "{error}");
}

#[test]
fn safetensors_headers() {
    let file = |header: &str, bytes: usize| safetensors(header, &vec![0; bytes]);
    let mut huge = file("{}", 0);
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    huge[7] = 0; // still far beyond the limit
    refused(&huge, "the limit is 100000000");
    refused(&file(r#"{"a":"#, 0), "header is not valid");
    refused(
        &file(
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
            12,
        ),
        "overlaps",
    );
    refused(
        &file(
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}}"#,
            20,
        ),
        "gap",
    );
    refused(&file(r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,8]}}"#, 8), "does not fill 8 bytes");
    refused(
        &file(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,16],"data_offsets":[0,0]}}"#, 0),
        "does not fill",
    );
    refused(&file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8), "before its start");
    refused(&file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 9), "but the file has");
    refused(
        &file(r#"{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#, 0),
        "overflow",
    );
    refused(
        &file(
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
            4,
        ),
        "listed twice",
    );
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    refused(&file(&deep, 0), "header is not valid");
}

#[test]
fn code_is_refused_and_never_run() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    for (module, name) in
        [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("subprocess", "Popen"), ("torch", "load")]
    {
        let command = format!("touch {}", trace.display());
        let evil = Pickle::one_tensor("w").op(b"(").str("x").global(module, name).op(b"(").str(&command).op(b"tRu");
        refused(&pickled(evil), &format!("asks to run {module}.{name}"));
        // the same through STACK_GLOBAL
        let evil =
            Pickle::one_tensor("w").op(b"(").str("x").str(module).str(name).op(b"\x93(").str(&command).op(b"tRu");
        refused(&pickled(evil), &format!("asks to run {module}.{name}"));
    }
    assert!(!trace.exists());
    // an unknown name is a note, and the tensors are read
    let path = put(&dir, "x.pt", &pickled(Pickle::one_tensor("w").op(b"(").str("x").global("evil", "run").op(b")Ru")));
    let c = Checkpoint::open(path).unwrap();
    assert_eq!(c.tensors().len(), 1);
    assert!(c.notes()[0].contains("evil.run"), "{:?}", c.notes());
    assert!(!trace.exists());
}

#[test]
fn pickles_beyond_the_limits() {
    let tensor = |numel, first, shape: &[i64], strides: &[i64]| {
        pickled(Pickle::new().op(b"}(").str("w").tensor("FloatStorage", "0", numel, first, shape, strides).op(b"u"))
    };
    refused(&tensor(4, 1, &[2, 2], &[2, 1]), "needs 5 elements, its storage has 4");
    refused(&tensor(4, 0, &[2, 2], &[3, 1]), "needs 5 elements");
    refused(&tensor(5, 0, &[5], &[1]), "should have 20 bytes, the file has 16");
    refused(&tensor(4, 0, &[i64::MAX, i64::MAX], &[1, 1]), "too large");
    refused(&tensor(4, 0, &[3], &[i64::MAX]), "its storage has 4");
    refused(&tensor(4, 0, &[4], &[i64::MAX]), "too large");
    refused(&tensor(4, i64::MAX, &[1], &[1]), "needs");
    refused(&tensor(4, 0, &[1 << 40], &[0]), "repeats a storage of 4 elements");
    refused(&tensor(4, 0, &[-1], &[1]), "shape is not made of whole numbers");
    refused(&tensor(4, 0, &[2, 2], &[1]), "1 strides");
    refused(&tensor(-4, 0, &[2], &[1]), "storage is not described");

    let missing = Pickle::new().op(b"}(").str("w").tensor("FloatStorage", "9", 4, 0, &[4], &[1]).op(b"u");
    refused(&pickled(missing), "storage '9' is not in the archive");
    let path = Pickle::new().op(b"}(").str("w").tensor("FloatStorage", "../../etc/passwd", 4, 0, &[4], &[1]).op(b"u");
    refused(&pickled(path), "is not in the archive");

    refused(&pickled(Pickle::new().op(&b"(".repeat(100_000))), "nests deeper than 512");
    let mut deep = Pickle::new();
    for _ in 0..2000 {
        deep = deep.op(b"}").str("k");
    }
    deep = deep.tensor("FloatStorage", "0", 4, 0, &[4], &[1]).op(&b"s".repeat(2000));
    refused(&pickled(deep), "nested deeper than 32");
    refused(&pickled(Pickle::new().op(&b"N".repeat(9 << 20))), "instructions");
    refused(&pickled(Pickle::new().op(b"X\xff\xff\xff\xffabc")), "truncated");
    refused(&pickled(Pickle::new().op(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc")), "truncated");
    refused(&pickled(Pickle::new().op(b"h\x07")), "never made");
    refused(&pickled(Pickle::new().op(b"u")), "did not open");
    refused(&pickled(Pickle::new().op(b"0")), "takes more values than it made");
    refused(&pickled(Pickle::new().op(b"}(N").op(b"u")), "key without a value");
    refused(&pickled(Pickle::new().op(b"\xff")), "instruction 0xff");
    refused(&pickled(Pickle::new().op(b"N")), "holds None");
    refused(&pickled(Pickle::new().op(b"}")), "without any named tensor");
    // one list named many times, one text named many times
    let mut copies = Pickle::new().op(b"]q\x00(");
    for _ in 0..100_000 {
        copies = copies.op(b"NN\x86");
    }
    copies = copies.op(b"e").global("collections", "OrderedDict").op(b"q\x01");
    for _ in 0..200 {
        copies = copies.op(b"h\x01h\x00\x85R");
    }
    refused(&pickled(copies), "makes dictionaries of more than");
    let long = Pickle::new().op(b"}(").str(&"n".repeat(5000)).tensor("FloatStorage", "0", 4, 0, &[4], &[1]).op(b"u");
    refused(&pickled(long), "name has more than 1024");
    refused(&tensor(4, 0, &[1; 40], &[1; 40]), "more than 32 axes");
    // names from a file cannot break the line or the terminal
    let odd = Pickle::new().op(b"}(").str("a\nb\x1b[2J").tensor("FloatStorage", "0", 5, 0, &[5], &[1]).op(b"u");
    refused(&pickled(odd), "tensor 'a?b?[2J'");
    // a dictionary in itself, and one whose parts are shared 2^60 times
    refused(&pickled(Pickle::new().op(b"}q\x00").str("me").op(b"h\x00s")), "without any named tensor");
    let mut shared = Pickle::new().op(b"}q\x00");
    for i in 1u8..60 {
        shared =
            shared.op(b"}").op(&[b'q', i]).str("a").op(&[b'h', i - 1]).op(b"s").str("b").op(&[b'h', i - 1]).op(b"s");
    }
    assert!(!refusal(&pickled(shared)).is_empty());
}

#[test]
fn archives() {
    let pickle = Pickle::one_tensor("w").end();
    let entries = |storage: Vec<u8>| vec![("archive/data.pkl", pickle.clone()), ("archive/data/0", storage)];
    refused(&zip_of(&entries(vec![0; 1 << 20]), zip::CompressionMethod::Deflated), "is compressed");
    let two = [("a/data.pkl", pickle.clone()), ("b/data.pkl", pickle.clone())];
    refused(&zip_of(&two, zip::CompressionMethod::Stored), "two pickles");
    let big = [("a/data.pkl", pickle.clone()), ("a/data/0", vec![0; 16]), ("a/byteorder", b"big".to_vec())];
    refused(&zip_of(&big, zip::CompressionMethod::Stored), "big-endian");
    let numpy = [("a.npy", b"\x93NUMPY".to_vec()), ("b.npy", b"\x93NUMPY".to_vec())];
    refused(&zip_of(&numpy, zip::CompressionMethod::Stored), "NumPy archive (.npz)");
    let packed = [("weights/model.pt", pickle.clone()), ("README", vec![0])];
    refused(&zip_of(&packed, zip::CompressionMethod::Deflated), "'weights/model.pt' is in it: unpack it first");
    let module = Pickle::new().op(b"}(").str("model").global("__main__", "Net").op(b")\x81}bu").end();
    refused(&torch_zip(&module, &[]), "'model' is a Python object (__main__.Net)");
    refused(&torch_zip(&module, &[]), "save its state_dict() instead");
    let short = zip_of(&entries(vec![0; 15]), zip::CompressionMethod::Stored);
    refused(&short, "should have 16 bytes, the file has 15");
}

/// The file with one bit of `bytes`, which stand in it once, turned over.
fn one_bit_off(file: &[u8], bytes: &[u8]) -> Vec<u8> {
    let found: Vec<usize> = (0..file.len()).filter(|&at| file[at..].starts_with(bytes)).collect();
    let [at] = found[..] else { panic!("{} places", found.len()) };
    let mut off = file.to_vec();
    off[at] ^= 1;
    off
}

#[test]
fn bytes_that_changed() {
    let storage = floats(&[1., 2., 3., 4.]);
    let whole = Pickle::one_tensor("w").end();
    let changed = one_bit_off(&torch_zip(&whole, &[("0", &storage)]), &storage);
    refused(&changed, "damaged: entry 'archive/data/0' of the archive has the checksum ");
    refused(&changed, "download or copy the file again");

    // a view of a storage, whose other part changed
    let view = Pickle::new().op(b"}(").str("w").tensor("FloatStorage", "0", 4, 2, &[2], &[1]).op(b"u").end();
    refused(&one_bit_off(&torch_zip(&view, &[("0", &storage)]), &storage), "entry 'archive/data/0'");
    // a name in the pickle
    let named = Pickle::one_tensor("weight").end();
    refused(&one_bit_off(&torch_zip(&named, &[("0", &storage)]), b"weight"), "entry 'archive/data.pkl'");
}

#[test]
fn checksums_without_reading_a_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let storage = floats(&[1., 2., 3., 4.]);
    let good = torch_zip(&Pickle::one_tensor("w").end(), &[("0", &storage)]);
    Checkpoint::open(put(&dir, "good.pt", &good)).unwrap().check().unwrap();
    let changed = Checkpoint::open(put(&dir, "changed.pt", &one_bit_off(&good, &storage))).unwrap();
    for _ in 0..2 {
        let text = changed.check().unwrap_err().to_string();
        assert!(text.contains("changed.pt: damaged: entry 'archive/data/0'"), "{text}");
    }
}

#[test]
fn archives_that_torch_writes_without_checksums() {
    let file = std::fs::read(data("no_crc.pt.bin")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let c = Checkpoint::open(put(&dir, "x.pt", &file)).unwrap();
    c.check().unwrap();
    assert_eq!(c.tensor("w", &Device::Cpu).unwrap().to_vec1::<f32>().unwrap(), [1., 2., 3., 4.]);
}

/// Good files of each format, small.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = SEEDS.iter().map(|n| std::fs::read(data(n)).unwrap()).collect();
    seeds.push(safetensors(
        r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"I64","shape":[],"data_offsets":[16,24]}}"#,
        &[7; 24],
    ));
    seeds
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), start in 0usize..7) {
        let starts: [&[u8]; 7] = [b"L119547037146038801333356L\n.I1001\n.", b"\x80\x03\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x03", b"", b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", b"\x20\0\0\0\0\0\0\0{", b"\x80\x02"];
        let dir = tempfile::tempdir().unwrap();
        let _ = read_all(&put(&dir, "x", &[starts[start], &bytes].concat()));
        // the pickle machine itself, behind a good archive
        let _ = read_all(&put(&dir, "y", &torch_zip(&bytes, &[("0", &[0; 16])])));
    }

    #[test]
    fn mutations_never_panic(seed in 0usize..SEEDS.len() + 1, edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = seeds()[seed].clone();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let dir = tempfile::tempdir().unwrap();
        if let Ok(c) = Checkpoint::open(put(&dir, "x", &bytes)) {
            for (name, info) in c.tensors() {
                prop_assert!(info.elements() * info.dtype.size() <= (64 << 20).max(bytes.len()));
                let _ = c.tensor(name, &Device::Cpu);
            }
        }
    }

    #[test]
    fn mutated_pickles_never_panic(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut pickle = Pickle::one_tensor("w").end();
        for (at, value) in edits {
            let at = at.index(pickle.len());
            pickle[at] = value;
        }
        let dir = tempfile::tempdir().unwrap();
        let _ = read_all(&put(&dir, "x", &torch_zip(&pickle, &[("0", &[0; 16])])));
    }
}
