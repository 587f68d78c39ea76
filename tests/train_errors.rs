//! What goes wrong in a training is told in one line, loses nothing, and can be gone on from.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod training;

use std::process::Output;

use training::{Folder, done, text};

const RECIPE: &str = r#"
system = "is-net"
length = { steps = 6 }
model = { image_size = 64, divide = 16 }
data = { batch = 2 }
optimizer = { decoupled = false }
schedule = { lr = 1e-3, curve = { kind = "constant" } }
checkpoint = { every = 2 }
validation = { every = 0 }
probe = { without_gradient = ["*.conv_s1.bias"] }
"#;

/// A folder with seven pairs, `set`.
fn new() -> Folder {
    let folder = Folder::with(&[("r.toml", RECIPE)]);
    for part in ["im", "gt"] {
        std::fs::create_dir_all(folder.path().join("set").join(part)).unwrap();
    }
    for number in 0..7u32 {
        let inside = move |x: u32| (8..20 + 2 * number).contains(&x);
        let image = image::RgbImage::from_fn(48, 40, |x, y| {
            if inside(x) { [200, 3 * y as u8, 40] } else { [30, 60, 90] }.into()
        });
        let mask = image::GrayImage::from_fn(48, 40, |x, _| [if inside(x) { 255 } else { 0 }].into());
        image.save(folder.path().join(format!("set/im/{number}.png"))).unwrap();
        mask.save(folder.path().join(format!("set/gt/{number}.png"))).unwrap();
    }
    folder
}

const TRAIN: [&str; 4] = ["train", "r.toml", "--data", "set"];

fn train(folder: &Folder, starter: &[&str], arguments: &[&str]) -> Output {
    // an error is one line whatever the surroundings want to know
    folder.command(starter, &[&TRAIN, arguments].concat()).env("RUST_BACKTRACE", "1").output().unwrap()
}

#[test]
fn files_that_cannot_be_used_are_told_once_each() {
    let folder = new();
    let at = |file: &str| folder.path().join("set").join(file);
    std::fs::remove_file(at("gt/1.png")).unwrap();
    image::GrayImage::new(24, 20).save(at("gt/2.png")).unwrap();
    let bytes = std::fs::read(at("im/3.png")).unwrap();
    std::fs::write(at("im/3.png"), &bytes[..bytes.len() / 2]).unwrap();
    // with one picture left, a batch is too little for the batch norms
    let said =
        done(&train(&folder, &[], &["--out", "run", "--set", "length={ epochs = 4 }", "--set", "model.image_size=32"]));
    let lines = |part: &str| said.lines().filter(|line| line.contains(part)).collect::<Vec<_>>();
    for (part, expected) in [
        ("1.png", "set: 1 picture has no mask and is left out: 1.png"),
        (
            "gt/2.png",
            "the mask is 24x20 pixels, its picture set/im/2.png is 48x40; expected the same; left out of its batch",
        ),
        ("im/3.png", "left out of its batch"),
    ] {
        let found = lines(part);
        assert!(found.len() == 1 && found[0].contains(expected), "{part}: {said}");
    }
    // one line each, no backtrace
    assert!(said.lines().all(|line| !line.trim_start().starts_with(|c: char| c.is_ascii_digit())), "{said}");
}

