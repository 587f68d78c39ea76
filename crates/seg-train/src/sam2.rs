//! Training of SAM 2 on videos (training/ of facebookresearch/sam2): its loss, who moves how fast, simulated prompts.

mod interaction;
mod rules;

pub use interaction::{FramePrediction, Interaction, segment_clip};
pub use rules::parameter_rules;

use crate::error::expect_shape;
use crate::losses::{FocalLoss, soft_dice_loss};
use crate::{Result, TrainError};
use candle_core::{D, DType, Tensor};
use seg_ops::Activation;

/// What the model has predicted for the objects of a frame after a click.
#[derive(Clone, Debug)]
pub struct ClickPrediction {
    /// Logits at the size of the truth, `[N, M, H, W]`: `M` is 3 where a prompt may mean several things, otherwise 1.
    pub masks: Tensor,
    /// Predicted IoUs, `[N, M]`.
    pub ious: Tensor,
    /// Object score logits, `[N, 1]`.
    pub object_scores: Tensor,
}

/// What is minimised (`MultiStepMultiMasksAndIous`, training/loss_fns.py).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Factor of the focal loss.
    pub mask: f64,
    /// Factor of the Dice loss.
    pub dice: f64,
    /// Factor of the IoUs' error.
    pub iou: f64,
    /// Factor of the object scores' loss.
    pub class: f64,
    /// Whether all masks' IoUs learn, or that of the best mask alone.
    pub supervise_all_ious: bool,
    /// The IoUs' error is its size; otherwise its square.
    pub l1_ious: bool,
    /// The object scores' loss.
    pub object_scores: FocalLoss,
}

/// Its parts, scalars without their factors.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Focal loss of the best mask of each object and click.
    pub mask: Tensor,
    /// Its Dice loss.
    pub dice: Tensor,
    /// Error of the predicted IoUs.
    pub iou: Tensor,
    /// Loss of the object scores.
    pub class: Tensor,
    /// The sum with factors: what is minimised.
    pub total: Tensor,
}

impl Terms {
    /// The sums of these and `others`.
    pub(crate) fn plus(self, others: &Self) -> Result<Self> {
        Ok(Self {
            mask: (self.mask + &others.mask)?,
            dice: (self.dice + &others.dice)?,
            iou: (self.iou + &others.iou)?,
            class: (self.class + &others.class)?,
            total: (self.total + &others.total)?,
        })
    }
}

impl Objective {
    /// That of the published fine-tuning (`sam2.1_hiera_b+_MOSE_finetune.yaml`).
    pub const SAM2: Self = Self {
        mask: 20.,
        dice: 1.,
        iou: 1.,
        class: 1.,
        supervise_all_ious: true,
        l1_ious: true,
        object_scores: FocalLoss::NONE,
    };

    /// The loss of one frame: sums over `clicks`, divided by the number of objects. `masks` `[N, H, W]` are 0 or 1; an object whose mask is empty is absent, and
    /// only its score learns. Of several masks only that with the smallest weighted loss learns.
    ///
    /// # Errors
    /// Besides candle's: no clicks, or tensors of other shapes.
    pub fn forward(&self, clicks: &[ClickPrediction], masks: &Tensor) -> Result<Terms> {
        let mut sum: Option<[Tensor; 4]> = None;
        for click in clicks {
            let terms = self.click(click, masks)?;
            sum = Some(match sum {
                None => terms,
                Some([a, b, c, d]) => [(a + &terms[0])?, (b + &terms[1])?, (c + &terms[2])?, (d + &terms[3])?],
            });
        }
        let Some([mask, dice, iou, class]) = sum else {
            return Err(TrainError::Count { what: "predictions of the frame", got: 0, expected: 1 });
        };
        let total = ((&mask * self.mask)? + (&dice * self.dice)?)?;
        let total = ((total + (&iou * self.iou)?)? + (&class * self.class)?)?;
        Ok(Terms { mask, dice, iou, class, total })
    }

    fn click(&self, click: &ClickPrediction, masks: &Tensor) -> Result<[Tensor; 4]> {
        let (objects, height, width) = masks.dims3()?;
        let (_, choices, _, _) = click.masks.dims4()?;
        expect_shape("masks", &click.masks, &[objects, choices, height, width])?;
        expect_shape("ious", &click.ious, &[objects, choices])?;
        expect_shape("object_scores", &click.object_scores, &[objects, 1])?;

        let target = masks.detach().to_dtype(click.masks.dtype())?.unsqueeze(1)?; // [N, 1, H, W]
        let target = target.broadcast_as(click.masks.shape())?.contiguous()?.flatten_from(2)?;
        let logits = click.masks.flatten_from(2)?; // [N, M, H·W]
        let focal = FocalLoss::MASKS.forward(&logits, &target)?.mean(D::Minus1)?; // [N, M]
        let probabilities = seg_ops::activate(&logits, Activation::Sigmoid)?;
        let rows = |x: &Tensor| x.flatten_to(1);
        let dice = soft_dice_loss(&rows(&probabilities)?, &rows(&target)?)?.reshape((objects, choices))?;
        let error = (&click.ious - actual_ious(&logits.detach(), &target)?)?;
        let iou = if self.l1_ious { error.abs()? } else { error.sqr()? };

        let weighted = ((focal.detach() * self.mask)? + (dice.detach() * self.dice)?)?;
        let best = weighted.argmin_keepdim(1)?; // [N, 1]
        let of_best = |loss: &Tensor| loss.gather(&best, 1);
        let (focal, dice) = (of_best(&focal)?, of_best(&dice)?);
        let iou = if self.supervise_all_ious { iou.mean_keepdim(1)? } else { of_best(&iou)? };

        let present = target.narrow(1, 0, 1)?.flatten_from(1)?.gt(0f64)?.max_keepdim(1)?; // [N, 1]
        let present = present.to_dtype(logits.dtype())?;
        let class = self.object_scores.forward(&click.object_scores, &present)?;
        let count = objects.max(1) as f64;
        let mean = |loss: Tensor| -> candle_core::Result<Tensor> { loss.sum_all()? / count };
        Ok([mean((focal * &present)?)?, mean((dice * &present)?)?, mean((iou * &present)?)?, mean(class)?])
    }
}

