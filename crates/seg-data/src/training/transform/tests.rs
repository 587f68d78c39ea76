//! Transforms against Pillow and torch, and what they do to prompts.

use image::{GrayImage, RgbImage};

use super::enhance::{Quality, enhance};
use super::follow::Map;
use super::*;
use crate::geometry::extent;
use crate::mask::to_binary;

const SIZE: (u32, u32) = (41, 29);

/// `n` bytes: the top byte of SplitMix64 started at `seed`.
fn bytes(seed: u64, n: u32) -> Vec<u8> {
    let mix = |i: u64| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 56) as u8
    };
    (1..=u64::from(n)).map(mix).collect()
}

fn fnv(data: &[u8]) -> String {
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

fn noise() -> (RgbImage, GrayImage) {
    let (w, h) = SIZE;
    let mask = bytes(2, w * h).into_iter().map(|v| if v >= 128 { 255 } else { 0 }).collect();
    (RgbImage::from_raw(w, h, bytes(1, 3 * w * h)).unwrap(), GrayImage::from_raw(w, h, mask).unwrap())
}

fn place(index: u64) -> Place {
    Place { seed: 3, epoch: 1, index }
}

#[test]
fn rotation_and_affine_equal_pillow() {
    let (image, mask) = noise();
    for (degrees, picture, nearest) in [
        (-15., "7b81a37ad94e5d87", "75867cf3bf21025d"),
        (-1., "5cc8edbda7763e38", "6fb5fadb11caefcf"),
        (7., "611c2ed9941bfdc0", "e0d4c0cb9b229f32"),
        (14., "4343a5671d7a9c61", "c913f0ecfbcace03"),
    ] {
        let map = rotate::rotation(degrees, SIZE);
        assert_eq!(fnv(rotate::nearest(&mask, &map).as_raw()), nearest, "mask by {degrees}");
        assert_eq!(fnv(rotate::smooth(&image, &map, true, [0; 3]).as_raw()), picture, "picture by {degrees}");
    }
    let map = Map([0.9, -0.2, 3.25, 0.15, 1.05, -2.5]);
    assert_eq!(fnv(rotate::smooth(&image, &map, false, [123, 116, 103]).as_raw()), "4532002dd071832c");
    assert_eq!(fnv(rotate::nearest(&mask, &map).as_raw()), "2a92e7611f05caf6");
}

#[test]
fn enhancing_equals_pillow() {
    let (image, _) = noise();
    let factors = [0., 0.3, 0.5, 1., 1.5, 2.7];
    for (quality, expected) in [
        (
            Quality::Brightness,
            [
                "420aad4a7b68ca07",
                "dece6af5a1cfeba4",
                "fce1f43e3e7e1653",
                "7d0b7bd11911676c",
                "afd8253bae113e39",
                "89b161c5ff85dd6e",
            ],
        ),
        (
            Quality::Contrast,
            [
                "cf202340be3417bb",
                "df424ee1566581db",
                "2eb43c9540af9f15",
                "7d0b7bd11911676c",
                "d46dc3a84d007e04",
                "a645bd3090c5a35a",
            ],
        ),
        (
            Quality::Colour,
            [
                "5c45c72f2f025866",
                "4da16524e509a500",
                "de8626c40eeae87a",
                "7d0b7bd11911676c",
                "b2766536260513a3",
                "d5d0e4e1ba010d26",
            ],
        ),
        (
            Quality::Sharpness,
            [
                "0f35991d8bfa04b5",
                "c6fc038d753ffc25",
                "8e425f7e0cd183e0",
                "7d0b7bd11911676c",
                "bce4da64369e69b2",
                "1c8d9ef057e865a0",
            ],
        ),
    ] {
        let got = factors.map(|factor| fnv(enhance(&image, quality, factor).as_raw()));
        assert_eq!(got, expected, "{quality:?}");
    }
}

#[test]
fn bilinear_equals_torch() {
    let (image, mask) = noise();
    for (to, picture, cut, float, whole) in [
        ((64, 64), "2549839f9d39030b", "cd5935414c1b5f02", "bf07524c4a307559", "7d6e80b808728068"),
        ((33, 20), "7e19d51ca9477e49", "007e2f9db3638157", "0c1bc59e0a6d4a7a", "91cde4c97c66c078"),
        (SIZE, "b39d222613a473e0", "529326fdb9f29b44", "e9cee5b97c3df091", "6fb5fadb11caefcf"),
        ((100, 17), "848c363827914e7d", "c7b0cb8b402a1f86", "e506e052e134d058", "d40a34aee58179bf"),
    ] {
        let (picture_levels, mask_levels) =
            (sampling::bilinear(&image, to).levels, sampling::bilinear(&mask, to).levels);
        let floats = |levels: &[f32]| fnv(&levels.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
        let bytes = |levels: &[f32]| fnv(&levels.iter().map(|&v| v as u8).collect::<Vec<_>>());
        assert_eq!((floats(&picture_levels), floats(&mask_levels)), (picture.to_owned(), float.to_owned()), "{to:?}");
        assert_eq!((bytes(&picture_levels), bytes(&mask_levels)), (cut.to_owned(), whole.to_owned()), "{to:?}");
    }
}

#[test]
fn nearest_equals_torch() {
    let (_, mask) = noise();
    for (to, expected) in [((64, 64), "b8de875719b601e6"), ((33, 20), "dd522b3f9dab411e")] {
        assert_eq!(fnv(sampling::whole(&mask, to, Sampling::TorchNearest).unwrap().as_raw()), expected, "{to:?}");
    }
}

#[test]
fn frames_go_the_same_way_with_colours_of_their_own() {
    let (image, mask) = noise();
    let example = || Example { name: "f".into(), image: image.clone(), mask: mask.clone(), prompt: None };
    for name in ["mpg-sam2", "sam2"] {
        let transforms = preset(name).unwrap().with_side(32);
        let frames: Vec<Prepared> =
            (0..4).map(|frame| transforms.apply_to_frame(example(), place(3), frame).unwrap()).collect();
        assert!(frames.iter().all(|f| f.mask == frames[0].mask && f.mirrored == frames[0].mirrored), "{name}");
        assert!(frames.iter().skip(1).any(|f| f.image != frames[0].image), "{name}");
        assert_eq!(frames[0], transforms.apply(example(), place(3)).unwrap());
    }
}

/// A mask with a rectangle, and a prompt that says the same.
fn rectangle() -> Example {
    let inside = |x: u32, y: u32| (10..22).contains(&x) && (6..15).contains(&y);
    let mask = GrayImage::from_fn(40, 30, |x, y| image::Luma([if inside(x, y) { 255 } else { 0 }]));
    let image = RgbImage::from_fn(40, 30, |x, y| image::Rgb([mask.get_pixel(x, y).0[0], x as u8, y as u8]));
    let prompt = ExamplePrompt {
        bounds: Some([10., 6., 21., 14.]),
        clicks: vec![(10., 6., true), (21., 14., true), (0., 29., false)],
        coarse: Some(mask.clone()),
    };
    Example { name: "r".into(), image, mask, prompt: Some(prompt) }
}

/// Picture, mask, coarse mask, clicks and bounds must tell the same rectangle, to within `slack` pixels.
fn agree(prepared: &Prepared, slack: f32) {
    let (w, h) = (prepared.mask.width, prepared.mask.height);
    assert_eq!((prepared.image.width, prepared.image.height), (w, h));
    let levels = |planes: &[f32]| GrayImage::from_raw(w, h, planes.iter().map(|&v| v as u8).collect()).unwrap();
    let of = |mask: &GrayImage| {
        let found = extent(&to_binary(mask), w, h).unwrap().expect("something is inside");
        [found[0] as f32, found[1] as f32, found[2] as f32 - 1., found[3] as f32 - 1.]
    };
    let near = |a: [f32; 4], b: [f32; 4], what| {
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= slack), "{what}: {a:?} and {b:?}");
    };
    let mask = of(&levels(&prepared.mask.levels));
    near(of(&levels(&prepared.image.levels[..(w * h) as usize])), mask, "the picture");
    let prompt = prepared.prompt.as_ref().unwrap();
    near(of(prompt.coarse.as_ref().unwrap()), mask, "the coarse mask");
    near(prompt.bounds.unwrap(), mask, "the bounds");
    for (x, y, inside) in &prompt.clicks {
        let within = x + slack >= mask[0] && x - slack <= mask[2] && y + slack >= mask[1] && y - slack <= mask[3];
        assert!(within || !inside, "click {x}, {y} in {mask:?}");
    }
}

