//! Times one operation at a time on request, for comparison with other programs: `benches/peers/ops.py` drives it.
//!
//! Reads lines `[COUNT*]NAME key=value …` and answers each with the floating-point operations (0 for what is bound by memory) and the seconds of as many
//! runs, one after the other, on standard output; without a line (`</dev/null`) it times a linear layer, to show how. Tensors are made once per distinct operation, whose first run is not timed. The line `fma_peak` times
//! multiply-adds alone.

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

fn answer(flops: f64, seconds: &[f64]) -> Result<()> {
    let seconds: Vec<String> = seconds.iter().map(|s| format!("{s:.9}")).collect();
    println!("{flops:.0} {}", seconds.join(" "));
    Ok(std::io::stdout().flush()?)
}

fn main() -> Result<()> {
    // as the `hrseg` command does
    seg_ops::keep_freed_memory();
    seg_ops::keep_threads_awake(0);
    let mut prepared: HashMap<String, (runs::Run, f64)> = HashMap::new();
    let mut lines = std::io::stdin().lock().lines().peekable();
    if lines.peek().is_none() {
        let sample = "linear n=1024 c=256 o=256";
        let spec = Spec::parse(sample);
        let run = runs::prepare(&spec, ours::forward(&spec)?)?;
        run()?;
        let start = Instant::now();
        run()?;
        println!("{sample}: {:.0} operations in {:.2?}", spec.flops().unwrap_or(0.), start.elapsed());
    }
    for line in lines {
        let line = line?;
        if line == "fma_peak" {
            let (seconds, flops) = peak::fma_peak();
            answer(flops, &[seconds])?;
            continue;
        }
        let (count, line) = line.split_once('*').unwrap_or(("1", &line));
        let count: usize = count.parse().map_err(candle_core::Error::wrap)?;
        if !prepared.contains_key(line) {
            prepared.clear(); // one operation's tensors at a time
            let spec = Spec::parse(line);
            let run = runs::prepare(&spec, ours::forward(&spec)?)?;
            run()?;
            prepared.insert(line.to_owned(), (run, spec.flops().unwrap_or(0.)));
        }
        let (run, flops) = &prepared[line];
        let mut seconds = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            drop(run()?);
            seconds.push(start.elapsed().as_secs_f64());
        }
        answer(*flops, &seconds)?;
    }
    Ok(())
}
