//! Reading what torch wrote, and what it could have written.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

mod common;

use candle_core::{DType, Device, Tensor};
use common::{Pickle, data, floats, put, torch_zip};
use seg_checkpoints::{Checkpoint, FileDtype, Format};

fn values(c: &Checkpoint, name: &str) -> Vec<f64> {
    let t = c.tensor(name, &Device::Cpu).unwrap();
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn shape(c: &Checkpoint, name: &str) -> Vec<usize> {
    c.get(name).unwrap().shape.clone()
}

#[test]
fn training_state_finds_the_model() {
    let c = Checkpoint::open(data("training_state.pth.bin")).unwrap();
    assert_eq!(c.format(), Format::TorchZip);
    assert_eq!(c.nested_key(), Some("model"));
    let names: Vec<_> = c.keys().collect();
    assert_eq!(
        names,
        ["0.bias", "0.weight", "1.bias", "1.num_batches_tracked", "1.running_mean", "1.running_var", "1.weight"]
    );
    let expected: Vec<f64> = (0..54).map(|i| f64::from(i) / 8.).collect();
    assert_eq!(values(&c, "0.weight"), expected);
    assert_eq!(values(&c, "1.bias"), [-3., -2.875, -2.75]);
    assert_eq!(values(&c, "1.num_batches_tracked"), [1.]);
    let notes = c.notes().join("\n");
    assert!(notes.contains("'optimizer'") && notes.contains("'epoch'"), "{notes}");
}

#[test]
fn legacy_file_of_data_parallel_training() {
    let c = Checkpoint::open(data("ddp_legacy.pth.bin")).unwrap();
    assert_eq!(c.format(), Format::TorchLegacy);
    assert_eq!((c.nested_key(), c.stripped_prefix()), (Some("state_dict"), Some("module.")));
    let new = Checkpoint::open(data("training_state.pth.bin")).unwrap();
    assert_eq!(c.tensors(), new.tensors());
    for name in c.keys() {
        assert_eq!(values(&c, name), values(&new, name), "{name}");
    }
}

#[test]
fn views_of_a_storage() {
    let c = Checkpoint::open(data("views.pth.bin")).unwrap();
    let base = |r: i32, q: i32| f64::from(r * 6 + q);
    assert_eq!(shape(&c, "transposed"), [6, 4]);
    let transposed: Vec<f64> = (0..6).flat_map(|q| (0..4).map(move |r| base(r, q))).collect();
    assert_eq!(values(&c, "transposed"), transposed);
    assert_eq!(values(&c, "slice"), [8., 9., 10., 14., 15., 16.]);
    assert_eq!(values(&c, "column"), [1., 7., 13., 19.]);
    assert_eq!(values(&c, "expanded"), [7.; 6]);
    let permuted: Vec<f64> =
        (0..4).flat_map(|k| (0..2).flat_map(move |i| (0..3).map(move |j| f64::from(i * 12 + j * 4 + k)))).collect();
    assert_eq!(shape(&c, "permuted"), [4, 2, 3]);
    assert_eq!(values(&c, "permuted"), permuted);
    assert_eq!((shape(&c, "scalar"), values(&c, "scalar")), (vec![], vec![2.5]));
    assert_eq!((shape(&c, "empty"), values(&c, "empty")), (vec![0, 3], vec![]));
    assert_eq!(values(&c, "parameter"), [0., 1., 2., 3.]);
}

#[test]
fn every_type_of_number() {
    let c = Checkpoint::open(data("dtypes.pth.bin")).unwrap();
    let third = |v: f32| [0., v, 2. * v];
    assert_eq!(values(&c, "f64"), [0., 1. / 3., 2. / 3.]);
    assert_eq!(values(&c, "f32"), third(1f32 / 3.).map(f64::from));
    assert_eq!(values(&c, "f16"), [0., 1. / 3., 2. / 3.].map(|v| half::f16::from_f64(v).to_f64()));
    assert_eq!(values(&c, "bf16"), [0., 1. / 3., 2. / 3.].map(|v| half::bf16::from_f64(v).to_f64()));
    let i64s: Vec<i64> = c.tensor("i64", &Device::Cpu).unwrap().to_vec1().unwrap();
    assert_eq!(i64s, [-1, 1 << 40, 3]);
    assert_eq!(values(&c, "i32"), [-1., f64::from(1 << 20), 3.]);
    assert_eq!(values(&c, "i16"), [-1., 300., 3.]);
    assert_eq!(values(&c, "i8"), [-1., 100., 3.]);
    assert_eq!(values(&c, "u8"), [255., 100., 3.]);
    assert_eq!(values(&c, "bool"), [1., 0., 1.]);
    assert_eq!(c.get("bool").unwrap().dtype, FileDtype::Bool);
    assert!(c.get("c64").is_none());
    assert!(c.notes().iter().any(|n| n.contains("'c64'") && n.contains("ComplexFloatStorage")), "{:?}", c.notes());
}

#[test]
fn modules_and_programs_are_named() {
    let module = Checkpoint::open(data("whole_module.pth.bin")).unwrap_err().to_string();
    assert!(module.contains("torch.nn.modules.linear.Linear") && module.contains("state_dict()"), "{module}");
    let script = Checkpoint::open(data("torchscript.pt.bin")).unwrap_err().to_string();
    assert!(script.contains("TorchScript"), "{script}");
}

#[test]
fn var_builder_checks_names_and_shapes() {
    let c = Checkpoint::open(data("training_state.pth.bin")).unwrap();
    let vb = c.var_builder(DType::F16, &Device::Cpu);
    let w: Tensor = vb.pp("0").get((3, 2, 3, 3), "weight").unwrap();
    assert_eq!(w.dtype(), DType::F16);
    assert!(vb.contains_tensor("0.bias") && !vb.contains_tensor("0.bia"));
    let shape = vb.get(4, "0.bias").unwrap_err().to_string();
    assert!(shape.contains("'0.bias' has shape [3], expected [4]"), "{shape}");
    let name = vb.get(4, "nothing").unwrap_err().to_string();
    assert!(name.contains("no tensor 'nothing'"), "{name}");
}

#[test]
fn many_threads_read_the_same_file() {
    let c = Checkpoint::open(data("views.pth.bin")).unwrap();
    let expected = values(&c, "permuted");
    std::thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(values(&c, "permuted"), expected);
                    assert_eq!(values(&c, "slice"), [8., 9., 10., 14., 15., 16.]);
                }
            });
        }
    });
}

