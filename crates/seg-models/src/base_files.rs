//! Weights for the start of a training, gathered from other models' published files.

use std::path::Path;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use seg_checkpoints::{Checkpoint, identify};

use crate::error::{Error, Result};

/// Files that have weights of a model under other names.
pub(crate) trait BaseFiles: Send + Sync + 'static {
    /// The file, and the name in it, of the weight that the model calls `name`; `None`: no file has it.
    fn find(&self, name: &str) -> Option<(&Checkpoint, String)>;

    /// The tensor `key` of a file, for a model that asks for `shape`.
    fn fitted(&self, key: &str, tensor: Tensor, shape: &Shape) -> candle_core::Result<Tensor> {
        let _ = (key, shape);
        Ok(tensor)
    }
}

/// A builder at the root of the model's state dict: from the files what they have, everything else from `rest`.
pub(crate) fn var_builder(
    base: impl BaseFiles,
    rest: VarBuilder<'static>,
    dtype: DType,
    device: &Device,
) -> VarBuilder<'static> {
    VarBuilder::from_backend(Box::new(Source { base, rest }), dtype, device.clone())
}

struct Source<B> {
    base: B,
    rest: VarBuilder<'static>,
}

impl<B: BaseFiles> SimpleBackend for Source<B> {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let Some((file, key)) = self.base.find(name) else {
            return self.rest.get_with_hints_dtype(shape, name, init, dtype)?.to_device(device);
        };
        let tensor = file.tensor(&key, &Device::Cpu).map_err(candle_core::Error::wrap)?;
        let tensor = self.base.fitted(&key, tensor, &shape)?;
        if *tensor.shape() != shape {
            candle_core::bail!(
                "{}: {key} has shape {:?}, expected {shape:?} for {name}",
                file.path().display(),
                tensor.shape()
            );
        }
        tensor.to_dtype(dtype)?.to_device(device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        match self.base.find(name) {
            None => self.rest.get_unchecked_dtype(name, dtype)?.to_device(device),
            Some((file, key)) => {
                file.tensor(&key, &Device::Cpu).map_err(candle_core::Error::wrap)?.to_dtype(dtype)?.to_device(device)
            }
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        match self.base.find(name) {
            None => self.rest.contains_tensor(name),
            Some((file, key)) => file.get(&key).is_some(),
        }
    }
}

/// A file of SAM 2, unless it is certainly of 2.1 or of something else.
pub(crate) fn sam_2_0(path: &Path) -> Result<Checkpoint> {
    let checkpoint = Checkpoint::open(path)?;
    match identify(&checkpoint) {
        Some(found) if !found.candidates().iter().any(|model| model.starts_with("sam2-")) => {
            let expected = "SAM 2.0 (such as sam2_hiera_large.pt)";
            Err(Error::OtherBase { path: path.to_path_buf(), found: found.to_string(), expected })
        }
        _ => Ok(checkpoint),
    }
}
