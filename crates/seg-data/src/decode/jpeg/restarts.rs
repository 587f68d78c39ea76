//! Restart markers: where they are, and what libjpeg makes of those that are missing, repeated or out of order.

use std::ops::Range;

/// The place of data between two markers, and the marker behind it; `None` where the file ends.
type Part = (Range<usize>, Option<u8>);

/// Where an interval's data are; empty where it has none.
pub(super) fn place(parts: &[Part], part: &Option<usize>) -> Range<usize> {
    part.map_or(0..0, |part| parts[part].0.clone())
}

/// How many intervals have no data.
pub(super) fn gaps(parts: &[Part], order: &[Option<usize>]) -> usize {
    order.iter().filter(|part| place(parts, part).is_empty()).count()
}

/// A note where intervals do not have the data that stand at their place.
pub(super) fn damage(parts: &[Part], order: &[Option<usize>]) -> Option<String> {
    let (gaps, of) = (gaps(parts, order), order.len());
    if gaps > 0 {
        return Some(format!("restart markers are damaged: {gaps} of {of} stretches have no data and are grey"));
    }
    let odd = order.iter().enumerate().any(|(i, part)| *part != Some(i));
    odd.then(|| "restart markers are damaged: parts of the picture were left out or moved".into())
}

/// The next marker at or behind `at`, with the place behind it. Stray bytes and fill bytes are skipped.
pub(super) fn next_marker(file: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += file.get(at..)?.iter().position(|&b| b == 0xff)?;
        at += file[at..].iter().position(|&b| b != 0xff)?;
        let marker = file[at];
        at += 1;
        if marker != 0 {
            return Some((marker, at));
        }
    }
}

/// The data of a scan between its markers, each with the marker that ends it (`None`: the file's end), and the place of
/// the marker that ends the scan.
pub(super) fn split(file: &[u8], start: usize, restarts: bool) -> (Vec<Part>, usize) {
    let mut parts = Vec::new();
    let (mut begin, mut at) = (start, start);
    while let Some(found) = file.get(at..).and_then(|rest| rest.iter().position(|&b| b == 0xff)) {
        let ff = at + found;
        let Some(run) = file[ff..].iter().position(|&b| b != 0xff) else {
            // a marker of which the file has the first byte alone is no data
            parts.push((begin..ff, None));
            return (parts, file.len());
        };
        at = ff + run + 1;
        match file[ff + run] {
            0 => {}
            marker @ (0xd0..=0xd7 | 0x01..=0xbf) if restarts => {
                parts.push((begin..ff, Some(marker)));
                begin = at;
            }
            marker => {
                parts.push((begin..ff, Some(marker)));
                return (parts, ff);
            }
        }
    }
    parts.push((begin..file.len(), None));
    (parts, file.len())
}

/// Which part each restart interval takes its data from, by libjpeg's rules: a marker one or two ahead of the expected
/// one stays for later and the interval gets nothing; one or two behind is skipped with its data; any other is taken.
pub(super) fn resynchronise(parts: &[Part], intervals: usize) -> Vec<Option<usize>> {
    let mut order = Vec::with_capacity(intervals);
    let mut part = 0;
    order.push(Some(0));
    for i in 1..intervals {
        let taken = loop {
            match parts[part].1 {
                Some(marker @ 0xd0..=0xd7) => match usize::from(marker - 0xd0).wrapping_sub(i - 1) & 7 {
                    1 | 2 => break None,
                    6 | 7 => part += 1,
                    _ => {
                        part += 1;
                        break Some(part);
                    }
                },
                Some(0x01..=0xbf) => part += 1,
                _ => break None,
            }
        };
        order.push(taken);
    }
    order
}
