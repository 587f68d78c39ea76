//! Sums by MPI.

use super::Launch;
use super::speaker::{Line, Speaker};
use crate::{Result, TrainError};
use candle_core::{DType, Device, Tensor, WithDType};
use mpi::collective::{CommunicatorCollectives, SystemOperation};
use mpi::environment::Universe;
use mpi::topology::Communicator;
use mpi::traits::Equivalence;
use mpi::{Threading, request};
use std::time::{Duration, Instant};

/// Joins the processes that `launch` tells of.
pub(super) fn join(launch: &Launch) -> Result<Speaker> {
    // Open MPI would end the process with a page of its own; others know more ways to find each other
    let open_mpi = || mpi::environment::library_version().is_ok_and(|version| version.contains("Open MPI"));
    if !launch.told && open_mpi() {
        let Launch { rank, ranks, variable, .. } = launch;
        return Err(launch.refused(format!(
            "this is process {} of {ranks} ({variable} is {ranks}), and srun has told Open MPI nothing of the others: start it by srun --mpi=pmix (srun --mpi=list prints what there is), or by mpirun",
            rank + 1
        )));
    }
    let launch = launch.clone();
    Speaker::start(move || {
        // the thread that starts MPI is the only one that uses it
        let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
            return Err(TrainError::Processes { problem: "MPI runs already in this process".into() });
        };
        let line = World(universe);
        match line.place() == (launch.rank, launch.ranks) {
            true => Ok(line),
            false => {
                let (rank, ranks) = line.place();
                Err(launch.refused(format!(
                    "by {} this is process {} of {}, but MPI knows it as {} of {ranks}; start with the mpirun of the MPI that hrseg was built with, or with srun --mpi=pmix",
                    launch.variable,
                    launch.rank + 1,
                    launch.ranks,
                    rank + 1
                )))
            }
        }
    })
}

struct World(Universe);

impl Line for World {
    fn place(&self) -> (usize, usize) {
        let world = self.0.world();
        (world.rank() as usize, world.size() as usize)
    }

    fn sum(&mut self, values: &Tensor) -> candle_core::Result<Tensor> {
        let sum = match values.dtype() {
            DType::F64 => self.typed::<f64>(values)?,
            _ => self.typed::<f32>(values)?,
        };
        sum.to_device(values.device())
    }
}

/// Messages up to so many bytes are waited for with naps: their senders may have much to do before. Large ones come when all are there.
const SMALL: usize = 1 << 16;
/// For so long the processor is kept even then.
const AWAKE: Duration = Duration::from_millis(1);
/// How long the thread sleeps before it looks again.
const NAP: Duration = Duration::from_micros(100);

impl World {
    fn typed<T: Equivalence + WithDType + Default>(&self, values: &Tensor) -> candle_core::Result<Tensor> {
        let (shape, values) = (values.shape(), values.flatten_all()?.to_vec1::<T>()?);
        let naps = size_of_val(&values[..]) <= SMALL;
        let mut sum = vec![T::default(); values.len()];
        request::scope(|scope| {
            let (world, add) = (self.0.world(), SystemOperation::sum());
            let mut request = world.immediate_all_reduce_into(scope, &values[..], &mut sum[..], add);
            let begun = Instant::now();
            // MPI's own waiting would take a processor from the process that is waited for
            while let Err(again) = request.test() {
                request = again;
                if naps && begun.elapsed() > AWAKE { std::thread::sleep(NAP) } else { std::thread::yield_now() }
            }
        });
        Tensor::from_vec(sum, shape, &Device::Cpu)
    }
}
