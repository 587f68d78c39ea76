//! Names that training tools wrapped, and state dicts beside others.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

mod common;

use candle_core::{DType, Device, Tensor};
use common::{Pickle, data, put, safetensors, state_dicts, torch_zip};
use seg_checkpoints::{Checkpoint, LoadPolicy, convert, identify, load_strict, write_safetensors};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tempfile::tempdir;

/// Enough of MobileSAM to be recognised, with the shapes that tell.
const MOBILE_SAM: [(&str, &[usize]); 5] = [
    ("image_encoder.layers.0.blocks.1.conv1.c.weight", &[2]),
    ("image_encoder.neck.0.weight", &[2, 320]),
    ("image_encoder.patch_embed.seq.0.c.weight", &[4]),
    ("mask_decoder.iou_token.weight", &[2]),
    ("prompt_encoder.no_mask_embed.weight", &[3]),
];

fn named(names: &[(String, &[usize])]) -> (tempfile::TempDir, Checkpoint) {
    let dir = tempdir().unwrap();
    let tensor = |i: usize, shape: &[usize]| Tensor::full(i as f32, shape, &Device::Cpu).unwrap();
    let tensors: BTreeMap<String, Tensor> =
        names.iter().enumerate().map(|(i, (name, shape))| (name.clone(), tensor(i, shape))).collect();
    let path = dir.path().join("x.safetensors");
    write_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let checkpoint = Checkpoint::open(path).unwrap();
    (dir, checkpoint)
}

/// MobileSAM's names, changed, and further ones of one number each.
fn changed(change: impl Fn(&str) -> String, further: &[&str]) -> (tempfile::TempDir, Checkpoint) {
    let names = MOBILE_SAM.iter().map(|(name, shape)| (change(name), *shape));
    named(&names.chain(further.iter().map(|name| ((*name).to_owned(), [1].as_slice()))).collect::<Vec<_>>())
}

#[track_caller]
fn is_mobile_sam(c: &Checkpoint) {
    assert_eq!(c.keys().collect::<Vec<_>>(), MOBILE_SAM.map(|(name, _)| name), "{:?}", c.notes());
    assert_eq!(identify(c).unwrap().model(), "mobile-sam");
    for (i, (name, _)) in MOBILE_SAM.iter().enumerate() {
        let values = c.tensor(name, &Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(values.iter().all(|&v| v == i as f32), "{name}: {values:?}");
    }
}

#[test]
fn files_of_torch() {
    for (file, prefix) in
        [("ddp_compile", "module._orig_mod."), ("compile_ddp", "_orig_mod.module."), ("lightning", "model.")]
    {
        let c = Checkpoint::open(data(&format!("{file}.pt.bin"))).unwrap();
        let names = [
            "image_encoder.patch_embed.seq.0.bn.weight",
            "mask_decoder.iou_token.weight",
            "prompt_encoder.no_mask_embed.weight",
        ];
        assert_eq!(c.keys().collect::<Vec<_>>(), names, "{file}");
        assert_eq!(c.stripped_prefix(), Some(prefix), "{file}");
    }
}

#[test]
fn wrappers_around_a_model() {
    for prefix in [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "module.module.",
        "model.",
        "sam.",
        "net.",
        "net.module.",
        "module.net.",
        "model._orig_mod.sam.module.",
        "_orig_mod.model.sam_model.",
        "_fsdp_wrapped_module.",
        "_forward_module.module.model.",
        "_fsdp_wrapped_module._fpw_module.",
        "_fsdp_wrapped_module._checkpoint_wrapped_module.model.",
        "base_model.model.",
        "teacher.backbone.",
        "module.evf_model.",
        "my_own_name.",
    ] {
        let (dir, c) = changed(|name| format!("{prefix}{name}"), &[]);
        is_mobile_sam(&c);
        assert_eq!(c.stripped_prefix(), Some(prefix));
        let (_, report) =
            load_strict(&c, DType::F32, &Device::Cpu, &LoadPolicy::strict().allow_extra(), |_| Ok(())).unwrap();
        assert_eq!(report.stripped_prefix.as_deref(), Some(prefix));
        let told = format!("prefix '{prefix}' taken off every name");
        assert!(report.notes.contains(&told) && report.to_string().contains(&told), "{report}");
        let converted = dir.path().join("converted.safetensors");
        convert(&c, &converted).unwrap();
        let converted = Checkpoint::open(converted).unwrap();
        is_mobile_sam(&converted);
        assert_eq!((converted.stripped_prefix(), converted.metadata()["stripped_prefix"].as_str()), (None, prefix));
    }
}

#[test]
fn wrapped_parts() {
    let infix = |component: &'static str, after: &'static str| {
        move |name: &str| name.replace(&format!("{after}."), &format!("{after}.{component}."))
    };
    for component in ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_fpw_module", "module"] {
        for (after, count) in [("image_encoder", 3), ("mask_decoder", 1), ("layers.0", 1), ("blocks.1", 1)] {
            for prefix in ["", "module.", "model.", "_orig_mod."] {
                let (_dir, c) = changed(|name| prefix.to_owned() + &infix(component, after)(name), &[]);
                is_mobile_sam(&c);
                let told = format!("'{component}.' taken out of {count} names");
                assert!(c.notes().contains(&told), "{told}: {:?}", c.notes());
                assert_eq!(c.stripped_prefix().unwrap_or(""), prefix);
            }
        }
    }
    // each part in its own way
    let mixed = |name: &str| {
        let name = infix("_orig_mod.module", "image_encoder")(name);
        infix("_checkpoint_wrapped_module", "blocks.1")(&infix("_fsdp_wrapped_module", "mask_decoder")(&name))
    };
    let (_dir, c) = changed(mixed, &[]);
    is_mobile_sam(&c);
    assert!(c.notes().iter().any(|n| n.contains("'_fsdp_wrapped_module.' and '_orig_mod.'")), "{:?}", c.notes());
}

