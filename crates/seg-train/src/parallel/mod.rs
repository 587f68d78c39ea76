//! A training in several processes, each on its share of the data: which one this is, and how their gradients are added up.

mod buckets;
mod launch;
#[cfg(any(feature = "nccl", test))]
mod meeting;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;
#[cfg(any(feature = "mpi", feature = "nccl"))]
mod speaker;

pub use buckets::{average_moves, fingerprint, sum_gradients};
pub use launch::{Launch, Starter};

use crate::{Result, TrainError};
use candle_core::Device;
use seg_ops::{AllReduce, Alone};
use std::sync::Arc;

/// The processes of a training, from the first sum to the last.
#[derive(Debug)]
pub struct Group {
    sums: Arc<dyn AllReduce>,
    #[cfg(any(feature = "mpi", feature = "nccl"))]
    speaker: Option<Arc<speaker::Speaker>>,
}

impl Group {
    /// One process alone.
    pub fn alone() -> Self {
        Self {
            sums: Arc::new(Alone),
            #[cfg(any(feature = "mpi", feature = "nccl"))]
            speaker: None,
        }
    }

    /// Joins the processes that `launch` tells of: by NCCL where `device` is a GPU and the build has it, else by MPI.
    ///
    /// # Errors
    /// More than one process where the build has neither; a starter that the back end does not know; others that do not come. What every process finds is told by
    /// the first one; [`TrainError::Elsewhere`] in the others.
    pub fn join(launch: &Launch, device: &Device) -> Result<Self> {
        if launch.ranks == 1 {
            return Ok(Self::alone());
        }
        #[cfg(feature = "nccl")]
        if device.is_cuda() {
            return Ok(Self::of(nccl::join(launch, device)?));
        }
        #[cfg(feature = "mpi")]
        if launch.starter != Some(Starter::Torchrun) && launch.told {
            return Ok(Self::of(mpi::join(launch)?));
        }
        Err(launch.refused(unable(launch, device)))
    }

    #[cfg(any(feature = "mpi", feature = "nccl"))]
    fn of(speaker: speaker::Speaker) -> Self {
        let speaker = Arc::new(speaker);
        Self { sums: speaker.clone(), speaker: Some(speaker) }
    }

    /// What adds up.
    pub fn sums(&self) -> Arc<dyn AllReduce> {
        self.sums.clone()
    }

    /// Takes leave of the others, once all are done. A process that fails does not: whoever started it ends the others.
    pub fn leave(self) {
        #[cfg(any(feature = "mpi", feature = "nccl"))]
        if let Some(speaker) = &self.speaker {
            speaker.leave();
        }
    }
}

/// Why these processes cannot train together, and what to do.
fn unable(launch: &Launch, device: &Device) -> String {
    let Launch { rank, ranks, variable, .. } = launch;
    let started = format!("this is process {} of {ranks} ({variable} is {ranks})", rank + 1);
    let torchrun = launch.starter == Some(Starter::Torchrun);
    match (cfg!(feature = "mpi"), cfg!(feature = "nccl"), torchrun && !device.is_cuda()) {
        (false, false, _) => format!(
            "{started}, and this build trains in one process only: build it with `--features mpi` (or `nccl`, for GPUs), or start it without mpirun, torchrun and srun"
        ),
        (_, _, true) => format!(
            "{started}; torchrun starts processes for NCCL alone (`--device cuda`, a build with `--features nccl`): on the CPU use mpirun, or srun --mpi=pmix"
        ),
        (true, _, false) if !launch.told => format!(
            "{started}, and srun has told MPI nothing of the others: start it by srun --mpi=pmix (srun --mpi=list prints what there is), or by mpirun"
        ),
        _ => format!(
            "{started}; this build has no back end for them: build it with `--features mpi` for the CPU, `nccl` for GPUs"
        ),
    }
}

/// Refuses to go on where any process has failed: those that have not are told so.
///
/// # Errors
/// That of `outcome`; [`TrainError::Elsewhere`] where it is another process's, or the first one has failed, too, and tells it.
pub fn agree<T, E: From<TrainError>>(
    group: &dyn AllReduce,
    outcome: std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    if group.ranks() == 1 {
        return outcome;
    }
    let failed = [group.rank() == 0, true].map(|counts| f64::from(u8::from(counts && outcome.is_err())));
    let failed = group.sum_numbers(&failed).map_err(TrainError::from)?;
    match failed[..] {
        [_, 0.] => outcome,
        [1., _] if group.rank() > 0 => Err(TrainError::Elsewhere.into()),
        _ if outcome.is_ok() => Err(TrainError::Elsewhere.into()),
        _ => outcome,
    }
}
