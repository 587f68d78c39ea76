#![doc = include_str!("../README.md")]

mod backend;
mod case;
mod checker;
mod compare;
mod error;
pub mod fill;
pub mod inputs;
mod self_check;
mod stored;
mod trainable;

pub use backend::{GeneratedWeights, NamedShape, RecordedWeights, check_names};
pub use case::{Case, Module};
pub use checker::{CaseReport, Checker, Status};
pub use compare::{Comparison, OutputSpec, Tolerance};
pub use error::{Error, Result};
pub use inputs::Pattern;
pub use self_check::check_generators;
pub use trainable::TrainableWeights;
