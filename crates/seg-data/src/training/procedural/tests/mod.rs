mod clips;
mod fill;

use super::*;
use crate::geometry;

fn place(index: u64) -> Place {
    Place { seed: 11, epoch: 0, index }
}

/// Small pictures without anything that comes after the objects are laid down, and without shadows.
fn bare(task: Task) -> Spec {
    let zero = Span::new(0., 0.);
    Spec {
        task,
        size: Span::new(96., 128.),
        aspect: Span::new(0.7, 1.4),
        shadow: 0.,
        blur: zero,
        noise: zero,
        compressed: 0.,
        ..Spec::objects()
    }
}

fn made(spec: Spec) -> Procedural {
    Procedural::new(spec, None).unwrap()
}

#[test]
fn a_place_tells_the_picture() {
    for task in [Task::Salient, Task::Prompted] {
        let spec = Spec { task, size: Span::new(80., 80.), ..Spec::default() };
        let (one, other) = (made(spec.clone()), made(spec));
        for index in 0..6 {
            let first = one.example(place(index)).unwrap();
            assert_eq!(first, other.example(place(index)).unwrap());
            assert_eq!(first.image.dimensions(), (80, 80));
            assert_eq!((first.mask.dimensions(), first.prompt.is_some()), ((80, 80), task == Task::Prompted));
            for elsewhere in [place(index + 1), Place { seed: 12, ..place(index) }, Place { epoch: 1, ..place(index) }]
            {
                let second = one.example(elsewhere).unwrap();
                assert!(first.image != second.image && first.mask != second.mask);
            }
        }
    }
}

#[test]
fn pictures_differ_from_their_background_where_masks_are() {
    for kind in Kind::DRAWN {
        let pictures = made(Spec { kinds: [(kind, 1.)].into_iter().collect(), ..bare(Task::Salient) });
        let (mut changed, mut inside) = (0, 0);
        for index in 0..4 {
            let (with, objects, meant) = pictures.compose(place(index), usize::MAX).unwrap();
            let (without, _, _) = pictures.compose(place(index), 0).unwrap();
            assert_eq!((objects.len(), objects[meant].kind), (1, kind));
            for ((a, b), mask) in with.pixels().zip(without.pixels()).zip(objects[0].mask.as_raw()) {
                assert!(a == b || *mask > 0, "{kind}");
                changed += usize::from(a != b && *mask >= 128);
                inside += usize::from(*mask >= 128);
            }
        }
        assert!(inside > 200 && changed > inside * 8 / 10, "{kind}: {changed} of {inside}");
    }
}

#[test]
fn nearer_objects_hide_farther_ones() {
    let pictures = made(bare(Task::Prompted));
    let (mut hidden, mut several) = (0, 0);
    for index in 0..12 {
        let scene = pictures.scene(place(index)).unwrap();
        let (width, height) = scene.image.dimensions();
        several += usize::from(scene.objects.len() > 1);
        for object in &scene.objects {
            let inside: Vec<u8> = object.mask.as_raw().iter().map(|v| u8::from(*v >= 128)).collect();
            let bounds = geometry::extent(&inside, width, height).unwrap().unwrap_or([0; 4]);
            assert_eq!(bounds, object.bounds);
        }
        for at in 0..(width * height) as usize {
            let sum: u32 = scene.objects.iter().map(|o| u32::from(o.mask.as_raw()[at])).sum();
            assert!(sum <= 255);
        }
        // the nearest is whole: it is what it would be alone, and others are the less
        let (alone, far) = (scene.objects.last().unwrap(), &scene.objects[0]);
        let over = |a: u8, b: u8| a > 0 && a < 255 && b > 0;
        hidden += alone.mask.as_raw().iter().zip(far.mask.as_raw()).filter(|(a, b)| over(**a, **b)).count();
    }
    assert!(several > 8 && hidden > 0, "{several} {hidden}");
}

#[test]
fn prompts_lie_where_they_should() {
    let spec = bare(Task::Prompted);
    let pictures = made(spec.clone());
    let (mut overlap, mut clicks, mut on_others) = (0., [0; 2], 0);
    for index in 0..24 {
        let scene = pictures.scene(place(index)).unwrap();
        let object = &scene.objects[scene.meant];
        let prompt = pictures.example(place(index)).unwrap().prompt.unwrap();
        for &(x, y, on) in &prompt.clicks {
            let level = |mask: &crate::GrayImage| mask.get_pixel(x as u32, y as u32)[0];
            if on {
                assert!(level(&object.mask) >= 128);
            } else {
                assert_eq!(level(&object.mask), 0);
            }
            clicks[usize::from(on)] += 1;
            let others = scene.objects.iter().enumerate().filter(|(i, _)| *i != scene.meant);
            on_others += usize::from(!on && others.into_iter().any(|(_, o)| level(&o.mask) > 0));
        }
        let given = prompt.bounds.unwrap().map(f64::from);
        let exact = [object.bounds[0], object.bounds[1], object.bounds[2] - 1, object.bounds[3] - 1].map(f64::from);
        for edge in 0..4 {
            let size = f64::from(object.bounds[2 + edge % 2] - object.bounds[edge % 2]);
            assert!((given[edge] - exact[edge]).abs() <= spec.prompt.jitter * size + 1e-3);
        }
        let coarse = prompt.coarse.unwrap();
        assert_eq!(coarse.dimensions(), scene.image.dimensions());
        assert!(coarse.as_raw().iter().all(|v| *v == 0 || *v == 255) && coarse.as_raw().contains(&255));
        let pairs = || coarse.as_raw().iter().zip(object.mask.as_raw()).map(|(a, b)| (*a >= 128, *b >= 128));
        let both = pairs().filter(|(a, b)| *a && *b).count() as f64;
        overlap += both / pairs().filter(|(a, b)| *a || *b).count() as f64;
    }
    assert!(clicks[0] > 8 && clicks[1] > 24 && on_others > 4, "{clicks:?} {on_others}");
    // near, and never the same
    assert!((0.35..0.95).contains(&(overlap / 24.)), "{}", overlap / 24.);
}

