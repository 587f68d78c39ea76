//! Prints the rate of fused f32 multiply-adds that this machine reaches on 1 thread, 2, … up to all: what shares of the peak are shares of.
//!
//! `cargo run --release -p seg-ops --example fma_peak [THREADS]`

#[path = "../benches/ops/peak.rs"]
mod peak;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let most = match std::env::args().nth(1) {
        Some(threads) => threads.parse()?,
        None => std::thread::available_parallelism()?.get(),
    };
    for threads in 1..=most {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        // the best of a few: what else runs on the machine only takes from it
        let rates = (0..9).map(|_| pool.install(peak::fma_peak)).map(|(seconds, flops)| flops / seconds / 1e9);
        println!("{threads} threads: {:.0} GFLOP/s", rates.fold(0., f64::max));
    }
    Ok(())
}
