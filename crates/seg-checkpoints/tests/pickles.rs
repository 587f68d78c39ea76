//! Every pickle protocol, numpy's arrays, and torch's math bits: the values that torch loads.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

mod common;

use candle_core::{DType, Device};
use common::{Pickle, data, floats, put, torch_zip};
use seg_checkpoints::{Checkpoint, FileDtype, Format};
use serde_json::Value;

fn values(c: &Checkpoint, name: &str) -> Vec<f64> {
    let t = c.tensor(name, &Device::Cpu).unwrap();
    assert_eq!(t.dims(), c.get(name).unwrap().shape, "{name}");
    assert_eq!(t.dtype(), c.get(name).unwrap().dtype.candle(), "{name}");
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Names, types, shapes and values of all tensors are those that torch loaded, to the sign of a zero.
fn as_torch_loads_it(file: &str) -> Checkpoint {
    let expected: Value = serde_json::from_slice(&std::fs::read(data("pickles.json")).unwrap()).unwrap();
    let tensors = expected[file].as_object().unwrap();
    let c = Checkpoint::open(data(file)).unwrap();
    let mut names: Vec<_> = tensors.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(c.keys().collect::<Vec<_>>(), names, "{file}");
    for (name, tensor) in tensors {
        let info = c.get(name).unwrap();
        assert_eq!(tensor["dtype"], info.dtype.as_str(), "{file}: {name}");
        assert_eq!(tensor["shape"], serde_json::json!(info.shape), "{file}: {name}");
        let bits = |v: &f64| v.to_bits();
        let wanted: Vec<f64> = tensor["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let got = values(&c, name);
        assert!(got.iter().map(bits).eq(wanted.iter().map(bits)), "{file}: {name} is {got:?}, torch has {wanted:?}");
    }
    c
}

#[test]
fn old_container_of_protocol_3() {
    let c = as_torch_loads_it("legacy_p3.pth.bin");
    assert_eq!(c.format(), Format::TorchLegacy);
    let count = |dtype| c.tensors().values().filter(|t| t.dtype == dtype).count();
    use FileDtype::{BF16, Bool, F16, F32, I64};
    assert_eq!([BF16, Bool, F16, F32, I64].map(count), [1, 1, 1, 5, 1]);
    assert_eq!(values(&c, "view2")[..5], [0., 6., 12., 18., 1.]);
}

#[test]
fn every_protocol_in_both_containers() {
    for protocol in 0..=5 {
        for (kind, format) in [("zip", Format::TorchZip), ("old", Format::TorchLegacy)] {
            let c = as_torch_loads_it(&format!("protocol_{protocol}_{kind}.pth.bin"));
            assert_eq!((c.format(), c.nested_key()), (format, Some("model")));
            let notes = c.notes().join("\n");
            assert!(
                notes.contains("beside the weights: ")
                    && notes.contains("'args' (a Python object (argparse.Namespace))"),
                "{notes}"
            );
        }
    }
}

#[test]
fn parts_of_complex_numbers_and_their_signs() {
    for file in ["math_bits.pth.bin", "math_bits_old.pth.bin"] {
        let c = as_torch_loads_it(file);
        assert_eq!(values(&c, "conjugate_imag"), [-2., 4., 0., -0.5]);
        let notes = c.notes().join("\n");
        assert!(notes.contains("'complex'") && notes.contains("'complex_conjugate'"), "{notes}");
    }
}

#[test]
fn arrays_of_numpy_and_tensors_without_a_storage() {
    for protocol in 0..=5 {
        let c = as_torch_loads_it(&format!("arrays_{protocol}.pth.bin"));
        assert_eq!(c.notes(), [""; 0], "{protocol}");
        assert_eq!(c.get("xla_bf16").unwrap().dtype, FileDtype::BF16);
    }
}

fn bytes(pickle: Pickle, bytes: &[u8]) -> Pickle {
    pickle.op(b"B").op(&(bytes.len() as u32).to_le_bytes()).op(bytes)
}

/// Bytes as protocol 2 has them.
fn encoded(pickle: Pickle, bytes: &[u8]) -> Pickle {
    let text: String = bytes.iter().map(|&b| char::from(b)).collect();
    pickle.global("_codecs", "encode").op(b"(").str(&text).str("latin1").op(b"tR")
}

/// An array; `data` writes its bytes.
fn array(pickle: Pickle, code: &str, order: &str, shape: &[i64], data: impl Fn(Pickle) -> Pickle) -> Pickle {
    let pickle = pickle.global("numpy.core.multiarray", "_reconstruct").op(b"(").global("numpy", "ndarray").ints(&[0]);
    let pickle = bytes(pickle, b"b").op(b"tR(").int(1).ints(shape);
    data(element_type(pickle, code, order).op(&[0x89])).op(b"tb")
}

fn element_type(pickle: Pickle, code: &str, order: &str) -> Pickle {
    let pickle = pickle.global("numpy", "dtype").op(b"(").str(code).op(b"\x89\x88tR(").int(3).str(order).op(b"NNN");
    pickle.int(-1).int(-1).int(0).op(b"tb")
}

fn open(pickle: Pickle) -> Result<Checkpoint, String> {
    let dir = tempfile::tempdir().unwrap();
    let zip = torch_zip(&pickle.end(), &[("0", &floats(&[1., 2., 3., 4.]))]);
    Checkpoint::open(put(&dir, "x.pt", &zip)).map_err(|e| e.to_string())
}

fn one(write: impl FnOnce(Pickle) -> Pickle) -> Pickle {
    write(Pickle::new().op(b"}(").str("w")).op(b"u")
}

#[test]
fn long_arrays_stay_in_the_file() {
    let numbers: Vec<f32> = (0..50_000).map(|i| i as f32 / 7. - 900.).collect();
    let wanted: Vec<f64> = numbers.iter().map(|&v| v.into()).collect();
    let little = floats(&numbers);
    let big: Vec<u8> = numbers.iter().flat_map(|v| v.to_be_bytes()).collect();
    type Way = fn(Pickle, &[u8]) -> Pickle;
    let ways: [Way; 2] = [bytes, encoded];
    for way in ways {
        for (order, data) in [("<", &little), (">", &big)] {
            let c = open(one(|p| array(p, "f4", order, &[200, 250], |p| way(p, data)))).unwrap();
            assert_eq!(values(&c, "w"), wanted, "{order}");
        }
    }
    // a character that is no byte, and a text cut in the middle of one
    let snow = |p: Pickle| p.global("_codecs", "encode").op(b"(").str(&"☃".repeat(70_000)).str("latin1").op(b"tR");
    let c = open(
        one(|p| array(p, "u1", "|", &[70_000], snow))
            .op(b"(")
            .str("v")
            .tensor("FloatStorage", "0", 4, 0, &[4], &[1])
            .op(b"u"),
    );
    let c = c.unwrap();
    assert_eq!(c.keys().collect::<Vec<_>>(), ["v"]);
    assert!(c.notes()[0].contains("'w': a numpy array of U8 without its bytes"), "{:?}", c.notes());
}

#[test]
fn axes_in_another_order() {
    // as numpy 2.4 writes an array whose axes are neither in C's order nor in Fortran's
    let numbers: Vec<f32> = (0..24u8).map(f32::from).collect();
    let pickle = one(|p| {
        let p = bytes(p.global("numpy._core.numeric", "_frombuffer").op(b"("), &floats(&numbers));
        element_type(p, "f4", "<").ints(&[2, 3, 4]).str("K").ints(&[1, 0, 2]).op(b"tR")
    });
    let c = open(pickle).unwrap();
    let wanted: Vec<f64> =
        (0..3).flat_map(|i| (0..2).flat_map(move |j| (0..4).map(move |k| f64::from(j * 12 + i * 4 + k)))).collect();
    assert_eq!((c.get("w").unwrap().shape.as_slice(), values(&c, "w")), (&[3, 2, 4][..], wanted));
}

/// The element type of another package's array, by the package's own name.
fn foreign(name: &'static str) -> impl Fn(Pickle) -> Pickle {
    move |p| {
        let p = p.global("numpy._core.numeric", "_frombuffer").op(b"(");
        let p = bytes(p, &[0x80, 0x3f, 0, 0xc0]).global("numpy", "dtype").op(b"(").global("ml_dtypes", name);
        p.op(b"\x89\x88tR(").int(3).str("<").op(b"NNN").int(2).int(2).int(64).op(b"tb").ints(&[2]).str("C").op(b"tR")
    }
}

#[test]
fn element_types_of_other_packages() {
    let c = open(one(foreign("bfloat16"))).unwrap();
    assert_eq!((c.get("w").unwrap().dtype, values(&c, "w")), (FileDtype::BF16, vec![1., -2.]));
    let pickle = one(foreign("int4")).op(b"(").str("v").tensor("FloatStorage", "0", 4, 0, &[4], &[1]).op(b"u");
    let c = open(pickle).unwrap();
    assert_eq!(c.keys().collect::<Vec<_>>(), ["v"]);
    assert!(c.notes()[0].contains("'w'") && c.notes()[0].contains("of type 'ml_dtypes.int4'"), "{:?}", c.notes());
}

#[test]
fn other_names_of_device_tensors() {
    let saved = |function: &str, dtype: &str, inner: fn(Pickle) -> Pickle| {
        let pickle = one(|p| {
            let p = inner(p.global("torch._utils", function).op(b"("));
            p.global("torch", dtype).str("xla:0").op(b"\x89tR")
        });
        open(pickle)
    };
    let numpy = |p| array(p, "f4", "<", &[2], |p| bytes(p, &floats(&[1.5, -2.5])));
    let tensor = |p: Pickle| p.tensor("FloatStorage", "0", 4, 1, &[2], &[2]);
    let c = saved("_rebuild_xla_tensor", "float32", numpy).unwrap();
    assert_eq!(values(&c, "w"), [1.5, -2.5]);
    let c = saved("_rebuild_xla_tensor", "float16", numpy).unwrap();
    assert_eq!((c.get("w").unwrap().dtype, values(&c, "w")), (FileDtype::F16, vec![1.5, -2.5]));
    let c = saved("_rebuild_device_tensor_from_cpu_tensor", "float32", tensor).unwrap();
    assert_eq!(values(&c, "w"), [2., 4.]);
    assert!(saved("_rebuild_xla_tensor", "float32", tensor).unwrap_err().contains("without the array"));
    assert!(
        saved("_rebuild_xla_tensor", "int64", numpy)
            .unwrap_err()
            .contains("'w' is a tensor of I64 that was saved as F32")
    );
}

#[test]
fn text_as_python_2_wrote_it() {
    // S: strings in quotes; I, L, F: numbers; p, g: what is remembered; i, o: objects of old classes
    let storage = "P('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 4)\n";
    let tensor = format!("ctorch._utils\n_rebuild_tensor\np7\n({storage}L1L\n(I3\ntp2\n(I1\nttR");
    let pickle = format!(
        "(dp0\nS'it\\'s \\x77'\np1\n{tensor}sS'lr'\nF1e-3\nsS'opt'\n(iargparse\nNamespace\np4\nsS'other'\n(cargparse\nNamespace\nos\
         S'same'\ng7\n({storage}I0\n(I2\nI2\nt(I1\nI2\nttRs."
    );
    let dir = tempfile::tempdir().unwrap();
    let zip = torch_zip(pickle.as_bytes(), &[("0", &floats(&[1., 2., 3., 4.]))]);
    let c = Checkpoint::open(put(&dir, "x.pt", &zip)).unwrap();
    assert_eq!(c.keys().collect::<Vec<_>>(), ["it's w", "same"]);
    assert_eq!((values(&c, "it's w"), values(&c, "same")), (vec![2., 3., 4.], vec![1., 3., 2., 4.]));
    let notes = c.notes().join("\n");
    assert!(notes.contains("'opt': a Python object (argparse.Namespace)"), "{notes}");
    assert!(notes.contains("'other': a Python object (argparse.Namespace)"), "{notes}");
}

#[test]
fn arrays_that_are_refused() {
    let refusal = |write: &dyn Fn(Pickle) -> Pickle| open(one(write)).unwrap_err();
    let eight = |p: Pickle| bytes(p, &[0; 8]);
    let shape = |shape: &[i64]| refusal(&|p| array(p, "f4", "<", shape, eight));
    assert!(shape(&[3]).contains("'w': a numpy array of shape [3] of F32 does not fill 8 bytes"), "{}", shape(&[3]));
    assert!(shape(&[1 << 62, 1 << 62]).contains("does not fill 8 bytes"));
    assert!(shape(&[-2]).contains("whole numbers"));
    assert!(shape(&[1; 40]).contains("more than 32 axes"));
    // named and left out, as other things that are no weights
    for (code, order, cause) in
        [("c8", "<", "numpy array of type 'c8'"), ("O8", "|", "'O8'"), ("f4", "!", "byte order '!'")]
    {
        let pickle = one(|p| array(p, code, order, &[2], eight)).op(b"(").str("v");
        let c = open(pickle.tensor("FloatStorage", "0", 4, 0, &[4], &[1]).op(b"u")).unwrap();
        assert_eq!(c.keys().collect::<Vec<_>>(), ["v"]);
        assert!(c.notes()[0].contains("'w'") && c.notes()[0].contains(cause), "{:?}", c.notes());
    }
    // an array without a state, with a state of another kind
    let start = |p: Pickle| p.global("numpy.core.multiarray", "_reconstruct").op(b"(").global("numpy", "ndarray");
    assert!(refusal(&|p| start(p).ints(&[0]).op(b"NtR")).contains("without a state"));
    assert!(refusal(&|p| start(p).ints(&[0]).op(b"NtRNb")).contains("without a state"));
    assert!(refusal(&|p| start(p).ints(&[0]).op(b"NtR").ints(&[1, 2]).op(b"b")).contains("five fields"));
    // numbers and texts of protocol 0 that are none
    for (text, cause) in [
        ("I1x\n", "'1x' at byte 0 of the pickle is not a number"),
        ("L\n", "is not a number"),
        ("Fabc\n", "is not a number"),
        ("S'abc\n", "is not in quotes"),
        ("g1\n", "never made"),
        ("Np-1\n", "is not a number"),
        ("(o", "without a class"),
        ("I12", "truncated"),
        ("P('storage', <class 'os.system'>, '0', 'cpu', 4)\n", "asks to run os.system"),
        ("(ios\nsystem\n", "asks to run os.system"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let error = Checkpoint::open(put(&dir, "x.pt", &torch_zip(text.as_bytes(), &[]))).unwrap_err().to_string();
        assert!(error.contains(cause), "{text:?}: {error}");
    }
    let long = format!("I{}\n", "1".repeat(10_000));
    let dir = tempfile::tempdir().unwrap();
    let error = Checkpoint::open(put(&dir, "x.pt", &torch_zip(long.as_bytes(), &[]))).unwrap_err().to_string();
    assert!(error.contains("a number of more than 4096 bytes"), "{error}");
}
