//! How much memory and processor time the process has used.

/// The most physical memory that this process has held, in bytes; `None` where the system does not say (Linux does, in
/// `/proc/self/status`).
pub fn peak_rss_bytes() -> Option<u64> {
    status("VmHWM:")
}

/// Seconds that processors have spent on this process until now; `None` where the system does not say (Linux does, in `/proc/self/stat`).
pub fn processor_seconds() -> Option<f64> {
    /// Linux counts in hundredths for programs, whatever its own clock.
    const TICK: f64 = 0.01;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // the name, in brackets, may hold anything; behind it are the state, ten numbers, and the times in user and kernel mode
    let mut times = stat.rsplit_once(')')?.1.split_whitespace().skip(11).map(str::parse::<f64>);
    Some((times.next()?.ok()? + times.next()?.ok()?) * TICK)
}

/// The physical memory that this process holds now, in bytes.
pub fn rss_bytes() -> Option<u64> {
    status("VmRSS:")
}

fn status(entry: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(entry))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
