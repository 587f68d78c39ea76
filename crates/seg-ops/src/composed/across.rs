//! Sums over processes through which gradients go.

use crate::error::Result;
use crate::{AllReduce, OpError};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Storage, Tensor};
use std::sync::Arc;

/// The sum of all processes' `x`. Its gradient is that of the sum of all processes' losses: the sum of theirs.
pub(super) fn sum(x: &Tensor, group: &Arc<dyn AllReduce>) -> Result<Tensor> {
    let value = group.sum(&x.detach().contiguous()?)?;
    x.apply_op1(Sum { value, group: group.clone() })
}

struct Sum {
    /// What the operation gives.
    value: Tensor,
    group: Arc<dyn AllReduce>,
}

fn elsewhere<T>() -> Result<T> {
    Err(OpError::Group { problem: "the sum is on another device than what was summed".into() }.into())
}

impl CustomOp1 for Sum {
    fn name(&self) -> &'static str {
        "sum-across-processes"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let (storage, layout) = self.value.storage_and_layout();
        match &*storage {
            Storage::Cpu(values) => Ok((values.try_clone(layout)?, self.value.shape().clone())),
            _ => elsewhere(),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, _: &candle_core::CudaStorage, _: &Layout) -> Result<(candle_core::CudaStorage, Shape)> {
        let (storage, layout) = self.value.storage_and_layout();
        match &*storage {
            Storage::Cuda(values) => Ok((values.try_clone(layout)?, self.value.shape().clone())),
            _ => elsewhere(),
        }
    }

    #[cfg(feature = "metal")]
    fn metal_fwd(&self, _: &candle_core::MetalStorage, _: &Layout) -> Result<(candle_core::MetalStorage, Shape)> {
        let (storage, layout) = self.value.storage_and_layout();
        match &*storage {
            Storage::Metal(values) => Ok((values.try_clone(layout)?, self.value.shape().clone())),
            _ => elsewhere(),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.group.sum(&gradient.detach().contiguous()?)?))
    }
}
