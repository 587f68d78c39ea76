//! A thread that speaks with the other processes, so that the one that computes goes on meanwhile.

use crate::{Result, TrainError};
use candle_core::{DType, Tensor};
use seg_ops::{AllReduce, OpError, Pending};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// A back end, as the thread uses it. It never leaves the thread.
pub(super) trait Line {
    /// The number of this process, and how many there are.
    fn place(&self) -> (usize, usize);

    /// The sum over all processes of contiguous `values` (f32 or f64): of the same shape, on the same device.
    fn sum(&mut self, values: &Tensor) -> candle_core::Result<Tensor>;
}

/// A group of processes, reached through the thread.
#[derive(Debug)]
pub(super) struct Speaker {
    rank: usize,
    ranks: usize,
    jobs: Sender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Job {
    Sum(Tensor, Sender<candle_core::Result<Tensor>>),
    /// All processes are done.
    End,
}

fn broken() -> candle_core::Error {
    OpError::Group { problem: "the thread that speaks with the other processes has ended".into() }.into()
}

impl Speaker {
    /// Starts the thread, which opens the line.
    pub(super) fn start<L: Line>(open: impl FnOnce() -> Result<L> + Send + 'static) -> Result<Self> {
        let (jobs, taken) = channel();
        let (tell, told) = channel();
        let work = move || match open() {
            Ok(line) => {
                // nobody waits for it where the process is about to end
                let _ = tell.send(Ok(line.place()));
                serve(line, &taken);
            }
            Err(error) => drop(tell.send(Err(error))),
        };
        let refuse = |problem: String| TrainError::Processes { problem };
        let thread = std::thread::Builder::new().name("all-reduce".into()).spawn(work);
        let thread = thread.map_err(|error| refuse(format!("cannot start a thread: {error}")))?;
        let (rank, ranks) =
            told.recv().map_err(|_| refuse("the connection to the others cannot be opened".into()))??;
        Ok(Self { rank, ranks, jobs, thread: Mutex::new(Some(thread)) })
    }

    /// Takes leave of the others, which do so, too.
    pub(super) fn leave(&self) {
        let _ = self.jobs.send(Job::End); // a thread that has ended needs no telling
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join(); // what it had to say has been said
        }
    }
}

impl AllReduce for Speaker {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn begin(&self, values: &Tensor) -> candle_core::Result<Pending> {
        if !matches!(values.dtype(), DType::F32 | DType::F64) {
            let expected = "f32 or f64".into();
            return Err(OpError::DType { op: "all-reduce", tensor: "values", got: values.dtype(), expected }.into());
        }
        let (answer, answered) = channel();
        let values = values.detach().contiguous()?;
        self.jobs.send(Job::Sum(values, answer)).map_err(|_| broken())?;
        Ok(Pending::new(move || answered.recv().map_err(|_| broken())?))
    }
}

/// Does what is asked until all processes are done.
fn serve<L: Line>(mut line: L, jobs: &Receiver<Job>) {
    loop {
        match jobs.recv() {
            // an answer that nobody waits for is none
            Ok(Job::Sum(values, answer)) => drop(answer.send(line.sum(&values))),
            Ok(Job::End) => return,
            Err(_) => {
                // this process has failed: to take leave would be to wait for the others; whoever started them ends them
                std::mem::forget(line);
                return;
            }
        }
    }
}
