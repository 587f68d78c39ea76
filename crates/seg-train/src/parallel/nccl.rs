//! Sums by NCCL, on the GPUs themselves.

use super::meeting::meet;
use super::speaker::{Line, Speaker};
use super::{Launch, Starter};
use crate::{Result, TrainError};
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, ValidAsZeroBits};
use candle_core::cuda_backend::cudarc::nccl::result::NcclError;
use candle_core::cuda_backend::cudarc::nccl::safe::{Comm, Id, NcclType, ReduceOp};
use candle_core::cuda_backend::{CudaDType, CudaStorageSlice};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, Device, Storage, Tensor};
use std::ffi::c_char;

/// Joins the processes that `launch` tells of, with the GPU `device` of this one.
pub(super) fn join(launch: &Launch, device: &Device) -> Result<Speaker> {
    let (launch, device) = (launch.clone(), device.as_cuda_device()?.clone());
    Speaker::start(move || {
        let refuse = |problem: String| TrainError::Processes { problem };
        let nccl = |error: NcclError| refuse(format!("NCCL: {error:?}"));
        let Some((host, port)) = &launch.meeting else {
            let problem =
                "MASTER_ADDR and MASTER_PORT are not set: the host of the first process, and a free port on it";
            return Err(refuse(problem.into()));
        };
        // torchrun itself listens at its port
        let port = port.saturating_add(u16::from(launch.starter == Some(Starter::Torchrun)));
        let first =
            if launch.is_first() { Some(Id::new().map_err(nccl)?.internal().map(|byte| byte as u8)) } else { None };
        let id = Id::uninit(meet(&launch, host, port, first)?.map(|byte| byte as c_char));
        let stream = device.cuda_stream();
        // NCCL takes the GPU that is the thread's
        stream.context().bind_to_thread().map_err(|error| refuse(format!("CUDA: {error:?}")))?;
        let comm = Comm::from_rank(stream, launch.rank, launch.ranks, id).map_err(nccl)?;
        Ok(Gpu { comm, device })
    })
}

struct Gpu {
    comm: Comm,
    device: CudaDevice,
}

impl Line for Gpu {
    fn place(&self) -> (usize, usize) {
        (self.comm.rank(), self.comm.world_size())
    }

    fn sum(&mut self, values: &Tensor) -> candle_core::Result<Tensor> {
        let here = values.to_device(&Device::Cuda(self.device.clone()))?.copy()?;
        let sum = {
            let (storage, _) = here.storage_and_layout();
            let Storage::Cuda(storage) = &*storage else { candle_core::bail!("numbers that are not on the GPU") };
            match &storage.slice {
                CudaStorageSlice::F32(_) => self.typed::<f32>(storage)?,
                CudaStorageSlice::F64(_) => self.typed::<f64>(storage)?,
                _ => candle_core::bail!("a sum of numbers that are neither f32 nor f64"),
            }
        };
        Tensor::from_storage(Storage::Cuda(sum), values.shape(), BackpropOp::none(), false).to_device(values.device())
    }
}

impl Gpu {
    fn typed<T>(&self, storage: &CudaStorage) -> candle_core::Result<CudaStorage>
    where
        T: NcclType + CudaDType + DeviceRepr + ValidAsZeroBits,
    {
        let values = storage.as_cuda_slice::<T>()?;
        let mut sum = self.device.alloc_zeros::<T>(values.len())?;
        let done = self.comm.all_reduce(values, &mut sum, &ReduceOp::Sum);
        done.map_err(|error| candle_core::Error::Msg(format!("NCCL: {error:?}")))?;
        Ok(CudaStorage::wrap_cuda_slice(sum, self.device.clone()))
    }
}
