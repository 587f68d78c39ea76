//! How much memory and processor time the process has used, and how much memory there is.

use std::path::{Path, PathBuf};

/// The most physical memory that this process has held, in bytes; `None` where the system does not say (Linux does, in
/// `/proc/self/status`).
pub fn peak_rss_bytes() -> Option<u64> {
    status("VmHWM:")
}

/// Has the system measure [`peak_rss_bytes`] anew from here on; whether it does (Linux does).
pub fn forget_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
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
    self::entry(&status, entry)
}

/// The bytes of an entry that is told in kB.
fn entry(text: &str, entry: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(entry))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The memory of its own that this process holds now, in bytes: without files' pages, which the system can take back.
pub fn own_bytes() -> Option<u64> {
    status("RssAnon:")
}

/// The memory that the system can still give to this process, in bytes: what is free or can be freed, no more than its control groups leave it; `None` where
/// the system does not say (Linux does).
pub fn free_bytes() -> Option<u64> {
    let free = entry(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    Some(groups_leave().map_or(free, |left| left.min(free)))
}

/// What the control groups leave, where they limit memory.
fn groups_leave() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let of = |controller: &str| groups.lines().find_map(|line| line.split_once(controller).map(|(_, path)| path));
    let root = Path::new("/sys/fs/cgroup");
    let second = of("0::").map(|path| (root.to_owned(), path, ["memory.max", "memory.current", "inactive_file "]));
    let first = of(":memory:").map(|path| {
        let files = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "];
        (root.join("memory"), path, files)
    });
    let left = |(root, path, [most, taken, files]): (PathBuf, &str, [&str; 3])| {
        // inside a container the path is that of the outside: the root is the group then
        let group = root.join(path.trim_start_matches('/'));
        let above = group.ancestors().filter(|folder| folder.starts_with(&root)).map(Path::to_owned);
        let left = |folder: PathBuf| {
            let read = |file: &str| std::fs::read_to_string(folder.join(file)).ok();
            let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
            let cached = read("memory.stat")
                .and_then(|stat| stat.lines().find_map(|line| line.strip_prefix(files)?.trim().parse::<u64>().ok()));
            Some(number(most)?.saturating_sub(number(taken)?.saturating_sub(cached.unwrap_or(0))))
        };
        above.filter_map(left).min()
    };
    second.and_then(left).into_iter().chain(first.and_then(left)).min()
}
