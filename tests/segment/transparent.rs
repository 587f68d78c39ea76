//! Inputs with transparent parts: what the file did not show, the cut-out doesn't either.

use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, LumaA, Rgba, RgbaImage};

use super::common::{Sandbox, is_net, photo};

/// Stripes of 0, 90 and 255, so that every mask meets all of them.
fn stripes(y: u32) -> u8 {
    [0, 90, 255][(y / 3 % 3) as usize]
}

/// A photo of 150x100 with transparent stripes.
fn striped() -> RgbaImage {
    let photo = image::open(photo("coffee.jpg")).unwrap().resize_exact(150, 100, image::imageops::FilterType::Triangle);
    let mut photo = photo.to_rgba8();
    photo.enumerate_pixels_mut().for_each(|(_, y, p)| p.0[3] = stripes(y));
    photo
}

/// A palette PNG of the same stripes: entry 0 is transparent, 1 half so.
fn palette() -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, 150, 100);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette([[200, 30, 30], [30, 200, 30], [90, 90, 200]].concat());
    encoder.set_trns(vec![0, 90]);
    let indices: Vec<u8> = (0..150 * 100u32).map(|i| (i / 150 / 3 % 3) as u8).collect();
    encoder.write_header().unwrap().write_image_data(&indices).unwrap();
    out
}

fn encoded(image: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// The cut-out of a striped input stays within `alpha`, and shows something.
#[track_caller]
fn stays_within(sandbox: &Sandbox, stem: &str, alpha: impl Fn(u32, u32) -> u8) {
    let cutout = image::open(sandbox.path(&format!("out/{stem}.cutout.png"))).unwrap().into_rgba8();
    let mask: GrayImage = image::open(sandbox.path(&format!("out/{stem}.mask.png"))).unwrap().into_luma8();
    let (mut shown, mut held_back) = (0, 0);
    for ((x, y, cut), mask) in cutout.enumerate_pixels().zip(mask.pixels()) {
        let allowed = alpha(x, y);
        assert!(cut.0[3] <= allowed, "{stem} at {x},{y}: alpha {} of {allowed}", cut.0[3]);
        shown += u32::from(cut.0[3] > 0);
        held_back += u32::from(mask.0[0] == 255 && allowed == 0);
    }
    assert!(shown > 0 && held_back > 0, "{stem}: {shown} pixels shown, {held_back} held back");
}

#[test]
fn transparent_pixels_never_come_back() {
    let photo = striped();
    let deep = ImageBuffer::from_fn(150, 100, |x, y| {
        let [r, g, b, a] = photo.get_pixel(x, y).0.map(|v| u16::from(v) * 257);
        Rgba([r, g, b, a])
    });
    let grey = ImageBuffer::from_fn(150, 100, |x, y| LumaA([photo.get_pixel(x, y).0[1], stripes(y)]));
    let rgba = DynamicImage::ImageRgba8(photo);
    let files = [
        ("rgba.png", encoded(rgba.clone(), ImageFormat::Png)),
        ("tiff.tif", encoded(rgba.clone(), ImageFormat::Tiff)),
        ("webp.webp", encoded(rgba, ImageFormat::WebP)),
        ("deep.png", encoded(DynamicImage::ImageRgba16(deep), ImageFormat::Png)),
        ("grey.png", encoded(DynamicImage::ImageLumaA8(grey), ImageFormat::Png)),
        ("palette.png", palette()),
    ];
    let sandbox = files.iter().fold(Sandbox::new(), |sandbox, (name, bytes)| sandbox.with_file(name, bytes));
    let names = files.each_ref().map(|(name, _)| *name);
    sandbox.segment(&[&names[..], &["--point", "75,50", "--format", "mask,cutout"]].concat()).exits(0);
    for stem in ["rgba", "tiff", "webp", "deep", "grey", "palette"] {
        stays_within(&sandbox, stem, |_, y| stripes(y));
    }
}

#[test]
fn nor_where_the_mask_is_a_probability() {
    let sandbox = Sandbox::new().with_file("rgba.png", &encoded(DynamicImage::ImageRgba8(striped()), ImageFormat::Png));
    let weights = is_net(3).to_str().unwrap();
    sandbox
        .hrseg(&["segment", "rgba.png", "--model", "is-net", "--weights", weights, "--format", "mask,cutout"])
        .exits(0);
    stays_within(&sandbox, "rgba", |_, y| stripes(y));
}
