//! 8-connected components of binary masks, and the hole filling and sprinkle removal that SAM 2 builds on them.
//!
//! Two passes over runs of equal pixels with a union-find between rows. Plain slices in and out.

use crate::error::Result;
use crate::mask::check_len;

/// The components of a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components {
    /// Row-major `height * width`: 0 outside, else the component's number from 1, in the order in which a raster scan
    /// meets them.
    pub labels: Vec<u32>,
    /// Pixels of component `i + 1`.
    pub areas: Vec<u32>,
}

impl Components {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.areas.len()
    }

    /// Whether the mask was empty.
    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    /// Number (from 1) of the largest component, the first of equals; `None` when there is none.
    pub fn largest(&self) -> Option<u32> {
        let best = self.areas.iter().enumerate().max_by_key(|&(i, &a)| (a, std::cmp::Reverse(i)));
        best.map(|(i, _)| i as u32 + 1)
    }
}

/// A horizontal run of inside pixels `x0..x1`, with its provisional label.
struct Run {
    y: u32,
    x0: u32,
    x1: u32,
}

/// Labels the 8-connected components of `height * width` pixels; anything but 0 is inside.
///
/// # Errors
/// When `mask.len()` is not `width * height`.
pub fn components(mask: &[u8], width: u32, height: u32) -> Result<Components> {
    check_len("the mask's length", mask.len(), width, height)?;
    Ok(label(width as usize, |i| mask[i] != 0, mask.len()).0.into_components(width as usize, mask.len()))
}

/// Inside pixels (1) that belong to components of at most `max_area` pixels; 0 elsewhere.
///
/// # Errors
/// When `mask.len()` is not `width * height`.
pub fn small_components(mask: &[u8], width: u32, height: u32, max_area: u32) -> Result<Vec<u8>> {
    check_len("the mask's length", mask.len(), width, height)?;
    let mut out = vec![0u8; mask.len()];
    for_each_small(width as usize, mask.len(), |i| mask[i] != 0, max_area, |range| out[range].fill(1));
    Ok(out)
}

/// Gives `value` to every hole: a background component (`logit <= threshold`) of at most `max_area` pixels, the image's
/// border not excepted. Returns how many pixels changed. SAM 2's video predictor: threshold 0, area 8, value 0.1
/// (`sam2/utils/misc.py`, `fill_holes_in_mask_scores`).
///
/// # Errors
/// When `logits.len()` is not `width * height`.
pub fn fill_holes(
    logits: &mut [f32],
    width: u32,
    height: u32,
    threshold: f32,
    max_area: u32,
    value: f32,
) -> Result<usize> {
    paint(logits, width, height, max_area, value, |v| v <= threshold)
}

/// Gives `value` to every sprinkle: a foreground component (`logit > threshold`) of at most `max_area` pixels. Returns
/// how many pixels changed.
///
/// # Errors
/// When `logits.len()` is not `width * height`.
pub fn remove_sprinkles(
    logits: &mut [f32],
    width: u32,
    height: u32,
    threshold: f32,
    max_area: u32,
    value: f32,
) -> Result<usize> {
    paint(logits, width, height, max_area, value, |v| v > threshold)
}

/// SAM 2's image predictor (`sam2/utils/transforms.py`, `postprocess_masks`) on low-resolution logits: holes become
/// `threshold + 10`, sprinkles `threshold - 10`. Both are looked for in the logits as given, so that a filled hole
/// does not turn its surroundings into something larger. An area of 0 switches that step off.
///
/// # Errors
/// When `logits.len()` is not `width * height`.
pub fn clean_logits(
    logits: &mut [f32],
    width: u32,
    height: u32,
    threshold: f32,
    max_hole_area: u32,
    max_sprinkle_area: u32,
) -> Result<()> {
    check_len("the logits' length", logits.len(), width, height)?;
    let sprinkles = (max_sprinkle_area > 0).then(|| {
        let mut found = Vec::new();
        for_each_small(width as usize, logits.len(), |i| logits[i] > threshold, max_sprinkle_area, |r| found.push(r));
        found
    });
    if max_hole_area > 0 {
        fill_holes(logits, width, height, threshold, max_hole_area, threshold + 10.0)?;
    }
    for range in sprinkles.into_iter().flatten() {
        logits[range].fill(threshold - 10.0);
    }
    Ok(())
}

