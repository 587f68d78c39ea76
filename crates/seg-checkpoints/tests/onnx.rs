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

/// What onnxruntime's optimiser makes of a model of 16-bit floats for a processor that computes in 32: a conversion before each use.
#[test]
fn conversions_of_an_optimiser_hide_no_weights() {
    let to = |name: &str| format!("InsertedPrecisionFreeCast_{name}");
    let cast = |name: &str| {
        let parts = [bytes(1, name.as_bytes()), bytes(2, to(name).as_bytes()), bytes(3, to(name).as_bytes())];
        bytes(1, &[parts.concat(), bytes(4, b"Cast")].concat())
    };
    let names = ["conv_in.weight", "conv_in.bias", "onnx::Conv_1", "onnx::Conv_2"];
    let [kept, bias, lost, lost_bias] = names.map(to);
    let c = open(&model(&[
        names.map(cast).concat(),
        node("/conv_in/Conv", "Conv", &["x", &kept, &bias]),
        node("/stage1/rebnconvin/conv_s1/Conv", "Conv", &["y", &lost, &lost_bias]),
        tensor("conv_in.weight", &[2, 1, 1, 1], &[1., 2.]),
        tensor("conv_in.bias", &[2], &[3., 4.]),
        tensor("onnx::Conv_1", &[1, 2, 1, 1], &[5., 6.]),
        tensor("onnx::Conv_2", &[1], &[7.]),
    ]))
    .unwrap();
    let plain = open(&small()).unwrap();
    assert_eq!(c.tensors(), plain.tensors());
    assert!(c.keys().all(|name| values(&c, name) == values(&plain, name)));
    assert_eq!(c.notes(), plain.notes());
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
        bytes(5, &[number(1, 2), number(2, 7), name("int64"), bytes(7, &[varint(5), varint(300)].concat())].concat()),
        // what `onnx.helper.make_tensor` makes of 16-bit floats: their bits as varints
        bytes(
            5,
            &[number(1, 2), number(2, 10), name("bits"), bytes(5, &[varint(0x3c00), varint(0xc000)].concat())].concat(),
        ),
        bytes(
            5,
            &[number(1, 2), number(2, 16), name("brain"), bytes(5, &[varint(0x3f80), varint(0xc000)].concat())]
                .concat(),
        ),
        bytes(5, &[number(1, 1), number(2, 8), name("text"), bytes(6, b"hi")].concat()),
        bytes(5, &[number(1, 1), number(2, 1), name("loose"), vec![0x25, 0, 0, 0, 0]].concat()),
        bytes(5, &[number(1, 0), number(2, 1), name("empty")].concat()),
        bytes(5, &[number(2, 1), name("scalar"), bytes(9, &floats(&[2.5]))].concat()),
    ];
    let c = open(&model(&graph)).unwrap();
    assert_eq!(c.keys().collect::<Vec<_>>(), ["bits", "brain", "empty", "half", "int64", "packed", "scalar"]);
    assert_eq!(c.get("half").unwrap().dtype, FileDtype::F16);
    assert_eq!((values(&c, "half"), values(&c, "scalar")), (vec![1., -2.], vec![2.5]));
    assert_eq!(c.get("packed").unwrap().shape, [2, 300]);
    assert_eq!(
        (values(&c, "bits"), values(&c, "brain"), values(&c, "int64")),
        (vec![1., -2.], vec![1., -2.], vec![5., 300.])
    );
    let notes = c.notes().join("\n");
    for part in ["'text': a tensor of ONNX's type 8", "'loose': a tensor whose numbers are not plain bytes"] {
        assert!(notes.contains(part), "expected «{part}» in «{notes}»");
    }
}

/// A tensor whose numbers are in another file.
fn outside(name: &str, dims: &[u64], entries: &[(&str, &str)]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&d| number(1, d)).collect();
    let entry =
        |(key, value): &(&str, &str)| bytes(13, &[bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat());
    let entries: Vec<u8> = entries.iter().flat_map(entry).collect();
    bytes(5, &[dims, number(2, 1), bytes(8, name.as_bytes()), entries, number(14, 1)].concat())
}

