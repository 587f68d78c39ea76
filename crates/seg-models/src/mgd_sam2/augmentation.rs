//! Test-time augmentation, as the official protocol has it (test.py).

use candle_core::{Result, Tensor};
use multiview_fusion::PositionTable;
use seg_ops::Resize;
use serde::{Deserialize, Serialize};

use super::model::MgdSam2;

/// Passes over changed copies of an image, whose logits are averaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestTimeAugmentation {
    /// Also mirrored left and right.
    pub flip: bool,
    /// Factors on the input's size, in the order of the passes. The first one tells the size of MCEM's position table.
    pub scales: Vec<f64>,
}

impl Default for TestTimeAugmentation {
    /// One pass over the image as it is.
    fn default() -> Self {
        Self { flip: false, scales: vec![1.0] }
    }
}

impl TestTimeAugmentation {
    /// The authors' protocol: mirrored or not, at 0.75, 1 and 1.25 of the size.
    pub fn official() -> Self {
        Self { flip: true, scales: vec![0.75, 1.0, 1.25] }
    }

    /// Logits `[B, 1, H, W]` of normalised images `[B, 3, H, W]`, averaged over the passes. `seen` gets each pass' logits: mirrored or not, factor.
    ///
    /// # Errors
    /// Besides candle's, those of [`MgdSam2::forward`] for a pass whose size it cannot take, and scales that leave nothing.
    pub fn forward(
        &self,
        model: &MgdSam2,
        images: &Tensor,
        table: &mut PositionTable,
        seen: &mut dyn FnMut(bool, f64, &Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        let (_, _, h, w) = images.dims4()?;
        let bilinear = Resize::bilinear();
        let mut sum: Option<Tensor> = None;
        let mut passes = 0;
        for flipped in [false, true].into_iter().filter(|flipped| self.flip || !flipped) {
            for &scale in &self.scales {
                let side = |side: usize| (side as f64 * scale) as usize;
                let images = if flipped { images.flip(&[3])? } else { images.clone() };
                let logits = if scale == 1.0 {
                    model.forward(&images, table)?
                } else {
                    let scaled = seg_ops::resize(&images, (side(h), side(w)), &bilinear)?;
                    drop(images);
                    let logits = model.forward(&scaled, table)?;
                    seg_ops::resize(&logits, (h, w), &bilinear)?
                };
                let logits = if flipped { logits.flip(&[3])? } else { logits };
                seen(flipped, scale, &logits)?;
                sum = Some(match sum {
                    Some(sum) => (sum + logits)?,
                    None => logits,
                });
                passes += 1;
            }
        }
        match sum {
            Some(sum) => sum / f64::from(passes),
            None => candle_core::bail!("test-time augmentation: no scales, expected at least one"),
        }
    }
}
