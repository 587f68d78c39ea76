//! What the names of a folder's frames tell.

use std::path::PathBuf;

use crate::inputs::stem;

/// A note about numbers that are missing, when the names are numbers alone.
pub(super) fn gaps(files: &[PathBuf]) -> Option<String> {
    let number = |path: &PathBuf| stem(path).to_str()?.parse::<u64>().ok();
    let numbers: Vec<u64> = files.iter().map(number).collect::<Option<_>>()?;
    let gaps: Vec<String> = numbers
        .windows(2)
        .filter(|pair| pair[1] > pair[0] + 1)
        .map(|pair| match (pair[0] + 1, pair[1] - 1) {
            (one, last) if one == last => one.to_string(),
            (first, last) => format!("{first} to {last}"),
        })
        .collect();
    let shown = gaps.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if gaps.len() > 5 { " and more" } else { "" };
    (!gaps.is_empty()).then(|| {
        format!("no images with the numbers {shown}{more}: frames are counted by their place, and the video goes on behind the gap")
    })
}
