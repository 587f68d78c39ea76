//! ONNX models: names found again, bytes where they lie, and hostile files refused.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

mod common;

use candle_core::{DType, Device};
use common::{floats, put};
use proptest::prelude::*;
use seg_checkpoints::{Checkpoint, Error, FileDtype, Format};
use std::path::Path;

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

fn number(field: u64, n: u64) -> Vec<u8> {
    [varint(field << 3), varint(n)].concat()
}

fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn node(name: &str, op: &str, inputs: &[&str]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|i| bytes(1, i.as_bytes())).collect();
    bytes(1, &[inputs, bytes(2, b"out"), bytes(3, name.as_bytes()), bytes(4, op.as_bytes())].concat())
}

/// A float tensor with raw data.
fn tensor(name: &str, dims: &[u64], values: &[f32]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&d| number(1, d)).collect();
    bytes(5, &[dims, number(2, 1), bytes(8, name.as_bytes()), bytes(9, &floats(values))].concat())
}

fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    [number(1, 8), bytes(2, b"pytorch"), bytes(7, &graph.concat()), bytes(8, &number(2, 17))].concat()
}

/// A folded convolution, one that kept its names, and a constant that is no weight.
fn small() -> Vec<u8> {
    model(&[
        node("/conv_in/Conv", "Conv", &["x", "conv_in.weight", "conv_in.bias"]),
        node("/stage1/rebnconvin/conv_s1/Conv", "Conv", &["y", "onnx::Conv_1", "onnx::Conv_2"]),
        node("/stage1/Relu", "Relu", &["z"]),
        tensor("conv_in.weight", &[2, 1, 1, 1], &[1., 2.]),
        tensor("conv_in.bias", &[2], &[3., 4.]),
        tensor("onnx::Conv_1", &[1, 2, 1, 1], &[5., 6.]),
        tensor("onnx::Conv_2", &[1], &[7.]),
    ])
}

fn open(content: &[u8]) -> Result<Checkpoint, Error> {
    let dir = tempfile::tempdir().unwrap();
    Checkpoint::open(put(&dir, "model.onnx", content))
}

fn read_all(path: &Path) -> Result<usize, Error> {
    let c = Checkpoint::open(path)?;
    for name in c.keys() {
        c.tensor(name, &Device::Cpu)?;
    }
    Ok(c.tensors().len())
}

