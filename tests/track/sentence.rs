//! An object that a sentence tells.

use super::common::{Sandbox, json, mpg_sam2_tiny, sam2_video};
use super::{folder, gif, misused, png};
use hrseg::seg_data::{DecodeLimits, labels};

/// `hrseg track` with the made-up tiny model.
fn tracking<'a>(input: &'a str, text: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let weights = mpg_sam2_tiny().to_str().unwrap();
    let args = ["track", input, "--device", "cpu", "--model", "mpg-sam2-tiny", "--weights", weights, "--text", text];
    [&args[..], more].concat()
}

#[test]
fn wrong_use() {
    let sandbox = folder(1);
    let text = ["ball", "--text", "the ball"];
    let refused = |more: &[&str], parts: &[&str]| misused(&sandbox, &[&text[..], more].concat(), parts);
    refused(&["--point", "0:1:5,5"], &["--text", "--point", "cannot be used"]);
    refused(&["--mask", "0:1:m.png"], &["--text", "--mask", "cannot be used"]);
    refused(&["--direction", "backward"], &["--text", "--direction", "cannot be used"]);
    refused(&["--fill-holes", "3"], &["--text", "--fill-holes", "cannot be used"]);
    refused(&["--model", "sam2.1-tiny"], &["sam2.1-tiny takes no --text", "mpg-sam2-tiny"]);
    refused(&["--clip", "0"], &["--clip", "0"]);
    misused(&sandbox, &["ball", "--text", " \t"], &["--text is empty"]);
    misused(&sandbox, &["ball", "--clip", "24", "--point", "0:1:5,5"], &["--clip goes with --text"]);
    misused(&sandbox, &["ball", "--model", "mpg-sam2", "--point", "0:1:5,5"], &["mpg-sam2 looks for", "--text"]);
}

#[test]
fn weights_without_a_tokenizer_and_of_another_model() {
    let sandbox = folder(1).with_file("w/a.txt", b"");
    let weights = mpg_sam2_tiny().join("mpg-sam2-tiny.safetensors");
    std::fs::hard_link(&weights, sandbox.path("w/mpg-sam2-tiny.safetensors"))
        .or_else(|_| std::fs::copy(&weights, sandbox.path("w/mpg-sam2-tiny.safetensors")).map(|_| ()))
        .unwrap();
    let track = |more: &[&str]| sandbox.hrseg(&[&["track", "ball", "--text", "the ball"], more].concat());
    let tiny = ["--model", "mpg-sam2-tiny", "--weights", "w"];
    track(&tiny).refuses(&["w: no sentencepiece model", "sentencepiece.bpe.model or beit3.spm"]);
    let no_tokenizer = [&tiny[..], &["--tokenizer", "ball/0.png"]].concat();
    track(&no_tokenizer).refuses(&["ball/0.png", "not a sentencepiece model"]);
    track(&["--weights", "w/mpg-sam2-tiny.safetensors"]).refuses(&["this is mpg-sam2-tiny", "expected mpg-sam2"]);
    track(&["--weights", sam2_video().to_str().unwrap()]).refuses(&["this is sam2.1-tiny", "expected mpg-sam2"]);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn a_text_longer_than_the_position_table() {
    let sandbox = folder(1);
    let run = sandbox.hrseg(&tracking("ball", &"ball ".repeat(1100), &[]));
    run.refuses(&["tokens", "takes 1022 at most"]);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn a_corrupt_frame_and_frames_of_two_sizes() {
    let broken = &png(60, 40, 0)[..60];
    let sandbox = folder(1).with_file("ball/1.png", broken).with_file("ball/10.png", &png(30, 50, 3));
    let run = sandbox.hrseg(&tracking("ball", "the ball", &[])).exits(1);
    assert!(
        run.stderr.contains("2 to 9") && run.stderr.contains("1.png") && run.stderr.contains("left out"),
        "{run:#?}"
    );
    assert_eq!(run.stdout.lines().count(), 2, "{run:#?}");
    assert_eq!(sandbox.names("out"), ["ball", "ball.overlay", "ball.rle"], "no state is left");
    for folder in ["out/ball", "out/ball.overlay"] {
        assert_eq!(sandbox.names(folder), ["0.png", "10.png"]);
    }
    let map = labels::load(sandbox.path("out/ball/10.png"), &DecodeLimits::default()).unwrap().unwrap();
    assert_eq!(map.dimensions(), (30, 50));
    let record = json(&sandbox.path("out/ball.rle/10.json"));
    assert_eq!((&record["frame"], &record["name"]), (&2.into(), &"10".into()));
    assert_eq!((&record["model"], &record["objects"][0]["object"]), (&"mpg-sam2-tiny".into(), &1.into()));

    let again = sandbox.hrseg(&tracking("ball", "the ball", &[]));
    again.refuses(&["there already", "--force", "--resume"]);
}

#[test]
fn an_animation_in_clips() {
    let sandbox = Sandbox::new().with_file("clip.gif", &gif(3));
    let args = tracking("clip.gif", "the ball", &["--clip", "2", "--format", "labels,gif"]);
    let run = sandbox.hrseg(&args).exits(0);
    assert_eq!(sandbox.names("out"), ["clip", "clip.gif", "clip.overlay"], "{run:#?}");
    assert_eq!(run.stdout.lines().count(), 4, "three frames and the animation: {run:#?}");
    let run = sandbox.hrseg(&[&args[..], &["--resume"]].concat()).exits(0);
    assert!(run.stderr.contains("all 3 frames are there already"), "{run:#?}");
}

/// Ctrl-C, then on: the same masks as in one go.
#[cfg(unix)]
#[test]
fn an_interruption_loses_nothing() {
    let sandbox = folder(5);
    let args = tracking("ball", "the ball", &["--format", "rle"]);
    let (lines, run) = super::common::interrupted(&mut sandbox.command(&args));
    let run = run.exits(1);
    let done = lines.lines().count();
    assert!((1..5).contains(&done), "{lines}");
    let left = format!("interrupted: {done} frames done, {} left; go on with --resume", 5 - done);
    assert!(run.stderr.contains(&left), "{run:?}");

    let other = sandbox.hrseg(&tracking("ball", "the cube", &["--format", "rle", "--resume"]));
    other.refuses(&["ball.state.safetensors", "other prompts"]);
    let run = sandbox.hrseg(&[&args[..], &["--resume"]].concat()).exits(0);
    assert_eq!(run.stdout.lines().count(), 5 - done, "{run:#?}");

    let whole = sandbox.hrseg(&[&args[..], &["-o", "whole"]].concat()).exits(0);
    assert_eq!(sandbox.names("whole"), sandbox.names("out"), "{whole:#?}");
    for name in sandbox.names("whole/ball.rle") {
        let of = |folder: &str| json(&sandbox.path(&format!("{folder}/ball.rle/{name}")));
        assert_eq!(of("out"), of("whole"), "{name}");
    }
}
