//! A protocol is data: what is done to a pair before it is measured, and the constants in the formulas.
//!
//! Toolkits that print the same names differ in these. [`Protocol::default`] is the clean definition; the named ones
//! reproduce a toolkit to the last digits, with what it does on degenerate images.

use serde::{Deserialize, Serialize};

use crate::hce::HceRule;

/// 2^-52, the constant most toolkits add to denominators.
pub const EPS: f64 = f64::EPSILON;

/// What is done to a pair before it is measured, and the constants of the formulas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// What it is called; `custom` where constants were changed.
    pub name: String,
    /// How files become gray levels; whoever decodes them follows it.
    pub reader: Reader,
    /// What of the ground truth is foreground.
    pub ground_truth: GtRule,
    /// How gray levels of the prediction become values.
    pub stretch: Stretch,
    /// What happens to a prediction of another size.
    pub resize: Resize,
    /// Mean absolute error.
    pub mae: MaeRule,
    /// F-measure.
    pub fmeasure: FRule,
    /// E-measure.
    pub emeasure: ERule,
    /// S-measure.
    pub smeasure: SRule,
    /// Weighted F-measure.
    pub weighted_f: WeightedFRule,
    /// Human correction effort.
    pub hce: HceProtocol,
    /// Multi-scale IoU.
    pub msiou: MsiouRule,
    /// Context measure.
    pub context: ContextRule,
    /// Size-invariant MAE of an image that its targets' rectangles cover.
    pub covered: Covered,
    /// Pairs for which a metric is undefined.
    pub undefined: Undefined,
    /// Metrics that exist under this protocol, in the order of the table.
    pub metrics: Vec<Metric>,
}

/// How a file becomes gray levels. What the toolkits' readers do with 16 bits, palettes and alpha differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reader {
    /// By what the file means.
    Meaning,
    /// `imread` with `IMREAD_GRAYSCALE`: the low byte of 16 bits is cut off.
    Opencv,
    /// `convert("L")`: 16-bit levels are clipped at 255.
    Pillow,
}

/// What of the ground truth is foreground.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GtRule {
    /// Levels above this one.
    Above(u8),
    /// Levels in the upper half of the image's range; a constant image is background (`saliency_toolbox`).
    UpperHalfOfRange,
    /// Levels above half of the image's maximum (`mvanet`).
    AboveHalfOfMaximum,
}

/// How gray levels of the prediction become values in 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stretch {
    /// `level / 255`, then smallest to 0 and largest to 1; a constant image keeps `level / 255`.
    MinMax,
    /// The same without the division by 255 before it, which is rounded otherwise (`mvanet`).
    MinMaxDirect,
    /// `level * scale + shift` as OpenCV normalises; a constant image becomes 0.
    ScaleShift,
    /// `level / 255`.
    None,
}

/// What happens to a prediction of another size than its ground truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// The pair fails.
    Refuse,
    /// OpenCV's fixed-point bilinear resize of the 8-bit prediction.
    OpencvBilinear,
    /// OpenCV's bilinear resize in float64, after the stretch.
    BilinearAfterStretch,
    /// PIL's bicubic resize of the 8-bit prediction; whoever decodes the files does it.
    PilBicubic,
}

/// Mean absolute error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaeRule {
    /// Of prepared prediction and binary ground truth.
    Prepared,
    /// Of the gray levels of both, over `255 * pixels + 1e-4` (`dis`).
    Gray,
}

/// Constants of the F-measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FRule {
    /// Weight of the precision, beta squared.
    pub beta2: f64,
    /// The thresholds.
    pub thresholds: Thresholds,
    /// Added to the denominator of the precision; where 0, an empty prediction has precision 0.
    pub precision_eps: f64,
    /// Added to the denominator of the recall.
    pub recall_eps: f64,
    /// Added to the denominator of F.
    pub f_eps: f64,
    /// A pair without foreground.
    pub empty: EmptyGt,
    /// How curves of many pairs become one number.
    pub maximum: MaxF,
}

/// The thresholds of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thresholds {
    /// `trunc(255 * value) >= 255 - i`, 256 of them, the strictest first.
    Levels256,
    /// As 256, but 254 and 255 share the first: 255 of them.
    Levels255,
    /// `value >= i / 255`, 256 of them, the loosest first.
    Fractions256,
}

/// What the F-curve of a pair without foreground is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyGt {
    /// Zeros.
    Zero,
    /// Not there: the pair is left out of the mean.
    LeaveOut,
}

/// How the F-curves of many pairs become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxF {
    /// The maximum of the mean of the pairs' curves.
    OfMeanCurve,
    /// The maximum of the F of mean precision and mean recall.
    OfMeanPrecisionRecall,
    /// The mean of the pairs' maxima.
    MeanOfMaxima,
}

/// Constants of the E-measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ERule {
    /// Added to the denominator of the alignment.
    pub align_eps: f64,
    /// Added to `pixels - 1`.
    pub total_eps: f64,
    /// Whether there is a curve beside the adaptive value.
    pub curve: bool,
}

