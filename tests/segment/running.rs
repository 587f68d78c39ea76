//! Streams, pipes, interruptions.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::common::{Run, Sandbox};

#[test]
fn json_is_an_object_a_line() {
    let sandbox = Sandbox::new()
        .with_photo("coffee.jpg", "in/a.jpg")
        .with_file("in/b.jpg", b"broken")
        .with_photo("rocket.jpg", "in/c.jpg");
    let run = sandbox.segment(&["in", "--box", "50,50,300,300", "--json", "--format", "mask,overlay"]).exits(1);
    let records: Vec<serde_json::Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert_eq!(records.len(), 2);
    for (record, stem) in records.iter().zip(["a", "c"]) {
        assert_eq!(record["image"], format!("in/{stem}.jpg"));
        assert_eq!(record["prompts"]["box"], serde_json::json!([50.0, 50.0, 300.0, 300.0]));
        assert!(record["masks"][0]["predicted_iou"].is_f64() && record["masks"][0]["rle"]["counts"].is_string());
        let files: Vec<&str> = record["files"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
        assert_eq!(files, [format!("out/{stem}.mask.png"), format!("out/{stem}.overlay.png")]);
        assert!(files.iter().all(|file| sandbox.path(file).is_file()));
    }
    assert!(run.stderr.starts_with("error: in/b.jpg: "), "{run:?}");
}

#[test]
fn results_and_messages_go_their_own_ways() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    let run = sandbox.segment(&["c.jpg", "--point", "5,5", "-v", "--format", "mask"]).exits(0);
    assert_eq!(run.stdout.lines().count(), 1);
    assert!(run.stderr.contains("weights: ") && run.stderr.contains("tensors loaded"), "{run:?}");
    // no terminal: no escape sequences, no bar
    assert!(!run.stderr.contains('\u{1b}') && !run.stderr.contains('\r'), "{run:?}");
}

#[test]
fn help_has_an_example() {
    let sandbox = Sandbox::new();
    for verb in ["segment", "verify", "bench", "weights"] {
        let run = sandbox.hrseg(&[verb, "--help"]).exits(0);
        assert!(run.stdout.contains("Example") && run.stdout.contains("hrseg "), "{}", run.stdout);
        for option in ["--device", "--dtype", "--threads", "--verbose", "--json"] {
            assert!(run.stdout.contains(option), "{verb} has no {option}");
        }
    }
    sandbox.hrseg(&[]).exits(2);
    sandbox.hrseg(&["segment"]).exits(2);
    assert!(sandbox.hrseg(&["--version"]).exits(0).stdout.starts_with("hrseg "));
}

/// What the command writes on a terminal of its own, if the system has the tool for that.
#[cfg(target_os = "linux")]
fn on_a_terminal(sandbox: &Sandbox, args: &[&str], no_color: bool) -> Option<String> {
    let line: Vec<String> =
        std::iter::once(&env!("CARGO_BIN_EXE_hrseg")).chain(args).map(|arg| format!("'{arg}'")).collect();
    let mut script = sandbox.program("script");
    script.args(["-qec", &line.join(" "), "/dev/null"]).env("TERM", "xterm-256color").stdin(Stdio::null());
    if no_color {
        script.env("NO_COLOR", "1");
    }
    Some(String::from_utf8_lossy(&script.output().ok()?.stdout).into_owned())
}

#[cfg(target_os = "linux")]
#[test]
fn no_color_is_honoured() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "c.jpg");
    let coloured = |text: &str| {
        text.split('\u{1b}').skip(1).any(|rest| {
            rest.starts_with('[')
                && rest.find(|c: char| c.is_ascii_alphabetic()).is_some_and(|at| rest[at..].starts_with('m'))
        })
    };
    let weights = super::common::mobile_sam().to_string_lossy();
    let good = ["segment", "c.jpg", "--point", "5,5", "--format", "mask", "-vv", "--force", "--weights", &weights];
    for args in [&["segment", "--point", "5"][..], &good] {
        let Some(plain) = on_a_terminal(&sandbox, args, true) else {
            eprintln!("skipped: the tool `script` is not here");
            return;
        };
        assert!(!plain.is_empty() && !coloured(&plain), "{plain:?}");
        let colour = on_a_terminal(&sandbox, args, false).expect("it was there a moment ago");
        assert!(coloured(&colour), "colours where nothing forbids them: {colour:?}");
    }
}