/// A limit on the length of files stands for a disk that is full.
#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing() {
    let folder = new();
    done(&train(&folder, &[], &["--out", "straight"]));
    done(&train(&folder, &[], &["--out", "full", "--set", "length={ steps = 4 }"]));
    let limit = ["sh", "-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh"];
    let output = train(&folder, &limit, &["--out", "full", "--resume"]);
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    let error = said.lines().filter(|line| line.starts_with("error: ")).collect::<Vec<_>>();
    assert!(error.len() == 1 && error[0].ends_with("; step 4 is saved, and --resume goes on from there"), "{said}");
    assert!(error[0].contains("checkpoints/") && said.lines().last() == Some(error[0]), "{said}");
    let said = done(&train(&folder, &[], &["--out", "full", "--resume"]));
    assert!(said.contains("going on from step 4 of 6"), "{said}");
    for file in ["last.safetensors", "log.jsonl", "checkpoints/00000006/state.safetensors"] {
        assert!(folder.bytes(&format!("straight/{file}")) == folder.bytes(&format!("full/{file}")), "{file}");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_told_before_anything_is_computed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = new();
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(closed.join("probe"), b"").is_ok() {
        eprintln!("skipped: this user may write into read-only folders");
        return;
    }
    let output = train(&folder, &[], &["--out", "closed/deep/run"]);
    let said = text(&output);
    assert!(!output.status.success() && said.contains("closed: cannot write into it"), "{said}");
    assert!(!said.contains("gradients"), "{said}");
}

#[test]
fn more_memory_than_there_is_is_told_before_with_what_would_fit() {
    let folder = Folder::with(&[("r.toml", RECIPE), ("spec.toml", training::SMALL)]);
    let ask = |arguments: &[&str]| {
        let words = [
            &["train", "r.toml", "--data", "procedural:spec.toml", "--set", "model={ image_size=128, divide=8 }"],
            arguments,
        ]
        .concat();
        folder.command(&[], &words).output().unwrap()
    };
    let much = ["--out", "run", "--set", "data.batch=400", "--memory", "0.5"];
    let output = ask(&much);
    let said = text(&output);
    assert!(!output.status.success() && said.lines().count() == 1, "{said}");
    assert!(said.starts_with("error: a batch of 400 takes about ") && said.contains("nothing was begun"), "{said}");
    assert!(!folder.path().join("run").exists());
    // what would fit does
    let words: Vec<&str> = said.split(' ').filter(|word| word.starts_with("data.")).collect();
    let [batch, accumulate] = words[..] else { panic!("{said}") };
    let [count, times] = [batch, accumulate].map(|word| word.split_once('=').unwrap().1.parse::<usize>().unwrap());
    assert!((2..400).contains(&count) && count * times >= 400, "{said}");
    done(&ask(&["--dry-run", "--set", batch, "--memory", "0.5"]));
    for (arguments, expected) in [
        (&["--memory", "0.001"][..], "the model alone takes more memory than there is"),
        (&["--memory", "-1"], "--memory is -1, expected GiB above 0"),
    ] {
        let output = ask(&[&["--out", "run"], arguments].concat());
        assert!(!output.status.success() && text(&output).contains(expected), "{}", text(&output));
    }
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_part_of_a_folder_is_held_out() {
    let folder = new();
    let said = done(&train(&folder, &[], &["--hold-out", "0.3", "--out", "run"]));
    assert!(said.contains("step 6: 2 held-out examples: ") && said.contains("best.safetensors"), "{said}");
    assert!(!said.contains("--val"), "{said}");
    // the same pictures again when it goes on; others are other data
    done(&train(&folder, &[], &["--hold-out", "0.3", "--out", "run", "--resume", "--set", "length={ steps = 7 }"]));
    for (arguments, expected) in [
        (&["--hold-out", "0.5", "--out", "run", "--resume"][..], "the run was made on other data"),
        (&["--hold-out", "1", "--out", "other"], "--hold-out is 1, expected a part above 0 and below 1"),
        (&["--hold-out", "0.99", "--out", "other"], "7 of 7 pairs"),
        (&["--hold-out", "0.1", "--val", "set", "--out", "other"], "cannot be used with"),
        (&["--data", "procedural", "--hold-out", "0.1", "--out", "other"], "has held-out ones of its own"),
    ] {
        let words = if arguments.contains(&"--data") { &TRAIN[..2] } else { &TRAIN[..] };
        let output = folder.command(&[], &[words, arguments].concat()).output().unwrap();
        assert!(!output.status.success() && text(&output).contains(expected), "{arguments:?}: {}", text(&output));
    }
}
