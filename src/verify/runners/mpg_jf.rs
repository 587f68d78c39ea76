//! `mpg_jf`: J and F as MPG-SAM 2 is evaluated with them (davis2017, unsupervised): fewer results than objects, overlapping masks, void pixels.

use super::{Result, Run, field};
use candle_core::{Device, Tensor};
use seg_metrics::bits::BitMask;
use seg_metrics::video::{
    DavisSequence, DavisTask, Decay, ObjectScores, Statistics, boundary_f, boundary_map, region_j, tolerance_radius,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Rows at the top that do not count.
const VOID_ROWS: usize = 3;

/// A video of ellipses that drift apart, and its scores.
#[derive(Deserialize)]
struct Drift {
    #[serde(rename = "H")]
    height: usize,
    #[serde(rename = "W")]
    width: usize,
    objects: usize,
    results: usize,
    frames: usize,
    #[serde(rename = "J_per_frame")]
    j: Vec<Vec<f64>>,
    #[serde(rename = "F_per_frame")]
    f: Vec<Vec<f64>>,
    #[serde(rename = "J_stats_M_R_D")]
    j_statistics: Vec<[f64; 3]>,
    #[serde(rename = "F_stats_M_R_D")]
    f_statistics: Vec<[f64; 3]>,
    /// Of object 0 with result 0, void pixels not left out.
    #[serde(rename = "direct_J_gt0_res0")]
    direct_j: Vec<f64>,
    #[serde(rename = "direct_F_gt0_res0")]
    direct_f: Vec<f64>,
    bound_pix: f64,
    boundary_pixels_gt0_frame0: u64,
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let videos: BTreeMap<String, Drift> = field(run.case, "values.results", &run.case.values["results"])?;
    for (name, video) in &videos {
        video.check(run, name)?;
    }
    Ok(())
}

impl Drift {
    fn mask(&self, set: impl Fn(usize, usize) -> bool) -> BitMask {
        let mut mask = BitMask::new(self.width, self.height);
        for (y, x) in (0..self.height).flat_map(|y| (0..self.width).map(move |x| (y, x))) {
            if set(x, y) {
                mask.set(x, y);
            }
        }
        mask
    }

    fn ellipse(&self, object: usize, frame: usize, dx: f64, radius: f64) -> BitMask {
        let (h, w) = (self.height as f64, self.width as f64);
        let (o, t) = (object as f64, frame as f64);
        self.mask(|x, y| {
            let across = x as f64 - w * (0.25 + 0.3 * o + 0.03 * t + dx);
            let down = 1.3 * (y as f64 - h * (0.45 + 0.1 * o));
            across * across + down * down < (radius * h) * (radius * h)
        })
    }

    fn empty(&self) -> BitMask {
        BitMask::new(self.width, self.height)
    }

    fn is_last(&self, frame: usize) -> bool {
        frame + 1 == self.frames
    }

    /// The truth; the first object leaves before the last frame.
    fn objects(&self, frame: usize) -> Vec<BitMask> {
        let gone = |object| object == 0 && self.is_last(frame);
        let of = |object| if gone(object) { self.empty() } else { self.ellipse(object, frame, 0., 0.2) };
        (0..self.objects).map(of).collect()
    }

    /// The results in reversed order; of several the last is empty in the last frame.
    fn results(&self, frame: usize) -> Vec<BitMask> {
        let gone = |result| self.results > 1 && result + 1 == self.results && self.is_last(frame);
        let of = |result: usize| {
            let object = self.results - 1 - result;
            let (o, t) = (object as f64, frame as f64);
            let radius = 0.2 + 0.01 * t - 0.015 * o;
            if gone(result) { self.empty() } else { self.ellipse(object, frame, 0.01 * (1. + t + o), radius) }
        };
        (0..self.results).map(of).collect()
    }

    /// 0 and 1 a pixel, `[masks, frames, H, W]` or, of one mask alone, `[H, W]`.
    fn tensor(&self, masks: &[BitMask], dims: &[usize]) -> Result<Tensor> {
        let pixels = masks.iter().flat_map(|mask| {
            let (w, h) = (self.width as isize, self.height as isize);
            (0..h).flat_map(move |y| (0..w).map(move |x| f32::from(u8::from(mask.get(x, y)))))
        });
        Ok(Tensor::from_iter(pixels, &Device::Cpu)?.reshape([dims, &[self.height, self.width]].concat())?)
    }

    fn check(&self, run: &mut Run<'_, '_>, name: &str) -> Result<()> {
        let (truth, found): (Vec<_>, Vec<_>) = (0..self.frames).map(|t| (self.objects(t), self.results(t))).unzip();
        for (part, masks, count) in [("gt", &truth, self.objects), ("res", &found, self.results)] {
            let by_object: Vec<BitMask> =
                (0..count).flat_map(|i| masks.iter().map(move |frame| frame[i].clone())).collect();
            run.checks.tensor(&format!("{name}.{part}"), &self.tensor(&by_object, &[count, self.frames])?);
        }
        let checks = &mut *run.checks;
        let radius = tolerance_radius(self.width, self.height);
        checks.number(&format!("{name}.bound_pix"), radius as f64, self.bound_pix, 0.);
        if let Some(first) = truth.first().and_then(|frame| frame.first()) {
            let boundary = boundary_map(first);
            let (ours, theirs) = (boundary.count(), self.boundary_pixels_gt0_frame0);
            checks.fact(&format!("{name}.boundary_pixels"), ours == theirs, format!("{ours}, expected {theirs}"));
            checks.tensor(&format!("{name}.gt0_boundary"), &self.tensor(&[boundary], &[])?);
        }
        let pairs = || found.iter().zip(&truth).filter_map(|(found, truth)| Some((found.first()?, truth.first()?)));
        let direct = |score: fn(&BitMask, &BitMask) -> f64| pairs().map(|(a, b)| score(a, b)).collect::<Vec<_>>();
        same(run, &format!("{name}.direct_J"), &direct(region_j), &self.direct_j);
        same(run, &format!("{name}.direct_F"), &direct(boundary_f), &self.direct_f);

        let mut sequence = DavisSequence::new(DavisTask::Unsupervised);
        let void = self.mask(|_, y| y < VOID_ROWS);
        for (found, truth) in found.iter().zip(&truth) {
            sequence.add_masks(found, truth, &void)?;
        }
        let mut objects = sequence.finish();
        objects.sort_by_key(|object| object.proposal); // the order of the reference
        let count = objects.len();
        let problem = format!("{count}, expected {}", self.j.len());
        run.checks.fact(&format!("{name}.objects"), count == self.j.len() && count == self.f.len(), problem);
        let expected = self.j.iter().zip(&self.f).zip(self.j_statistics.iter().zip(&self.f_statistics));
        for (i, (ObjectScores { j, f, .. }, (frames, statistics))) in objects.iter().zip(expected).enumerate() {
            for (what, ours, theirs, summary) in [("J", j, frames.0, statistics.0), ("F", f, frames.1, statistics.1)] {
                let Statistics { mean, recall, decay } = Statistics::new(ours, Decay::Exact);
                same(run, &format!("{name}.{what}.{i}"), ours, theirs);
                same(run, &format!("{name}.{what}.{i} statistics"), &[mean, recall, decay], summary);
            }
        }
        Ok(())
    }
}

/// Scores are quotients of the same counts: equal but for the order of sums.
fn same(run: &mut Run<'_, '_>, name: &str, ours: &[f64], theirs: &[f64]) {
    let close = ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 1e-12);
    run.checks.fact(name, close, format!("{ours:?}, expected {theirs:?}"));
}
