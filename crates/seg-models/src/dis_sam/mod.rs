//! DIS-SAM (arXiv 2401.00248): a promptable model finds the object, IS-Net cuts it out exactly.
//!
//! [`TwoStage`] is the whole way from an image and a prompt (or a mask) to a probability map of the image's size. Its second
//! stage is DIS-SAM's own network of five channels, or, where only the original IS-Net is at hand, that one on the object's
//! surroundings: [`TwoStage::sam_is_net`].

mod agreement;
mod clicks;
mod input;
mod second;
mod sight;
mod stand_in;
mod two_stage;
mod validation;
mod verdict;

pub use input::{box_channel, demo_input, training_input};
pub use second::DisSamRefiner;
pub use sight::Surroundings;
pub use two_stage::{CoarseMask, MaskChoice, Refinement, TwoStage, View};
pub use validation::ValidationMeasures;
pub use verdict::{Source, Verdict};