/// Constants of the S-measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SRule {
    /// Weight of the object term.
    pub alpha: f64,
    /// Added to the denominators of object and part scores.
    pub eps: f64,
    /// Added to `n - 1` in a part's variances.
    pub variance_eps: f64,
    /// Variances over `n` instead of `n - 1`; the covariance is over `n - 1` in any case.
    pub population: bool,
    /// Whether one pixel alone has spread 0; else it is undefined.
    pub single_pixel: bool,
    /// Parts of the image that have no pixels.
    pub empty_part: EmptyPart,
    /// What is below 0.
    pub clamp: Clamp,
    /// Prediction and ground truth change places in the object and region terms (`saliency_toolbox`).
    pub swapped: bool,
}

/// A part of the image beyond its border, where the centroid lies in the last row or column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyPart {
    /// Adds nothing: its weight is 0.
    Skip,
    /// Makes the result undefined (NaN).
    Undefined,
}

/// What an S-measure below 0 becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clamp {
    /// 0; NaN stays.
    Zero,
    /// 0, and NaN too.
    ZeroAlsoNan,
    /// It stays.
    Keep,
}

/// Constants of the weighted F-measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightedFRule {
    /// Weights of the precision, one result each.
    pub beta2: Vec<f64>,
    /// Added to denominators.
    pub eps: f64,
    /// Whether a pair without foreground is undefined (NaN); else it is 0.
    pub empty_undefined: bool,
}

/// Human correction effort.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HceProtocol {
    /// Whether the prediction is stretched and cut at `> 0.5`; else prediction and ground truth at `level > 128`.
    pub stretched: bool,
    /// The measure itself.
    pub rule: HceRule,
}

/// What a value that is undefined for a pair (NaN) does to the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undefined {
    /// The mean is undefined.
    Spreads,
    /// The mean is of the other pairs; how many were undefined is reported.
    IsCounted,
}

/// How multi-scale IoU counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MsiouRule {
    /// In integers.
    Exact,
    /// In half precision, as PySODMetrics under NumPy 1. Counts beyond 2048 lose bits; from 65,520 on they are infinite
    /// and the ratio is 0.
    HalfNumpy1,
    /// The same under NumPy 2: the 1 is added in half precision, too.
    HalfNumpy2,
}

/// How the context measure filters the ground truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContextRule {
    /// In double precision.
    Exact,
    /// As PySODMetrics does with OpenCV on x86: weights and results rounded to single precision, and kernels of fewer than
    /// 130 weights summed in it.
    Single,
}

/// What the background's part of the size-invariant MAE is where the targets' rectangles cover the whole image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Covered {
    /// 0: the result is the mean over the targets.
    Zero,
    /// Undefined, and with it the result (NaN): PySODMetrics divides by the area 0.
    Undefined,
}

/// A metric, or a family of metrics that are computed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// `mae`.
    Mae,
    /// `mse`.
    Mse,
    /// `smeasure.*`.
    Smeasure,
    /// `emeasure.*`.
    Emeasure,
    /// `fmeasure.*`.
    Fmeasure,
    /// `wfm_beta*`.
    Wfm,
    /// `fmeasure_v2.*`: all handlers at dynamic, adaptive and binary thresholds.
    FmeasureV2,
    /// `auc_pr`, `auc_roc`.
    Auc,
    /// `ber_percent`, `pos_err_percent`, `neg_err_percent`, `acc`, `dice_coeff`, `iou_soft` (`mgd-sam2`).
    Threshold125,
    /// `dice_soft`, `iou`, `ber`, `acc` (`mvanet`).
    Smoothed,
    /// `hce`.
    Hce,
    /// `boundary_iou`.
    BoundaryIou,
    /// `mask_iou`, and `overall_iou`, `mean_iou`, `precision_at.*` of all pairs.
    MaskIou,
    /// `biou.*`, BiRefNet's curve of gray boundaries.
    Biou,
    /// `mba`.
    Mba,
    /// `msiou.*`.
    Msiou,
    /// `context_measure`.
    ContextMeasure,
    /// `size_invariance.*`.
    SizeInvariance,
}

impl Metric {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 18] = [
        Self::Mae,
        Self::Mse,
        Self::Smeasure,
        Self::Emeasure,
        Self::Fmeasure,
        Self::Wfm,
        Self::FmeasureV2,
        Self::Auc,
        Self::Threshold125,
        Self::Smoothed,
        Self::Hce,
        Self::BoundaryIou,
        Self::MaskIou,
        Self::Biou,
        Self::Mba,
        Self::Msiou,
        Self::ContextMeasure,
        Self::SizeInvariance,
    ];

    /// What nearly every paper reports: MAE, S, E, F, weighted F.
    pub const STANDARD: [Self; 5] = [Self::Mae, Self::Smeasure, Self::Emeasure, Self::Fmeasure, Self::Wfm];

    /// As on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mae => "mae",
            Self::Mse => "mse",
            Self::Smeasure => "smeasure",
            Self::Emeasure => "emeasure",
            Self::Fmeasure => "fmeasure",
            Self::Wfm => "wfm",
            Self::FmeasureV2 => "fmeasure_v2",
            Self::Auc => "auc",
            Self::Threshold125 => "threshold125",
            Self::Smoothed => "smoothed",
            Self::Hce => "hce",
            Self::BoundaryIou => "boundary_iou",
            Self::MaskIou => "mask_iou",
            Self::Biou => "biou",
            Self::Mba => "mba",
            Self::Msiou => "msiou",
            Self::ContextMeasure => "context_measure",
            Self::SizeInvariance => "size_invariance",
        }
    }

    /// The metric of a [`name`](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }
}
