//! Grey levels of 8 and 16 bits.

use super::{MaskRole, Meaning};

/// The highest level that counts as a label in 8 bits.
const HIGHEST_LABEL: usize = 31;
/// No more different levels than this in 8 bits, none of them white, may be labels.
const FEW: usize = 16;
/// More different levels than this in 16 bits are a graded map.
const MOST_LABELS: usize = 64;
/// Every so many pixels are looked at to see whether a mask is one of labels and void.
const SAMPLE: usize = 1021;

/// What 8-bit levels mean, and what becomes of them where they change.
pub(super) fn eight(levels: &[u8], role: MaskRole) -> (Meaning, Option<Vec<u8>>) {
    // nearly all masks end here, within the first rows
    if levels.contains(&255) {
        let meaning = if role == MaskRole::Prediction { None } else { labels_and_void(levels) };
        return (meaning.unwrap_or(Meaning::Levels), None);
    }
    let mut seen = [false; 256];
    levels.iter().for_each(|&v| seen[usize::from(v)] = true);
    let found: Vec<usize> = (0..256).filter(|&v| seen[v]).collect();
    let inside = || Some(levels.iter().map(|&v| if v > 0 { 255 } else { 0 }).collect());
    match (found.as_slice(), found.last()) {
        ([1], _) => (Meaning::TwoLevels(1), inside()),
        ([0, other], _) => (Meaning::TwoLevels(*other as u16), inside()),
        ([0, _, _, ..], Some(&most)) if most <= HIGHEST_LABEL && role != MaskRole::Prediction => {
            (Meaning::Labels(most as u16), inside())
        }
        // labels of many classes, or a graded mask that never reaches white
        ([0, _, _, ..], Some(&most)) if found.len() <= FEW && role != MaskRole::Prediction => {
            (Meaning::FewLevels(found.len() as u16, most as u16), None)
        }
        _ => (Meaning::Levels, None),
    }
}

/// Levels 1 to 31 and 255, nothing between: labels beside void, as some data sets have it; or, of toolkits' readers, no 255.
pub(super) fn labels_and_void(levels: &[u8]) -> Option<Meaning> {
    let is_label = |v: u8| (1..=HIGHEST_LABEL as u8).contains(&v);
    let (mut labels, mut between) = (0usize, 0usize);
    for &v in levels.iter().step_by(SAMPLE.min(levels.len() / 4096 + 1)) {
        labels += usize::from(is_label(v));
        between += usize::from(v > HIGHEST_LABEL as u8 && v < 255);
    }
    if labels == 0 || between > 0 || levels.iter().any(|&v| v > HIGHEST_LABEL as u8 && v < 255) {
        return None;
    }
    let most = levels.iter().copied().filter(|&v| is_label(v)).max()?;
    // the noise of a compressed mask has many small levels, labels are few
    let mut seen = [false; HIGHEST_LABEL + 1];
    levels.iter().filter(|&&v| is_label(v)).for_each(|&v| seen[usize::from(v)] = true);
    let labelled = levels.iter().filter(|&&v| is_label(v)).count();
    let inside = levels.iter().filter(|&&v| v == 255).count();
    if seen.iter().filter(|s| **s).count() > 8 || labelled <= inside / 8 {
        return None;
    }
    Some(if inside == 0 { Meaning::SmallLevels(most.into()) } else { Meaning::LabelsAndVoid(most.into()) })
}

/// What 16-bit levels mean, in 8 bits.
pub(super) fn sixteen(levels: &[u16], role: MaskRole) -> (Meaning, Vec<u8>) {
    let most = levels.iter().copied().max().unwrap_or(0);
    if most <= 255 {
        let narrow: Vec<u8> = levels.iter().map(|&v| v as u8).collect();
        return match eight(&narrow, role) {
            (meaning, Some(lifted)) => (meaning, lifted),
            (Meaning::Levels, None) if most == 0 => (Meaning::Levels, narrow),
            (Meaning::Levels, None) => (Meaning::Bits(8), narrow),
            (meaning, None) => (meaning, narrow),
        };
    }
    let different = different(levels);
    let inside = || levels.iter().map(|&v| if v > 0 { 255 } else { 0 }).collect();
    match different.as_slice() {
        [0, other] if *other < u16::MAX => return (Meaning::TwoLevels(*other), inside()),
        [0, ..] if different.len() <= MOST_LABELS && most < u16::MAX && role != MaskRole::Prediction => {
            return (Meaning::Labels(most), inside());
        }
        _ => {}
    }
    let bits = [10, 12, 14, 16].into_iter().find(|&bits| u32::from(most) < 1 << bits).unwrap_or(16);
    let top = (1u32 << bits) - 1;
    let narrow = levels.iter().map(|&v| ((u32::from(v) * 255 + top / 2) / top) as u8).collect();
    (if bits == 16 { Meaning::Levels } else { Meaning::Bits(bits) }, narrow)
}

