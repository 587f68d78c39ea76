//! Times one operation at a time on request, for comparison with other programs: `benches/peers/ops.py` drives it.
//!
//! Reads lines `NAME key=value …` and answers each with the seconds of one run and its floating-point operations (0 for what is bound by memory) on
//! standard output. Tensors are made once per distinct line, the first run of a line is not timed. The line `fma_peak` times multiply-adds alone.

#[path = "../benches/ops/ours.rs"]
mod ours;
#[path = "../benches/ops/peak.rs"]
mod peak;
#[path = "../benches/ops/runs.rs"]
mod runs;
#[path = "../benches/ops/spec.rs"]
mod spec;

use candle_core::Result;
use spec::Spec;
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Instant;

fn answer(seconds: f64, flops: f64) -> Result<()> {
    println!("{seconds:.9} {flops:.0}");
    Ok(std::io::stdout().flush()?)
}

fn main() -> Result<()> {
    // as the `hrseg` command does
    seg_ops::keep_threads_awake();
    seg_ops::keep_freed_memory();
    let mut prepared: HashMap<String, (runs::Run, f64)> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line == "fma_peak" {
            let (seconds, flops) = peak::fma_peak();
            answer(seconds, flops)?;
            continue;
        }
        if !prepared.contains_key(&line) {
            prepared.clear(); // one operation's tensors at a time
            let spec = Spec::parse(&line);
            let run = runs::prepare(&spec, ours::forward(&spec)?)?;
            run()?;
            prepared.insert(line.clone(), (run, spec.flops().unwrap_or(0.)));
        }
        let (run, flops) = &prepared[&line];
        let start = Instant::now();
        drop(run()?);
        answer(start.elapsed().as_secs_f64(), *flops)?;
    }
    Ok(())
}