fn values(c: &Checkpoint, name: &str) -> Vec<f32> {
    c.tensor(name, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn refused(content: &[u8], cause: &str) {
    let text = open(content).unwrap_err().to_string();
    assert!(text.contains(cause) && !text.contains('\n'), "expected «{cause}» in «{text}»");
}

#[test]
fn names_of_modules_and_identities_for_folded_batch_norms() {
    let c = open(&small()).unwrap();
    assert_eq!(c.format(), Format::Onnx);
    assert_eq!(
        c.keys().collect::<Vec<_>>(),
        [
            "conv_in.bias",
            "conv_in.weight",
            "stage1.rebnconvin.bn_s1.bias",
            "stage1.rebnconvin.bn_s1.running_mean",
            "stage1.rebnconvin.bn_s1.running_var",
            "stage1.rebnconvin.bn_s1.weight",
            "stage1.rebnconvin.conv_s1.bias",
            "stage1.rebnconvin.conv_s1.weight",
        ]
    );
    assert_eq!(values(&c, "stage1.rebnconvin.conv_s1.weight"), [5., 6.]);
    assert_eq!(c.get("stage1.rebnconvin.conv_s1.weight").unwrap().shape, [1, 2, 1, 1]);
    assert_eq!(values(&c, "stage1.rebnconvin.bn_s1.weight"), [1.000_005]);
    assert_eq!(values(&c, "stage1.rebnconvin.bn_s1.running_var"), [1.]);
    assert!(c.notes()[0].contains("1 batch norms were folded"), "{:?}", c.notes());
}

#[test]
fn converted_it_is_a_safetensors_file_of_the_same_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let from = Checkpoint::open(put(&dir, "model.onnx", &small())).unwrap();
    let path = dir.path().join("model.safetensors");
    seg_checkpoints::convert(&from, &path).unwrap();
    let to = Checkpoint::open(&path).unwrap();
    assert_eq!(to.tensors(), from.tensors());
    assert!(from.keys().all(|name| values(&from, name) == values(&to, name)));
    assert_eq!(to.metadata()["source_format"], "ONNX");
}

#[test]
fn batch_norms_that_are_there_stay() {
    let graph = [
        tensor("a.conv_s1.weight", &[1, 1, 1, 1], &[1.]),
        tensor("a.conv_s1.bias", &[1], &[1.]),
        tensor("a.bn_s1.weight", &[1], &[9.]),
    ];
    let c = open(&model(&graph)).unwrap();
    assert_eq!((c.tensors().len(), values(&c, "a.bn_s1.weight")), (3, vec![9.]));
}

#[test]
fn ways_of_storing() {
    let name = |n: &str| bytes(8, n.as_bytes());
    let packed_dims = bytes(1, &[varint(2), varint(300)].concat());
    let zeros = vec![0f32; 600];
    let graph = [
        bytes(5, &[packed_dims, number(2, 1), name("packed"), bytes(4, &floats(&zeros))].concat()),
        bytes(5, &[number(1, 2), number(2, 10), name("half"), bytes(9, &[0, 0x3c, 0, 0xc0])].concat()),
        bytes(5, &[number(1, 1), number(2, 7), name("int64 as varints"), bytes(7, &varint(5))].concat()),
        bytes(5, &[number(1, 1), number(2, 8), name("text"), bytes(6, b"hi")].concat()),
        bytes(5, &[number(1, 1), number(2, 1), name("outside"), bytes(13, b"x"), number(14, 1)].concat()),
        bytes(5, &[number(1, 0), number(2, 1), name("empty")].concat()),
        bytes(5, &[number(2, 1), name("scalar"), bytes(9, &floats(&[2.5]))].concat()),
    ];
    let c = open(&model(&graph)).unwrap();
    assert_eq!(c.keys().collect::<Vec<_>>(), ["empty", "half", "packed", "scalar"]);
    assert_eq!(c.get("half").unwrap().dtype, FileDtype::F16);
    assert_eq!((values(&c, "half"), values(&c, "scalar")), (vec![1., -2.], vec![2.5]));
    assert_eq!(c.get("packed").unwrap().shape, [2, 300]);
    let notes = c.notes().join("\n");
    for part in
        ["'int64 as varints': its numbers", "'text': elements of ONNX type 8", "'outside': its data is in another"]
    {
        assert!(notes.contains(part), "expected «{part}» in «{notes}»");
    }
}

#[test]
fn lies_are_refused() {
    refused(&model(&[tensor("a", &[3], &[1.])]), "tensor 'a': shape [3] of F32 does not fill 4 bytes");
    refused(&model(&[tensor("a", &[u64::MAX, 2], &[1.])]), "tensor 'a'");
    refused(&model(&[tensor("a", &[1], &[1.]), tensor("a", &[1], &[1.])]), "two tensors are called 'a'");
    refused(&model(&[tensor("a", &[1; 40], &[1.])]), "more than 16 axes");
    refused(&model(&[tensor(&"n".repeat(20_000), &[1], &[1.])]), "a name of 20000 bytes");
    refused(&model(&[bytes(5, &[number(1, 1), bytes(8, &[0xff, 0xfe])].concat())]), "not UTF-8");
    refused(&[model(&[]), bytes(7, &[])].concat(), "two graphs");
    refused(&[number(1, 8), bytes(2, b"pytorch")].concat(), "has no graph");
    refused(&[number(1, 8), vec![0x3a], varint(1 << 40), vec![0; 64]].concat(), "truncated");
    let too_long = bytes(7, &[vec![0x0a], varint(1 << 40)].concat());
    refused(&[number(1, 8), too_long, bytes(8, &[])].concat(), "in a message that ends");
    refused(&[number(1, 8), vec![0x3a], vec![0xff; 12]].concat(), "more than 64 bits");
    refused(&[number(1, 8), bytes(7, &[0x0b]), bytes(8, &[])].concat(), "no field of kind 3");
}

#[test]
fn every_cut_inside_the_graph_is_an_error() {
    let whole = small();
    let dir = tempfile::tempdir().unwrap();
    let after = bytes(8, &number(2, 17)).len();
    for len in 0..whole.len() - after {
        let path = put(&dir, "cut.onnx", &whole[..len]);
        assert!(read_all(&path).is_err(), "{len} of {} bytes", whole.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_byte_makes_it_panic(at in 0usize..600, value: u8, cut in 0usize..40) {
        let mut content = small();
        let at = at % content.len();
        content[at] = value;
        content.truncate(content.len() - cut);
        let dir = tempfile::tempdir().unwrap();
        let _ = read_all(&put(&dir, "model.onnx", &content));
    }
}
