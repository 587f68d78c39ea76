//! Reading every pair of two folders, to say what a training would see.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::pairs::{Pair, Pairs};
use super::report::{Broken, Report, SizesDiffer};
use super::{Reading, read_pair};
use crate::error::Result;
use crate::inside::Meaning;

/// Pairs that are read before what was learnt of them is put together: bounds the memory for very many.
const CHUNK: usize = 512;
/// A mask is soft where more than this part of it is neither 0 nor 255.
const SOFT: f64 = 0.05;

type Sha = [u8; 32];

/// The digest of a picture and where it is.
#[derive(Clone, Debug)]
pub struct Seen {
    split: usize,
    stem: String,
    image: Sha,
    mask: Sha,
}

/// A picture that is in several parts of a data set: what is learnt there is known where it is tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SamePictures {
    /// Name of the part and stem, of each of them.
    pub at: Vec<(String, String)>,
}

/// What was learnt of a pair that could be read.
struct Facts {
    image: [u32; 2],
    mask: [u32; 2],
    coarse: Option<[u32; 2]>,
    digests: (Sha, Sha),
    levels: [u64; 256],
    meaning: Meaning,
    turned: Option<bool>,
}

/// Reads all pairs, on all threads. `split` numbers the part of the data set for [`same_pictures`]; `done` is called after each pair.
pub fn check(pairs: &Pairs, split: usize, reading: &Reading, done: impl Fn() + Sync) -> (Report, Vec<Seen>) {
    let mut report = names(pairs);
    let (mut sizes, mut parts, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in pairs.pairs.chunks(CHUNK) {
        let facts: Vec<Result<Facts>> = chunk
            .par_iter()
            .map(|pair| {
                let facts = facts(pair, reading);
                done();
                facts
            })
            .collect();
        for (pair, facts) in chunk.iter().zip(facts) {
            match facts {
                Err(error) => report.broken.push(Broken { stem: pair.stem.clone(), reason: error.to_string() }),
                Ok(facts) => {
                    let stem = pair.stem.clone();
                    let (image, mask) = facts.digests;
                    seen.push(Seen { split, stem, image, mask });
                    sizes.push(facts.image);
                    parts.extend(add(&mut report, &pair.stem, &facts, reading));
                }
            }
        }
    }
    (report.same_pairs, report.same_images) = same(&seen);
    if pairs.found.split.repeats {
        report.same_images.clear();
    }
    sizes.sort_by_key(|[w, h]| (u64::from(*w) * u64::from(*h), *w));
    let at = |part: f64| (part * (sizes.len().max(1) - 1) as f64).round() as usize;
    report.sizes = (!sizes.is_empty()).then(|| [0., 0.5, 1.].map(|part| sizes[at(part)]));
    report.inside = quartiles(parts);
    (report, seen)
}

/// Pictures that are in several parts.
pub fn same_pictures(seen: &[Seen], splits: &[&str]) -> Vec<SamePictures> {
    let mut by_image: BTreeMap<Sha, Vec<&Seen>> = BTreeMap::new();
    seen.iter().for_each(|one| by_image.entry(one.image).or_default().push(one));
    let mut out: Vec<SamePictures> = by_image
        .into_values()
        .filter(|all| all.iter().any(|one| one.split != all[0].split))
        .map(|all| {
            let name = |one: &Seen| splits.get(one.split).copied().unwrap_or_default().to_owned();
            SamePictures { at: all.iter().map(|one| (name(one), one.stem.clone())).collect() }
        })
        .collect();
    out.sort_by(|a, b| a.at.cmp(&b.at));
    out
}

fn facts(pair: &Pair, reading: &Reading) -> Result<Facts> {
    let read = read_pair(pair, reading)?;
    let digest = |(width, height): (u32, u32), pixels: &[u8]| {
        let mut digest = Sha256::new();
        digest.update(width.to_le_bytes());
        digest.update(height.to_le_bytes());
        digest.update(pixels);
        digest.finalize().into()
    };
    let (image, mask) = (&read.image, &read.mask.levels);
    let mut levels = [0; 256];
    mask.as_raw().iter().for_each(|&v| levels[usize::from(v)] += 1);
    Ok(Facts {
        image: image.dimensions().into(),
        mask: mask.dimensions().into(),
        coarse: read.coarse.as_ref().map(|coarse| coarse.dimensions().into()),
        digests: (digest(image.dimensions(), image.as_raw()), digest(mask.dimensions(), mask.as_raw())),
        levels,
        meaning: read.mask.meaning,
        turned: read.turned,
    })
}

/// Adds what was learnt; gives the part of the mask that is inside, where the pair can be used.
fn add(report: &mut Report, stem: &str, facts: &Facts, reading: &Reading) -> Option<f64> {
    let name = || stem.to_owned();
    match facts.turned {
        Some(true) => report.turned_both.push(name()),
        Some(false) => report.turned.push(name()),
        None => {}
    }
    match facts.meaning {
        Meaning::Levels => {}
        Meaning::LabelsAndVoid(_) => report.void.push(name()),
        meaning => report.meanings.entry(meaning.to_string()).or_default().push(name()),
    }
    for (sum, n) in report.levels.iter_mut().zip(facts.levels) {
        *sum += n;
    }
    let all: u64 = facts.levels.iter().sum();
    let inside: u64 = facts.levels[128..].iter().sum();
    let part = |n: u64| n as f64 / all.max(1) as f64;
    if part(all - facts.levels[0] - facts.levels[255]) > SOFT {
        report.soft.push(name());
    }
    let fits = facts.image == facts.mask;
    if !fits {
        report.sizes_differ.push(SizesDiffer { stem: name(), image: facts.image, mask: facts.mask });
    }
    let coarse = facts.coarse.filter(|size| *size != facts.image);
    if let Some(mask) = coarse {
        let stem = format!("{stem}, its coarse mask");
        report.sizes_differ.push(SizesDiffer { stem, image: facts.image, mask });
    }
    if inside == 0 {
        report.empty.push(name());
    } else if inside == all {
        report.full.push(name());
    }
    let usable = fits && coarse.is_none() && (inside > 0 || reading.keep_empty);
    report.usable += usize::from(usable);
    fits.then(|| part(inside))
}

/// Stems with the same picture and mask, and those with the same picture alone.
fn same(seen: &[Seen]) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    let mut by_image: BTreeMap<Sha, BTreeMap<Sha, Vec<usize>>> = BTreeMap::new();
    for (i, one) in seen.iter().enumerate() {
        by_image.entry(one.image).or_default().entry(one.mask).or_default().push(i);
    }
    let (mut pairs, mut images) = (Vec::new(), Vec::new());
    for by_mask in by_image.into_values() {
        if by_mask.len() > 1 {
            images.push(by_mask.values().map(|all| all[0]).collect::<Vec<_>>());
        }
        pairs.extend(by_mask.into_values().filter(|all| all.len() > 1));
    }
    [&mut pairs, &mut images].into_iter().flatten().for_each(|group| group.sort_unstable());
    pairs.sort();
    images.sort();
    let stems = |groups: Vec<Vec<usize>>| {
        groups.iter().map(|group| group.iter().map(|&i| seen[i].stem.clone()).collect()).collect()
    };
    (stems(pairs), stems(images))
}

