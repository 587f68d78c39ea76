//! Two folders whose stems pair, found without a layout.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::find::{Found, sorted};
use super::layout::{IMAGE_NAMES, MASK_NAMES, Part, Split, plain};
use super::pairs::names_of;
use crate::decode::DecodeLimits;
use crate::error::{DataError, Result};
use crate::inputs::{Folder, stem, text};

/// What masks are often called beside the stem of their picture.
const SUFFIXES: [&str; 8] = ["", "_mask", "-mask", ".mask", "_gt", "_segmentation", "_label", "_matte"];
/// The folder, beside pictures and masks, of coarse masks: what a promptable model is told, as `hrseg data make` writes them.
const COARSE: &str = "coarse";
/// How deep parts are looked for below the root.
const DEPTH: usize = 3;
/// With more folders side by side than these, only those that are called like pictures or masks are looked at.
const MOST: usize = 24;

/// The parts below a folder, by their names; the root itself first.
pub(super) fn look(root: &Path) -> Result<Vec<Found>> {
    let (mut found, mut undecided) = (Vec::new(), None);
    visit(root, root, DEPTH, &mut found, &mut undecided)?;
    match (found.is_empty(), undecided) {
        (false, _) => Ok(found),
        (true, Some((first, second))) => Err(DataError::WhichAreMasks { first, second }),
        (true, None) => Err(DataError::NoPairs { root: root.display().to_string() }),
    }
}

/// Two folders whose stems pair, either of which might be the masks.
type Undecided = Option<(PathBuf, PathBuf)>;

fn visit(root: &Path, folder: &Path, depth: usize, found: &mut Vec<Found>, undecided: &mut Undecided) -> Result<()> {
    let folders = sorted(Folder::read(folder)?.folders);
    let before = found.len();
    found.extend(siblings(folder, &folders, undecided)?);
    if found.len() == before {
        found.extend(one_folder(folder)?);
    }
    for each in found.iter_mut().skip(before) {
        each.split.name = name(root, folder, &each.split.name);
        each.split.part = part(&each.split.name);
    }
    let taken: HashSet<PathBuf> = found
        .iter()
        .flat_map(|f| [Some(f.images.clone()), Some(f.masks.clone()), f.prompts.clone()])
        .flatten()
        .collect();
    for name in folders.iter().filter(|_| depth > 0) {
        let below = folder.join(name);
        if !taken.contains(&below) {
            visit(root, &below, depth - 1, found, undecided)?;
        }
    }
    Ok(())
}

/// Below the root a part is called as its folder; in one folder with others by what its two folders have in common.
fn name(root: &Path, folder: &Path, common: &str) -> String {
    let path = folder.strip_prefix(root).unwrap_or(folder);
    let mut levels: Vec<String> = path.iter().map(|level| text(level).into_owned()).collect();
    let tells = !common.is_empty() && levels.last().is_none_or(|last| plain(last) != plain(common));
    levels.extend(tells.then(|| common.to_owned()));
    if levels.is_empty() { "all".to_owned() } else { levels.join("/") }
}

fn part(name: &str) -> Part {
    let plain = format!(" {} ", plain(name).replace('/', " "));
    let has = |words: &[&str]| words.iter().any(|word| plain.contains(&format!(" {word}")));
    if has(&["val ", "vd ", "valid"]) {
        Part::Validation
    } else if has(&["test", "te ", "te1", "te2", "te3", "te4"]) {
        Part::Test
    } else {
        Part::Train
    }
}

/// Pairs of folders side by side. Each folder is in one pair at most; those that are called like pictures and masks come first.
fn siblings(folder: &Path, names: &[String], undecided: &mut Undecided) -> Result<Vec<Found>> {
    let kinds: Vec<(Kind, String)> = names.iter().map(|name| kind(&plain(name))).collect();
    if names.len() > MOST && kinds.iter().all(|kind| kind.0 == Kind::Unknown) {
        return Ok(Vec::new()); // frames of many videos, and the like
    }
    let mut stems = Vec::with_capacity(names.len());
    for name in names {
        // coarse masks are no pictures, and no truths
        let coarse = plain(name) == COARSE;
        stems.push(if coarse { HashSet::new() } else { stems_of(&folder.join(name))? });
    }
    let mut candidates: Vec<(usize, usize, usize, usize, &str)> = Vec::new(); // rank, shared, picture, mask, suffix
    for (i, image) in kinds.iter().enumerate() {
        for (k, mask) in kinds.iter().enumerate() {
            if i == k || image.0 == Kind::Mask || mask.0 == Kind::Image || stems[i].is_empty() || stems[k].is_empty() {
                continue;
            }
            let Some((suffix, shared)) = fit(&stems[i], &stems[k]) else { continue };
            let named = image.0 == Kind::Image && mask.0 == Kind::Mask;
            if names.len() > MOST && image.0 == mask.0 {
                continue;
            }
            // without a name that tells, most must pair, and each pair of folders is looked at once
            if !named && (shared * 2 < stems[i].len().min(stems[k].len()) || (image.0 == mask.0 && i > k)) {
                continue;
            }
            let rank = match (named, image.1 == mask.1) {
                (true, true) => 0,
                (true, false) => 1,
                _ => 2,
            };
            candidates.push((rank, shared, i, k, suffix));
        }
    }
    candidates.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)).then((a.2, a.3).cmp(&(b.2, b.3))));
    let mut taken = HashSet::new();
    let mut found = Vec::new();
    for (_, _, i, k, suffix) in candidates {
        if taken.contains(&i) || taken.contains(&k) {
            continue;
        }
        taken.extend([i, k]);
        let (mut images, mut masks) = (folder.join(&names[i]), folder.join(&names[k]));
        if kinds[i].0 == Kind::Unknown && kinds[k].0 == Kind::Unknown {
            let turned = match (looks_like_masks(&images)?, looks_like_masks(&masks)?) {
                (false, true) => false,
                (true, false) => true,
                _ => {
                    undecided.get_or_insert((images, masks));
                    continue;
                }
            };
            if turned {
                // what stands behind a stem was looked for on the other side
                let Some(("", _)) = fit(&stems[k], &stems[i]) else { continue };
                std::mem::swap(&mut images, &mut masks);
            }
        }
        // as it is spelled
        let shared = if kinds[i].1 == kinds[k].1 { kinds[i].1.as_str() } else { "" };
        let common =
            names[i].get(..shared.len()).filter(|spelled| plain(spelled) == shared).unwrap_or(shared).to_owned();
        let prompts = names.iter().find(|name| plain(name) == COARSE).map(|name| folder.join(name));
        let split = Split {
            name: common,
            mask_suffix: suffix.to_owned(),
            prompts: prompts.iter().map(|_| COARSE.to_owned()).collect(),
            ..Split::default()
        };
        found.push(Found { split, images, masks, prompts });
    }
    found.sort_by(|a, b| a.images.cmp(&b.images));
    Ok(found)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Image,
    Mask,
    Unknown,
}

