//! Small holes and specks of a mask.

use seg_data::components::{components, small_components};

use crate::error::Result;

/// Fills holes and removes specks of fewer than `min_area` pixels, counted with diagonal neighbours; of a mask of specks
/// alone the largest stays. Says whether anything changed.
///
/// Follows `remove_small_regions` in segment_anything/utils/amg.py.
pub(super) fn remove_small_regions(mask: &mut [u8], (width, height): (u32, u32), min_area: u32) -> Result<bool> {
    let Some(max_area) = min_area.checked_sub(1).filter(|&area| area > 0) else { return Ok(false) };
    let mut changed = false;
    let outside: Vec<u8> = mask.iter().map(|&v| u8::from(v == 0)).collect();
    for (v, hole) in mask.iter_mut().zip(small_components(&outside, width, height, max_area)?) {
        if hole != 0 {
            (*v, changed) = (1, true);
        }
    }
    let found = components(mask, width, height)?;
    let small = |label: u32| found.areas[label as usize - 1] <= max_area;
    let spared = match found.largest() {
        Some(largest) if small(largest) => Some(largest),
        _ => None,
    };
    for (v, &label) in mask.iter_mut().zip(&found.labels) {
        if label != 0 && small(label) {
            changed = true;
            if Some(label) != spared {
                *v = 0;
            }
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(rows: [&str; 5], min_area: u32) -> (Vec<String>, bool) {
        let mut mask: Vec<u8> = rows.concat().bytes().map(|b| u8::from(b == b'#')).collect();
        let changed = remove_small_regions(&mut mask, (6, 5), min_area).unwrap();
        let row = |row: &[u8]| row.iter().map(|&v| if v == 1 { '#' } else { '.' }).collect();
        (mask.chunks(6).map(row).collect(), changed)
    }

    #[test]
    fn holes_and_specks() {
        let mask = ["###...", "#.#..#", "###...", "......", "##...."];
        assert_eq!(cleaned(mask, 3).0, ["###...", "###...", "###...", "......", "......"]);
        // a speck of as many pixels stays, and so does a hole
        assert_eq!(cleaned(mask, 2).0, ["###...", "###...", "###...", "......", "##...."]);
        assert_eq!(cleaned(mask, 1), (mask.map(str::to_owned).to_vec(), false));
        assert_eq!(cleaned(mask, 0), (mask.map(str::to_owned).to_vec(), false));
    }

    #[test]
    fn the_largest_of_specks_stays() {
        let mask = ["#.....", "......", "...##.", "......", "......"];
        assert_eq!(cleaned(mask, 9).0, ["......", "......", "...##.", "......", "......"]);
        assert_eq!(cleaned(["......"; 5], 9), (vec!["......".to_owned(); 5], false));
    }
}