/// Least, quartiles and most, between two values by their distance.
fn quartiles(mut parts: Vec<f64>) -> Option<[f64; 5]> {
    parts.sort_by(f64::total_cmp);
    let last = parts.len().checked_sub(1)?;
    Some([0., 0.25, 0.5, 0.75, 1.].map(|part| {
        let at = part * last as f64;
        let (low, high) = (at.floor() as usize, at.ceil() as usize);
        parts[low] + (parts[high] - parts[low]) * at.fract()
    }))
}

/// What names alone say.
fn names(pairs: &Pairs) -> Report {
    let found = &pairs.found;
    let file = |path: &Path| crate::inputs::text(path.file_name().unwrap_or_default()).into_owned();
    let left_out = [(&found.images, &pairs.left_out_images), (&found.masks, &pairs.left_out_masks)];
    let left_out = left_out.iter().filter_map(|(folder, out)| Some(format!("{}: {}", folder.display(), out.note()?)));
    Report {
        split: found.split.name.clone(),
        images: found.images.display().to_string(),
        masks: found.masks.display().to_string(),
        pairs: pairs.pairs.len(),
        lone_images: pairs.lone_images.iter().map(|f| file(f)).collect(),
        lone_masks: pairs.lone_masks.iter().map(|f| file(f)).collect(),
        without_coarse: pairs.without_coarse.clone(),
        twice: pairs.twice.iter().map(|files| files.iter().map(|f| file(f)).collect()).collect(),
        differ_in_case: pairs.differ_in_case.clone(),
        left_out: left_out.collect(),
        levels: vec![0; 256],
        ..Report::default()
    }
}