#[test]
fn prompts_go_where_the_picture_goes() {
    let always = |step: Step| Transforms { steps: vec![step] };
    for step in [
        Step::FlipHorizontal { chance: 1. },
        Step::FlipVertical { chance: 1. },
        Step::QuarterTurns,
        Step::TrimBorder { most: 9 },
        Step::Crop { width: 33, height: 26 },
        Step::Zoom { area: [0.6, 0.9] },
        Step::Surroundings { padding: 0.1, jitter: 0.2 },
    ] {
        for index in 0..8 {
            agree(&always(step.clone()).apply(rectangle(), place(index)).unwrap(), 0.);
        }
    }
    for (image, mask) in [
        (Sampling::PillowBilinear, Sampling::PillowNearest),
        (Sampling::TorchBilinear, Sampling::TorchBilinear),
        (Sampling::TorchBilinearCut, Sampling::PillowBicubic),
    ] {
        agree(&always(Step::Resize { width: 64, height: 64, image, mask }).apply(rectangle(), place(0)).unwrap(), 1.);
        let longest = always(Step::LongestSide { side: 100, image, mask }).apply(rectangle(), place(0)).unwrap();
        assert_eq!((longest.image.width, longest.image.height), (100, 75));
        agree(&longest, 1.);
    }
    for index in 0..8 {
        let jitter = Step::LargeScaleJitter { side: 48, scale: [0.8, 1.2], fill: 100 };
        let jittered = always(jitter).apply(rectangle(), place(index)).unwrap();
        assert_eq!((jittered.image.width, jittered.image.levels.len()), (48, 3 * 48 * 48));
        // 36 rows of 48 columns, times 1.2 at most
        assert_eq!((jittered.image.levels.last(), jittered.mask.levels.last()), (Some(&100.), Some(&0.)));
        agree(&jittered, 1.);
        agree(&always(Step::Rotate { chance: 1., degrees: [-2, 2] }).apply(rectangle(), place(index)).unwrap(), 1.5);
    }
    // what falls off is left out
    let part = always(Step::Crop { width: 5, height: 5 });
    let gone =
        (0..20).map(|i| part.apply(rectangle(), place(i)).unwrap()).find(|p| p.mask.levels.iter().all(|v| *v == 0.));
    let prompt = gone.expect("one of them misses the rectangle").prompt.unwrap();
    assert!(prompt.bounds.is_none() && prompt.clicks.iter().all(|click| !click.2), "{prompt:?}");
}