#[test]
fn data_in_a_file_beside_the_model() {
    let dir = tempfile::tempdir().unwrap();
    put(&dir, "m.onnx.data", &floats(&[1., 2., 3., 4., 5.]));
    let place = |at, len| [("location", "m.onnx.data"), ("offset", at), ("length", len)];
    let whole = model(&[
        outside("a.weight", &[2, 1], &place("4", "8")),
        tensor("a.bias", &[1], &[9.]),
        // torch writes equal tensors once
        node("", "Identity", &["a.weight"]),
        outside("b.weight", &[1], &[("location", "./m.onnx.data")]),
    ]);
    let whole = [whole.as_slice()].concat();
    let c = Checkpoint::open(put(&dir, "m.onnx", &whole)).unwrap();
    assert_eq!(c.keys().collect::<Vec<_>>(), ["a.bias", "a.weight", "b.weight", "out"]);
    assert_eq!(
        (values(&c, "a.weight"), values(&c, "b.weight"), values(&c, "out")),
        (vec![2., 3.], vec![1.], vec![2., 3.])
    );
    assert_eq!(c.file_len(), whole.len() as u64 + 2 * 20, "the two names of the file count as two");
    let refused = |tensor: Vec<u8>, causes: &[&str]| {
        let text = Checkpoint::open(put(&dir, "m.onnx", &model(&[tensor]))).unwrap_err().to_string();
        assert!(causes.iter().all(|cause| text.contains(cause)) && !text.contains('\n'), "{causes:?} in «{text}»");
    };
    refused(outside("w", &[1], &[("location", "gone.data")]), &["'w'", "'gone.data'"]);
    refused(outside("w", &[2], &place("16", "8")), &["'w' ends at byte 24 of 'm.onnx.data'", "20 bytes"]);
    refused(outside("w", &[1], &place("18446744073709551615", "4")), &["'w' ends at byte"]);
    refused(outside("w", &[3], &place("0", "8")), &["'w': shape [3] of F32 does not fill 8 bytes"]);
    refused(outside("w", &[1], &[("location", "m.onnx.data"), ("offset", "-4")]), &["offset '-4'"]);
    for path in ["../m.onnx.data", "/etc/hostname", "a/../../b", ""] {
        refused(outside("w", &[1], &[("location", path)]), &["own folder"]);
    }
    refused(outside("w", &[1], &[("location", ".")]), &["not a regular file"]);
}

/// A node whose output is a tensor of its own.
fn constant(output: &str, tensor: &[u8]) -> Vec<u8> {
    // the field of a graph's initialiser is that of an attribute's tensor
    let attribute = bytes(5, &[bytes(1, b"value"), tensor.to_vec()].concat());
    bytes(1, &[bytes(2, output.as_bytes()), bytes(4, b"Constant"), attribute].concat())
}

#[test]
fn weights_as_constants_and_constants_that_are_none() {
    let graph = [
        constant("conv_in.weight", &tensor("", &[1, 2, 1, 1], &[1., 2.])),
        constant("/head/Constant_output_0", &tensor("value", &[1, 1, 1, 1], &[3.])),
        constant("/head/Constant_1_output_0", &tensor("value", &[2], &[3., 4.])),
        node("/conv_in/Conv", "Conv", &["x", "conv_in.weight"]),
        node("/head/Conv", "Conv", &["x", "/head/Constant_output_0"]),
        tensor("val_104", &[1], &[0.]),
        tensor("687", &[1], &[0.]),
        tensor("onnx::Slice_3", &[1], &[0.]),
    ];
    let c = open(&model(&graph)).unwrap();
    assert_eq!(c.keys().collect::<Vec<_>>(), ["conv_in.weight", "head.weight"]);
    assert_eq!((values(&c, "conv_in.weight"), values(&c, "head.weight")), (vec![1., 2.], vec![3.]));
    assert!(c.notes()[0].contains("4 constants of the exporter's own"), "{:?}", c.notes());
}

#[test]
fn names_that_no_node_tells() {
    let graph =
        [node("Conv_0", "Conv", &["x", "687", "688"]), tensor("687", &[1, 1, 1, 1], &[1.]), tensor("688", &[1], &[2.])];
    let c = open(&model(&graph)).unwrap();
    assert!(c.notes()[0].contains("2 weights have lost their names"), "{:?}", c.notes());
    let blocked =
        bytes(1, &[bytes(3, b"reorder"), bytes(4, b"ReorderInput"), bytes(7, b"com.microsoft.nchwc")].concat());
    refused(&model(&[blocked]), "ORT_ENABLE_EXTENDED");
}

/// torch's exporter of today folds under the weight's own name, and gives the convolution a bias that it did not have.
#[test]
fn a_batch_norm_folded_into_a_convolution_without_bias() {
    let graph = [
        node("node_Conv_7", "Conv", &["x", "seq.0.c.weight", "seq.0.c.weight_bias"]),
        tensor("seq.0.c.weight", &[2, 1, 1, 1], &[1., 2.]),
        tensor("seq.0.c.weight_bias", &[2], &[3., 4.]),
    ];
    let c = open(&model(&graph)).unwrap();
    let expected =
        ["c.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.weight"].map(|n| format!("seq.0.{n}"));
    assert!(c.tensors().len() == 5 && expected.iter().all(|name| c.get(name).is_some()), "{:?}", c.tensors());
    assert_eq!((values(&c, &expected[0]), values(&c, &expected[1])), (vec![1., 2.], vec![3., 4.]));
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
