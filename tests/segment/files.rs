//! Folders, patterns, what is there already, and what cannot be written.

use std::time::SystemTime;

use super::common::{Run, Sandbox, photo};

fn modified(sandbox: &Sandbox, name: &str) -> SystemTime {
    std::fs::metadata(sandbox.path(name)).unwrap().modified().unwrap()
}

const CLICK: [&str; 4] = ["--point", "100,100", "--format", "mask"];

fn click<'a>(args: &[&'a str]) -> Vec<&'a str> {
    args.iter().copied().chain(CLICK).collect()
}

#[test]
fn a_folder_with_a_broken_image() {
    let sandbox = Sandbox::new()
        .with_photo("coffee.jpg", "in/a.jpg")
        .with_photo("rocket.jpg", "in/c.JPG")
        .with_file("in/b.png", b"\x89PNG\r\n\x1a\nthen nothing")
        .with_file("in/notes.txt", b"no image")
        .with_photo("coffee.jpg", "in/deeper/d.jpg");
    let run = sandbox.segment(&click(&["in"])).exits(1);
    assert_eq!(sandbox.names("out"), ["a.mask.png", "c.mask.png"]);
    let done: Vec<&str> = run.stdout.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(done, ["in/a.jpg", "in/c.JPG"]);
    let messages: Vec<&str> = run.stderr.lines().collect();
    assert!(
        matches!(messages[..], ["note: left out: 1 .txt, 1 folder with images in it", error, colours, summary]
            if error.starts_with("error: in/b.png: ") && colours.contains("in/c.JPG: its colours are Adobe RGB (1998)") && summary == "2 of 3 images done, 0 there already, 1 failed"),
        "{run:#?}"
    );
}

#[test]
fn patterns_and_files_together() {
    let sandbox = Sandbox::new()
        .with_photo("coffee.jpg", "in/a1.jpg")
        .with_photo("coffee.jpg", "in/b1.jpg")
        .with_photo("coffee.jpg", "odd[1].jpg");
    // the same file twice counts once; a name that looks like a pattern is a name if it exists
    let run = sandbox.segment(&click(&["in/a*.jpg", "in/a1.jpg", "odd[1].jpg", "--json"])).exits(0);
    assert_eq!(sandbox.names("out"), ["a1.mask.png", "odd[1].mask.png"]);
    assert_eq!(run.stdout.lines().count(), 2);
}

#[test]
fn inputs_that_lead_nowhere_are_wrong_use() {
    let sandbox = Sandbox::new().with_file("empty/readme", b"").with_photo("coffee.jpg", "a.jpg");
    for (input, cause) in [("missing.jpg", "missing.jpg"), ("empty", "empty"), ("*.png", "*.png"), ("[.jpg", "[.jpg")] {
        let run = sandbox.segment(&click(&[input])).exits(2);
        assert!(run.stderr.contains(cause) && run.stderr.lines().count() == 1, "{run:?}");
        assert_eq!(run.stdout, "");
    }
    std::fs::copy(photo("coffee.jpg"), sandbox.path("empty/a.jpg")).unwrap();
    let run = sandbox.segment(&click(&["a.jpg", "empty/a.jpg"])).exits(2);
    assert!(run.stderr.contains("a.jpg") && run.stderr.contains("empty/a.jpg"), "{run:?}");
    assert!(!sandbox.path("out").exists());
}

#[test]
fn nothing_is_overwritten_without_force() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "a.jpg").with_file("out/a.mask.png", b"mine");
    sandbox.segment(&click(&["a.jpg"])).refuses(&["out/a.mask.png", "--force", "--resume"]);
    assert_eq!(std::fs::read(sandbox.path("out/a.mask.png")).unwrap(), b"mine");
    // another format beside it is nobody's business
    sandbox.segment(&["a.jpg", "--point", "100,100", "--format", "rle"]).exits(0);
    sandbox.segment(&click(&["a.jpg", "--force"])).exits(0);
    assert!(image::open(sandbox.path("out/a.mask.png")).is_ok());
    assert_eq!(sandbox.names("out"), ["a.json", "a.mask.png"]);
    let run = sandbox.segment(&click(&["a.jpg", "--force", "--resume"])).exits(2);
    assert!(run.stderr.contains("--resume"), "{run:?}");
}