fn three_photos() -> Sandbox {
    ["a", "b", "c"].iter().fold(Sandbox::new(), |s, name| s.with_photo("coffee.jpg", &format!("in/{name}.jpg")))
}

/// `hrseg segment in | head -1`: the files are what counts, so the work is done though nobody reads on.
#[test]
fn a_reader_that_goes_away() {
    let sandbox = three_photos();
    let mut command = sandbox.segment_command(&["in", "--point", "300,200", "--format", "mask"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap(); // and the pipe is closed
    let run = Run::from(child.wait_with_output().unwrap()).exits(0);
    assert!(line.starts_with("in/a.jpg: "), "{line}");
    assert_eq!(run.stderr, "3 of 3 images done, 0 there already, 0 failed\n");
    assert_eq!(sandbox.names("out"), ["a.mask.png", "b.mask.png", "c.mask.png"]);
}

/// Nobody to hear messages is no reason to stop either.
#[test]
fn a_listener_that_goes_away() {
    let sandbox = three_photos().with_file("in/0.jpg", b"broken");
    let mut command = sandbox.segment_command(&["in", "--point", "300,200", "--format", "mask"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    Run::from(child.wait_with_output().unwrap()).exits(1);
    assert_eq!(sandbox.names("out"), ["a.mask.png", "b.mask.png", "c.mask.png"]);
}

/// Ctrl-C in the middle of a folder.
#[cfg(unix)]
#[test]
fn an_interruption_loses_nothing() {
    let sandbox = ('a'..='f').fold(Sandbox::new(), |s, name| s.with_photo("coffee.jpg", &format!("in/{name}.jpg")));
    let args = ["in", "--point", "300,200", "--format", "mask,rle"];
    let mut command = sandbox.segment_command(&args);
    let (lines, run) = super::common::interrupted(&mut command);
    let run = run.exits(1);
    let done = lines.lines().count();
    assert!((1..6).contains(&done), "{lines}");
    assert!(
        run.stderr.contains(&format!("interrupted: {done} done, {} left; go on with --resume", 6 - done)),
        "{run:?}"
    );

    // whole images, and nothing else
    let stems = ["a", "b", "c", "d", "e", "f"];
    let files = |n: usize| -> Vec<String> {
        stems[..n].iter().flat_map(|stem| [format!("{stem}.json"), format!("{stem}.mask.png")]).collect()
    };
    assert_eq!(sandbox.names("out"), files(done));
    let first = std::fs::metadata(sandbox.path("out/a.mask.png")).unwrap().modified().unwrap();
    let run = sandbox.segment(&[&args[..], &["--resume"]].concat()).exits(0);
    assert_eq!(run.stdout.lines().count(), 6 - done);
    assert_eq!(sandbox.names("out"), files(6));
    assert_eq!(std::fs::metadata(sandbox.path("out/a.mask.png")).unwrap().modified().unwrap(), first);
    for stem in stems {
        assert!(image::open(sandbox.path(&format!("out/{stem}.mask.png"))).is_ok());
    }
}

#[test]
fn parts_of_a_run_are_the_whole() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "in/a.jpg").with_photo("coffee.jpg", "in/b.jpg");
    let sandbox = sandbox.with_photo("coffee.jpg", "in/c.jpg");
    let part = |shard: &str| sandbox.segment(&["in", "--point", "300,200", "--format", "mask", "--shard", shard]);
    part("1/2").exits(0);
    assert_eq!(sandbox.names("out"), ["a.mask.png", "c.mask.png"]);
    let run = part("2/2").exits(0);
    assert_eq!((sandbox.names("out").len(), run.stdout.lines().count()), (3, 1), "{run:?}");
    part("3/2").exits(2);
    // a part without images has nothing to do
    let run = part("4/4").exits(0);
    assert!(run.stdout.is_empty(), "{run:?}");
}
