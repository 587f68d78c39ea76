//! JPEGs as people have them: libjpeg-turbo's reading of restart markers, component ids, samplings and stray bytes.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use common::{data, fnv, table};
use image::metadata::Orientation;
use seg_data::{DecodeLimits, LoadedImage, decode_image};

fn read(file: &[u8]) -> Result<LoadedImage, String> {
    decode_image(file, "odd.jpg", &DecodeLimits::default()).map_err(|e| e.to_string())
}

fn odd(name: &str) -> Vec<u8> {
    std::fs::read(data("jpeg").join(name)).unwrap()
}

/// Puts bytes behind the first segment of a JPEG, where nothing but markers should be.
fn behind_app0(file: &[u8], bytes: &[u8]) -> Vec<u8> {
    let end = 4 + usize::from(u16::from_be_bytes([file[4], file[5]]));
    [&file[..end], bytes, &file[end..]].concat()
}

fn restarts(file: &[u8]) -> Vec<usize> {
    (0..file.len() - 1).filter(|&i| file[i] == 0xff && (0xd0..=0xd7).contains(&file[i + 1])).collect()
}

#[test]
fn odd_files_equal_pillow_bit_for_bit() {
    let rows = table("pil_jpeg.txt");
    assert_eq!(rows.len(), std::fs::read_dir(data("jpeg")).unwrap().count());
    for row in rows {
        let loaded = read(&odd(&row[0])).unwrap();
        let (w, h) = loaded.dimensions();
        assert_eq!([w.to_string(), h.to_string(), fnv(loaded.image.as_raw())], row[1..4], "{}", row[0]);
        let damaged = ["rst4_del.jpg", "arith_missing.jpg", "arith_lost3.jpg"].contains(&row[0].as_str());
        assert_eq!(loaded.notes.len(), usize::from(damaged), "{}: {:?}", row[0], loaded.notes);
    }
}

#[test]
fn a_lost_or_repeated_restart_marker_is_a_note() {
    let file = odd("rst4.jpg");
    let whole = read(&file).unwrap();
    let marks = restarts(&file);
    assert!(marks.len() > 4);
    let twice = [&file[..marks[2]], &file[marks[2]..marks[2] + 2], &file[marks[2]..]].concat();
    let loaded = read(&twice).unwrap();
    assert!(loaded.notes[0].contains("restart markers are damaged: 1 of"), "{:?}", loaded.notes);
    let differ = whole.image.pixels().zip(loaded.image.pixels()).filter(|(a, b)| a != b).count();
    assert!(differ > 0 && differ < whole.image.pixels().len() / 2, "{differ} pixels");
}

#[test]
fn restart_markers_in_progressive_arithmetic_coding_are_refused() {
    let mut file = odd("arith_bytes.jpg");
    let frame = file.windows(2).position(|pair| pair == [0xff, 0xc9]).unwrap();
    file[frame + 1] = 0xca;
    let error = read(&file).unwrap_err();
    assert!(error.contains("arithmetic coding that is not sequential"), "{error}");
}

#[test]
fn a_scan_of_a_component_that_is_not_there_is_refused() {
    for name in ["arith_bytes.jpg", "rst.jpg"] {
        let mut file = odd(name);
        let scan = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
        file[scan + 5] = 77;
        let error = read(&file).unwrap_err();
        assert!(error.contains("a scan has component 77"), "{name}: {error}");
    }
}

#[test]
fn an_end_marker_is_missed_only_with_its_data() {
    let file = odd("rst.jpg");
    let whole = read(&file).unwrap().image;
    let bare = &file[..file.len() - 2];
    for tail in [&b""[..], b"--boundary\r\nContent-Type: text/plain\r\n", b"\0\0\0\0", b"\xff\xff\xff"] {
        assert_eq!(read(&[bare, tail].concat()).unwrap().image, whole, "{tail:?}");
    }
    // half an end marker is none, and no data: of several scans, too
    let file_of_scans = odd("progressive.jpg");
    let whole_of_scans = read(&file_of_scans).unwrap().image;
    for cut in [1, 2] {
        let read = read(&file_of_scans[..file_of_scans.len() - cut]).unwrap();
        assert_eq!((&read.image, read.notes.len()), (&whole_of_scans, 0), "{cut}: {:?}", read.notes);
    }
    for cut in [file.len() / 2, file.len() * 3 / 4, file.len() - 40] {
        let error = read(&file[..cut]).unwrap_err();
        assert!(error.contains("no end-of-image marker"), "{cut}: {error}");
        let error = read(&[&file[..cut], b"\xff\xd9"].concat()).unwrap_err();
        assert!(error.contains("shorter than the picture"), "{cut}: {error}");
    }
}

#[test]
fn stray_bytes_between_segments_are_skipped() {
    let file = odd("rst.jpg");
    let whole = read(&file).unwrap().image;
    for stray in [&b"\0\0\0"[..], b"text", b"\xff\xff\xff\xff", b"\xff\0", b"\xff\x01"] {
        assert_eq!(read(&behind_app0(&file, stray)).unwrap().image, whole, "{stray:?}");
    }
    assert_eq!(read(&[&file[..], &file[..]].concat()).unwrap().image, whole, "a second picture behind the first");
}

#[test]
fn orientation_is_read_in_any_whole_number_type() {
    let file = odd("rst.jpg");
    for (kind, size) in [(1u16, 1), (3, 2), (4, 4), (9, 4)] {
        for big in [false, true] {
            let number = |value: u32, bytes: usize| {
                if big { value.to_be_bytes()[4 - bytes..].to_vec() } else { value.to_le_bytes()[..bytes].to_vec() }
            };
            let mut tiff = if big { b"MM".to_vec() } else { b"II".to_vec() };
            tiff.extend([number(42, 2), number(8, 4), number(1, 2), number(0x112, 2)].concat());
            tiff.extend([number(u32::from(kind), 2), number(1, 4), number(6, size)].concat());
            tiff.resize(26, 0);
            let comment = b"\xff\xfe\0\x06text\xff\xe1\0\x08http:/";
            let exif = [b"\xff\xe1\0\x22Exif\0\0", &tiff[..]].concat();
            let loaded = read(&behind_app0(&file, &[&comment[..], &exif].concat())).unwrap();
            assert_eq!(loaded.orientation, Orientation::Rotate90, "type {kind}, big {big}");
        }
    }
}