#[test]
fn surroundings_are_those_of_the_object() {
    // 10 x 5 pixels from (20, 30) in 100 x 80, then as large that its surroundings are half of the picture
    let object = |[x0, y0, x1, y1]: [u32; 4]| Example {
        name: "o".into(),
        image: RgbImage::from_fn(100, 80, |x, y| image::Rgb([x as u8, y as u8, 0])),
        mask: GrayImage::from_fn(100, 80, |x, y| [255 * u8::from(x0 <= x && x < x1 && y0 <= y && y < y1)].into()),
        prompt: None,
    };
    let window = |part: [u32; 4], jitter, index| {
        let step = Transforms { steps: vec![Step::Surroundings { padding: 0.2, jitter }] };
        let image = step.apply(object(part), place(index)).unwrap().image;
        let [left, top] = [0, 1].map(|plane| image.levels[plane * (image.width * image.height) as usize] as u32);
        [left, top, left + image.width, top + image.height]
    };
    assert_eq!(window([20, 30, 30, 35], 0., 0), [18, 28, 32, 37]);
    assert_eq!(window([0, 70, 10, 80], 0., 0), [0, 68, 12, 80]); // at a corner
    assert_eq!(window([10, 10, 80, 60], 0., 0), [0, 0, 100, 80]); // more than half
    assert_eq!(window([0, 0, 0, 0], 0., 0), [0, 0, 100, 80]); // nothing
    let moved: std::collections::BTreeSet<_> = (0..40).map(|i| window([20, 30, 30, 35], 0.5, i)).collect();
    // each edge outwards by at most half of its side, inwards by a quarter
    assert!(
        moved.len() > 20 && moved.iter().all(|w| (13..=20).contains(&w[0]) && (35..=40).contains(&w[3])),
        "{moved:?}"
    );
}