/// IoU of what has logits above 0 with the truth, row by row: `[N, M, P]` and `[N, M, P]` to `[N, M]`. 0 where both are empty.
fn actual_ious(logits: &Tensor, target: &Tensor) -> candle_core::Result<Tensor> {
    let dtype = logits.dtype();
    // counts of pixels are exact in single precision up to 4096 × 4096 pixels
    let precise = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let inside = |x: &Tensor| x.gt(0f64)?.to_dtype(precise);
    let (a, b) = (inside(logits)?, inside(target)?);
    let both = (&a * &b)?.sum(D::Minus1)?;
    let either = ((a.sum(D::Minus1)? + b.sum(D::Minus1)?)? - &both)?;
    (both / either.maximum(1f64)?)?.to_dtype(dtype)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    /// Two objects of 2×2 pixels, the second absent; three masks of which the last is the best.
    fn example() -> Result<(Var, Var, Var, Tensor)> {
        let device = Device::Cpu;
        let truth = Tensor::new(&[[[1f64, 0.], [0., 1.]], [[0., 0.], [0., 0.]]], &device)?;
        let logits: Vec<f64> = (0..24).map(|i| (f64::from(i) * 2.3).cos() * 2.).collect();
        let mut logits = Tensor::from_vec(logits, (2, 3, 2, 2), &device)?;
        let right = Tensor::new(&[[[[3f64, -3.], [-3., 3.]]]], &device)?;
        logits = logits.slice_assign(&[0..1, 2..3, 0..2, 0..2], &right)?;
        let ious = Tensor::new(&[[0.2f64, 0.5, 0.4], [0.1, 0.3, 0.9]], &device)?;
        let scores = Tensor::new(&[[0.7f64], [-0.2]], &device)?;
        Ok((Var::from_tensor(&logits)?, Var::from_tensor(&ious)?, Var::from_tensor(&scores)?, truth))
    }

    fn terms(objective: Objective, logits: &Tensor, ious: &Tensor, scores: &Tensor, truth: &Tensor) -> Result<Terms> {
        let click = ClickPrediction { masks: logits.clone(), ious: ious.clone(), object_scores: scores.clone() };
        objective.forward(&[click], truth)
    }

    #[test]
    fn only_the_best_mask_of_present_objects_learns() -> Result<()> {
        let (logits, ious, scores, truth) = example()?;
        let grads = terms(Objective::SAM2, &logits, &ious, &scores, &truth)?.total.backward()?;
        let of = |var: &Var| grads.get(var).expect("a gradient").abs();
        let masks = of(&logits)?.flatten_from(2)?.sum(2)?.to_vec2::<f64>()?;
        assert!(masks[0][2] > 0. && masks[0][..2] == [0., 0.] && masks[1] == [0., 0., 0.], "{masks:?}");
        let ious = of(&ious)?.to_vec2::<f64>()?;
        assert!(ious[0].iter().all(|g| *g > 0.) && ious[1] == [0., 0., 0.], "{ious:?}");
        assert!(of(&scores)?.flatten_all()?.to_vec1::<f64>()?.iter().all(|g| *g > 0.));
        Ok(())
    }

    #[test]
    fn ious_by_hand() -> Result<()> {
        let (logits, ious, scores, truth) = example()?;
        let value =
            |objective| -> Result<f64> { Ok(terms(objective, &logits, &ious, &scores, &truth)?.iou.to_scalar()?) };
        // the best mask of the first object is exact, its IoU 1 was said to be 0.4; half, for there are two objects
        let best = Objective { supervise_all_ious: false, ..Objective::SAM2 };
        assert!((value(best)? - 0.6 / 2.).abs() < 1e-12);
        assert!((value(Objective { l1_ious: false, ..best })? - 0.36 / 2.).abs() < 1e-12);
        Ok(())
    }

    #[test]
    fn other_shapes_and_no_clicks_are_refused() -> Result<()> {
        let (logits, ious, scores, truth) = example()?;
        let message = terms(Objective::SAM2, &logits, &ious.narrow(1, 0, 2)?, &scores, &truth).unwrap_err().to_string();
        assert!(message.contains("ious") && message.contains("[2, 3]"), "{message}");
        assert!(Objective::SAM2.forward(&[], &truth).is_err());
        Ok(())
    }
}
