//! Clicks as a patient annotator would make them: on what is wrong, the largest region first
//! (segment_anything/modeling/mask_decoder_pi.py of lmzpai/pi-sam, `get_points_coor`).

use candle_core::{Device, Tensor};
use detail_refine::Clicks;
use seg_data::components::components;

use super::torch_random::TorchGenerator;
use crate::error::{Error, Result};

/// How many clicks an image gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClickMode {
    /// A random number, from one to as many as there are wrong regions.
    Training,
    /// One.
    Evaluation,
}

/// The rules of the simulation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClickSimulation {
    /// Most clicks of an image; rows of a batch are padded to as many.
    pub max_points: usize,
    /// Least pixels of a region that is clicked.
    pub min_area: u32,
    /// Probability (0..1) above which a pixel was predicted to be foreground.
    pub threshold: f32,
}

impl Default for ClickSimulation {
    /// The authors' values.
    fn default() -> Self {
        Self { max_points: 10, min_area: 2, threshold: 0.5 }
    }
}

/// A click on a map, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimulatedClick {
    /// Pixels from the top.
    pub row: usize,
    /// Pixels from the left.
    pub column: usize,
    /// Whether foreground is missing there; else background was taken for foreground.
    pub foreground: bool,
}

/// What is wrong in one mask, without the pixels at the edges of the wrong regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickRegions {
    /// 1 where foreground is missing, row by row.
    pub missing: Vec<u8>,
    /// 1 where background was taken for foreground.
    pub excess: Vec<u8>,
    /// Pixels of each region that is large enough, in the order of their numbers, and whether it is missing foreground: largest first, of equals the
    /// first in the order missing before excess, top to bottom.
    pub regions: Vec<(Vec<usize>, bool)>,
}

impl ClickSimulation {
    /// The wrong regions of one mask: `logits` against `labels` in 0..255 (`None`: all background), both `height * width`. Only pixels whose label is exactly
    /// 0 or 255 count; a region loses the pixels of which not all eight neighbours are wrong in the same way, those at the image's border among them; what is
    /// left is divided into 8-connected parts.
    ///
    /// # Errors
    /// When a length is not `width * height`.
    pub fn regions(&self, logits: &[f32], labels: Option<&[f32]>, width: u32, height: u32) -> Result<ClickRegions> {
        let labels = labels.map_or_else(|| vec![0f32; logits.len()], <[f32]>::to_vec);
        if labels.len() != logits.len() {
            return Err(Error::MapLength { len: labels.len(), size: (width, height) });
        }
        let difference: Vec<f32> = logits
            .iter()
            .zip(&labels)
            .map(|(&x, &label)| {
                let predicted = 1. / (1. + (-x).exp()) > self.threshold;
                label / 255. - f32::from(u8::from(predicted))
            })
            .collect();
        let wrong = |sign: f32| -> Vec<u8> { difference.iter().map(|&d| u8::from(d == sign)).collect() };
        let (missing, excess) = (wrong(1.), wrong(-1.));
        let mut regions = Vec::new();
        let mut eroded = [Vec::new(), Vec::new()];
        for (i, mask) in [missing, excess].into_iter().enumerate() {
            // checks the length, which the erosion relies on
            components(&mask, width, height)?;
            let mask = eroded_by_one(&mask, width as usize);
            let found = components(&mask, width, height)?;
            let mut pixels: Vec<Vec<usize>> = found.areas.iter().map(|&a| Vec::with_capacity(a as usize)).collect();
            for (at, &label) in found.labels.iter().enumerate().filter(|(_, label)| **label > 0) {
                pixels[label as usize - 1].push(at);
            }
            regions.extend(pixels.into_iter().filter(|p| p.len() >= self.min_area as usize).map(|p| (p, i == 0)));
            eroded[i] = mask;
        }
        regions.sort_by_key(|(pixels, _)| std::cmp::Reverse(pixels.len()));
        let [missing, excess] = eroded;
        Ok(ClickRegions { missing, excess, regions })
    }

    /// The clicks for one mask: random pixels of the largest regions. None where nothing is wrong.
    ///
    /// # Errors
    /// As [`ClickSimulation::regions`].
    pub fn clicks(
        &self,
        logits: &[f32],
        labels: Option<&[f32]>,
        (width, height): (u32, u32),
        mode: ClickMode,
        random: &mut TorchGenerator,
    ) -> Result<Vec<SimulatedClick>> {
        let regions = self.regions(logits, labels, width, height)?.regions;
        let most = regions.len().min(self.max_points);
        let count = match mode {
            _ if most == 0 => 0,
            ClickMode::Training => 1 + random.below(most),
            ClickMode::Evaluation => 1,
        };
        let click = |(pixels, foreground): &(Vec<usize>, bool)| {
            let at = pixels[random.below(pixels.len())];
            SimulatedClick { row: at / width as usize, column: at % width as usize, foreground: *foreground }
        };
        Ok(regions.iter().take(count).map(click).collect())
    }
}

/// Pixels with all eight neighbours set.
fn eroded_by_one(mask: &[u8], width: usize) -> Vec<u8> {
    let height = mask.len().checked_div(width).unwrap_or(0);
    let mut eroded = vec![0u8; mask.len()];
    for y in 1..height.saturating_sub(1) {
        for x in 1..width.saturating_sub(1) {
            let all = (y - 1..=y + 1).all(|y| mask[y * width + x - 1..=y * width + x + 1].iter().all(|&v| v != 0));
            eroded[y * width + x] = u8::from(all);
        }
    }
    eroded
}