/// What a plain name says, and what of it is not about that: `duts tr image` is pictures of `duts tr`.
fn kind(plain: &str) -> (Kind, String) {
    for (kind, names) in [(Kind::Image, &IMAGE_NAMES[..]), (Kind::Mask, &MASK_NAMES[..])] {
        for name in names {
            let rest = match plain.strip_suffix(name) {
                Some("") => Some(""),
                Some(rest) => rest.strip_suffix(' '),
                None => plain.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')),
            };
            if let Some(rest) = rest {
                return (kind, rest.to_owned());
            }
        }
    }
    (Kind::Unknown, String::new())
}

fn stems_of(folder: &Path) -> Result<HashSet<String>> {
    Ok(names_of(folder, &[])?.0.iter().map(|file| text(&stem(file)).into_owned()).collect())
}

/// The ending of masks' stems with which most pair, and how many do.
fn fit(images: &HashSet<String>, masks: &HashSet<String>) -> Option<(&'static str, usize)> {
    let pairs = |suffix: &&'static str| {
        let mut bare = masks.iter().filter_map(|mask| mask.strip_suffix(suffix));
        if suffix.is_empty() {
            images.intersection(masks).count()
        } else {
            bare.by_ref().filter(|b| images.contains(*b)).count()
        }
    };
    let counted = SUFFIXES.iter().map(|suffix| (*suffix, pairs(suffix)));
    // the first of equals
    counted.fold(None, |best: Option<(&str, usize)>, (suffix, n)| match best {
        Some((_, most)) if most >= n => best,
        _ => (n > 0).then_some((suffix, n)),
    })
}

/// Whether the first pictures of a folder are masks: grey, with few levels.
fn looks_like_masks(folder: &Path) -> Result<bool> {
    let (mut files, _) = names_of(folder, &[])?;
    crate::inputs::sort_naturally(&mut files);
    let read = files.iter().take(4).filter_map(|f| crate::load_image(f, &DecodeLimits::default()).ok());
    let mut any = false;
    for loaded in read {
        let mut levels = [false; 256];
        for p in loaded.image.pixels() {
            if p.0[0] != p.0[1] || p.0[1] != p.0[2] {
                return Ok(false);
            }
            levels[usize::from(p.0[0])] = true;
        }
        let (ends, between) = (levels[0] || levels[255], levels.iter().filter(|l| **l).count());
        if !ends || between > 32 {
            return Ok(false);
        }
        any = true;
    }
    Ok(any)
}

/// Pictures and masks in one folder: `a.jpg` with `a.png`, or `a.jpg` with `a_mask.png`.
fn one_folder(folder: &Path) -> Result<Vec<Found>> {
    let files = Folder::read(folder)?.images;
    let ending = |file: &Path| file.extension().map(|e| e.to_string_lossy().to_lowercase());
    let files: Vec<PathBuf> = files.into_iter().map(PathBuf::from).collect();
    let of = |jpeg: bool| {
        let wanted = |f: &&PathBuf| matches!(ending(f).as_deref(), Some("jpg" | "jpeg")) == jpeg;
        files.iter().filter(wanted).map(|f| text(&stem(f)).into_owned()).collect::<HashSet<_>>()
    };
    let (photos, others) = (of(true), of(false));
    let found =
        |split: Split| vec![Found { split, images: folder.to_owned(), masks: folder.to_owned(), prompts: None }];
    let endings = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
    if let Some((suffix, shared)) = fit(&photos, &others)
        && shared * 2 >= photos.len().min(others.len())
    {
        return Ok(found(Split {
            image_endings: endings(&["jpg", "jpeg"]),
            mask_endings: endings(&["png", "bmp", "tif", "tiff", "webp", "gif"]),
            mask_suffix: suffix.to_owned(),
            ..Split::default()
        }));
    }
    let all: HashSet<String> = photos.union(&others).cloned().collect();
    for suffix in SUFFIXES.iter().filter(|suffix| !suffix.is_empty()) {
        let masks = all.iter().filter(|stem| stem.strip_suffix(suffix).is_some_and(|bare| all.contains(bare))).count();
        if masks > 0 && masks * 3 >= all.len() {
            return Ok(found(Split { mask_suffix: (*suffix).to_owned(), ..Split::default() }));
        }
    }
    Ok(Vec::new())
}
