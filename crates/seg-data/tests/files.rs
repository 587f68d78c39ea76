//! Atomic writing and the expansion of arguments.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use seg_data::output::{self, Overwrite};
use seg_data::{DataError, inputs};

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn files_appear_whole_and_are_not_overwritten_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bin");
    output::write(&path, b"one", Overwrite::Refuse).unwrap();
    let error = output::write(&path, b"two", Overwrite::Refuse).unwrap_err();
    assert!(matches!(&error, DataError::AlreadyExists { path: p } if *p == path), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"one");
    output::write(&path, b"two", Overwrite::Replace).unwrap();
    assert_eq!((fs::read(&path).unwrap(), names(dir.path())), (b"two".to_vec(), vec!["a.bin".to_owned()]));
}

#[test]
fn a_failure_in_the_middle_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bin");
    let full = |w: &mut dyn Write| {
        w.write_all(&[7; 100_000])?;
        Err(io::Error::from(io::ErrorKind::StorageFull))
    };
    let error = output::write_with(&path, Overwrite::Refuse, full).unwrap_err();
    assert!(matches!(error, DataError::DiskFull { .. }) && error.to_string().contains("a.bin"), "{error}");
    assert!(names(dir.path()).is_empty());
    output::write(&path, b"old", Overwrite::Refuse).unwrap();
    assert!(output::write_with(&path, Overwrite::Replace, full).is_err());
    assert_eq!((fs::read(&path).unwrap(), names(dir.path()).len()), (b"old".to_vec(), 1));
}

#[test]
fn impossible_targets_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for overwrite in [Overwrite::Refuse, Overwrite::Replace] {
        assert!(output::write(dir.path(), b"x", overwrite).is_err());
        let error = output::write(dir.path().join("no/such/a.bin"), b"x", overwrite).unwrap_err().to_string();
        assert!(error.contains("a.bin") && error.contains("folder"), "{error}");
    }
    output::create_folder(dir.path().join("no/such")).unwrap();
    output::write(dir.path().join("no/such/a.bin"), b"x", Overwrite::Refuse).unwrap();
    assert!(output::create_folder(dir.path().join("no/such/a.bin")).is_err());
}

#[cfg(unix)]
#[test]
fn the_umask_decides_about_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
    fs::write(dir.path().join("plain"), b"").unwrap();
    output::write(dir.path().join("ours"), b"", Overwrite::Refuse).unwrap();
    assert_eq!(mode("ours"), mode("plain"));
}

#[test]
fn png_bytes_give_the_same_pixels_back() {
    let image = image::RgbaImage::from_fn(9, 5, |x, y| image::Rgba([x as u8 * 20, y as u8 * 40, 3, (x + y) as u8]));
    let bytes = output::png(&image).unwrap();
    assert_eq!(image::load_from_memory(&bytes).unwrap().into_rgba8(), image);
    assert!(output::png(&image::GrayImage::new(0, 4)).is_err());
}

fn touch(dir: &Path, names: &[&str]) {
    for name in names {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
}

fn expand(dir: &Path, arguments: &[&str]) -> Result<Vec<String>, DataError> {
    let arguments: Vec<PathBuf> = arguments.iter().map(|a| dir.join(a)).collect();
    let files = inputs::expand(&arguments)?;
    Ok(files.iter().map(|f| f.strip_prefix(dir).unwrap().to_string_lossy().into_owned()).collect())
}

#[test]
fn files_folders_and_patterns_are_expanded_sorted_and_counted_once() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    touch(dir, &["b.JPG", "a.png", "notes.txt", ".hidden.png", "c[1].png", "sub/d.webp", "sub/deep/e.tif", "odd.dat"]);
    assert_eq!(expand(dir, &[""]).unwrap(), ["a.png", "b.JPG", "c[1].png"]);
    assert_eq!(expand(dir, &["sub", "a.png", "a.png"]).unwrap(), ["a.png", "sub/d.webp"]);
    assert_eq!(expand(dir, &["*.png"]).unwrap(), ["a.png", "c[1].png"]);
    assert_eq!(expand(dir, &["c[1].png"]).unwrap(), ["c[1].png"]);
    assert_eq!(expand(dir, &["**/*"]).unwrap(), ["a.png", "b.JPG", "c[1].png", "sub/d.webp", "sub/deep/e.tif"]);
    assert_eq!(expand(dir, &["odd.dat"]).unwrap(), ["odd.dat"]);
    assert_eq!(expand(dir, &["sub/../a.png", "a.png"]).unwrap().len(), 1);
}

