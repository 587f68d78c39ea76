//! What the workers of a loader share: who begins what, what is ready, and when to wait.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How much may be ready or on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub count: u64,
    pub bytes: u64,
}

/// A row of jobs, numbered from 0: begun in order by any worker, taken in order by the one consumer.
pub(super) struct Queue<R> {
    state: Mutex<State<R>>,
    /// A worker may begin another job, or stop.
    begin: Condvar,
    /// A job is done.
    done: Condvar,
    bounds: Bounds,
}

struct State<R> {
    /// The next job to begin, and the next to be taken.
    next: u64,
    wanted: u64,
    /// Where the row ends, once a worker has met its end.
    end: Option<u64>,
    ready: BTreeMap<u64, (R, u64)>,
    ready_bytes: u64,
    running: u64,
    /// Bytes of the largest result so far: what one that is on its way may take.
    largest: u64,
    stopped: bool,
}

impl<R> Queue<R> {
    pub fn new(bounds: Bounds) -> Self {
        let state = State {
            next: 0,
            wanted: 0,
            end: None,
            ready: BTreeMap::new(),
            ready_bytes: 0,
            running: 0,
            largest: 0,
            stopped: false,
        };
        Self { state: Mutex::new(state), begin: Condvar::new(), done: Condvar::new(), bounds }
    }

    /// The next job to do, when there is room for its result; `None` when there is nothing more to do.
    pub fn begin(&self) -> Option<u64> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.end.is_some_and(|end| state.next >= end) {
                return None;
            }
            if self.room(&state) {
                state.next += 1;
                state.running += 1;
                return Some(state.next - 1);
            }
            state = self.begin.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The one that is waited for may always begin, so that bounds that are too narrow cost time alone.
    fn room(&self, state: &State<R>) -> bool {
        let ahead = state.next - state.wanted;
        let expected = state.ready_bytes.saturating_add((state.running + 1).saturating_mul(state.largest));
        // the first tells how large they are
        let known = state.largest > 0 || state.running == 0;
        ahead == 0 || (ahead < self.bounds.count && expected <= self.bounds.bytes && known)
    }

    /// A job's result; `None` where the row was at its end.
    pub fn finish(&self, job: u64, result: Option<(R, u64)>) {
        let mut state = self.lock();
        state.running -= 1;
        match result {
            Some((result, bytes)) => {
                state.ready_bytes = state.ready_bytes.saturating_add(bytes);
                state.largest = state.largest.max(bytes).max(1);
                state.ready.insert(job, (result, bytes));
            }
            None => state.end = Some(state.end.map_or(job, |end| end.min(job))),
        }
        drop(state);
        self.done.notify_all();
        self.begin.notify_all();
    }

    /// The next result, in the order of the jobs; `None` at the end of the row.
    pub fn take(&self) -> Option<R> {
        let mut state = self.lock();
        loop {
            let wanted = state.wanted;
            if let Some((result, bytes)) = state.ready.remove(&wanted) {
                state.ready_bytes -= bytes;
                state.wanted += 1;
                drop(state);
                self.begin.notify_all();
                return Some(result);
            }
            if state.stopped || state.end.is_some_and(|end| wanted >= end) {
                return None;
            }
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets every worker end after what it is doing.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.begin.notify_all();
        self.done.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
