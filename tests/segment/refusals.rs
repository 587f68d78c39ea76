//! Files that cannot be used: one line that names the cause, a failing exit code, nothing written.

use candle_core::Tensor;
use hrseg::seg_golden::NamedShape;

use super::common::{Sandbox, mobile_sam, official, repository, write_hollow, write_mobile_sam};

/// Runs `hrseg segment` on a good photo with these weights, which must be refused for the causes in `parts`.
#[track_caller]
fn refuses_weights(sandbox: &Sandbox, model: &str, weights: &str, parts: &[&str]) {
    std::fs::copy(super::common::photo("coffee.jpg"), sandbox.path("c.jpg")).unwrap();
    let run = sandbox.hrseg(&["segment", "c.jpg", "--point", "300,200", "--model", model, "--weights", weights]);
    run.refuses(&[&[weights], parts].concat());
    assert!(!sandbox.path("out").exists());
}

#[test]
fn a_truncated_safetensors_file() {
    let sandbox = Sandbox::new();
    let whole = std::fs::read(mobile_sam()).unwrap();
    for (name, length) in [("half.safetensors", whole.len() / 2), ("header.safetensors", 1000)] {
        std::fs::write(sandbox.path(name), &whole[..length]).unwrap();
        refuses_weights(&sandbox, "mobile-sam", name, &["truncated", &length.to_string()]);
    }
}

#[test]
fn a_truncated_pt_file() {
    let whole = std::fs::read(repository("crates/seg-checkpoints/tests/data/training_state.pth.bin")).unwrap();
    let sandbox = Sandbox::new().with_file("cut.pt", &whole[..whole.len() * 2 / 3]);
    refuses_weights(&sandbox, "mobile-sam", "cut.pt", &["truncated"]);
}

#[test]
fn a_text_file_named_pt() {
    let sandbox = Sandbox::new().with_file("mobile_sam.pt", b"<html>404 Not Found</html>\n").with_file("empty.pt", b"");
    refuses_weights(&sandbox, "mobile-sam", "mobile_sam.pt", &["not a checkpoint"]);
    refuses_weights(&sandbox, "mobile-sam", "empty.pt", &["empty"]);
    refuses_weights(&sandbox, "mobile-sam", "absent.pt", &["no such file"]);
}

fn sam20() -> Vec<NamedShape> {
    official("sam2/sam2_img_sam20_tiny_512.json", "model")
}

fn sam21() -> Vec<NamedShape> {
    official("sam2/sam2_img_tiny_1024.json", "model")
}

#[test]
fn a_model_of_another_name() {
    let sandbox = Sandbox::new();
    write_hollow(&sandbox.path("tiny20.safetensors"), &sam20());
    write_hollow(&sandbox.path("tiny21.safetensors"), &sam21());
    let cases = [
        ("sam2.1-tiny", "tiny20.safetensors", ["SAM 2.0", "sam2-tiny", "expected sam2.1-tiny"]),
        ("sam2-tiny", "tiny21.safetensors", ["SAM 2.1", "sam2.1-tiny", "expected sam2-tiny"]),
        ("sam2-small", "tiny20.safetensors", ["SAM 2.0", "sam2-tiny", "expected sam2-small"]),
        ("mobile-sam", "tiny20.safetensors", ["SAM 2.0", "sam2-tiny", "expected mobile-sam"]),
    ];
    for (model, weights, parts) in cases {
        refuses_weights(&sandbox, model, weights, &parts);
    }
    std::fs::copy(mobile_sam(), sandbox.path("mobile.safetensors")).unwrap();
    refuses_weights(&sandbox, "sam2-tiny", "mobile.safetensors", &["MobileSAM", "expected sam2-tiny"]);
}

#[test]
fn a_checkpoint_with_a_part_missing() {
    let sandbox = Sandbox::new();
    let lacking: Vec<NamedShape> = sam20().into_iter().filter(|n| n.name != "no_mem_embed").collect();
    write_hollow(&sandbox.path("lacking.safetensors"), &lacking);
    refuses_weights(&sandbox, "sam2-tiny", "lacking.safetensors", &["1 missing", "no_mem_embed"]);
}

/// Weights that a broken training or transfer left without numbers.
#[test]
fn weights_that_are_not_numbers() {
    let sandbox = Sandbox::new();
    let nan = |part: &'static str| {
        move |name: &str, tensor: Tensor| {
            if name.contains(part) { (tensor.zeros_like().unwrap() / 0.0).unwrap() } else { tensor }
        }
    };
    // the first makes everything NaN, the second the masks alone
    for (file, part) in [
        ("encoder.safetensors", "image_encoder.neck.3.weight"),
        ("masks.safetensors", "output_hypernetworks_mlps.0.layers.2.bias"),
    ] {
        write_mobile_sam(&sandbox.path(file), nan(part));
        std::fs::copy(super::common::photo("coffee.jpg"), sandbox.path("c.jpg")).unwrap();
        let run = sandbox.hrseg(&["segment", "c.jpg", "--point", "300,200", "--weights", file]);
        run.refuses(&["c.jpg", "NaN", "weights"]);
        assert!(!sandbox.path("out").exists());
    }
}

/// A PNG of 30 000 x 30 000 pixels that ends after its header.
fn huge_png() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend(30_000u32.to_be_bytes());
    png.extend(30_000u32.to_be_bytes());
    png.extend([8, 2, 0, 0, 0]); // 8-bit RGB
    let crc = png[12..].iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { c >> 1 ^ 0xEDB8_8320 } else { c >> 1 })
    });
    png.extend((!crc).to_be_bytes());
    png
}

#[test]
fn images_that_cannot_be_used() {
    let photo = std::fs::read(super::common::photo("coffee.jpg")).unwrap();
    let sandbox = Sandbox::new()
        .with_file("zero.png", b"")
        .with_file("huge.png", &huge_png())
        .with_file("text.jpg", b"not a photo at all")
        .with_file("cut.jpg", &photo[..photo.len() / 2]);
    let cases: [(&str, &[&str]); 4] = [
        ("zero.png", &["zero.png", "0 bytes"]),
        ("huge.png", &["huge.png", "30000x30000"]),
        ("text.jpg", &["text.jpg"]),
        ("cut.jpg", &["cut.jpg", "truncated"]),
    ];
    for (file, parts) in cases {
        sandbox.segment(&[file, "--point", "5,5"]).refuses(parts);
        assert!(!sandbox.path("out").exists());
    }
}

#[test]
fn a_point_outside_the_image() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    // told before the weights are asked for: there are none here
    for point in ["601,10", "10,401", "-1,10", "1e9,1e9"] {
        let run = sandbox.hrseg(&["segment", "c.jpg", "--point", point]);
        run.refuses(&["c.jpg", "outside the image", "0..600", "0..400"]);
    }
    assert!(!sandbox.path("out").exists());
}
