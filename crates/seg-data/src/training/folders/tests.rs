//! Paired folders, made up for each test.

use std::path::{Path, PathBuf};

use image::Luma;

use super::*;
use crate::output::{Overwrite, write_png};

struct Set(tempfile::TempDir);

impl Set {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// A picture that is like no other one of another `seed`.
    fn image(&self, name: &str, seed: u8) {
        let image = RgbImage::from_fn(12, 8, |x, y| image::Rgb([seed, (x * 20) as u8, (y * 30) as u8 ^ seed]));
        write_png(self.file(name), &image, Overwrite::Refuse).unwrap();
    }

    /// A mask with the first `columns` inside.
    fn mask(&self, name: &str, columns: u32) {
        let mask = GrayImage::from_fn(12, 8, |x, _| Luma([if x < columns { 255 } else { 0 }]));
        write_png(self.file(name), &mask, Overwrite::Refuse).unwrap();
    }

    /// Pairs of these stems in two folders.
    fn pairs(&self, images: &str, masks: &str, stems: &[&str]) -> &Self {
        for (i, stem) in stems.iter().enumerate() {
            self.image(&format!("{images}/{stem}.png"), 10 + i as u8);
            self.mask(&format!("{masks}/{stem}.png"), 1 + i as u32);
        }
        self
    }

    fn found(&self, layout: Option<&str>) -> Vec<(String, String, String)> {
        let layout = layout.map(|name| named(name).unwrap());
        let below = |path: &Path| path.strip_prefix(self.0.path()).unwrap().to_string_lossy().replace('\\', "/");
        let found = find(self.0.path(), layout.as_ref()).unwrap();
        found.iter().map(|f| (f.split.name.clone(), below(&f.images), below(&f.masks))).collect()
    }
}

fn triple(a: &str, b: &str, c: &str) -> (String, String, String) {
    (a.into(), b.into(), c.into())
}

fn place(index: u64) -> Place {
    Place { seed: 1, epoch: 0, index }
}

#[test]
fn stems_pair_in_natural_order_in_either_unicode_form() {
    let set = Set::new();
    set.pairs("im", "gt", &["10", "2", "1"]);
    set.image("im/caf\u{e9}.png", 90);
    set.mask("gt/cafe\u{301}.png", 5);
    let folder = PairedFolder::open(set.0.path(), None, None).unwrap();
    let stems: Vec<&str> = folder.pairs().pairs.iter().map(|pair| pair.stem.as_str()).collect();
    assert_eq!(stems, ["1", "2", "10", "caf\u{e9}"]);
    assert!(folder.pairs().is_whole());
    let example = folder.example(place(3)).unwrap();
    assert_eq!((example.name.as_str(), example.image.get_pixel(0, 0).0[0]), ("caf\u{e9}", 90));
    assert_eq!(example.mask.as_raw().iter().filter(|v| **v == 255).count(), 5 * 8);
    let error = folder.example(place(4)).unwrap_err().to_string();
    assert!(error.contains("4, expected less than 4"), "{error}");
}

