//! The terms that segmentation losses are sums of.

use candle_core::{Result, Tensor};

pub use seg_ops::binary_cross_entropy;

/// Binary cross-entropy of logits, element by element: `[..]` and `[..]` to `[..]`. Exact for logits of any size.
pub fn binary_cross_entropy_with_logits(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    // max(x, 0) − x·t + ln(1 + e^−|x|)
    let log = logits.abs()?.neg()?.exp()?.affine(1., 1.)?.log()?;
    logits.relu()?.sub(&(logits * target)?)?.add(&log)
}

/// `1 − (I + s)/(U + s)` of every map with `I` the sum of products, `U` the sum of both less `I` and `s` the `smoothing`, averaged over maps: a scalar.
///
/// `probabilities` and `target` are `[B, C, H, W]` in 0..1. DIS-SAM smoothes by 1 (`iou_loss`, `IS_Net/models/isnet.py`), MGD-SAM2 by 0 (`_iou_loss`,
/// `models/sam.py`): without smoothing a map that is empty in both has no loss that is a number.
pub fn soft_iou_loss(probabilities: &Tensor, target: &Tensor, smoothing: f64) -> Result<Tensor> {
    let sum = |x: &Tensor| x.flatten_from(2)?.sum(2); // [B, C]
    // a product of a row and a column, so that no map of products is kept for the backward pass
    let (b, c, h, w) = probabilities.dims4()?;
    let row = probabilities.reshape((b * c, 1, h * w))?;
    let inter = row.matmul(&target.reshape((b * c, h * w, 1))?)?.reshape((b, c))?;
    let union = (sum(probabilities)? + sum(target)? - &inter)?;
    ((inter + smoothing)? / (union + smoothing)?)?.affine(-1., 1.)?.mean_all()
}

/// `1 − (2I + 1)/(S + 1)` of every row with `I` the sum of products and `S` the sum of both: `[N, P]` and `[N, P]` to `[N]`.
///
/// `probabilities` and `target` lie in 0..1.
pub fn soft_dice_loss(probabilities: &Tensor, target: &Tensor) -> Result<Tensor> {
    let inter = (probabilities * target)?.sum(1)?;
    let total = (probabilities.sum(1)? + target.sum(1)?)?;
    (inter.affine(2., 1.)? / (total + 1.)?)?.affine(-1., 1.)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::FocalLoss;
    use candle_core::{Device, Var};

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9 * b.abs().max(1.)
    }

    #[test]
    fn cross_entropy_by_hand() -> Result<()> {
        let p = Tensor::new(&[0.25f64, 0.9, 0.5], &Device::Cpu)?;
        let t = Tensor::new(&[0f64, 1., 0.3], &Device::Cpu)?;
        let expected = -(0.75f64.ln() + 0.9f64.ln() + 0.5f64.ln()) / 3.;
        assert!(close(binary_cross_entropy(&p, &t)?.to_scalar()?, expected));
        let logits = (&p / p.affine(-1., 1.)?)?.log()?;
        let of_logits = binary_cross_entropy_with_logits(&logits, &t)?.mean_all()?.to_scalar::<f64>()?;
        assert!(close(of_logits, expected), "{of_logits} {expected}");
        Ok(())
    }

    #[test]
    fn logits_of_any_size() -> Result<()> {
        let logits = Tensor::new(&[-1e4f32, 1e4], &Device::Cpu)?;
        let t = Tensor::new(&[1f32, 1.], &Device::Cpu)?;
        assert_eq!(binary_cross_entropy_with_logits(&logits, &t)?.to_vec1::<f32>()?, [1e4, 0.]);
        Ok(())
    }

    #[test]
    fn gradients_are_difference_quotients() -> Result<()> {
        let device = Device::Cpu;
        let start = [0.2f64, 0.7, 0.55, 0.9, 0.1, 0.35, 0.6, 0.45];
        let target = Tensor::new(&[0f64, 1., 1., 0.5, 0., 0.25, 1., 0.], &device)?.reshape((2, 1, 2, 2))?;
        type Loss = fn(&Tensor, &Tensor) -> Result<Tensor>;
        const GAMMA: FocalLoss = FocalLoss { alpha: None, gamma: 1.5 };
        let losses: [(&str, Loss); 7] = [
            ("bce", binary_cross_entropy),
            ("bce of logits", |p, t| binary_cross_entropy_with_logits(p, t)?.mean_all()),
            ("focal", |p, t| FocalLoss::MASKS.forward(p, t)?.mean_all()),
            ("focal, of another power", |p, t| GAMMA.forward(p, t)?.mean_all()),
            ("iou", |p, t| soft_iou_loss(p, t, 1.)),
            ("iou, not smoothed", |p, t| soft_iou_loss(p, t, 0.)),
            ("dice", |p, t| soft_dice_loss(&p.flatten_from(1)?, &t.flatten_from(1)?)?.mean_all()),
        ];
        for (name, loss) in losses {
            let at = |values: &[f64]| -> Result<f64> {
                loss(&Tensor::new(values, &device)?.reshape((2, 1, 2, 2))?, &target)?.to_scalar()
            };
            let var = Var::from_tensor(&Tensor::new(&start, &device)?.reshape((2, 1, 2, 2))?)?;
            let grads = loss(&var, &target)?.backward()?;
            let grad = grads.get(&var).expect("a gradient").flatten_all()?.to_vec1::<f64>()?;
            for i in 0..start.len() {
                let (mut up, mut down) = (start, start);
                up[i] += 1e-6;
                down[i] -= 1e-6;
                let quotient = (at(&up)? - at(&down)?) / 2e-6;
                assert!((quotient - grad[i]).abs() < 1e-7, "{name} {i}: {quotient} {}", grad[i]);
            }
        }
        Ok(())
    }
}