fn paint(
    logits: &mut [f32],
    width: u32,
    height: u32,
    max_area: u32,
    value: f32,
    inside: impl Fn(f32) -> bool,
) -> Result<usize> {
    check_len("the logits' length", logits.len(), width, height)?;
    let mut found = Vec::new();
    for_each_small(width as usize, logits.len(), |i| inside(logits[i]), max_area, |range| found.push(range));
    let changed = found.iter().map(ExactSizeIterator::len).sum();
    for range in found {
        logits[range].fill(value);
    }
    Ok(changed)
}

fn for_each_small(
    width: usize,
    len: usize,
    inside: impl Fn(usize) -> bool,
    max_area: u32,
    mut f: impl FnMut(std::ops::Range<usize>),
) {
    let (runs, areas) = label(width, inside, len);
    for (run, &root) in runs.runs.iter().zip(&runs.roots) {
        if areas[root as usize] <= max_area {
            f(run.range(width));
        }
    }
}

impl Run {
    fn range(&self, width: usize) -> std::ops::Range<usize> {
        let row = self.y as usize * width;
        row + self.x0 as usize..row + self.x1 as usize
    }
}

/// All runs and the root of each.
struct Labelled {
    runs: Vec<Run>,
    roots: Vec<u32>,
}

impl Labelled {
    fn into_components(self, width: usize, len: usize) -> Components {
        let mut labels = vec![0u32; len];
        // Roots are the first run of their component, so numbering them in order of appearance is raster order.
        let mut number = vec![0u32; self.runs.len()];
        let mut areas: Vec<u32> = Vec::new();
        for (run, &root) in self.runs.iter().zip(&self.roots) {
            let n = &mut number[root as usize];
            if *n == 0 {
                areas.push(0);
                *n = areas.len() as u32;
            }
            areas[*n as usize - 1] += run.x1 - run.x0;
            labels[run.range(width)].fill(*n);
        }
        Components { labels, areas }
    }
}

/// Finds the runs, joins those that touch (also by a corner), and sums the areas: `areas[root]`.
fn label(width: usize, inside: impl Fn(usize) -> bool, len: usize) -> (Labelled, Vec<u32>) {
    let mut runs: Vec<Run> = Vec::new();
    let mut parent: Vec<u32> = Vec::new();
    let mut previous = 0..0;
    let height = len.checked_div(width).unwrap_or(0);
    for y in 0..height {
        let row = y * width;
        let begin = runs.len();
        let mut above = previous.start;
        let mut x = 0;
        while x < width {
            if !inside(row + x) {
                x += 1;
                continue;
            }
            let x0 = x;
            while x < width && inside(row + x) {
                x += 1;
            }
            let id = runs.len() as u32;
            runs.push(Run { y: y as u32, x0: x0 as u32, x1: x as u32 });
            parent.push(id);
            // skip runs above that end before our left diagonal neighbour, join those that begin up to our right one
            while above < previous.end && (runs[above].x1 as usize) < x0 {
                above += 1;
            }
            let mut a = above;
            while a < previous.end && runs[a].x0 as usize <= x {
                join(&mut parent, a as u32, id);
                a += 1;
            }
        }
        previous = begin..runs.len();
    }
    let mut areas = vec![0u32; runs.len()];
    let roots: Vec<u32> = (0..runs.len() as u32).map(|i| find(&mut parent, i)).collect();
    for (run, &root) in runs.iter().zip(&roots) {
        areas[root as usize] += run.x1 - run.x0;
    }
    (Labelled { runs, roots }, areas)
}

fn find(parent: &mut [u32], mut i: u32) -> u32 {
    while parent[i as usize] != i {
        // halve the path on the way
        parent[i as usize] = parent[parent[i as usize] as usize];
        i = parent[i as usize];
    }
    i
}

/// The smaller root wins, so that a root is always its component's first run.
fn join(parent: &mut [u32], a: u32, b: u32) {
    let (a, b) = (find(parent, a), find(parent, b));
    parent[a.max(b) as usize] = a.min(b);
}