#[test]
fn orphans_and_stems_that_are_there_twice() {
    let set = Set::new();
    set.pairs("images", "masks", &["a", "b", "IMG_1"]);
    set.image("images/lone.png", 40);
    set.mask("masks/alone.png", 3);
    std::fs::copy(set.path("images/b.png"), set.path("images/b.jpeg")).unwrap();
    std::fs::rename(set.path("masks/IMG_1.png"), set.path("masks/img_1.png")).unwrap();
    std::fs::write(set.path("masks/read.txt"), "x").unwrap();
    std::fs::write(set.path("images/.hidden.png"), "x").unwrap();
    let found = find(set.0.path(), None).unwrap().remove(0);
    let pairs = Pairs::of(found).unwrap();
    let names = |files: &[PathBuf]| files.iter().map(|f| f.file_name().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(pairs.pairs.iter().map(|p| p.stem.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(names(&pairs.lone_images), ["IMG_1.png", "lone.png"]);
    assert_eq!(names(&pairs.lone_masks), ["alone.png", "img_1.png"]);
    assert_eq!(pairs.twice.iter().map(|files| names(files)).collect::<Vec<_>>(), [["b.jpeg", "b.png"]]);
    assert_eq!(pairs.differ_in_case, [("IMG_1".to_owned(), "img_1".to_owned())]);
    assert_eq!(pairs.left_out_masks.note().unwrap(), "left out: 1 .txt");
    assert!(pairs.left_out_images.note().is_none() && !pairs.is_whole());
}

#[test]
fn folders_are_found_without_a_layout() {
    let set = Set::new();
    set.pairs("TestDataset/CAMO/Imgs", "TestDataset/CAMO/GT", &["a"]).pairs("Train/img", "Train/mask", &["a", "b"]);
    std::fs::create_dir_all(set.path("TestDataset/CAMO/Edge")).unwrap();
    set.mask("TestDataset/CAMO/Edge/a.png", 2);
    let expected = [
        triple("TestDataset/CAMO", "TestDataset/CAMO/Imgs", "TestDataset/CAMO/GT"),
        triple("Train", "Train/img", "Train/mask"),
    ];
    assert_eq!(set.found(None), expected);
    // the only part to learn from is taken
    assert_eq!(PairedFolder::open(set.0.path(), None, None).unwrap().len(), Some(2));
    assert_eq!(PairedFolder::open(set.0.path(), None, Some("testdataset/camo")).unwrap().len(), Some(1));
    let error = PairedFolder::open(set.0.path(), None, Some("val")).unwrap_err().to_string();
    assert!(error.contains("(val)") && error.contains("TestDataset/CAMO, Train"), "{error}");
}

#[test]
fn folders_of_any_names_are_told_by_their_content() {
    let set = Set::new();
    set.pairs("zebras", "outlines", &["a", "b"]);
    assert_eq!(set.found(None), [triple("all", "zebras", "outlines")]);
    // what stands behind the stems of masks
    let set = Set::new();
    for stem in ["a", "b", "c"] {
        set.image(&format!("photos/{stem}.png"), 7);
        set.mask(&format!("masks/{stem}_mask.png"), 4);
    }
    assert_eq!(PairedFolder::open(set.0.path(), None, None).unwrap().len(), Some(3));
    // two folders of photos
    let set = Set::new();
    set.image("one/a.png", 3);
    set.image("two/a.png", 4);
    assert!(matches!(find(set.0.path(), None), Err(DataError::WhichAreMasks { .. })));
    let error = find(&set.path("one"), None).unwrap_err();
    assert!(matches!(error, DataError::NoPairs { .. }), "{error}");
    assert!(matches!(find(&set.path("none"), None), Err(DataError::InputNotFound { .. })));
}

#[test]
fn one_folder_with_both() {
    let set = Set::new();
    for stem in ["a", "b"] {
        set.image(&format!("{stem}.png"), 9);
        std::fs::rename(set.path(&format!("{stem}.png")), set.path(&format!("{stem}.jpg"))).unwrap();
        set.mask(&format!("{stem}.png"), 3);
    }
    std::fs::write(set.path("notes.txt"), "x").unwrap();
    let folder = PairedFolder::open(set.0.path(), None, None).unwrap();
    let pairs = folder.pairs();
    assert_eq!((pairs.pairs.len(), pairs.is_whole()), (2, true));
    assert!(pairs.pairs[0].image.ends_with("a.jpg") && pairs.pairs[0].mask.ends_with("a.png"));
    assert_eq!(pairs.left_out_images.note().unwrap(), "left out: 1 .txt");
    let set = Set::new();
    for stem in ["a", "b"] {
        set.image(&format!("{stem}.png"), 9);
        set.mask(&format!("{stem}_gt.png"), 3);
    }
    let folder = PairedFolder::open(set.0.path(), None, None).unwrap();
    assert_eq!((folder.pairs().pairs.len(), folder.pairs().is_whole()), (2, true));
}

#[test]
fn named_layouts_from_the_root_a_part_or_the_folder_around() {
    let set = Set::new();
    set.pairs("DIS5K/DIS-TR/im", "DIS5K/DIS-TR/gt", &["a", "b"]).pairs("DIS5K/dis_te1/im", "DIS5K/dis_te1/gt", &["a"]);
    let expected = [
        triple("DIS-TR", "DIS5K/DIS-TR/im", "DIS5K/DIS-TR/gt"),
        triple("DIS-TE1", "DIS5K/dis_te1/im", "DIS5K/dis_te1/gt"),
    ];
    assert_eq!(set.found(Some("dis5k")), expected);
    let layout = named("DIS5K").unwrap();
    for (root, split, pairs) in [("DIS5K", None, 2), ("DIS5K/DIS-TR", None, 2), ("DIS5K/dis_te1", None, 1)] {
        let folder = PairedFolder::open(set.path(root), Some(&layout), split).unwrap();
        assert_eq!(folder.len(), Some(pairs), "{root}");
    }
    let error = find(&set.path("DIS5K/DIS-TR/im"), Some(&layout)).unwrap_err().to_string();
    assert!(error.contains("dis5k") && error.contains("DIS-TR/im and DIS-TR/gt"), "{error}");
}

#[test]
fn every_layout_finds_its_folders() {
    for (layout, images, masks, split) in [
        ("dis-sam", "DIS-TR/enhance_im", "DIS-TR/enhance_gt", "DIS-TR"),
        ("hrsod", "HRSOD_train", "HRSOD_train_mask", "HRSOD-TR"),
        ("hrsod", "HRSOD-TE/images", "HRSOD-TE/masks", "HRSOD-TE"),
        ("uhrsd", "UHRSD_TR_2K/image", "UHRSD_TR_2K/mask", "UHRSD-TR"),
        ("davis-s", "imgs", "gts", "DAVIS-S"),
        ("duts", "DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask", "DUTS-TR"),
        ("duts", "DUTS-TE/images", "DUTS-TE/masks", "DUTS-TE"),
        ("hku-is", "HKU-IS/imgs", "HKU-IS/gt", "HKU-IS"),
        ("cod10k", "TrainDataset/Imgs", "TrainDataset/GT", "train"),
        ("cod10k", "COD10K/Test/Image", "COD10K/Test/GT_Object", "COD10K"),
        ("camo", "Images/Test", "GT", "test"),
        ("nc4k", "NC4K/Imgs", "NC4K/GT", "NC4K"),
        ("mas3k", "train/Image", "train/Mask", "train"),
        ("rmas", "RMAS/test/image", "RMAS/test/mask", "test"),
        ("eorssd", "train-images", "train-labels", "train"),
        ("eorssd", "EORSSD/test/images", "EORSSD/test/gt", "test"),
        ("orssd", "Image-train", "GT-train", "train"),
    ] {
        let set = Set::new();
        set.pairs(images, masks, &["a"]);
        assert_eq!(set.found(Some(layout)), [triple(split, images, masks)], "{layout}");
    }
}

#[test]
fn digests_tell_contents_but_not_places() {
    let (set, other) = (Set::new(), Set::new());
    let digest = |set: &Set| PairedFolder::open(set.0.path(), None, None).unwrap().digest().unwrap();
    let first = digest(set.pairs("im", "gt", &["a", "b"]));
    assert_eq!((first.len(), &first), (64, &digest(other.pairs("photos", "masks", &["a", "b"]))));
    std::fs::remove_file(set.path("gt/b.png")).unwrap();
    set.mask("gt/b.png", 7);
    assert_ne!(first, digest(&set));
}

#[test]
fn coarse_masks_are_prompts() {
    let set = Set::new();
    set.pairs("DIS-TR/enhance_im", "DIS-TR/enhance_gt", &["a_comp_1", "b_comp_1", "c_comp_1"]);
    set.mask("DIS-TR/enhance_sam/a_comp_1.png", 4);
    let small = GrayImage::from_pixel(3, 3, Luma([255]));
    write_png(set.path("DIS-TR/enhance_sam/b_comp_1.png"), &small, Overwrite::Refuse).unwrap();
    let layout = named("dis-sam").unwrap();
    let folder = PairedFolder::open(set.0.path(), Some(&layout), None).unwrap();
    let coarse = folder.example(place(0)).unwrap().prompt.unwrap().coarse.unwrap();
    assert_eq!(coarse.as_raw().iter().filter(|v| **v == 255).count(), 4 * 8);
    let error = folder.example(place(1)).unwrap_err().to_string();
    assert!(error.contains("enhance_sam") && error.contains("3x3"), "{error}");
    assert!(folder.example(place(2)).unwrap().prompt.is_none());
    let (report, _) = check(folder.pairs(), 0, &Reading::default(), || {});
    assert_eq!((report.without_coarse.as_slice(), report.usable), (&["c_comp_1".to_owned()][..], 2));
    assert_eq!(report.sizes_differ[0].stem, "b_comp_1, its coarse mask");
    assert!(report.problems().iter().any(|line| line.contains("without its coarse mask: c_comp_1")));
    let before = folder.digest().unwrap();
    set.mask("DIS-TR/enhance_sam/c_comp_1.png", 4);
    assert_ne!(before, PairedFolder::open(set.0.path(), Some(&layout), None).unwrap().digest().unwrap());
}

#[test]
fn coarse_masks_are_found_by_looking() {
    let set = Set::new();
    set.pairs("im", "gt", &["a", "b"]);
    set.mask("coarse/a.png", 4);
    set.mask("coarse/b.png", 2);
    let folder = PairedFolder::open(set.0.path(), None, None).unwrap();
    assert_eq!(folder.pairs().pairs.len(), 2);
    let coarse = folder.example(place(1)).unwrap().prompt.unwrap().coarse.unwrap();
    assert_eq!(coarse.as_raw().iter().filter(|v| **v == 255).count(), 2 * 8);
}

#[test]
fn some_are_held_out() {
    let set = Set::new();
    set.pairs("im", "gt", &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
    let folder = PairedFolder::open(set.0.path(), None, None).unwrap();
    let stems = |folder: &PairedFolder| folder.pairs().pairs.iter().map(|p| p.stem.clone()).collect::<Vec<_>>();
    let (learn, look) = folder.clone().hold_out(0.3, 5).unwrap();
    assert_eq!((learn.len(), look.len()), (Some(7), Some(3)));
    let mut all = [stems(&learn), stems(&look)].concat();
    all.sort_by_key(|stem| stem.parse::<u32>().unwrap());
    assert_eq!(all, stems(&folder));
    assert_eq!(stems(&folder.clone().hold_out(0.3, 5).unwrap().1), stems(&look));
    assert!((6..12).any(|seed| stems(&folder.clone().hold_out(0.3, seed).unwrap().1) != stems(&look)));
    assert!(folder.hold_out(0.96, 5).unwrap_err().to_string().contains("10 of 10 pairs"));
}

#[test]
fn wrong_pairs_are_errors_that_name_the_files() {
    let set = Set::new();
    set.pairs("im", "gt", &["a", "b", "c", "d"]);
    for name in ["b", "c", "d"] {
        std::fs::remove_file(set.path(&format!("gt/{name}.png"))).unwrap();
    }
    write_png(set.path("gt/b.png"), &GrayImage::from_pixel(8, 12, Luma([255])), Overwrite::Refuse).unwrap();
    set.mask("gt/c.png", 0);
    std::fs::write(set.path("gt/d.png"), b"\x89PNG\r\n\x1a\n cut").unwrap();
    let folder = PairedFolder::open(set.0.path(), None, None).unwrap();
    let error = |index| folder.example(place(index)).unwrap_err().to_string();
    assert!(error(1).contains("8x12") && error(1).contains("12x8") && error(1).contains("b.png"), "{}", error(1));
    assert!(error(2).contains("c.png") && error(2).contains("no pixel is inside"), "{}", error(2));
    assert!(error(3).contains("d.png") && error(3).lines().count() == 1, "{}", error(3));
    let kept = folder.clone().reading(Reading { keep_empty: true, ..Reading::default() });
    assert!(kept.example(place(2)).is_ok());

    let done = std::sync::atomic::AtomicUsize::new(0);
    let count = || {
        done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let (report, seen) = check(folder.pairs(), 0, &Reading::default(), count);
    assert_eq!((done.into_inner(), seen.len(), report.pairs, report.usable), (4, 3, 4, 1));
    assert_eq!(report.sizes_differ, [SizesDiffer { stem: "b".into(), image: [12, 8], mask: [8, 12] }]);
    assert_eq!((report.empty.as_slice(), report.full.as_slice()), (&["c".to_owned()][..], &["b".to_owned()][..]));
    assert_eq!((report.broken.len(), report.problems().len()), (1, 4));
    // a: 1 column of 12; c: none
    assert_eq!(report.inside, Some([0., 0.25 / 12., 0.5 / 12., 0.75 / 12., 1. / 12.]));
    assert_eq!((report.levels[0], report.levels[255]), (11 * 8 + 96, 8 + 96));
    let sheet = sheet(folder.pairs(), &report, 9, &Reading::default()).unwrap();
    assert_eq!(sheet.rows, [["b", "c", "a"]]);
    assert_eq!(sheet.image.get_pixel(7, 7).0, [220, 40, 40]);
}

#[test]
fn masks_are_read_by_the_one_place_that_knows() {
    let set = Set::new();
    set.pairs("im", "gt", &["a", "b"]);
    let mask = GrayImage::from_fn(12, 8, |x, _| Luma([u8::from(x < 3)]));
    write_png(set.path("gt/b.png"), &mask, Overwrite::Replace).unwrap();
    let folder = PairedFolder::open(set.0.path(), None, None).unwrap();
    let example = folder.example(place(1)).unwrap();
    assert_eq!((example.mask.get_pixel(2, 0).0, example.mask.get_pixel(3, 0).0), ([255], [0]));
    let (report, _) = check(folder.pairs(), 0, &Reading::default(), || {});
    assert_eq!(report.problems(), Vec::<String>::new());
    assert!(report.notes()[0].contains("levels 0 and 1 alone"), "{:?}", report.notes());
}

#[test]
fn the_same_pictures_are_found_within_and_across_parts() {
    let set = Set::new();
    set.pairs("train/im", "train/gt", &["a", "b"]).pairs("test/im", "test/gt", &["x"]);
    // another file of the same pixels, with the same mask, and with another one
    let again = load_image(set.path("train/im/a.png"), &DecodeLimits::default()).unwrap().image;
    for (name, columns) in [("c", 1), ("d", 9)] {
        again.save(set.path(&format!("train/im/{name}.bmp"))).unwrap();
        set.mask(&format!("train/gt/{name}.png"), columns);
    }
    let parts: Vec<Pairs> = find(set.0.path(), None).unwrap().into_iter().map(|f| Pairs::of(f).unwrap()).collect();
    let names: Vec<&str> = parts.iter().map(|p| p.found.split.name.as_str()).collect();
    let (mut reports, mut seen) = (Vec::new(), Vec::new());
    for (i, pairs) in parts.iter().enumerate() {
        let (report, more) = check(pairs, i, &Reading::default(), || {});
        reports.push(report);
        seen.extend(more);
    }
    assert_eq!(names, ["test", "train"]);
    assert_eq!(reports[1].same_pairs, [["a", "c"]]);
    assert_eq!(reports[1].same_images, [["a", "d"]]);
    let across = same_pictures(&seen, &names);
    let name = |part: &str, stem: &str| (part.to_owned(), stem.to_owned());
    assert_eq!(across.len(), 1);
    assert_eq!(across[0].at, [name("test", "x"), name("train", "a"), name("train", "c"), name("train", "d")]);
}