#[test]
fn a_place_tells_what_is_done_whatever_other_steps_there_are() {
    let jitter = Transforms { steps: preset("sam2").unwrap().steps[3..].to_vec() };
    let (image, mask) = noise();
    let example = Example { name: "n".into(), image, mask, prompt: None };
    let of = |transforms: &Transforms, index| transforms.apply(example.clone(), place(index)).unwrap().image;
    assert_eq!(of(&jitter, 1), of(&jitter, 1));
    assert_ne!(of(&jitter, 1), of(&jitter, 2));
    // a flip in front draws for itself: the colours change in the same way
    let mut more = jitter.clone();
    more.steps.insert(0, Step::QuarterTurns);
    let sorted = |planes: Planes| {
        let mut levels: Vec<i32> = planes.levels.iter().map(|v| *v as i32).collect();
        levels.sort_unstable();
        levels
    };
    assert_eq!(sorted(of(&jitter, 5)), sorted(of(&more, 5)));
    let flip = Transforms { steps: vec![Step::FlipHorizontal { chance: 0.5 }] };
    let changed = |i: &u64| {
        let prepared = flip.apply(example.clone(), place(*i)).unwrap();
        let changed = prepared.image != sampling::planes(&example.image);
        assert_eq!(changed, prepared.mirrored);
        changed
    };
    let flipped = (0..200).filter(changed).count();
    assert!((70..130).contains(&flipped), "{flipped} of 200");
    let trim = Transforms { steps: vec![Step::TrimBorder { most: 3 }] };
    let widths: std::collections::BTreeSet<u32> = (0..50).map(|i| of(&trim, i).width).collect();
    assert_eq!(widths.into_iter().collect::<Vec<_>>(), [38, 39, 40]);
}

#[test]
fn presets_are_data_and_wrong_steps_are_refused() {
    for name in PRESETS {
        let transforms = preset(name).unwrap();
        transforms.check().unwrap();
        let text = serde_json::to_string(&transforms).unwrap();
        assert_eq!(serde_json::from_str::<Transforms>(&text).unwrap(), transforms, "{name}");
    }
    for (name, size) in [("mgd-sam2", (96, 96)), ("pi-sam", (96, 96)), ("sam-eval", (96, 72))] {
        let prepared = preset(name).unwrap().with_side(96).apply(rectangle(), place(1)).unwrap();
        assert!((prepared.mask.width, prepared.mask.height) == size && prepared.bytes() > 0, "{name}");
    }
    assert!(preset("sam3").unwrap_err().to_string().contains("sam3, expected one of sam2-unext"));
    let read = |text: &str| serde_json::from_str::<Transforms>(text);
    let flip = read(r#"[{"do": "flip-horizontal", "chance": 0.5}]"#).unwrap();
    assert_eq!(flip.steps, [Step::FlipHorizontal { chance: 0.5 }]);
    assert!(read(r#"[{"do": "flip-horizontal", "chanse": 0.5}]"#).is_err(), "unknown keys are refused");
    for (name, outcomes) in
        [("is-net", Ok(2)), ("dis-sam", Ok(4)), ("sam-eval", Ok(1)), ("pi-sam", Err("large-scale-jitter"))]
    {
        assert_eq!(preset(name).unwrap().outcomes().map_err(Step::name), outcomes, "{name}");
    }
    for (text, part) in [
        (r#"[{"do": "flip-vertical", "chance": 1.5}]"#, "0 to 1"),
        (r#"[{"do": "crop", "width": 0, "height": 3}]"#, "16384"),
        (r#"[{"do": "surroundings", "padding": -1}]"#, "0 to 10"),
        (r#"[{"do": "large-scale-jitter", "side": 9, "scale": [2, 1], "fill": 0}]"#, "least first"),
        (
            r#"[{"do": "large-scale-jitter", "side": 9, "scale": [1, 2], "fill": 0}, {"do": "quarter-turns"}]"#,
            "to be the last",
        ),
    ] {
        let error = read(text).unwrap().apply(rectangle(), place(0)).unwrap_err().to_string();
        assert!(error.contains(part) && error.lines().count() == 1, "{error}");
    }
    let mut wrong = rectangle();
    wrong.mask = GrayImage::new(3, 3);
    assert!(flip.apply(wrong, place(0)).unwrap_err().to_string().contains("40x30 pixels like the picture of r"));
}
