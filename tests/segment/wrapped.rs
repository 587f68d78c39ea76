//! Weights as training tools leave them: under other names, beside other things, in types that are not read.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use hrseg::seg_checkpoints::{Checkpoint, write_safetensors};

use super::common::{Sandbox, mobile_sam};

/// MobileSAM's tensors under other names.
fn renamed(rename: impl Fn(&str) -> String) -> BTreeMap<String, Tensor> {
    let file = Checkpoint::open(mobile_sam()).unwrap();
    file.keys().map(|name| (rename(name), file.tensor(name, &Device::Cpu).unwrap())).collect()
}

/// The mask's file, and what was said.
fn mask(sandbox: &Sandbox, weights: &str) -> (Vec<u8>, String) {
    let args = ["segment", "c.jpg", "--point", "365,290", "--format", "mask", "--force", "--weights", weights];
    let run = sandbox.hrseg(&args).exits(0);
    (std::fs::read(sandbox.path("out/c.mask.png")).unwrap(), run.stderr)
}

/// The same mask as from the plain file, and a word about what was taken off.
#[test]
fn a_wrapped_model_is_the_model() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    let (expected, said) = mask(&sandbox, mobile_sam().to_str().unwrap());
    assert_eq!(said, "");
    let compiled = |name: &str| format!("module._orig_mod.{name}");
    let lightning = |name: &str| format!("model.{}", name.replace("image_encoder.", "image_encoder._orig_mod."));
    let cases: [(&str, BTreeMap<String, Tensor>, &[&str]); 2] = [
        ("ddp.safetensors", renamed(compiled), &["note: prefix 'module._orig_mod.' taken off every name"]),
        (
            "lightning.safetensors",
            renamed(lightning),
            &[
                "prefix 'model.'",
                "those under 'model.' (439 tensors); not read: 'loss.'",
                "'_orig_mod.' taken out of 302",
            ],
        ),
    ];
    for (file, mut tensors, notes) in cases {
        if file.starts_with("lightning") {
            tensors.insert("loss.pos_weight".into(), Tensor::new(&[1f32], &Device::Cpu).unwrap());
        }
        write_safetensors(sandbox.path(file), &tensors, &BTreeMap::new()).unwrap();
        let (found, said) = mask(&sandbox, file);
        assert!(found == expected, "another mask from {file}");
        for note in notes {
            assert!(said.contains(note), "{note:?} is not in {said:?}");
        }
    }
}

/// One weight of a type that is not read: named with the reason in the line that says what is missing.
#[test]
fn a_weight_of_another_type() {
    let mut bytes = std::fs::read(mobile_sam()).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let entry = &mut header["mask_decoder.iou_token.weight"];
    assert_eq!(entry["shape"], serde_json::json!([1, 256]));
    (entry["dtype"], entry["shape"]) = ("C64".into(), serde_json::json!([1, 128]));
    let mut header = header.to_string().into_bytes();
    header.resize(length, b' ');
    bytes[8..8 + length].copy_from_slice(&header);
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg").with_file("c64.safetensors", &bytes);
    let run = sandbox.hrseg(&["segment", "c.jpg", "--point", "365,290", "--weights", "c64.safetensors"]);
    run.refuses(&["1 missing (mask_decoder.iou_token.weight: there, but as a tensor of C64, which is not read)"]);
}

/// What `weights convert` writes is called what it is, and is whole or said not to be.
#[test]
fn converting_tells_what_it_cannot_write() {
    let data = super::common::repository("crates/seg-checkpoints/tests/data");
    let file = |name: &str| std::fs::read(data.join(name)).unwrap();
    let sandbox =
        Sandbox::new().with_file("a.pt", &file("one_sparse.pt.bin")).with_file("b.pt", &file("lightning.pt.bin"));
    let run = sandbox.hrseg(&["weights", "convert", "b.pt", "c.pt"]).exits(2);
    assert!(run.stderr.contains("c.pt: safetensors is what is written"), "{run:?}");
    let run = sandbox.hrseg(&["weights", "convert", "b.pt", "b.pt", "--force"]).exits(2);
    assert_eq!(std::fs::read(sandbox.path("b.pt")).unwrap(), file("lightning.pt.bin"), "{run:?}");
    sandbox.hrseg(&["weights", "convert", "b.pt"]).exits(0);
    let run = sandbox.hrseg(&["weights", "convert", "a.pt"]).exits(1);
    assert!(run.stderr.contains("error: a.safetensors: mask_decoder.iou_token.weight is not in it"), "{run:?}");
    assert_eq!(Checkpoint::open(sandbox.path("a.safetensors")).unwrap().tensors().len(), 2);
}
