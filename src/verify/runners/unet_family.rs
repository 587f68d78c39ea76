//! What the cases of SAM2-UNet and SAM2-UNeXT have in common: names, inputs, the training step.

use super::{Result, Run, field, scalar};
use candle_core::{DType, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder};
use seg_checkpoints::{ParameterRules, TrainingWeights};
use seg_golden::{Case, Checker};
use seg_train::losses::{CrossEntropy, StructureLoss, binary_cross_entropy_with_logits};
use seg_train::sam2_unet::Recipe;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The input of these cases, as their JSON describes it.
const IMAGES: &str = "input.image[.b]";

/// Whether the case is a training step.
pub(super) fn is_training(case: &Case) -> bool {
    case.config["model"].as_str().is_some_and(|model| model.contains("train"))
}

/// Offers each tensor under the case's name: `trunk.stage{1..4}` is `<encoder>.{0..3}` there, `trunk.block{i}` is `<encoder>.blocks.{i}`.
pub(super) fn observed<'o>(
    checks: &'o mut Checker<'_>,
    encoder: &'static str,
) -> impl FnMut(&str, &Tensor) -> candle_core::Result<()> + 'o {
    move |name: &str, tensor: &Tensor| {
        let stage = name.strip_prefix("trunk.stage").and_then(|stage| stage.parse::<usize>().ok());
        match (stage, name.strip_prefix("trunk.block")) {
            (Some(stage), _) => checks.tensor(&format!("{encoder}.{}", stage - 1), tensor),
            (None, Some(block)) => checks.tensor(&format!("{encoder}.blocks.{block}"), tensor),
            (None, None) => checks.tensor(name, tensor),
        }
        Ok(())
    }
}

/// The batch: `input.image`, then `input.image.{b}`, each shifted a little more.
pub(super) fn images(run: &Run<'_, '_>) -> Result<Tensor> {
    let shape = run.inputs().shape(IMAGES)?;
    let [count, _, h, w] = shape[..] else {
        let problem = format!("{shape:?}, expected [B, 3, H, W]");
        return Err(run.case.field_error(&format!("inputs.{IMAGES}.shape"), problem).into());
    };
    let image = |b: usize| {
        let name = if b == 0 { "input.image".to_owned() } else { format!("input.image.{b}") };
        run.inputs().tensor(&name, |pattern| {
            let shift = 0.04 * b as f64;
            pattern.clone().shifted(shift).image(h, w, run.device)
        })
    };
    Ok(Tensor::cat(&(0..count).map(image).collect::<Result<Vec<_>>>()?, 0)?)
}

/// The masks: discs, moved to the right from image to image.
pub(super) fn masks(run: &Run<'_, '_>) -> Result<Tensor> {
    const DISC: &str = "1 if ((x+.5)/W-(0.5+0.08*b))^2+((y+.5)/H-0.45)^2<0.09 else 0";
    if let Some(stored) = run.case.stored_input("gt", run.device) {
        return Ok(stored?);
    }
    let entry = &run.case.inputs["gt"];
    let kind: String = field(run.case, "inputs.gt.kind", &entry["kind"])?;
    if kind != DISC {
        let problem = format!("{kind:?}, expected {DISC:?} or a stored tensor `gt`");
        return Err(run.case.field_error("inputs.gt.kind", problem).into());
    }
    let [count, _, h, w]: [usize; 4] = field(run.case, "inputs.gt.shape", &entry["shape"])?;
    let at = |i: usize, of: usize| (i as f64 + 0.5) / of as f64;
    let mut values = Vec::with_capacity(count * h * w);
    for b in 0..count {
        for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
            let (dx, dy) = (at(x, w) - (0.5 + 0.08 * b as f64), at(y, h) - 0.45);
            values.push(f32::from(u8::from(dx * dx + dy * dy < 0.09)));
        }
    }
    Ok(Tensor::from_vec(values, (count, 1, h, w), run.device)?)
}