/// The levels that occur, in order; at most one more than labels may have.
fn different(levels: &[u16]) -> Vec<u16> {
    let mut found: Vec<u16> = Vec::new();
    let mut last = None;
    for &v in levels {
        if last == Some(v) {
            continue;
        }
        last = Some(v);
        if let Err(at) = found.binary_search(&v) {
            found.insert(at, v);
            if found.len() > MOST_LABELS {
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_eight(levels: &[u8], role: MaskRole) -> (Meaning, Vec<u8>) {
        let (meaning, lifted) = eight(levels, role);
        (meaning, lifted.unwrap_or_else(|| levels.to_vec()))
    }

    #[test]
    fn eight_bits() {
        use MaskRole::{Prediction, Prompt, Truth};
        assert_eq!(of_eight(&[0, 3, 255], Prediction), (Meaning::Levels, vec![0, 3, 255]));
        for role in [Prediction, Truth, Prompt] {
            assert_eq!(of_eight(&[0, 1, 0], role), (Meaning::TwoLevels(1), vec![0, 255, 0]), "{role:?}");
            assert_eq!(of_eight(&[100, 0], role), (Meaning::TwoLevels(100), vec![255, 0]));
            assert_eq!(of_eight(&[1, 1], role), (Meaning::TwoLevels(1), vec![255, 255]));
            assert_eq!(of_eight(&[0, 0], role), (Meaning::Levels, vec![0, 0]));
            assert_eq!(of_eight(&[40, 60, 80], role), (Meaning::Levels, vec![40, 60, 80]));
        }
        assert_eq!(of_eight(&[0, 1, 2], Truth), (Meaning::Labels(2), vec![0, 255, 255]));
        // an unsure model is not a map of labels
        assert_eq!(of_eight(&[0, 1, 2], Prediction), (Meaning::Levels, vec![0, 1, 2]));
        assert_eq!(of_eight(&[0, 50, 200], Truth), (Meaning::FewLevels(3, 200), vec![0, 50, 200]));
        assert_eq!(of_eight(&[0, 50, 200], Prediction), (Meaning::Levels, vec![0, 50, 200]));
        assert_eq!(labels_and_void(&[0, 1, 0]), Some(Meaning::SmallLevels(1)));
        assert_eq!(of_eight(&[0, 1, 1, 255], Truth), (Meaning::LabelsAndVoid(1), vec![0, 1, 1, 255]));
    }

    #[test]
    fn sixteen_bits() {
        use MaskRole::{Prediction, Truth};
        assert_eq!(sixteen(&[0, 1], Truth), (Meaning::TwoLevels(1), vec![0, 255]));
        assert_eq!(sixteen(&[0, 255], Truth), (Meaning::Bits(8), vec![0, 255]));
        assert_eq!(sixteen(&[0, 257], Truth), (Meaning::TwoLevels(257), vec![0, 255]));
        assert_eq!(sixteen(&[0, 65535], Truth), (Meaning::Levels, vec![0, 255]));
        assert_eq!(sixteen(&[0, 1001, 1002], Truth), (Meaning::Labels(1002), vec![0, 255, 255]));
        assert_eq!(sixteen(&[0, 2048, 4095], Prediction), (Meaning::Bits(12), vec![0, 128, 255]));
        assert_eq!(sixteen(&[0, 32768, 65535], Prediction), (Meaning::Levels, vec![0, 128, 255]));
    }
}
