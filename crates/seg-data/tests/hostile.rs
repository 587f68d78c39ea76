//! Files that are broken, absurd or not what they seem: an error on one line that names the file, never a panic.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use std::path::Path;

use common::{bytes, data};
use seg_data::{DataError, DecodeLimits, Frames, decode_image, load_image};

fn refusal(file: &[u8], name: &str, limits: &DecodeLimits) -> String {
    let error = decode_image(file, name, limits).expect_err(name).to_string();
    assert!(error.starts_with(name) && !error.contains('\n'), "{error}");
    error
}

fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let mut out = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    out.extend(&chunk);
    // CRC-32 of the chunk, bit by bit
    let crc = chunk.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
    });
    out.extend((!crc).to_be_bytes());
    out
}

#[test]
fn absurd_and_foreign_files_get_a_clear_reason() {
    let d = DecodeLimits::default();
    assert!(matches!(decode_image(&[], "a.png", &d), Err(DataError::EmptyFile { .. })));
    let huge = refusal(&png_header(30_000, 30_000), "a.png", &d);
    assert!(huge.contains("30000x30000 = 900 million") && huge.contains("100 million"), "{huge}");
    assert!(matches!(
        decode_image(&png_header(0, 5), "a.png", &d),
        Err(DataError::ZeroSize { width: 0, height: 5, .. })
    ));
    let long = refusal(&png_header(70_000, 2), "a.png", &d);
    assert!(long.contains("70000") && long.contains("65535"), "{long}");
    let huge = refusal(b"P5 30000 30000 255\n", "a.pgm", &d);
    assert!(huge.contains("30000x30000 = 900 million"), "{huge}");
    let cut = refusal(b"P6\n5 5\n255\n123", "a.ppm", &d);
    assert!(cut.contains("truncated"), "{cut}");
    let text = refusal(b"hello, I am not a picture", "a.png", &d);
    assert!(text.contains("hello, I am not"), "{text}");
    assert!(refusal(&[0, 1, 2, 3, 200], "a.jpg", &d).contains("00 01 02 03 c8"));
    let cases: [(&[u8], &str); 5] = [
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x20ftypheic\0\0\0\0", "HEIC/HEIF"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"qoif\0\0\0\x05\0\0\0\x05\x03\0", "QOI"),
        (b"\0\0\0\x20ftypisom\0\0\0\0", "video"),
    ];
    for (head, format) in cases {
        let error = refusal(head, "a.jpg", &d);
        assert!(error.contains(format) && error.contains("not built in"), "{error}");
    }
}

