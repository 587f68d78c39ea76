//! An image's masks.

use seg_data::{GrayImage, Rle, mask};
use seg_models::Prediction;
use seg_models::dis_sam::Refinement;
use seg_models::is_net::ProbabilityMap;
use seg_models::promptable::MASK_THRESHOLD;
use seg_models::registry::ModelName;

use super::error::{Error, Result};
use super::stages::{self, StagesRecord};

/// Probability above which a pixel counts as inside where only yes or no can be said.
const INSIDE: f32 = 0.5;

/// One mask.
#[derive(Clone, Debug)]
pub struct Mask {
    /// Position among the model's outputs.
    pub index: usize,
    /// None where the model does not judge itself.
    pub predicted_iou: Option<f32>,
    /// 255 inside, 0 outside; of models that give probabilities these, 0..255.
    pub levels: GrayImage,
    /// What is inside: of probabilities, what is above one half.
    pub rle: Rle,
    /// Whether `levels` are probabilities.
    pub soft: bool,
}

/// What the second of two stages started from.
#[derive(Clone, Debug)]
pub struct Coarse {
    /// The first stage's model; none for a mask that was given.
    pub model: Option<ModelName>,
    /// 255 inside, 0 outside.
    pub mask: GrayImage,
    /// The first stage's own estimate; none for a mask that was given.
    pub predicted_iou: Option<f32>,
    /// Left, top, width, height in pixels.
    pub bbox: [u32; 4],
    /// Intersection over union with the exact mask.
    pub agreement: f64,
    /// What `sam+isnet` thought of its stages; none of models whose second stage takes the coarse mask as it comes.
    pub stages: Option<StagesRecord>,
}

/// An image's masks, best first.
#[derive(Clone, Debug)]
pub struct Segmented {
    /// At least one.
    pub masks: Vec<Mask>,
    /// Of two-stage models.
    pub coarse: Option<Coarse>,
    /// What the user must know about how they came about.
    pub notes: Vec<String>,
    /// What is told of two stages in a line for a person.
    pub told: Option<String>,
}

impl Mask {
    fn new(index: usize, predicted_iou: Option<f32>, levels: GrayImage) -> Result<Self> {
        let rle = Rle::encode(levels.as_raw(), levels.width(), levels.height())?;
        Ok(Self { index, predicted_iou, levels, rle, soft: false })
    }

    /// Share of the image inside, 0..1.
    pub fn area_share(&self) -> f64 {
        let (width, height) = self.levels.dimensions();
        self.rle.area() as f64 / (f64::from(width) * f64::from(height))
    }
}

impl Segmented {
    /// Thresholds the prediction of `model` at an image of `size` and ranks its masks by predicted IoU.
    ///
    /// # Errors
    /// [`Error::NotFinite`], [`Error::NoMask`].
    pub fn of_prediction(model: ModelName, size: (u32, u32), prediction: &Prediction) -> Result<Self> {
        let judges = !matches!(model, ModelName::PiSam(_));
        let ious = &prediction.iou_predictions;
        if let Some(bad) = ious.iter().find(|iou| judges && !iou.is_finite()) {
            return Err(Error::NotFinite { what: "the predicted IoU", value: *bad });
        }
        let mut ranking: Vec<usize> = (0..ious.len()).collect();
        ranking.sort_by(|&a, &b| ious[b].total_cmp(&ious[a]));
        let mask = |index: usize| {
            let logits = prediction.mask(index)?;
            check_finite(&logits)?;
            let levels = mask::from_logits(&logits, size.0, size.1, MASK_THRESHOLD)?;
            Mask::new(index, judges.then(|| ious[index]), levels)
        };
        Self::new(ranking.into_iter().map(mask).collect::<Result<_>>()?)
    }

    /// A probability map: as it is, and above one half inside where yes or no is asked for.
    ///
    /// # Errors
    /// [`Error::NotFinite`].
    pub fn of_probability(map: &ProbabilityMap) -> Result<Self> {
        check_finite(map.values())?;
        let inside = Mask::new(0, None, map.mask(INSIDE)?)?;
        Self::new(vec![Mask { levels: map.to_image()?, soft: true, ..inside }])
    }

    /// Both stages; `first` is the first one's model, none where its mask was given.
    ///
    /// # Errors
    /// As [`Segmented::of_probability`].
    pub fn of_refinement(first: Option<ModelName>, refined: Refinement) -> Result<Self> {
        let exact = Self::of_probability(&refined.probability)?;
        let [x0, y0, x1, y1] = refined.coarse.bbox;
        Ok(Self {
            told: Some(stages::told(&refined)),
            notes: stages::disagreement(&refined, first.map(ModelName::as_str)).into_iter().collect(),
            coarse: Some(Coarse {
                model: first,
                predicted_iou: refined.coarse.predicted_iou,
                bbox: [x0, y0, x1 - x0, y1 - y0],
                agreement: refined.agreement(),
                stages: StagesRecord::new(&refined),
                mask: refined.coarse.mask,
            }),
            ..exact
        })
    }

    fn new(masks: Vec<Mask>) -> Result<Self> {
        if masks.is_empty() {
            return Err(Error::NoMask);
        }
        Ok(Self { masks, coarse: None, notes: Vec::new(), told: None })
    }

    /// The best mask.
    ///
    /// # Errors
    /// [`Error::NoMask`], after somebody took them.
    pub fn best(&self) -> Result<&Mask> {
        self.masks.first().ok_or(Error::NoMask)
    }
}

/// A model whose numbers overflow gives no mask.
fn check_finite(values: &[f32]) -> Result<()> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(bad) => Err(Error::NotFinite { what: "a mask with the value", value: *bad }),
        None => Ok(()),
    }
}