#[test]
fn there_is_a_picture_at_every_place() {
    let count = std::env::var("PROCEDURAL_PLACES").ok().and_then(|v| v.parse().ok()).unwrap_or(60);
    for spec in [Spec::default(), Spec::thin(), Spec::objects(), Spec::plain()] {
        let pictures = made(Spec { size: Span::new(64., 120.), aspect: Span::new(0.5, 2.), ..spec });
        for index in 0..count {
            let example = pictures.example(place(index)).unwrap();
            assert!(example.mask.as_raw().iter().any(|v| *v >= 128), "{index}");
        }
    }
}

#[test]
fn digests_tell_specifications_apart() {
    let digest = |spec: Spec, length| Procedural::new(spec, length).unwrap().digest().unwrap();
    let first = digest(Spec::thin(), Some(10));
    assert_eq!((first.len(), &first), (64, &digest(Spec::thin(), Some(10))));
    assert_ne!(first, digest(Spec::thin(), None));
    assert_ne!(first, digest(Spec { noise: Span::new(0., 7.), ..Spec::thin() }, Some(10)));
}

#[test]
fn photos_and_cutouts_of_folders() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, cutouts) = (dir.path().join("photos"), dir.path().join("cutouts"));
    [&photos, &cutouts].iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    let photo = crate::RgbImage::from_fn(60, 40, |x, y| image::Rgb([x as u8 * 4, y as u8 * 6, 90]));
    photo.save(photos.join("a.png")).unwrap();
    let round = |x: u32, y: u32| if x.abs_diff(20).pow(2) + y.abs_diff(20).pow(2) < 225 { 255 } else { 0 };
    let cut = crate::RgbaImage::from_fn(40, 40, |x, y| image::Rgba([250, 20, 10, round(x, y)]));
    cut.save(cutouts.join("b.png")).unwrap();
    let text = "task = \"prompted\"\nsize = 90\nbackground_photos = \"photos\"\ncutouts = \"cutouts\"\n[kinds]\ncutout = 1\n[backgrounds]\nphoto = 1";
    let file = dir.path().join("spec.toml");
    std::fs::write(&file, text).unwrap();
    let open = || Procedural::open(file.to_str(), None).unwrap();
    let scene = open().scene(place(0)).unwrap();
    let object = &scene.objects[scene.meant];
    assert_eq!((object.kind, object.colour), (Kind::Cutout, Colour::Red));
    let area = object.mask.as_raw().iter().filter(|v| **v >= 128).count();
    assert!(area > 300, "{area}");
    let before = open().digest().unwrap();
    assert_eq!(before, open().digest().unwrap());
    photo.save(photos.join("c.png")).unwrap();
    assert_ne!(before, open().digest().unwrap());

    let faint = crate::RgbaImage::from_pixel(40, 40, image::Rgba([250, 20, 10, 100]));
    faint.save(cutouts.join("b.png")).unwrap();
    let error = open().scene(place(0)).unwrap_err().to_string();
    assert!(error.starts_with("procedural 0: no pixel is inside: the largest level is 100,"), "{error}");
    photo.save(cutouts.join("b.png")).unwrap();
    let error = open().scene(place(0)).unwrap_err().to_string();
    assert!(error.contains("b.png, which has no transparent pixel; expected images with transparency"), "{error}");
    std::fs::remove_file(cutouts.join("b.png")).unwrap();
    assert!(Procedural::open(file.to_str(), None).unwrap_err().to_string().contains("no images in it"));
}

#[test]
fn what_cannot_be_opened_is_told() {
    let error = Procedural::open(Some("thick"), None).unwrap_err().to_string();
    assert_eq!(
        error,
        "procedural: `thick` is no file; expected a TOML file, or one of thin, objects, plain, scenes, clips, words, pairs"
    );
    assert_eq!(Procedural::open(Some("plain"), Some(3)).unwrap().len(), Some(3));
}
