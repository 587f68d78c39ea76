//! Metrics computed from counts of levels.

pub(crate) mod confusion;
pub(crate) mod context;
pub(crate) mod emeasure;
pub(crate) mod errors;
pub(crate) mod fmeasure;
pub(crate) mod size_invariant;
pub(crate) mod smeasure;
pub(crate) mod smeasure_swapped;
pub(crate) mod thresholded;
pub(crate) mod weighted_f;
