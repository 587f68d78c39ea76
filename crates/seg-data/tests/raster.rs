//! PNG, GIF, BMP and WebP as people have them: pixels as Pillow 13.0 gives them (`data/make_raster.py`), or a reason in words.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use common::{data, fnv, table};
use seg_data::{DecodeLimits, Frames, LoadedImage, RgbImage, decode_image, load_image};

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(data("raster").join(name)).unwrap()
}

fn load(name: &str) -> LoadedImage {
    load_image(data("raster").join(name), &DecodeLimits::default()).unwrap()
}

fn refusal(file: &[u8]) -> String {
    decode_image(file, "x", &DecodeLimits::default()).unwrap_err().to_string()
}

fn difference(image: &RgbImage, row: &[String]) -> Option<String> {
    let found = [image.width().to_string(), image.height().to_string(), fnv(image.as_raw())];
    (found != row[2..5]).then(|| format!("{}: {found:?}", row.join(" ")))
}

#[test]
fn pixels_and_frames_equal_pillow() {
    let mut wrong = Vec::new();
    let mut frames: Option<(String, Frames)> = None;
    for row in table("pil_raster.txt") {
        let path = data("raster").join(&row[0]);
        if row[1] == "-" {
            match load_image(&path, &DecodeLimits::default()) {
                Ok(loaded) => wrong.extend(difference(&loaded.image, &row)),
                Err(error) => wrong.push(error.to_string()),
            }
            continue;
        }
        if frames.as_ref().is_none_or(|(name, _)| *name != row[0]) {
            let opened = Frames::open(&path, &DecodeLimits::default(), None).unwrap();
            assert!(opened.damage().is_none(), "{}: {:?}", row[0], opened.damage());
            frames = Some((row[0].clone(), opened));
        }
        let index = row[1].parse().unwrap();
        match frames.as_ref().unwrap().1.load(index) {
            Ok(image) => wrong.extend(difference(&image, &row)),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What Pillow is silent about is told, and nothing else.
#[test]
fn notes_say_what_was_odd() {
    let cases = [
        ("rgb.png", ""),
        ("trailing.png", ""),
        ("exif6_before.png", ""),
        ("still.gif", ""),
        ("still_no_trailer.gif", ""),
        ("os2_64.bmp", ""),
        ("lossless.webp", ""),
        ("no_end.png", "no end mark (IEND); all its pixels are there"),
        ("cut_end.png", "no end mark (IEND); all its pixels are there"),
        ("bad_ancillary.png", "the chunk gAMA has a wrong checksum"),
        ("bad_text_behind.png", "the chunk tEXt has a wrong checksum"),
        ("gama.png", "its gamma (gAMA) is 1, not that of sRGB"),
        ("apng2_00.png", "an animation"),
        ("three.gif", "an animation of 3 frames; only the first is used"),
        ("three_no_trailer.gif", "an animation of 3 frames; only the first is used"),
        ("offset.gif", "its picture of 18x12 pixels lies at 5,4 on a canvas of 29x21"),
        ("anim.webp", "an animation of 4 frames; only the first is used"),
    ];
    for (name, expected) in cases {
        let notes = load(name).notes;
        match expected {
            "" => assert!(notes.is_empty(), "{name}: {notes:?}"),
            _ => assert!(notes.len() == 1 && notes[0].contains(expected), "{name}: {notes:?}"),
        }
    }
}

/// A chunk with its checksum, changed by `wrong`.
fn chunk(kind: &[u8; 4], data: &[u8], wrong: u32) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(kind);
    hasher.update(data);
    let checksum = hasher.finalize() ^ wrong;
    [&(data.len() as u32).to_be_bytes()[..], kind, data, &checksum.to_be_bytes()].concat()
}

#[test]
fn what_cannot_be_read_is_said_in_words() {
    let png = bytes("rgb.png");
    let idat = 33;
    let cgbi = [&png[..8], &chunk(b"CgBI", &[0x50, 0, 0x20, 6], 0), &png[8..]].concat();
    assert!(refusal(&cgbi).contains("Apple's variant for iPhones (chunk CgBI)"), "{}", refusal(&cgbi));
    let mut header = png.clone();
    header[29] ^= 1;
    assert!(refusal(&header).contains("the checksum of the chunk IHDR at byte 8 is wrong"), "{}", refusal(&header));
    let mut pixels = png.clone();
    pixels[idat + 40] ^= 1;
    assert!(refusal(&pixels).contains("the checksum of the chunk IDAT at byte 33 is wrong"), "{}", refusal(&pixels));
    let cut = refusal(&png[..png.len() - 200]);
    assert!(cut.contains("ends in the middle of the chunk IDAT"), "{cut}");
    let bare = refusal(&png[..idat]);
    assert!(bare.contains("ends before its pixels"), "{bare}");
    // all the chunk is there, but not all the pixels
    let half = [&png[..idat], &chunk(b"IDAT", &png[idat + 8..idat + 500], 0), &chunk(b"IEND", b"", 0)].concat();
    let half = refusal(&half);
    assert!(half.contains("Corrupt deflate stream"), "{half}");

    let gif = bytes("still.gif");
    let cut = refusal(&gif[..gif.len() - 40]);
    assert!(cut.contains("truncated"), "{cut}");
    let head = refusal(&[&gif[..61], b";"].concat());
    assert!(head.contains("it holds no picture"), "{head}");

    let mut bmp = bytes("os2_64.bmp");
    bmp[30] = 3;
    assert!(refusal(&bmp).contains("OS/2 bitmap with Huffman coding (compression 3)"), "{}", refusal(&bmp));
}

/// Nothing but the end mark is wrong: as in Pillow and OpenCV, the picture.
#[test]
fn an_end_mark_that_is_cut_or_damaged_costs_nothing() {
    let png = bytes("rgb.png");
    let whole = load("rgb.png").image;
    let bare = &png[..png.len() - 12];
    assert_eq!(&png[png.len() - 8..png.len() - 4], b"IEND");
    for end in [chunk(b"IEND", b"", 1), chunk(b"IEND", b"", 0)[..8].to_vec(), chunk(b"IEND", b"", 0)[..10].to_vec()] {
        let read = decode_image(&[bare, &end].concat(), "x", &DecodeLimits::default()).unwrap();
        assert_eq!(read.image, whole, "{end:?}");
        assert_eq!(read.notes, ["its end mark (IEND) is damaged; all its pixels are there"], "{end:?}");
    }
    // before any pixels it is an error as before
    let early = [&png[..33], &chunk(b"IEND", b"", 1), &png[33..]].concat();
    assert!(refusal(&early).contains("the checksum of the chunk IEND at byte 33 is wrong"), "{}", refusal(&early));
}

/// The first frames of an animation that breaks off are there, with the reason why the others are not.
#[test]
fn animations_that_break_off_keep_their_first_frames() {
    let folder = tempfile::tempdir().unwrap();
    for (name, cut, whole) in
        [("three.gif", 60, 2), ("dispose1_7.gif", 30, 3), ("anim.webp", 30, 3), ("apng2_00.png", 40, 3)]
    {
        let file = bytes(name);
        let path = folder.path().join(name);
        std::fs::write(&path, &file[..file.len() - cut]).unwrap();
        let frames = Frames::open(&path, &DecodeLimits::default(), None).unwrap();
        assert_eq!(frames.len(), whole, "{name}: {:?}", frames.damage());
        assert!(frames.damage().is_some(), "{name}");
    }
}