#[test]
fn arguments_without_images_are_errors() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    touch(dir, &["empty/readme.md"]);
    assert!(matches!(expand(dir, &["nothing.png"]), Err(DataError::InputNotFound { .. })));
    assert!(matches!(expand(dir, &["empty"]), Err(DataError::NoImages { .. })));
    assert!(matches!(expand(dir, &["*.png"]), Err(DataError::NoImages { .. })));
    assert!(matches!(expand(dir, &["[.png"]), Err(DataError::BadPattern { .. })));
}

#[test]
fn every_ending_of_an_image_is_known_and_the_rest_is_counted() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let images =
        ["a.jfif", "b.JPE", "c.jif", "d.TIFF", "e.Tif", "f.dib", "g.apng", "h.mpo", "i.JPEG", "j.WebP", "k.pgm"];
    touch(dir, &images);
    touch(dir, &["x.txt", "y.TXT", "z.heic", "README", "sub/in.png", ".DS_Store", "Thumbs.db", ".l.txt"]);
    let (files, left_out) = inputs::expand_counting(&[dir]).unwrap();
    assert_eq!(files.len(), images.len());
    let expected = "left out: 2 .txt, 1 without an ending, 1 .heic";
    assert_eq!(left_out.note().unwrap(), format!("{expected}, 1 folder with images in it"));
    let pattern = dir.join("*");
    let (files, left_out) = inputs::expand_counting(&[&pattern]).unwrap();
    assert_eq!(files.len(), images.len());
    assert_eq!(left_out.note().unwrap(), expected);
    assert_eq!(inputs::expand_counting(&[dir.join("a.jfif")]).unwrap().1.note(), None);
    touch(dir, &["none/a.heic", "none/b.heic"]);
    let error = expand(dir, &["none"]).unwrap_err().to_string();
    assert!(error.contains("none: no images in it (left out: 2 .heic)"), "{error}");
}

#[test]
fn folders_tell_images_and_folders_apart() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    touch(dir, &["a.png", "s/b.png", ".ipynb_checkpoints/a.png", "__MACOSX/s/._b.png", "@eaDir/a.png", "n.csv"]);
    fs::create_dir(dir.join("odd.png")).unwrap();
    let mut found = inputs::Folder::read(dir).unwrap();
    found.folders.sort();
    assert_eq!((found.images, found.folders), (vec!["a.png".into()], vec!["odd.png".into(), "s".into()]));
    assert_eq!(found.left_out.note().unwrap(), "left out: 1 .csv");
    assert!(inputs::Folder::read(&dir.join("nowhere")).is_err());
}

#[test]
fn names_as_text_have_one_form_and_stay_apart() {
    use std::ffi::OsStr;
    assert_eq!(inputs::text(OsStr::new("cafe\u{301}")), "caf\u{e9}");
    assert_eq!(inputs::text(OsStr::new("plain.b")), "plain.b");
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt as _;
        assert_eq!(inputs::text(OsStr::from_bytes(b"e\xcc\x81\xff")), "\u{e9}\\xFF");
        assert_ne!(inputs::text(OsStr::from_bytes(b"\xfe")), inputs::text(OsStr::from_bytes(b"\xff")));
    }
}

#[test]
fn inputs_that_would_collide_are_both_named() {
    let files: Vec<PathBuf> = ["x/truck.jpg", "x/car.jpg", "y/truck.png"].iter().map(PathBuf::from).collect();
    inputs::check_stems(&files[..2]).unwrap();
    let error = inputs::check_stems(&files).unwrap_err().to_string();
    assert!(error.contains("truck.jpg") && error.contains("truck.png") && error.contains("\"truck\""), "{error}");
}
