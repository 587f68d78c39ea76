//! Objects that are pointed at.

use super::common::{Run, Sandbox, json, official, sam2_video, write_hollow};
use super::{folder, gif, misused, png};
use hrseg::seg_data::{DecodeLimits, labels, output};

#[test]
fn wrong_use() {
    let sandbox = folder(2);
    misused(&sandbox, &["ball"], &["nothing to track", "--point"]);
    misused(&sandbox, &["ball", "--point", "0:1:5,5", "--model", "mobile-sam"], &["mobile-sam has no memory"]);
    misused(&sandbox, &["ball", "--point", "2:1:5,5"], &["frame 2", "0 to 1", "2 frames"]);
    misused(&sandbox, &["ball", "--box", "0:1:1,1,9,9", "--box", "0:1:1,1,8,8"], &["two boxes", "object 1", "frame 0"]);
    misused(&sandbox, &["ball", "--point", "0:1:5,5", "--mask", "0:1:m.png"], &["more than a mask"]);
    misused(&sandbox, &["ball", "--point", "0:0:5,5"], &["object `0`", "1 to 255"]);
}

#[test]
fn no_videos() {
    let sandbox =
        folder(1).with_file("one.png", &png(9, 9, 0)).with_file("clip.mp4", b"\0\0\0\x18ftypisom and no more");
    let track = |input: &str| {
        let mut command = sandbox.command(&["track", input, "--point", "0:1:5,5"]);
        Run::from(command.env("HRSEG_FFMPEG", "no-such-ffmpeg").output().unwrap())
    };
    track("one.png").refuses(&["one.png", "a single image (PNG)"]);
    track("clip.mp4").refuses(&["clip.mp4", "`ffmpeg`", "not installed"]);
    track("absent").refuses(&["absent", "no such file or folder"]);
}

#[test]
fn weights_for_images_alone() {
    let sandbox = folder(1);
    let names = official("sam2/sam2_img_tiny_1024.json", "model");
    let of_images: Vec<_> = names.into_iter().filter(|tensor| !tensor.name.starts_with("memory_")).collect();
    write_hollow(&sandbox.path("images.safetensors"), &of_images);
    let run = sandbox.hrseg(&["track", "ball", "--point", "0:1:30,20", "--weights", "images.safetensors"]);
    run.refuses(&["images.safetensors", "not for video", "memory_attention, memory_encoder"]);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn a_corrupt_frame_and_frames_of_two_sizes() {
    let broken = &png(60, 40, 0)[..60];
    let sandbox = folder(2).with_file("ball/2.png", broken).with_file("ball/10.png", &png(30, 50, 3));
    let weights = sam2_video().to_str().unwrap();
    let prompts = ["--point", "0:7:30,20", "--box", "1:2:15,-0.9,42,32"];
    let args = [&["track", "ball", "--device", "cpu", "--weights", weights][..], &prompts].concat();
    let run = sandbox.hrseg(&args).exits(1);
    assert!(
        run.stderr.contains("3 to 9") && run.stderr.contains("2.png") && run.stderr.contains("left out"),
        "{run:#?}"
    );
    assert!(run.stderr.contains("note: object 2 on frame 1: box [15.0, -0.9,"), "{run:#?}");
    assert_eq!(run.stdout.lines().count(), 3, "{run:#?}");
    assert_eq!(sandbox.names("out"), ["ball", "ball.overlay", "ball.rle"], "no state is left");
    for folder in ["out/ball", "out/ball.overlay"] {
        assert_eq!(sandbox.names(folder), ["0.png", "1.png", "10.png"]);
    }
    let map = labels::load(sandbox.path("out/ball/10.png"), &DecodeLimits::default()).unwrap().unwrap();
    assert_eq!(map.dimensions(), (30, 50));
    assert!(map.pixels().all(|p| [0, 2, 7].contains(&p.0[0])));
    let record = json(&sandbox.path("out/ball.rle/10.json"));
    assert_eq!((&record["frame"], &record["name"], &record["width"]), (&3.into(), &"10".into(), &30.into()));
    let objects: Vec<_> = record["objects"].as_array().unwrap().iter().map(|o| o["object"].as_u64().unwrap()).collect();
    assert_eq!(objects, [2, 7]);

    let again = sandbox.hrseg(&args);
    again.refuses(&["there already", "--force", "--resume"]);
}

#[test]
fn an_animation() {
    let sandbox = Sandbox::new().with_file("clip.gif", &gif(2));
    let weights = sam2_video().to_str().unwrap();
    let args = ["track", "clip.gif", "--weights", weights, "--point", "1:1:12,8", "--format", "labels,gif"];
    let run = sandbox.hrseg(&args).exits(0);
    assert_eq!(sandbox.names("out"), ["clip", "clip.gif", "clip.overlay"], "{run:#?}");
    // from the prompted frame to the end, then back
    let order: Vec<&str> = run.stdout.lines().map(|line| &line[..5]).take(2).collect();
    assert_eq!(order, ["00001", "00000"]);
    let run = sandbox.hrseg(&[&args[..], &["--resume"]].concat()).exits(0);
    assert!(run.stderr.contains("all 2 frames are there already"), "{run:#?}");
}

/// A mask in the same file, but another one: another prompt.
#[cfg(unix)]
#[test]
fn going_on_with_another_mask_is_refused() {
    let mask = |left: u32| {
        let mask = image::GrayImage::from_fn(60, 40, |x, y| {
            [if x.abs_diff(left) < 9 && y.abs_diff(20) < 9 { 255 } else { 0 }].into()
        });
        output::png(&mask).unwrap()
    };
    let sandbox = folder(5).with_file("mask.png", &mask(30));
    let weights = sam2_video().to_str().unwrap();
    let args = ["track", "ball", "--device", "cpu", "--weights", weights, "--mask", "0:1:mask.png", "--format", "rle"];
    let (lines, run) = super::common::interrupted(&mut sandbox.command(&args));
    run.exits(1);
    let resumed = [&args[..], &["--resume"]].concat();
    std::fs::write(sandbox.path("mask.png"), mask(20)).unwrap();
    sandbox.hrseg(&resumed).refuses(&["ball.state.safetensors", "other prompts"]);
    std::fs::write(sandbox.path("mask.png"), mask(30)).unwrap();
    let run = sandbox.hrseg(&resumed).exits(0);
    assert_eq!(run.stdout.lines().count(), 5 - lines.lines().count(), "{run:#?}");
}
