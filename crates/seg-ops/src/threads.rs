//! Threads that wait awake for the next operation.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// Nanoseconds after an operation for which threads stay awake.
const PAUSE: u64 = 1_000_000;
/// Nanoseconds after which a thread looks whether it should still wait: what else it has begun, and waits for, must go on.
const LONGEST: u64 = 10_000_000;

static WANTED: AtomicBool = AtomicBool::new(false);
/// When the last operation ended.
static LAST: AtomicU64 = AtomicU64::new(0);
/// Threads that are awake for this, or have been asked to be.
static AWAKE: AtomicUsize = AtomicUsize::new(0);

fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Has the threads that share the work of operations stay awake for a millisecond after each, for the rest of the process: to be called by a program,
/// once, before it computes.
///
/// A thread that sleeps takes some 0.05 ms to wake up, on a virtual machine whose processor has been halted meanwhile up to a millisecond: as long as
/// many operations. OpenMP's threads, and so PyTorch's, wait awake as well. They give way to any other thread that wants to run.
///
/// Candle has threads of its own for sums and products of tensors, which wait on the same processors without giving way: they are told to sleep at once,
/// by `CANDLE_BARRIER_POOL_SPIN_LIMIT`, if that is not set already and nobody can be reading the environment: the process has a single thread still
/// (told on Linux only). Returns whether they are.
pub fn keep_threads_awake() -> bool {
    const CANDLE: &str = "CANDLE_BARRIER_POOL_SPIN_LIMIT";
    WANTED.store(true, Ordering::Relaxed);
    let alone = || std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    let change = std::env::var_os(CANDLE).is_none() && alone();
    if change {
        // SAFETY: there is no other thread that could read or write the environment meanwhile.
        unsafe { std::env::set_var(CANDLE, "1") };
    }
    change
}

/// To be called at the end of an operation.
pub(crate) fn stay_awake() {
    if !WANTED.load(Ordering::Relaxed) {
        return;
    }
    LAST.store(now(), Ordering::Relaxed);
    let threads = rayon::current_num_threads();
    if AWAKE.compare_exchange(0, threads, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return;
    }
    // not the thread that goes on from here, if it is one of them
    let own = rayon::current_thread_index();
    rayon::spawn_broadcast(move |at| {
        if Some(at.index()) != own {
            wait();
        }
        AWAKE.fetch_sub(1, Ordering::Relaxed);
    });
}

/// Takes over work as it comes.
fn wait() {
    let start = now();
    loop {
        for _ in 0..32 {
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                std::hint::spin_loop();
            }
        }
        std::thread::yield_now();
        let now = now();
        if now - start > LONGEST || now.saturating_sub(LAST.load(Ordering::Relaxed)) > PAUSE {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    /// Work that others of a pool, or of two at a time, wait for goes on.
    #[test]
    fn operations_go_on() {
        assert!(!keep_threads_awake() || std::env::var("CANDLE_BARRIER_POOL_SPIN_LIMIT").is_ok());
        let sum = |n: u64| {
            let sum = (0..n).into_par_iter().sum::<u64>();
            stay_awake();
            sum
        };
        for threads in [1, 2, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| (1..200).for_each(|n| assert_eq!(pool.install(|| sum(n)), n * (n - 1) / 2)));
                }
            });
        }
        // asleep again in the end
        let start = Instant::now();
        while AWAKE.load(Ordering::Relaxed) > 0 {
            assert!(start.elapsed().as_secs() < 10);
            std::thread::yield_now();
        }
    }
}
