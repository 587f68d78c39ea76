//! Whether a coarse mask and a probability map show the same object. Plain slices in and out: masks are bytes, 0 outside.

use std::collections::HashSet;

use seg_data::components::components;

use crate::error::Result;

/// Probability above which the second stage sees an object.
const SEEN: f32 = 0.5;

/// A gap of the support that the second stage fills on average with this probability belongs to the object. What IS-Net is sure of
/// it gives 0.95 and more, what it takes for background or cannot tell stays below 0.6: anything between would do.
const CERTAIN: f64 = 0.9;

/// A mask of width × height pixels, 1 inside.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    pub inside: Vec<u8>,
    pub size: (u32, u32),
}

impl Shape {
    pub fn new(bytes: &[u8], size: (u32, u32)) -> Self {
        Self { inside: bytes.iter().map(|&v| u8::from(v != 0)).collect(), size }
    }

    /// What a map shows.
    pub fn seen(map: &[f32], size: (u32, u32)) -> Self {
        Self { inside: map.iter().map(|&p| u8::from(p > SEEN)).collect(), size }
    }

    /// The part within left, top, right, bottom (exclusive).
    pub fn within(mut self, [x0, y0, x1, y1]: [u32; 4]) -> Self {
        for (y, row) in self.inside.chunks_exact_mut((self.size.0 as usize).max(1)).enumerate() {
            for (x, value) in row.iter_mut().enumerate() {
                let held = (x0..x1).contains(&(x as u32)) && (y0..y1).contains(&(y as u32));
                *value &= u8::from(held);
            }
        }
        self
    }

    /// Its outline: with all that it encloses. A gap that reaches the border is not enclosed.
    pub fn filled(&self) -> Result<Self> {
        let mut filled = self.clone();
        self.gaps()?.into_iter().flatten().for_each(|i| filled.inside[i] = 1);
        Ok(filled)
    }

    /// The pixels of each enclosed gap.
    fn gaps(&self) -> Result<Vec<Vec<usize>>> {
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let outside: Vec<u8> = self.inside.iter().map(|v| 1 - v).collect();
        let gaps = components(&outside, self.size.0, self.size.1)?;
        let mut pixels: Vec<Vec<usize>> = vec![Vec::new(); gaps.len() + 1];
        let mut open = vec![false; gaps.len() + 1];
        open[0] = true; // the mask itself
        for (i, &label) in gaps.labels.iter().enumerate() {
            let (x, y) = (i % width, i / width);
            pixels[label as usize].push(i);
            open[label as usize] |= x == 0 || y == 0 || x + 1 == width || y + 1 == height;
        }
        Ok(pixels.into_iter().zip(open).filter_map(|(pixels, open)| (!open).then_some(pixels)).collect())
    }

    fn at(&self, (x, y): (u32, u32)) -> Option<usize> {
        (x < self.size.0 && y < self.size.1).then(|| y as usize * self.size.0 as usize + x as usize)
    }

    /// The connected parts that the clicks are on; empty where one is on none, or where one of `not` is on such a part.
    pub fn clicked(&self, on: &[(u32, u32)], not: &[(u32, u32)]) -> Result<Self> {
        let parts = components(&self.inside, self.size.0, self.size.1)?;
        let label = |&click: &(u32, u32)| self.at(click).map_or(0, |i| parts.labels[i]);
        let meant: HashSet<u32> = on.iter().map(label).collect();
        let none = meant.contains(&0) || not.iter().any(|click| meant.contains(&label(click)));
        let inside = parts.labels.iter().map(|label| u8::from(!none && meant.contains(label))).collect();
        Ok(Self { inside, size: self.size })
    }
}

/// Intersection over union; 0 of two empty masks.
pub(super) fn iou(a: &Shape, b: &Shape) -> f64 {
    let (both, any) = a.inside.iter().zip(&b.inside).fold((0u64, 0u64), |(both, any), (&a, &b)| {
        (both + u64::from(a & b), any + u64::from(a | b)) //
    });
    both as f64 / any.max(1) as f64
}

/// How much of `a` lies in `b`; 0 of an empty mask.
pub(super) fn share(a: &Shape, b: &Shape) -> f64 {
    let (both, all) = a.inside.iter().zip(&b.inside).fold((0u64, 0u64), |(both, all), (&a, &b)| {
        (both + u64::from(a & b), all + u64::from(a)) //
    });
    both as f64 / all.max(1) as f64
}

