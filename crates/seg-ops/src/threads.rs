//! Threads that wait awake for the next operation.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

/// Nanoseconds after an operation for which threads stay awake.
const PAUSE: u64 = 1_000_000;
/// Nanoseconds at a stretch, then a later operation asks again: what else a thread has begun, and waits for, must go on.
const LONGEST: u64 = 5_000_000;

/// Candle's limit of turns that its own threads spin.
const CANDLE: &str = "CANDLE_BARRIER_POOL_SPIN_LIMIT";

static WANTED: AtomicBool = AtomicBool::new(false);
/// Whether the program's thread is the first of the pool.
static JOINED: AtomicBool = AtomicBool::new(false);
/// When the last operation ended.
static LAST: AtomicU64 = AtomicU64::new(0);
/// Threads that are awake for this, or have been asked to be.
static AWAKE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Has the threads that share the work of operations stay awake for a millisecond after each, for the rest of the process: to be called by a program,
/// once, from the thread that will run its models, before it computes. Where rayon's pool does not exist yet it is made, of `threads` threads (0: of as
/// many as rayon takes by itself), and the calling thread is one of them.
///
/// A thread that sleeps takes some 0.05 ms to wake up, on a virtual machine whose processor has been halted meanwhile up to a millisecond: as long as
/// many operations. OpenMP's threads, and so PyTorch's, wait awake as well. Ours give way to any other thread that wants to run.
///
/// Operations may still be called from other threads; these are then computed by one thread less.
///
/// Candle has threads of its own for sums and products of tensors, which wait on the same processors without giving way: they are told to sleep at once,
/// by `CANDLE_BARRIER_POOL_SPIN_LIMIT`, if that is not set already and nobody can be reading the environment: the process has a single thread still
/// (told on Linux only). Returns whether they are.
pub fn keep_threads_awake(threads: usize) -> bool {
    let alone = || std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    let change = std::env::var_os(CANDLE).is_none() && alone();
    if change {
        // SAFETY: there is no other thread that could read or write the environment meanwhile.
        unsafe { std::env::set_var(CANDLE, "1") };
    }
    if !WANTED.swap(true, SeqCst) {
        JOINED.store(join(threads), SeqCst);
    }
    change
}

/// Makes rayon's pool, with the calling thread as its first. Not where it would be the only one: others would wait for it to work for them.
fn join(threads: usize) -> bool {
    let asked = || std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|&n: &usize| n > 0);
    let there = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = Some(threads).filter(|&n| n > 0).or_else(asked).unwrap_or_else(there);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    let pool = if threads > 1 { pool.use_current_thread() } else { pool };
    pool.build_global().is_ok() && threads > 1
}

/// To be called at the end of an operation.
pub(crate) fn stay_awake() {
    if !WANTED.load(SeqCst) {
        return;
    }
    LAST.store(now(), SeqCst);
    // all but the one that goes on from here
    let others = rayon::current_num_threads() - 1;
    while AWAKE.fetch_update(SeqCst, SeqCst, |n| (n < others).then_some(n + 1)).is_ok() {
        rayon::spawn(|| {
            wait();
            AWAKE.fetch_sub(1, SeqCst);
        });
    }
}

/// Takes over work as it comes. Not on the program's own thread, nor twice on one.
fn wait() {
    let own = JOINED.load(SeqCst) && rayon::current_thread_index() == Some(0);
    if own || WAITS.replace(true) {
        return;
    }
    let start = now();
    loop {
        for _ in 0..32 {
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                std::hint::spin_loop();
            }
        }
        std::thread::yield_now();
        let now = now();
        if now - start > LONGEST || now.saturating_sub(LAST.load(SeqCst)) > PAUSE {
            break;
        }
    }
    WAITS.set(false);
}