/// A network as training sees it.
pub(super) trait TrainedNet {
    type Net;
    fn rules(&self) -> ParameterRules;
    fn recipe(&self) -> Recipe;
    fn build(&self, vb: VarBuilder<'static>) -> candle_core::Result<Self::Net>;
    fn step(&self, net: &Self::Net, images: &Tensor, mask: &Tensor, train: bool) -> Result<Step>;
}

/// What a step gives.
pub(super) struct Step {
    /// The prediction's logits.
    pub(super) out: Tensor,
    /// Parts of the loss by the case's names.
    pub(super) parts: Vec<(String, Tensor)>,
    /// What is minimised.
    pub(super) loss: Tensor,
}

/// What the JSON says of a step.
#[derive(Deserialize)]
struct Expected {
    loss: f64,
    mean_bce: f64,
    weighted_bce_if_reduction_none: f64,
    /// Null: no gradient at all.
    grad_norms: BTreeMap<String, Option<f64>>,
    /// Numbers in all the weights that are trained, and in all that are not.
    trainable: u64,
    frozen: u64,
    /// Of the loss, where it is a sum: `loss0` and so on.
    #[serde(flatten)]
    parts: BTreeMap<String, Value>,
}

/// A step with batch norms in evaluation and one in train mode: losses, gradients, which weights get one, what AdamW makes of them.
///
/// A ReLU whose input is nearly zero is open or shut as rounding has it, and a pixel's gradient comes or goes with it; AdamW's first step has the same
/// length for the smallest gradient as for the largest. So every step is also computed in float64, as it is and with what goes into the ReLUs moved by
/// [`NUDGE`] to either side: what that does to the gradients and the weights after the step, the reference may be off as well.
pub(super) fn training<T: TrainedNet>(run: &mut Run<'_, '_>, trained: &T) -> Result<()> {
    let (images, masks) = (images(run)?, masks(run)?);
    run.checks.tensor("weit", &StructureLoss::weights(&masks)?);
    for (mode, train) in [("eval", false), ("train", true)] {
        let expected: Expected = field(run.case, &format!("values.{mode}"), &run.case.values[mode])?;
        let taken = |dtype, nudge| Taken::new(run, trained, (&images, &masks), train, dtype, nudge);
        let step = taken(DType::F32, 0.)?;
        let others = [taken(DType::F64, 0.)?, taken(DType::F64, NUDGE)?, taken(DType::F64, -NUDGE)?];
        step.check_losses(run.checks, mode, &expected)?;
        step.check_weights(run.checks, mode, &others, &expected)?;
    }
    Ok(())
}

/// A step that was taken.
struct Taken {
    out: Tensor,
    /// By the case's names.
    losses: BTreeMap<String, f64>,
    /// Of every trained weight; none where none reaches it.
    grads: BTreeMap<String, Option<Tensor>>,
    /// Trained weights after AdamW's step, and statistics after the forward pass.
    after: BTreeMap<String, Tensor>,
    statistics: BTreeMap<String, Tensor>,
    /// Frozen weights with a gradient.
    leaks: Vec<String>,
    /// Numbers in all trained, in all frozen weights.
    counts: (u64, u64),
}

impl Taken {
    fn new<T: TrainedNet>(
        run: &Run<'_, '_>,
        trained: &T,
        (images, masks): (&Tensor, &Tensor),
        train: bool,
        dtype: DType,
        nudge: f32,
    ) -> Result<Self> {
        let (images, masks) = (images.to_dtype(dtype)?, masks.to_dtype(dtype)?);
        let mut source = run.case.generated("model")?;
        for official in run.case.official("model").unwrap_or_default() {
            if let Some(norm) = official.name.strip_suffix("running_mean") {
                source = source.shifted(format!("{norm}bias"), nudge);
            }
        }
        let source = source.var_builder(dtype, run.device);
        let weights = TrainingWeights::new(source, trained.rules());
        let net = trained.build(weights.var_builder(dtype, run.device))?;
        let step = trained.step(&net, &images, &masks, train)?;
        let grads = step.loss.backward()?;

        let mut losses = BTreeMap::new();
        for (name, loss) in &step.parts {
            losses.insert(name.clone(), scalar(loss)?);
        }
        let mean_bce = scalar(&binary_cross_entropy_with_logits(&step.out, &masks)?.mean_all()?)?;
        // the two averages of the cross-entropy differ, the rest of the loss does not
        let with = |cross_entropy| scalar(&StructureLoss { cross_entropy }.forward(&step.out, &masks)?);
        let weighted = with(CrossEntropy::Weighted)? - with(CrossEntropy::Plain)? + mean_bce;
        losses.insert("loss".into(), scalar(&step.loss)?);
        losses.insert("mean_bce".into(), mean_bce);
        losses.insert("weighted_bce_if_reduction_none".into(), weighted);

        let count = |sizes: Vec<usize>| sizes.into_iter().sum::<usize>() as u64;
        let frozen = weights.frozen();
        let leaks = frozen.iter().filter(|(_, tensor)| grads.get(tensor).is_some()).map(|(n, _)| n.clone()).collect();
        let mut moved: BTreeMap<String, Var> = BTreeMap::new();
        for (group, vars) in weights.grouped() {
            let lr = trained.recipe().learning_rate * group.lr_factor;
            let params = ParamsAdamW { lr, weight_decay: group.weight_decay, ..ParamsAdamW::default() };
            AdamW::new(vars.iter().map(|(_, var)| var.clone()).collect(), params)?.step(&grads)?;
            moved.extend(vars);
        }
        let counts = (
            count(moved.values().map(|var| var.elem_count()).collect()),
            count(frozen.iter().map(|(_, tensor)| tensor.elem_count()).collect()),
        );
        let statistics = weights.statistics().into_iter().map(|(name, var)| (name, var.as_detached_tensor()));
        Ok(Self {
            out: step.out.detach(),
            losses,
            grads: moved.iter().map(|(name, var)| (name.clone(), grads.get(var).cloned())).collect(),
            after: moved.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect(),
            statistics: statistics.collect(),
            leaks,
            counts,
        })
    }