/// Where the second stage's answer counts: the coarse mask, and the gaps in it that `map` fills with certainty; where both stages
/// show the same object (`same`) also every connected part of what is `seen` that lies in the coarse mask's outline for the most part.
/// Nothing with one of the clicks `not` in it is added.
pub(super) fn support(coarse: &Shape, map: &[f32], seen: &Shape, same: bool, not: &[(u32, u32)]) -> Result<Shape> {
    let mut support = coarse.clone();
    let excluded: HashSet<usize> = not.iter().filter_map(|&click| coarse.at(click)).collect();
    if same {
        let outline = coarse.filled()?;
        let parts = components(&seen.inside, seen.size.0, seen.size.1)?;
        let mut covered = vec![0u64; parts.len() + 1];
        for (&label, &inside) in parts.labels.iter().zip(&outline.inside) {
            covered[label as usize] += u64::from(inside);
        }
        let areas = std::iter::once(&u32::MAX).chain(&parts.areas);
        let mut ours: Vec<bool> = areas.zip(covered).map(|(&area, covered)| 2 * covered > u64::from(area)).collect();
        ours[0] = false; // what is not seen
        excluded.iter().for_each(|&i| ours[parts.labels[i] as usize] = false);
        for (inside, &label) in support.inside.iter_mut().zip(&parts.labels) {
            *inside |= u8::from(ours[label as usize]);
        }
    }
    for gap in support.gaps()? {
        let sum: f64 = gap.iter().map(|&i| f64::from(map[i])).sum();
        if sum >= CERTAIN * gap.len() as f64 && !gap.iter().any(|i| excluded.contains(i)) {
            gap.into_iter().for_each(|i| support.inside[i] = 1);
        }
    }
    Ok(support)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of `#` (inside) and anything else.
    fn shape(rows: &[&str]) -> Shape {
        let inside: Vec<u8> = rows.iter().flat_map(|row| row.bytes().map(|b| u8::from(b == b'#'))).collect();
        Shape { inside, size: (rows[0].len() as u32, rows.len() as u32) }
    }

    /// Digits are tenths, `#` is 1, anything else 0.
    fn map(rows: &[&str]) -> Vec<f32> {
        let value = |b: u8| match b {
            b'#' => 1.,
            b'0'..=b'9' => f32::from(b - b'0') / 10.,
            _ => 0.,
        };
        rows.iter().flat_map(|row| row.bytes().map(value)).collect()
    }

    #[test]
    fn an_outline_has_what_it_encloses_and_no_more() {
        let ring = shape(&[".......", ".###.##", ".#.#.#.", ".###.##", "......."]);
        assert_eq!(ring.filled().unwrap(), shape(&[".......", ".###.##", ".###.#.", ".###.##", "......."]));
        // with neighbours across corners counted, the gap is open here
        let corner = shape(&[".....", ".##..", ".#.#.", ".###.", "....."]);
        assert_eq!(corner.filled().unwrap(), corner);
        assert_eq!(Shape::new(&[0; 6], (3, 2)).filled().unwrap().inside, [0; 6]);
    }

    #[test]
    fn how_much_masks_agree() {
        let (a, b) = (shape(&["##..", "##.."]), shape(&[".##.", ".##."]));
        assert_eq!(iou(&a, &b), 2. / 6.);
        assert_eq!((share(&a, &b), share(&a, &a)), (0.5, 1.));
        let none = shape(&["....", "...."]);
        assert_eq!((iou(&none, &none), share(&none, &a), iou(&none, &a)), (0., 0., 0.));
        assert_eq!(a.clone().within([1, 0, 4, 1]), shape(&[".#..", "...."]));
    }

    #[test]
    fn the_parts_that_are_clicked_on() {
        let two = shape(&["##..#", "##..#", "....#"]);
        assert_eq!(two.clicked(&[(0, 1)], &[]).unwrap(), shape(&["##...", "##...", "....."]));
        assert_eq!(two.clicked(&[(0, 1), (4, 2)], &[(2, 0)]).unwrap(), two);
        for (on, not) in [(&[(2, 0)][..], &[][..]), (&[(0, 1), (2, 2)], &[]), (&[(0, 1)], &[(1, 0)]), (&[(9, 1)], &[])]
        {
            assert_eq!(two.clicked(on, not).unwrap().inside, [0; 15], "{on:?} {not:?}");
        }
    }

    #[test]
    fn gaps_that_are_surely_filled_belong_to_the_object() {
        let coarse = shape(&[".........", ".#######.", ".#..#..#.", ".#..#..#.", ".#######.", "........."]);
        let sure = map(&["#........", ".#######.", ".##9#65#.", ".##9#56#.", ".#######.", "........."]);
        let left = shape(&[".........", ".#######.", ".####..#.", ".####..#.", ".#######.", "........."]);
        assert_eq!(support(&coarse, &sure, &Shape::seen(&sure, coarse.size), false, &[]).unwrap(), left);
        assert_eq!(
            support(&coarse, &sure, &Shape::seen(&sure, coarse.size), false, &[(2, 2)]).unwrap(),
            coarse,
            "a click says that it is not"
        );
    }

    #[test]
    fn parts_count_as_a_whole_where_both_stages_show_the_same_object() {
        // one part reaches beyond the coarse mask, one lies mostly beside it
        let coarse = shape(&["####....", "####....", "........"]);
        let map = map(&["#####...", "........", "..######"]);
        assert_eq!(support(&coarse, &map, &Shape::seen(&map, coarse.size), false, &[]).unwrap(), coarse);
        let whole = shape(&["#####...", "####....", "........"]);
        assert_eq!(support(&coarse, &map, &Shape::seen(&map, coarse.size), true, &[]).unwrap(), whole);
        assert_eq!(support(&coarse, &map, &Shape::seen(&map, coarse.size), true, &[(4, 0)]).unwrap(), coarse);
    }
}