#[test]
fn other_formats_are_named() {
    let mut dicom = vec![0; 128];
    dicom.extend(b"DICM");
    let tga = [0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 8, 0, 24, 0, 0x87, 1, 2, 3];
    let cases: [(&[u8], &str, &str); 11] = [
        (&tga, "a.TGA", "TGA"),
        (&[10, 5, 1, 8, 0, 0, 0, 0, 7, 0, 7, 0], "a.pcx", "PCX"),
        (&[1, 0xda, 1, 1, 0, 3, 0, 8, 0, 8, 0, 3], "a.sgi", "SGI"),
        (b"icns\0\0\x10\0ic07", "a.icns", "ICNS"),
        (b"PF\n8 8\n-1.0\n", "a.pfm", "PFM"),
        (b"\xff\xd8\xff\xf7\0\x0b\x08\0\x08\0\x08\x01\x01\x11\0", "a.jpg", "JPEG-LS"),
        (&dicom, "a", "DICOM"),
        (b"SIMPLE  =                    T", "a.fits", "FITS"),
        (b"\x93NUMPY\x01\0", "a.png", "NumPy"),
        (b"gimp xcf v011\0", "a.xcf", "GIMP"),
        (b"RIFF\0\0\0\0AVI LIST", "a.avi", "video (AVI)"),
    ];
    for (head, name, format) in cases {
        let error = refusal(head, name, &DecodeLimits::default());
        assert!(error.contains(format) && error.contains("convert it to PNG"), "{error}");
    }
    // what could be a TGA, and does not say so
    assert!(refusal(&tga, "a.jpg", &DecodeLimits::default()).contains("not an image"));
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&kind[..], data].concat();
    [&(data.len() as u32).to_be_bytes()[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat()
}

#[test]
fn wrong_checksums_of_pixels_are_told_with_their_place() {
    let mut plain = Vec::new();
    let grey = image::GrayImage::from_fn(60, 40, |x, y| image::Luma([(x * x + 7 * y) as u8]));
    grey.write_to(&mut std::io::Cursor::new(&mut plain), image::ImageFormat::Png).unwrap();
    let begin = plain.windows(4).position(|kind| kind == b"IDAT").unwrap();
    let length = u32::from_be_bytes(plain[begin - 4..begin].try_into().unwrap()) as usize;
    let pixels = &plain[begin + 4..begin + 4 + length];
    // in three chunks, and one without data
    let (first, rest) = pixels.split_at(length / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    let mut png = plain[..begin - 4].to_vec();
    let mut places = Vec::new();
    for data in [first, second, third, &[]] {
        places.push((png.len(), png.len() + 12 + data.len()));
        png.extend(chunk(b"IDAT", data));
    }
    png.extend(chunk(b"IEND", b""));
    assert_eq!(decode_image(&png, "a.png", &DecodeLimits::default()).unwrap().image.get_pixel(3, 2).0[0], 23);
    for (begin, end) in places {
        let mut damaged = png.clone();
        damaged[end - 1] ^= 1;
        let told = refusal(&damaged, "a.png", &DecodeLimits::default());
        assert!(told.contains(&format!("IDAT at byte {begin} is wrong")), "{told}");
    }
}

#[test]
fn pointers_of_git_lfs_are_told() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let told = refusal(pointer, "a.png", &DecodeLimits::default());
    assert!(told.contains("a.png") && told.contains("git lfs pull"), "{told}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    std::fs::write(&path, pointer).unwrap();
    let told = Frames::open(&path, &DecodeLimits::default(), None).unwrap_err().to_string();
    assert!(told.contains("clip.mp4") && told.contains("git lfs pull"), "{told}");
}

#[test]
fn every_limit_is_kept_and_named() {
    let png = std::fs::read(data("decode/rgb.png")).unwrap();
    let jpeg = std::fs::read(data("decode/rgb_420_baseline.jpg")).unwrap();
    let d = DecodeLimits::default;
    for file in [&png, &jpeg] {
        let pixels = 61 * 43;
        assert!(decode_image(file, "x", &DecodeLimits { max_pixels: pixels, max_side: 61, ..d() }).is_ok());
        assert!(refusal(file, "x", &DecodeLimits { max_pixels: pixels - 1, ..d() }).contains("61x43"));
        assert!(refusal(file, "x", &DecodeLimits { max_side: 60, ..d() }).contains("is 61, the limit is 60"));
        let length = file.len() as u64;
        let error = refusal(file, "x", &DecodeLimits { max_file_bytes: length - 1, ..d() });
        assert!(error.contains(&length.to_string()), "{error}");
        assert!(refusal(file, "x", &DecodeLimits { max_decoded_bytes: 1000, ..d() }).contains("1000"));
    }
}

#[test]
fn paths_that_are_no_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.png");
    let error = load_image(&missing, &DecodeLimits::default()).unwrap_err().to_string();
    assert!(error.contains("missing.png") && error.contains("open"), "{error}");
    let error = load_image(dir.path(), &DecodeLimits::default()).unwrap_err().to_string();
    assert!(error.contains("a folder"), "{error}");
    std::fs::write(&missing, b"").unwrap();
    let error = load_image(&missing, &DecodeLimits::default()).unwrap_err().to_string();
    assert!(error.contains("missing.png") && error.contains("0 bytes"), "{error}");
}

fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = |name| std::fs::read_dir(data(name)).unwrap().map(|f| f.unwrap().path());
    let mut files: Vec<_> = folder("decode").chain(folder("tiff")).collect();
    files.sort();
    let name = |p: &Path| p.file_name().unwrap().to_string_lossy().into_owned();
    files.iter().map(|p| (name(p), std::fs::read(p).unwrap())).collect()
}

#[test]
fn cut_files_are_errors_or_images_and_half_files_are_errors() {
    let limits = DecodeLimits { max_pixels: 1_000_000, max_decoded_bytes: 64 << 20, ..Default::default() };
    for (name, file) in samples() {
        for cut in (0..file.len()).step_by((file.len() / 150).max(1)) {
            if let Err(e) = decode_image(&file[..cut], &name, &limits) {
                let message = e.to_string();
                assert!(message.starts_with(&name) && !message.contains('\n'), "{message}");
                assert!(!message.contains("gave up"), "panicked inside: {name} cut at {cut}");
            } else {
                // a TIFF's first page is whole before the others are
                let pages = name.starts_with("pages") || name.starts_with("thumbnail");
                assert!(
                    cut > file.len() / if pages { 4 } else { 2 },
                    "{name} cut at {cut} of {} was taken as whole",
                    file.len()
                );
            }
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let limits = DecodeLimits { max_pixels: 1_000_000, max_decoded_bytes: 64 << 20, ..Default::default() };
    for (k, (name, file)) in samples().into_iter().enumerate() {
        let noise = bytes(k as u64, 4 * 200);
        for flips in noise.chunks_exact(4) {
            let mut broken = file.clone();
            let at = (usize::from(flips[0]) << 8 | usize::from(flips[1])) % broken.len();
            // the header is small and the most sensitive: half of the flips go there
            let at = if flips[3] % 2 == 0 { at % 200.min(broken.len()) } else { at };
            broken[at] ^= flips[2] | 1;
            if let Err(e) = decode_image(&broken, &name, &limits) {
                assert!(!e.to_string().contains("gave up"), "panicked inside: {name}, byte {at} ^ {}", flips[2] | 1);
            }
        }
    }
}