    fn check_losses(&self, checks: &mut Checker<'_>, mode: &str, expected: &Expected) -> Result<()> {
        checks.tensor(&format!("{mode}.out"), &self.out);
        let parts = expected.parts.iter().filter(|(name, _)| name.starts_with("loss"));
        let parts = parts.filter_map(|(name, value)| Some((name.as_str(), value.as_f64()?)));
        let named = [
            ("loss", expected.loss),
            ("mean_bce", expected.mean_bce),
            ("weighted_bce_if_reduction_none", expected.weighted_bce_if_reduction_none),
        ];
        for (name, reference) in named.into_iter().chain(parts) {
            let ours = self.losses.get(name).copied().unwrap_or(f64::NAN);
            checks.number(&format!("{mode}.{name}"), ours, reference, 0.);
        }
        Ok(())
    }

    /// Gradients, the weights after the step, and which weights there are; `others` are the same step as rounding could have had it.
    fn check_weights(&self, checks: &mut Checker<'_>, mode: &str, others: &[Self], expected: &Expected) -> Result<()> {
        let leaks = self.leaks.join(", ");
        checks.fact(&format!("{mode}: frozen weights"), leaks.is_empty(), format!("with a gradient: {leaks}"));
        let counts = (expected.trainable, expected.frozen);
        let problem = format!("{:?} trained and frozen numbers, expected {counts:?}", self.counts);
        checks.fact(&format!("{mode}: trained and frozen numbers"), self.counts == counts, problem);
        let same = self.grads.keys().eq(expected.grad_norms.keys());
        checks.fact(&format!("{mode}: parameters"), same, "the trained parameters are not those of the case");

        let mut norms = BTreeMap::new();
        for (name, grad) in &self.grads {
            norms.insert(name.as_str(), grad.as_ref().map(norm).transpose()?);
        }
        let largest = norms.values().flatten().copied().fold(0., f64::max);
        for (name, grad) in &self.grads {
            let (ours, reference) = (norms.get(name.as_str()).copied().flatten(), expected.grad_norms.get(name));
            match (ours.zip(grad.as_ref()), reference.copied().flatten()) {
                (None, None) => {}
                (None, Some(_)) => checks.fact(&format!("{mode}.grad.{name}"), false, "no gradient"),
                (Some(_), None) => checks.fact(&format!("{mode}.grad.{name}"), false, "a gradient, expected none"),
                (Some((ours, grad)), Some(reference)) => {
                    let spread = spread(grad, others.iter().filter_map(|other| other.grads.get(name)?.as_ref()))?;
                    checks.number(&format!("{mode}.grad_norms.{name}"), ours, reference, ROUNDING * largest);
                    checks.tensor_above(&format!("{mode}.grad.{name}"), grad, spread);
                }
            }
        }
        for (name, ours) in &self.after {
            let spread = spread(ours, others.iter().filter_map(|other| other.after.get(name)))?;
            checks.tensor_above(&format!("{mode}.after_step.{name}"), ours, spread);
        }
        for (name, ours) in &self.statistics {
            checks.tensor(&format!("{mode}.bn.{name}"), ours);
        }
        Ok(())
    }
}

/// Gradients this small beside the largest are what rounding leaves of zero: a batch norm's bias before another batch norm has none.
const ROUNDING: f64 = 1e-6;

fn norm(x: &Tensor) -> candle_core::Result<f64> {
    scalar(&x.sqr()?.sum_all()?.sqrt()?)
}

/// What float32 leaves uncertain of a ReLU's input, whose size is about 1.
const NUDGE: f32 = 1e-6;

/// How far `ours` is from any of the `others`: twice, for the reference may be as far away on another side.
fn spread<'t>(ours: &Tensor, others: impl Iterator<Item = &'t Tensor>) -> candle_core::Result<f64> {
    const TWO_ROUNDED: f64 = 2.;
    let ours = ours.to_dtype(DType::F64)?;
    let mut farthest = 0f64;
    for other in others {
        farthest = farthest.max(scalar(&(&ours - other)?.abs()?.max_all()?)?);
    }
    Ok(TWO_ROUNDED * farthest)
}
