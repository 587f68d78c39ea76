//! Losses, and the pieces they are made of.

mod dichotomous;
mod focal;
mod orthogonality;
mod pieces;
mod point_sampled;
mod structure;

pub use dichotomous::{DichotomousLoss, DichotomousTerms, FeatureDistance};
pub use focal::FocalLoss;
pub use orthogonality::orthogonality;
pub use pieces::{binary_cross_entropy, binary_cross_entropy_with_logits, soft_dice_loss, soft_iou_loss};
pub use point_sampled::{MaskLosses, PointSampledMaskLoss, sample_points};
pub use structure::{CrossEntropy, StructureLoss};