/// Simulated clicks of a batch as the Precise Interactor takes them in the authors' training, for maps of `height × width`: coordinates are
/// (row / height, column / width), in this order, although the interactor reads them as (x, y); rows are padded with zeros to `max_points`, and padding is
/// ignored, but not in rows without any click. The second value is 1 for rows with clicks, 0 for those without, `[B]`, f32: the weights of their losses.
///
/// # Errors
/// Those of candle, and rows of more than `max_points` clicks.
pub fn stack_clicks(
    rows: &[Vec<SimulatedClick>],
    (height, width): (usize, usize),
    max_points: usize,
    device: &Device,
) -> candle_core::Result<(Clicks, Tensor)> {
    let batch = rows.len();
    let mut coords = vec![0f32; batch * max_points * 2];
    let mut flags = vec![0u32; batch * max_points];
    let mut ignored = vec![0u8; batch * (1 + max_points)];
    let mut valid = vec![0f32; batch];
    for (b, clicks) in rows.iter().enumerate() {
        if clicks.len() > max_points {
            candle_core::bail!("simulated clicks: {} in row {b}, expected at most {max_points}", clicks.len());
        }
        for (i, click) in clicks.iter().enumerate() {
            let at = b * max_points + i;
            coords[2 * at] = click.row as f32 / height as f32;
            coords[2 * at + 1] = click.column as f32 / width as f32;
            flags[at] = u32::from(click.foreground);
        }
        if !clicks.is_empty() {
            valid[b] = 1.;
            ignored[b * (1 + max_points)..(b + 1) * (1 + max_points)][1 + clicks.len()..].fill(1);
        }
    }
    let clicks = Clicks {
        coords: Tensor::from_vec(coords, (batch, max_points, 2), device)?,
        flags: Tensor::from_vec(flags, (batch, max_points), device)?,
        ignored: Some(Tensor::from_vec(ignored, (batch, 1 + max_points), device)?),
    };
    Ok((clicks, Tensor::from_vec(valid, batch, device)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A missing block of 5 × 4, an excess one of 3 × 3, a soft edge.
    fn scene() -> (Vec<f32>, Vec<f32>) {
        let (mut logits, mut labels) = (vec![-4f32; 200], vec![0f32; 200]);
        for y in 2..6 {
            labels[y * 20 + 3..y * 20 + 8].fill(255.);
        }
        for y in 5..8 {
            logits[y * 20 + 12..y * 20 + 15].fill(3.);
        }
        labels[9 * 20] = 100.;
        (logits, labels)
    }

    #[test]
    fn regions_lose_their_edges() {
        let (logits, labels) = scene();
        let rules = ClickSimulation { min_area: 1, ..ClickSimulation::default() };
        let found = rules.regions(&logits, Some(&labels), 20, 10).unwrap();
        let expected: Vec<usize> = (3..5).flat_map(|y| (4..7).map(move |x| y * 20 + x)).collect();
        assert_eq!(found.regions, [(expected, true), (vec![6 * 20 + 13], false)]);
        // a single pixel is not clicked by the authors' rules
        assert_eq!(ClickSimulation::default().regions(&logits, Some(&labels), 20, 10).unwrap().regions.len(), 1);
        assert!(rules.regions(&logits, Some(&labels[1..]), 20, 10).is_err());
        assert!(rules.regions(&logits, None, 21, 10).is_err());
    }

    #[test]
    fn clicks_hit_their_regions() {
        let (logits, labels) = scene();
        let rules = ClickSimulation { min_area: 1, ..ClickSimulation::default() };
        let mut random = TorchGenerator::new(7);
        let mut counts = [0; 3];
        for _ in 0..50 {
            let clicks = rules.clicks(&logits, Some(&labels), (20, 10), ClickMode::Training, &mut random).unwrap();
            counts[clicks.len()] += 1;
            assert!(clicks[0].foreground && (3..5).contains(&clicks[0].row) && (4..7).contains(&clicks[0].column));
            assert!(clicks.get(1).is_none_or(|c| *c == SimulatedClick { row: 6, column: 13, foreground: false }));
        }
        assert!(counts[0] == 0 && counts[1] > 5 && counts[2] > 5, "{counts:?}");
        let one = rules.clicks(&logits, Some(&labels), (20, 10), ClickMode::Evaluation, &mut random).unwrap();
        assert_eq!(one.len(), 1);
        // without labels, all foreground is too much
        let excess = rules.clicks(&logits, None, (20, 10), ClickMode::Evaluation, &mut random).unwrap();
        assert!(!excess[0].foreground);
        let nothing = vec![-1f32; 200];
        assert!(rules.clicks(&nothing, None, (20, 10), ClickMode::Training, &mut random).unwrap().is_empty());
    }

    #[test]
    fn stacked() -> candle_core::Result<()> {
        let click = SimulatedClick { row: 5, column: 2, foreground: true };
        let (clicks, valid) = stack_clicks(&[vec![click], vec![]], (10, 20), 2, &Device::Cpu)?;
        assert_eq!(clicks.coords.flatten_all()?.to_vec1::<f32>()?, [0.5, 0.1, 0., 0., 0., 0., 0., 0.]);
        assert_eq!(clicks.flags.to_vec2::<u32>()?, [[1, 0], [0, 0]]);
        let ignored = clicks.ignored.map(|t| t.to_vec2::<u8>()).transpose()?;
        assert_eq!(ignored, Some(vec![vec![0, 0, 1], vec![0, 0, 0]]));
        assert_eq!(valid.to_vec1::<f32>()?, [1., 0.]);
        assert!(stack_clicks(&[vec![click; 3]], (10, 20), 2, &Device::Cpu).is_err());
        Ok(())
    }
}