#[test]
fn own_pickles() {
    let dir = tempfile::tempdir().unwrap();
    let storage = floats(&[1., 2., 3., 4.]);
    let open = |pickle: Vec<u8>| Checkpoint::open(put(&dir, "x.pt", &torch_zip(&pickle, &[("0", &storage)])));

    let nested = Pickle::new().op(b"}(").str("net").op(b"}(").str("state_dict").op(b"}(").str("w");
    let nested = nested.tensor("FloatStorage", "0", 4, 0, &[2, 2], &[1, 2]).op(b"uuu").end();
    let c = open(nested).unwrap();
    assert_eq!(c.nested_key(), Some("net.state_dict"));
    assert_eq!(values(&c, "w"), [1., 3., 2., 4.]);

    // two parts of one model, under names that nobody knows
    let parts = Pickle::new().op(b"}(").str("enc").op(b"}(").str("w");
    let parts = parts.tensor("FloatStorage", "0", 4, 0, &[4], &[1]).op(b"u").str("dec").op(b"}(").str("w");
    let parts = parts.tensor("FloatStorage", "0", 4, 2, &[2], &[1]).op(b"uu").end();
    let c = open(parts).unwrap();
    assert_eq!(c.keys().collect::<Vec<_>>(), ["dec.w", "enc.w"]);
    assert_eq!(values(&c, "dec.w"), [3., 4.]);

    // a value that is no tensor is left out and named
    let extra =
        Pickle::one_tensor("w").op(b"(").str("args").global("argparse", "Namespace").op(b")\x81}b").op(b"u").end();
    let c = open(extra).unwrap();
    assert_eq!(c.keys().collect::<Vec<_>>(), ["w"]);
    assert!(c.notes().iter().any(|n| n.contains("'args'") && n.contains("argparse.Namespace")), "{:?}", c.notes());

    // what lies beside a state dict, in one note
    let beside = Pickle::new().op(b"}(").str("epoch").int(3).str("loops").op(b"]").str("state_dict").op(b"}(").str("w");
    let beside = beside.tensor("FloatStorage", "0", 4, 0, &[4], &[1]).op(b"uu").end();
    let c = open(beside).unwrap();
    assert_eq!(c.notes(), ["skipped beside the weights: 'epoch' (a number or bytes), 'loops' (a list)"]);

    // v3: an untyped storage and a torch.dtype
    let v3 = Pickle::new().op(b"}(").str("w").global("torch._utils", "_rebuild_tensor_v3").op(b"((").str("storage");
    let v3 =
        v3.global("torch.storage", "UntypedStorage").str("0").str("cpu").int(16).op(b"tQ").int(1).ints(&[2]).ints(&[1]);
    let v3 = v3.op(&[0x89]).global("collections", "OrderedDict").op(b")R").global("torch", "float32").op(b"tRu").end();
    assert_eq!(values(&open(v3).unwrap(), "w"), [2., 3.]);
}
