//! The named protocols.

use crate::hce::HceRule;
use crate::protocol::{
    Clamp, ContextRule, Covered, EPS, ERule, EmptyGt, EmptyPart, FRule, GtRule, HceProtocol, MaeRule, MaxF, Metric,
    MsiouRule, Protocol, Reader, Resize, SRule, Stretch, Thresholds, Undefined, WeightedFRule,
};

/// Names that [`Protocol::named`] knows.
pub const NAMES: [&str; 7] = ["default", "pysodmetrics", "dis", "birefnet", "mgd-sam2", "saliency_toolbox", "mvanet"];

const F_256: FRule = FRule {
    beta2: 0.3,
    thresholds: Thresholds::Levels256,
    precision_eps: 0.,
    recall_eps: 0.,
    f_eps: 0.,
    empty: EmptyGt::Zero,
    maximum: MaxF::OfMeanCurve,
};

const S_CLEAN: SRule = SRule {
    alpha: 0.5,
    eps: EPS,
    variance_eps: EPS,
    population: false,
    single_pixel: true,
    empty_part: EmptyPart::Skip,
    clamp: Clamp::Zero,
    swapped: false,
};

impl Default for Protocol {
    /// The clean definitions: PySODMetrics' formulas without its accidents (an empty part of the S-measure makes a whole
    /// data set NaN; multi-scale IoU counts in half precision, the context measure filters in single precision).
    fn default() -> Self {
        Self {
            name: "default".into(),
            reader: Reader::Meaning,
            ground_truth: GtRule::Above(128),
            stretch: Stretch::MinMax,
            resize: Resize::Refuse,
            mae: MaeRule::Prepared,
            fmeasure: F_256,
            emeasure: ERule { align_eps: EPS, total_eps: EPS, curve: true },
            smeasure: S_CLEAN,
            weighted_f: WeightedFRule { beta2: vec![1., 0.3], eps: EPS, empty_undefined: false },
            hce: HceProtocol { stretched: true, rule: HceRule::default() },
            msiou: MsiouRule::Exact,
            context: ContextRule::Exact,
            covered: Covered::Zero,
            undefined: Undefined::IsCounted,
            metrics: Metric::ALL
                .into_iter()
                .filter(|metric| !matches!(metric, Metric::Threshold125 | Metric::Smoothed))
                .collect(),
        }
    }
}

