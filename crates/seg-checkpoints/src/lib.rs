#![doc = include_str!("../README.md")]

mod backend;
mod checkpoint;
mod dtype;
mod error;
mod identify;
mod load;
mod manifest;
mod pickle;
mod read;
mod report;

pub use checkpoint::{Checkpoint, Format, TensorInfo};
pub use dtype::FileDtype;
pub use error::{Error, Fault, Result};
pub use identify::{Identity, identify, identify_tensors};
pub use load::{LoadPolicy, load_strict};
pub use report::{LoadReport, ShapeMismatch, TypeMismatch};
