//! The `VarBuilder` backend that reads from an open checkpoint.

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;

pub(crate) struct FileBackend {
    checkpoint: Checkpoint,
}

impl FileBackend {
    pub fn new(checkpoint: Checkpoint) -> Self {
        Self { checkpoint }
    }
}

impl SimpleBackend for FileBackend {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        if let Some(info) = self.checkpoint.get(name)
            && info.shape != shape.dims()
        {
            return Err(candle_core::Error::wrap(Error::Shape {
                path: self.checkpoint.path().to_path_buf(),
                name: name.to_owned(),
                got: info.shape.clone(),
                expected: shape.into_dims(),
            }));
        }
        self.get_unchecked(name, dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        // Converted on the CPU, so that a float16 model on a GPU does not need the float32 one there too.
        let tensor = self.checkpoint.tensor(name, &Device::Cpu).map_err(candle_core::Error::wrap)?;
        tensor.to_dtype(dtype)?.to_device(device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.checkpoint.get(name).is_some()
    }
}