impl Protocol {
    /// The protocol called `name`, one of [`NAMES`].
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "default" | "clean" => Self::default(),
            "pysodmetrics" => Self::pysodmetrics(),
            "dis" => Self::dis(),
            "birefnet" => Self::birefnet(),
            "mgd-sam2" => Self::mgd_sam2(),
            "saliency_toolbox" => Self::saliency_toolbox(),
            "mvanet" => Self::mvanet(),
            _ => return None,
        })
    }

    /// PySODMetrics 1.6.2, under NumPy 2 and OpenCV 4.12.
    pub fn pysodmetrics() -> Self {
        Self {
            name: "pysodmetrics".into(),
            reader: Reader::Opencv,
            smeasure: SRule { empty_part: EmptyPart::Undefined, ..S_CLEAN },
            msiou: MsiouRule::HalfNumpy2,
            context: ContextRule::Single,
            covered: Covered::Undefined,
            undefined: Undefined::Spreads,
            ..Self::default()
        }
    }

    /// IS-Net's `basics.py` and `hce_metric_main.py`.
    pub fn dis() -> Self {
        Self {
            name: "dis".into(),
            stretch: Stretch::None,
            mae: MaeRule::Gray,
            fmeasure: FRule {
                thresholds: Thresholds::Levels255,
                precision_eps: 1e-4,
                recall_eps: 1e-4,
                f_eps: 1e-4,
                maximum: MaxF::OfMeanPrecisionRecall,
                ..F_256
            },
            hce: HceProtocol { stretched: false, rule: HceRule::dis() },
            metrics: vec![Metric::Mae, Metric::Fmeasure, Metric::Hce],
            ..Self::pysodmetrics()
        }
    }

    /// BiRefNet's `evaluation/metrics.py`.
    pub fn birefnet() -> Self {
        Self {
            name: "birefnet".into(),
            resize: Resize::OpencvBilinear,
            smeasure: SRule {
                variance_eps: 0.,
                single_pixel: false,
                empty_part: EmptyPart::Undefined,
                clamp: Clamp::ZeroAlsoNan,
                ..S_CLEAN
            },
            weighted_f: WeightedFRule { beta2: vec![1.], eps: EPS, empty_undefined: false },
            hce: HceProtocol { stretched: false, rule: HceRule::dis() },
            metrics: vec![
                Metric::Mae,
                Metric::Mse,
                Metric::Smeasure,
                Metric::Emeasure,
                Metric::Fmeasure,
                Metric::Wfm,
                Metric::Hce,
                Metric::Mba,
                Metric::Biou,
            ],
            ..Self::pysodmetrics()
        }
    }

    /// MGD-SAM2's `sod_metric.py` and `utils.py`, with a batch of one image.
    pub fn mgd_sam2() -> Self {
        Self {
            name: "mgd-sam2".into(),
            reader: Reader::Pillow,
            fmeasure: FRule { maximum: MaxF::MeanOfMaxima, ..F_256 },
            smeasure: Self::birefnet().smeasure,
            weighted_f: WeightedFRule { beta2: vec![0.3], eps: EPS, empty_undefined: false },
            metrics: vec![
                Metric::Mae,
                Metric::Smeasure,
                Metric::Emeasure,
                Metric::Fmeasure,
                Metric::Wfm,
                Metric::Threshold125,
            ],
            ..Self::pysodmetrics()
        }
    }

    /// `saliency_toolbox.py` in DIS-SAM.
    pub fn saliency_toolbox() -> Self {
        Self {
            name: "saliency_toolbox".into(),
            ground_truth: GtRule::UpperHalfOfRange,
            stretch: Stretch::ScaleShift,
            resize: Resize::BilinearAfterStretch,
            fmeasure: FRule {
                thresholds: Thresholds::Fractions256,
                precision_eps: EPS,
                empty: EmptyGt::LeaveOut,
                maximum: MaxF::OfMeanPrecisionRecall,
                ..F_256
            },
            emeasure: ERule { align_eps: EPS, total_eps: EPS, curve: false },
            smeasure: SRule { population: true, empty_part: EmptyPart::Undefined, swapped: true, ..S_CLEAN },
            weighted_f: WeightedFRule { beta2: vec![1.], eps: EPS, empty_undefined: true },
            metrics: Metric::STANDARD.to_vec(),
            ..Self::pysodmetrics()
        }
    }

    /// MVANet's `saliency_metric.py` and `test.py`.
    pub fn mvanet() -> Self {
        Self {
            name: "mvanet".into(),
            reader: Reader::Pillow,
            ground_truth: GtRule::AboveHalfOfMaximum,
            stretch: Stretch::MinMaxDirect,
            resize: Resize::PilBicubic,
            fmeasure: FRule {
                thresholds: Thresholds::Levels255,
                precision_eps: 1e-8,
                empty: EmptyGt::LeaveOut,
                ..F_256
            },
            emeasure: ERule { align_eps: 1e-8, total_eps: 1e-8, curve: false },
            smeasure: SRule {
                eps: 1e-8,
                variance_eps: 0.,
                population: true,
                empty_part: EmptyPart::Undefined,
                clamp: Clamp::Keep,
                ..S_CLEAN
            },
            weighted_f: WeightedFRule { beta2: vec![1.], eps: 1e-6, empty_undefined: false },
            metrics: [&Metric::STANDARD[..], &[Metric::Smoothed, Metric::Hce]].concat(),
            ..Self::pysodmetrics()
        }
    }
}