#[test]
fn candidates_of_an_earlier_run_do_not_stay() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "a.jpg");
    sandbox.segment(&click(&["a.jpg", "--multimask"])).exits(0);
    assert_eq!(sandbox.names("out"), ["a.mask.1.png", "a.mask.2.png", "a.mask.png"]);
    sandbox.segment(&click(&["a.jpg", "--force"])).exits(0);
    assert_eq!(sandbox.names("out"), ["a.mask.png"]);
}

#[test]
fn resume_does_what_is_not_there() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "in/a.jpg").with_photo("dandelion.jpg", "in/b.jpg");
    let both = ["in", "--point", "100,100", "--format", "mask,rle", "--resume"];
    sandbox.segment(&["in/a.jpg", "--point", "100,100", "--format", "mask,rle"]).exits(0);
    std::fs::write(sandbox.path("out/b.mask.png"), b"half of an earlier run").unwrap();
    let before = modified(&sandbox, "out/a.mask.png");
    let run = sandbox.segment(&both).exits(0);
    assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
    assert_eq!(run.stderr, "1 of 2 images done, 1 there already, 0 failed\n");
    assert_eq!(modified(&sandbox, "out/a.mask.png"), before);
    assert!(image::open(sandbox.path("out/b.mask.png")).is_ok());
    let run = sandbox.segment(&both).exits(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", "0 of 2 images done, 2 there already, 0 failed\n"));
    assert_eq!(sandbox.names("out"), ["a.json", "a.mask.png", "b.json", "b.mask.png"]);
}

/// The second run must not take the masks of the first for photos.
#[test]
fn results_beside_the_photos() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "in/a.jpg").with_photo("rocket.jpg", "in/b.mask.png");
    let args = ["in", "--point", "100,100", "--multimask", "--format", "mask,cutout,overlay", "-o", "./in/"];
    let run = sandbox.segment(&args).exits(0);
    assert_eq!(run.stdout.lines().count(), 2, "a photo may be called like a mask: {run:?}");
    let names = sandbox.names("in");
    assert_eq!(names.len(), 2 + 2 * 5, "{names:?}");
    let run = sandbox.segment(&[&args[..], &["--resume"]].concat()).exits(0);
    assert_eq!(run.stderr, "0 of 2 images done, 2 there already, 0 failed\n");
    assert_eq!(sandbox.names("in"), names);
}

/// Names of files need not be text.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new();
    let [first, second] = [b"caf\xe9.jpg", b"caf\xe8.jpg"].map(|name| std::ffi::OsStr::from_bytes(name));
    for name in [first, second] {
        if std::fs::copy(photo("coffee.jpg"), sandbox.path("").join(name)).is_err() {
            eprintln!("skipped: this file system takes no such names");
            return;
        }
    }
    let mut command = sandbox.segment_command(&CLICK);
    Run::from(command.arg(first).arg(second).output().unwrap()).exits(0);
    let masks = [&b"caf\xe9.mask.png"[..], b"caf\xe8.mask.png"].map(std::ffi::OsStr::from_bytes);
    assert!(masks.iter().all(|name| sandbox.path("out").join(name).is_file()));
}

#[test]
fn an_output_that_is_no_folder() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "a.jpg").with_file("out", b"a file");
    let message = sandbox.segment(&click(&["a.jpg"])).refuses(&["out"]);
    assert_eq!(message.matches("(os error").count(), 1, "the cause is told once: {message}");
    assert_eq!(std::fs::read(sandbox.path("out")).unwrap(), b"a file");
}

#[cfg(unix)]
#[test]
fn an_output_folder_that_cannot_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "a.jpg");
    let out = sandbox.path("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::set_permissions(&out, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(out.join("probe"), b"").is_ok() {
        eprintln!("skipped: this user may write into read-only folders");
        return;
    }
    sandbox.segment(&click(&["a.jpg"])).refuses(&["out"]);
    assert!(sandbox.names("out").is_empty());
}

/// A limit on the length of files stands for a disk that is full: the write ends in the middle with an error.
#[cfg(unix)]
#[test]
fn a_write_that_fails_in_the_middle_leaves_nothing() {
    let sandbox = Sandbox::new().with_photo("coffee.jpg", "a.jpg");
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$@\""; // 8 or 16 KiB; the cut-out is larger
    let segment = sandbox.segment_command(&["a.jpg", "--point", "100,100"]);
    let mut command = sandbox.program("sh");
    command.args(["-c", script, "sh"]).arg(segment.get_program()).args(segment.get_args());
    let run = Run::from(command.output().unwrap());
    run.refuses(&["out/a."]);
    assert!(sandbox.names("out").is_empty(), "{:?}", sandbox.names("out"));
}
