#![doc = include_str!("../README.md")]

mod backend;
mod checkpoint;
mod difference;
mod dtype;
mod error;
mod fetch;
mod identify;
mod load;
mod manifest;
mod onnx;
mod parts;
mod pickle;
mod place;
mod read;
mod report;
mod training;
mod transformers;
mod variables;
mod wrappers;
mod write;

pub use checkpoint::{Checkpoint, Format, TensorInfo};
pub use difference::{BaseNames, DifferenceReport, apply_difference, base_of, write_difference};
pub use dtype::FileDtype;
pub use error::{Error, Fault, Result};
pub use fetch::{
    Console, FetchOptions, Hub, HubClient, HubFile, HubOptions, Origin, Reporter, Resolved, Silent, Source, SourceKind,
    cache_path, cached, fetch, resolve, sha256_file,
};
pub use identify::{Identity, identify, identify_tensors};
pub use load::{LoadPolicy, load_strict};
pub use manifest::{Entry, find, manifest};
pub use pickle::from_pickle;
pub use report::{LoadReport, ShapeMismatch, TypeMismatch};
pub use training::{ParameterGroup, ParameterRule, ParameterRules, TreatedWeights, Treatment, fits};
pub use variables::{GroupedVariables, TrainingWeights};
pub use write::{convert, write_safetensors};