#[test]
fn averages_of_weights() {
    for (prefix, counter) in [("module.", "n_averaged"), ("module.module.", "n_averaged"), ("ema.", "n_averaged")] {
        let (_dir, c) = changed(|name| format!("{prefix}{name}"), &[counter]);
        is_mobile_sam(&c);
        assert!(c.notes().iter().any(|n| n.starts_with("n_averaged left out")), "{:?}", c.notes());
    }
    let (_dir, c) = changed(|name| format!("module.module.{name}"), &["module.n_averaged"]);
    is_mobile_sam(&c);
    // a tensor of many numbers is no counter
    let (_dir, c) = named(&[("module.a".into(), &[2]), ("n_averaged".into(), &[2])]);
    assert_eq!((c.keys().collect::<Vec<_>>(), c.stripped_prefix()), (vec!["module.a", "n_averaged"], None));
}

/// What a training module has beside its model: a loss is left out with a note, an unknown part stays and is refused.
#[test]
fn beside_the_model() {
    let further = ["loss_fn.pos_weight", "criterion.weight", "val_metric.total"];
    let (_dir, c) = changed(|name| format!("model._orig_mod.{name}"), &further);
    is_mobile_sam(&c);
    let note = &c
        .notes()
        .iter()
        .find(|n| n.starts_with("the weights are those under 'model._orig_mod.' (5 tensors)"))
        .unwrap();
    assert!(["'loss_fn.' (1 tensors)", "'criterion.'", "'val_metric.'"].iter().all(|n| note.contains(n)), "{note}");
    let (_dir, c) = changed(|name| format!("sam.{name}"), &["adapter.weight", "log_temperature"]);
    assert_eq!(c.stripped_prefix(), Some("sam."));
    let error = load_strict(&c, DType::F32, &Device::Cpu, &LoadPolicy::strict(), |vb| {
        MOBILE_SAM.iter().map(|(n, s)| vb.get(*s, n)).collect::<candle_core::Result<Vec<_>>>()
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("2 unexpected (adapter.weight, log_temperature)"), "{error}");
}

#[test]
fn two_models_in_one_dictionary() {
    let twice = |first: &str, second: &str| {
        let copy = MOBILE_SAM.iter().map(|(name, shape)| (format!("{second}.{name}"), *shape));
        let names = MOBILE_SAM.iter().map(|(name, shape)| (format!("{first}.{name}"), *shape));
        named(&names.chain(copy).collect::<Vec<_>>())
    };
    for (first, second) in [("model", "model_ema"), ("ema_model", "online_model"), ("net", "teacher")] {
        let (_dir, c) = twice(first, second);
        is_mobile_sam(&c);
        let note = format!("the weights are those under '{first}.' (5 tensors); not read: '{second}.' (5 tensors)");
        assert!(c.notes().contains(&note), "{:?}", c.notes());
    }
    // an average that has lost the dots of its names
    let (_dir, c) = changed(|name| format!("model.{name}"), &["model_ema.image_encoderneck0weight", "model_ema.decay"]);
    is_mobile_sam(&c);
    assert!(c.notes()[0].ends_with("not read: 'model_ema.' (2 tensors)"), "{:?}", c.notes());
    // nobody can know which
    let (_dir, c) = twice("student", "teacher");
    assert_eq!((c.keys().count(), c.stripped_prefix()), (10, None));
    let hint = "2 models in one dictionary, under 'student.', 'teacher.': save the one that is meant alone";
    assert_eq!(c.notes(), [hint]);
    let load = load_strict(&c, DType::F32, &Device::Cpu, &LoadPolicy::strict(), |vb| vb.get(1, "x"));
    let error = load.unwrap_err().to_string();
    assert!(error.ends_with(hint) && error.contains("1 missing (x); 10 unexpected"), "{error}");
}

/// The official models, whole, in part and in toy sizes: their names stay as they are, and come back from below wrappers.
#[test]
fn official_names() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
    let files = |dir: PathBuf| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let cases = files(root.into())
        .filter(|p| p.is_dir())
        .flat_map(files)
        .filter(|p| p.extension().is_some_and(|e| e == "json"));
    let dir = tempdir().unwrap();
    let (mut seen, mut recognised) = (0, 0);
    for (case, names) in cases.flat_map(|path| state_dicts(&path)) {
        // only names and shapes are looked at: the file has a hole for the numbers, of one byte each
        let open = |prefix: &str| {
            let mut end = 0;
            let entry = |(name, shape): (&String, &Vec<usize>)| {
                let begin = end;
                end += shape.iter().product::<usize>();
                format!(r#""{prefix}{name}":{{"dtype":"U8","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#)
            };
            let header = names.iter().map(entry).collect::<Vec<_>>().join(",");
            let bytes = safetensors(&format!("{{{header}}}"), &[]);
            let path = put(&dir, "x.safetensors", &bytes);
            std::fs::File::options().append(true).open(&path).unwrap().set_len((bytes.len() + end) as u64).unwrap();
            Checkpoint::open(path).unwrap()
        };
        seen += 1;
        let expected: Vec<&str> = names.keys().map(String::as_str).collect();
        let c = open("");
        assert!(
            c.keys().eq(expected.iter().copied()) && c.stripped_prefix().is_none() && c.notes().is_empty(),
            "{case}"
        );
        let mut prefixes = vec!["module.", "module._orig_mod.", "_orig_mod.module."];
        if identify(&c).is_some() {
            recognised += 1;
            prefixes.extend(["model.", "sam.", "net._orig_mod.", "teacher.model.module."]);
        }
        for prefix in prefixes {
            let c = open(prefix);
            assert!(c.keys().eq(expected.iter().copied()), "{case} {prefix}");
            assert_eq!(c.stripped_prefix(), Some(prefix), "{case}");
        }
    }
    assert!(seen >= 40 && recognised >= 25, "{seen} state dicts, {recognised} of them recognised");
}

/// Words that wrappers use are names of parts, too.
#[test]
fn names_of_other_models_stay() {
    for names in [
        ["model.layers.0.weight", "model.norm.weight"],
        ["net.0.weight", "net.1.weight"],
        ["sam.blocks.0.weight", "dino.blocks.0.weight"],
        ["image_encoder.trunk.weight", "image_encoder.neck.weight"],
        ["dinov2.encoder.weight", "dinov2.layernorm.weight"],
        ["model.a", "b"],
    ] {
        let (_dir, c) = named(&names.map(|name| (name.to_owned(), [1].as_slice())));
        let mut sorted = names;
        sorted.sort_unstable();
        assert_eq!((c.keys().collect::<Vec<_>>(), c.stripped_prefix()), (sorted.to_vec(), None));
    }
    // a compiled copy beside the model itself: neither is the other
    let both = ["image_encoder._orig_mod.x", "image_encoder.x"];
    let (_dir, c) = named(&both.map(|name| (name.to_owned(), [1].as_slice())));
    assert_eq!(c.keys().collect::<Vec<_>>(), both);
}

/// A wrapped model of transformers' comes under the authors' names, too.
#[test]
fn wrapped_names_of_transformers() {
    for prefix in ["module._orig_mod.", "model.", "net.module."] {
        let (_dir, c) = named(&[
            (format!("{prefix}vision_encoder.layers.0.layer_norm1.weight"), &[1]),
            (format!("{prefix}vision_encoder.layers.0._orig_mod.layer_norm2.weight"), &[1]),
        ]);
        let names = ["image_encoder.blocks.0.norm1.weight", "image_encoder.blocks.0.norm2.weight"];
        assert_eq!((c.keys().collect::<Vec<_>>(), c.stripped_prefix()), (names.to_vec(), Some(prefix)));
        assert!(c.transformers().is_some());
    }
}

#[test]
fn flat_parameters_are_named() {
    let (_dir, c) =
        named(&[("_fsdp_wrapped_module._flat_param".into(), &[9]), ("_fsdp_wrapped_module.a".into(), &[1])]);
    assert!(c.notes().iter().any(|n| n.contains("FULL_STATE_DICT")), "{:?}", c.notes());
}

#[test]
fn which_dictionary_was_taken() {
    let dir = tempdir().unwrap();
    let dict = |p: Pickle, key: &str, names: &[&str]| {
        let inner = p.str(key).op(b"}(");
        names.iter().fold(inner, |p, name| p.str(name).tensor("FloatStorage", "0", 4, 0, &[4], &[1])).op(b"u")
    };
    let p = dict(Pickle::new().op(b"}(").str("all").op(b"}("), "state_dict", &["a", "b"]);
    let p = dict(dict(p, "ema", &["a", "b"]), "head", &["c"]).str("epoch").int(3).op(b"u");
    let p = dict(p, "buffers", &["d"]).str("step").int(7).op(b"u");
    let c = Checkpoint::open(put(&dir, "x.pt", &torch_zip(&p.end(), &[("0", &[0; 16])]))).unwrap();
    // several dictionaries at the top, none of a known name: all of them are the model
    assert_eq!((c.nested_key(), c.keys().count()), (None, 6));
    let p = dict(Pickle::new().op(b"}(").str("state").op(b"}("), "state_dict", &["a", "b"]);
    let p = dict(dict(p, "ema", &["a", "b"]), "head", &["c"]).str("epoch").int(3).op(b"u");
    let p = dict(p, "buffers", &["d"]).str("step").int(7).op(b"u");
    let c = Checkpoint::open(put(&dir, "x.pt", &torch_zip(&p.end(), &[("0", &[0; 16])]))).unwrap();
    assert_eq!((c.nested_key(), c.keys().collect::<Vec<_>>()), (Some("state.state_dict"), vec!["a", "b"]));
    let note = "the weights are those of 'state.state_dict' (2 tensors); not read: 'buffers' (1 tensors), \
                'state.ema' (2 tensors), 'state.head' (1 tensors)";
    assert_eq!(c.notes()[0], note);
    assert_eq!(c.notes()[1], "skipped beside the weights: 'step' (a number or bytes), 'epoch' (a number or bytes)");
}
