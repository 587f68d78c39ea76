//! Sums over processes that compute together.

use crate::error::{OpError, Result};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Processes that compute together, as one of them sees them.
///
/// All of them begin the same sums, of the same shapes and types, in the same order: one that waits for a sum that another never begins waits for ever.
pub trait AllReduce: fmt::Debug + Send + Sync {
    /// The number of this process, counted from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn ranks(&self) -> usize;

    /// Begins to add up `values` (f32 or f64) of all processes, element by element. The sum is of their shape and on their device; every process gets the same bits.
    ///
    /// # Errors
    /// Other types; a group that has broken.
    fn begin(&self, values: &Tensor) -> Result<Pending>;

    /// [`Self::begin`], and waits for it.
    ///
    /// # Errors
    /// As there.
    fn sum(&self, values: &Tensor) -> Result<Tensor> {
        self.begin(values)?.wait()
    }

    /// Sums of plain numbers.
    ///
    /// # Errors
    /// As [`Self::begin`].
    fn sum_numbers(&self, numbers: &[f64]) -> Result<Vec<f64>> {
        if self.ranks() == 1 {
            return Ok(numbers.to_vec());
        }
        self.sum(&Tensor::new(numbers, &Device::Cpu)?)?.to_vec1()
    }

    /// Whether any process says yes.
    ///
    /// # Errors
    /// As [`Self::begin`].
    fn any(&self, yes: bool) -> Result<bool> {
        Ok(self.sum_numbers(&[f64::from(u8::from(yes))])?[0] > 0.)
    }

    /// Whether all processes give the same number.
    ///
    /// # Errors
    /// As [`Self::begin`].
    fn same(&self, number: u64) -> Result<bool> {
        // halves of it are exact in f64, and so are their sums
        let halves = [number >> 32, number & 0xffff_ffff].map(|half| half as f64);
        let ranks = self.ranks() as f64;
        let differs = self.sum_numbers(&halves)?.iter().zip(halves).any(|(sum, half)| *sum != half * ranks);
        Ok(!self.any(differs)?)
    }
}

/// A sum that is on its way.
pub struct Pending(Box<dyn FnOnce() -> Result<Tensor> + Send>);

impl Pending {
    /// One that `wait` waits for.
    pub fn new(wait: impl FnOnce() -> Result<Tensor> + Send + 'static) -> Self {
        Self(Box::new(wait))
    }

    /// Waits for it.
    ///
    /// # Errors
    /// A group that has broken.
    pub fn wait(self) -> Result<Tensor> {
        (self.0)()
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}

/// One process alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl AllReduce for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn begin(&self, values: &Tensor) -> Result<Pending> {
        let values = values.clone();
        Ok(Pending::new(move || Ok(values)))
    }
}

/// Threads of one process instead of processes: to try things out, and for tests.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    begun: AtomicU64,
    meeting: Arc<Meeting>,
}

#[derive(Debug)]
struct Meeting {
    ranks: usize,
    /// By their numbers.
    sums: Mutex<BTreeMap<u64, Begun>>,
    given: Condvar,
}

/// A sum that some have begun.
#[derive(Debug)]
struct Begun {
    given: Vec<Option<Tensor>>,
    /// How many have taken the sum away.
    taken: usize,
}

impl Threads {
    /// After so long the others are taken to have died.
    const PATIENCE: Duration = Duration::from_secs(300);

    /// `ranks` of them, the first of number 0.
    pub fn group(ranks: usize) -> Vec<Arc<dyn AllReduce>> {
        let meeting = Arc::new(Meeting { ranks, sums: Mutex::default(), given: Condvar::new() });
        let thread = |rank| Self { rank, begun: AtomicU64::new(0), meeting: meeting.clone() };
        (0..ranks).map(|rank| Arc::new(thread(rank)) as Arc<dyn AllReduce>).collect()
    }
}

impl AllReduce for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.meeting.ranks
    }

    fn begin(&self, values: &Tensor) -> Result<Pending> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let (meeting, ranks) = (self.meeting.clone(), self.meeting.ranks);
        let mut sums = meeting.sums.lock().unwrap_or_else(PoisonError::into_inner);
        // a copy: what is given may change before the others are there
        let begun = sums.entry(number).or_insert_with(|| Begun { given: vec![None; ranks], taken: 0 });
        begun.given[self.rank] = Some(values.copy()?.detach());
        drop(sums);
        meeting.given.notify_all();
        Ok(Pending::new(move || meeting.take(number)))
    }
}

impl Meeting {
    fn take(&self, number: u64) -> Result<Tensor> {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let lacks = |sums: &mut BTreeMap<u64, Begun>| {
            sums.get(&number).is_none_or(|begun| begun.given.iter().any(Option::is_none))
        };
        let waited = self.given.wait_timeout_while(sums, Threads::PATIENCE, lacks);
        let (mut sums, late) = waited.unwrap_or_else(PoisonError::into_inner);
        let Some(Begun { given, taken }) = sums.get_mut(&number).filter(|_| !late.timed_out()) else {
            return Err(OpError::Group { problem: "another thread has not come to the sum".into() }.into());
        };
        let mut all = given.iter().flatten();
        let first = all.next().cloned();
        let sum = all.try_fold(first, |sum, values| sum.map(|sum| sum + values).transpose())?;
        *taken += 1;
        if *taken == self.ranks {
            sums.remove(&number);
        }
        sum.ok_or_else(|| OpError::Group { problem: "nothing was given".into() }.into())
    }
}
