//! Frames of folders, animations and videos.
#![allow(clippy::unwrap_used)]

mod common;

use common::data;
use image::codecs::gif::GifEncoder;
use image::{Frame, RgbImage, RgbaImage};
use seg_data::output::{Overwrite, write_png};
use seg_data::{DataError, DecodeLimits, Frames};
use std::path::Path;

fn open(path: &Path) -> Result<Frames, DataError> {
    Frames::open(path, &DecodeLimits::default(), None)
}

fn folder(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (i, name) in names.iter().enumerate() {
        let image = RgbImage::from_pixel(3 + i as u32, 2, [i as u8; 3].into());
        write_png(dir.path().join(name), &image, Overwrite::Refuse).unwrap();
    }
    dir
}

fn names(frames: &Frames) -> Vec<String> {
    (0..frames.len()).map(|i| frames.name(i).unwrap().into_string().unwrap()).collect()
}

fn gif(count: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let frame = |t: u8| Frame::new(RgbaImage::from_fn(40, 30, |x, y| [x as u8 ^ y as u8, 60 * t, 0, 255].into()));
    GifEncoder::new(&mut bytes).encode_frames((0..count).map(frame)).unwrap();
    bytes
}

#[test]
fn numbers_count_as_numbers() {
    let dir = folder(&["f10b.png", "f9.png", "f010.png", "é3.png", "é20.png", "10.png", "2.png", "f10.png", "1.png"]);
    let frames = open(dir.path()).unwrap();
    assert_eq!(names(&frames), ["1", "2", "10", "f9", "f010", "f10", "f10b", "é3", "é20"]);
    assert_eq!(frames.load(1).unwrap().dimensions(), (9, 2));
    assert!(frames.notes().is_empty() && frames.load(9).is_err() && frames.name(9).is_none());
}

#[test]
fn missing_numbers_are_told() {
    let dir = folder(&["00.png", "02.png", "07.png"]);
    let frames = open(dir.path()).unwrap();
    assert!(frames.notes()[0].contains("1, 3 to 6"), "{:?}", frames.notes());
    assert_eq!(names(&frames), ["00", "02", "07"]);
}

#[test]
fn animations() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.gif");
    std::fs::write(&path, gif(3)).unwrap();
    let frames = open(&path).unwrap();
    assert_eq!(names(&frames), ["00000", "00001", "00002"]);
    assert!(frames.damage().is_none());
    let [first, last] = [0, 2].map(|i| frames.load(i).unwrap().get_pixel(0, 0).0);
    assert!(first[1] < 10 && last[1] > 110, "{first:?} {last:?}");
}

#[test]
fn an_animation_that_breaks_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.gif");
    let (whole, two) = (gif(3), gif(2));
    std::fs::write(&path, &whole[..two.len() + 100]).unwrap();
    let frames = open(&path).unwrap();
    assert!((1..3).contains(&frames.len()), "{}", frames.len());
    assert!(frames.damage().unwrap().to_string().contains("cut.gif"));

    std::fs::write(&path, &whole[..40]).unwrap();
    assert!(open(&path).is_err(), "not a single frame");
}

#[test]
fn what_is_no_video() {
    let dir = folder(&["one.png"]);
    assert!(matches!(open(&dir.path().join("one.png")), Err(DataError::SingleImage { format: "PNG", .. })));
    assert!(matches!(open(&dir.path().join("absent")), Err(DataError::InputNotFound { .. })));
    std::fs::write(dir.path().join("empty.mp4"), b"").unwrap();
    assert!(matches!(open(&dir.path().join("empty.mp4")), Err(DataError::EmptyFile { .. })));
    let small = DecodeLimits { max_pixels: 1000, ..DecodeLimits::default() };
    std::fs::write(dir.path().join("large.gif"), gif(2)).unwrap();
    assert!(matches!(Frames::open(dir.path().join("large.gif"), &small, None), Err(DataError::TooLarge { .. })));
}

/// False, with a line, where the program is not installed.
fn has_ffmpeg() -> bool {
    let there = std::process::Command::new("ffmpeg").arg("-version").output().is_ok();
    if !there {
        eprintln!("not tested: ffmpeg is not installed");
    }
    there
}

/// Beside the film a cover that is marked as one, or a still that is not, both before it.
#[test]
fn the_film_is_taken_not_its_cover() {
    if !has_ffmpeg() {
        return;
    }
    for (file, note) in [("plain.mp4", ""), ("cover_v0.mp4", ""), ("still_first.mp4", "2 streams of pictures")] {
        let frames = open(&data("video").join(file)).unwrap();
        assert_eq!((frames.len(), frames.load(11).unwrap().dimensions()), (12, (160, 96)), "{file}");
        assert!(frames.damage().is_none());
        assert!(frames.notes().join("").contains(note) && frames.notes().is_empty() == note.is_empty(), "{file}");
    }
    let sound = open(&data("video").join("sound_cover.m4a")).unwrap_err().to_string();
    assert!(sound.contains("sound_cover.m4a") && sound.contains("no film"), "{sound}");
}

/// What ffmpeg calls a success is told as what it is.
#[test]
fn films_that_break_off_keep_their_first_frames() {
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, options) in [("a.mkv", &[][..]), ("b.mp4", &["-movflags", "+faststart"])] {
        let film = dir.path().join(name);
        let mut command = std::process::Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-i"]).arg(data("video/plain.mp4")).args(["-c", "copy"]);
        assert!(command.args(options).arg(&film).status().unwrap().success());
        assert!(open(&film).unwrap().damage().is_none(), "{name}");
        let whole = std::fs::read(&film).unwrap();
        std::fs::write(&film, &whole[..whole.len() * 8 / 10]).unwrap();
        let cut = open(&film).unwrap();
        assert!((1..12).contains(&cut.len()), "{name}: {}", cut.len());
        let damage = cut.damage().unwrap().to_string();
        assert!(damage.contains(name) && damage.contains("cut off or damaged"), "{damage}");
    }
}

/// To ffmpeg's image sequences `%` is a pattern, in folders' names too.
#[test]
fn percent_signs_in_paths() {
    if !has_ffmpeg() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["100% x", "%05d", "a%%b", "[%d] é"] {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let film = folder.join("50% %03d.mp4");
        std::fs::copy(data("video/plain.mp4"), &film).unwrap();
        let frames = Frames::open(&film, &DecodeLimits::default(), Some(&folder)).unwrap();
        assert_eq!((frames.len(), names(&frames)[11].as_str()), (12, "00011"), "{name}");
    }
}

#[test]
fn no_more_frames_than_are_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("three.gif");
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for level in [0, 100, 200] {
        encoder.encode_frame(Frame::new(RgbaImage::from_pixel(4, 3, [level, 0, 0, 255].into()))).unwrap();
    }
    drop(encoder);
    std::fs::write(&path, bytes).unwrap();
    let open = |path: &Path, most| Frames::open_up_to(path, &DecodeLimits::default(), None, most);
    assert_eq!(open(&path, 3).unwrap().len(), 3);
    let error = open(&path, 2).unwrap_err();
    assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("more than 2"), "{error}");
    let folder = folder(&["1.png", "2.png"]);
    assert!(open(folder.path(), 1).is_err());
    assert_eq!(open(folder.path(), 2).unwrap().len(), 2);
}
