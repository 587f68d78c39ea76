//! Outlines of masks: along the edges of pixels, then with fewer points.

use std::collections::HashMap;

use seg_data::Rle;

/// A closed line.
pub struct Outline {
    /// x and y of corners; the first pixel reaches from 0 to 1.
    pub points: Vec<[f64; 2]>,
    /// Whether what is within it is outside of the mask.
    pub hole: bool,
}

/// Ways along the edges of pixels, in the order of a turn to the right.
const WAYS: [[i64; 2]; 4] = [[1, 0], [0, 1], [-1, 0], [0, -1]];

/// All outlines of a mask, off by `tolerance` pixels at most. Pixels that touch at a corner alone are apart.
pub fn outlines(rle: &Rle, tolerance: f64) -> Vec<Outline> {
    let [left, top, width, height] = rle.bbox().map(|v| v as usize);
    let mask = rle.decode();
    let stride = rle.dimensions().0 as usize;
    let inside = |x: i64, y: i64| {
        let within = (0..width as i64).contains(&x) && (0..height as i64).contains(&y);
        within && mask[(y as usize + top) * stride + x as usize + left] != 0
    };
    // each edge between inside and outside once, walked with the inside on the right: corner and way to walk
    let mut edges: HashMap<[i64; 2], Vec<usize>> = HashMap::new();
    let mut add = |corner: [i64; 2], way: usize| edges.entry(corner).or_default().push(way);
    for y in 0..height as i64 {
        for x in 0..width as i64 {
            if !inside(x, y) {
                continue;
            }
            for (way, (near, corner)) in
                [([x, y - 1], [x, y]), ([x + 1, y], [x + 1, y]), ([x, y + 1], [x + 1, y + 1]), ([x - 1, y], [x, y + 1])]
                    .into_iter()
                    .enumerate()
            {
                if !inside(near[0], near[1]) {
                    add(corner, way);
                }
            }
        }
    }
    let mut starts: Vec<[i64; 2]> = edges.keys().copied().collect();
    starts.sort_unstable_by_key(|[x, y]| (*y, *x));
    let mut found = Vec::new();
    for start in starts {
        while let Some(way) = edges.get_mut(&start).and_then(Vec::pop) {
            let ring = walk(start, way, &mut edges);
            let hole = doubled_area(&ring) < 0;
            let ring = ring.into_iter().map(|[x, y]| [(x + left as i64) as f64, (y + top as i64) as f64]).collect();
            let points = simplified(ring, tolerance);
            if points.len() >= 3 {
                found.push(Outline { points, hole });
            }
        }
    }
    found
}

/// The corners of one ring; its edges are taken out.
fn walk(start: [i64; 2], first: usize, edges: &mut HashMap<[i64; 2], Vec<usize>>) -> Vec<[i64; 2]> {
    let (mut ring, mut at, mut way) = (vec![start], start, first);
    loop {
        at = [at[0] + WAYS[way][0], at[1] + WAYS[way][1]];
        if at == start {
            break;
        }
        let Some(ways) = edges.get_mut(&at) else { break };
        // where two pixels touch at a corner, the turn to the right stays with the same pixel
        let best = (0..ways.len()).min_by_key(|i| [1, 0, 3, 2].iter().position(|turn| (way + turn) % 4 == ways[*i]));
        let Some(next) = best.map(|i| ways.swap_remove(i)) else { break };
        if next != way {
            ring.push(at);
        }
        way = next;
    }
    // the start need not be a corner
    if way == first && ring.len() > 1 {
        ring.remove(0);
    }
    ring
}

/// Twice the area within, positive for a walk with the inside on the right (y goes down).
fn doubled_area(ring: &[[i64; 2]]) -> i64 {
    let next = ring.iter().cycle().skip(1);
    ring.iter().zip(next).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum()
}

/// With fewer points, none of those left out farther away than `tolerance` (Ramer, Douglas and Peucker).
fn simplified(ring: Vec<[f64; 2]>, tolerance: f64) -> Vec<[f64; 2]> {
    if tolerance <= 0.0 || ring.len() <= 4 {
        return ring;
    }
    // a ring is two lines between its first corner and the one farthest from it
    let far = (0..ring.len()).max_by(|a, b| apart(ring[0], ring[*a]).total_cmp(&apart(ring[0], ring[*b]))).unwrap_or(0);
    let mut keep = vec![false; ring.len()];
    (keep[0], keep[far]) = (true, true);
    let mut lines = vec![(0, far), (far, ring.len())];
    while let Some((from, to)) = lines.pop() {
        let (a, b) = (ring[from], ring[to % ring.len()]);
        let farthest = (from + 1..to).map(|i| (i, off(ring[i], a, b))).max_by(|x, y| x.1.total_cmp(&y.1));
        if let Some((at, distance)) = farthest
            && distance > tolerance
        {
            keep[at] = true;
            lines.extend([(from, at), (at, to)]);
        }
    }
    ring.into_iter().zip(keep).filter_map(|(point, keep)| keep.then_some(point)).collect()
}

fn apart(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// How far a point is from a stretch of line.
fn off(point: [f64; 2], a: [f64; 2], b: [f64; 2]) -> f64 {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let length = dx * dx + dy * dy;
    let t = if length == 0.0 { 0.0 } else { ((point[0] - a[0]) * dx + (point[1] - a[1]) * dy) / length };
    let t = t.clamp(0.0, 1.0);
    apart(point, [a[0] + t * dx, a[1] + t * dy])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Rle {
        let bytes: Vec<u8> = rows.iter().flat_map(|row| row.bytes().map(|b| u8::from(b == b'#'))).collect();
        Rle::encode(&bytes, rows[0].len() as u32, rows.len() as u32).unwrap()
    }

    /// Rings filled and holes taken out again.
    fn filled(outlines: &[Outline], (width, height): (u32, u32)) -> Vec<u8> {
        let mut all = vec![0u8; width as usize * height as usize];
        for Outline { points, .. } in outlines {
            for y in 0..height {
                for x in 0..width {
                    let (px, py) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
                    let ends = points.iter().zip(points.iter().cycle().skip(1));
                    let crossed = ends.filter(|(a, b)| {
                        (a[1] > py) != (b[1] > py) && px < a[0] + (py - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
                    });
                    all[(y * width + x) as usize] ^= (crossed.count() % 2) as u8;
                }
            }
        }
        all
    }

    #[test]
    fn outlines_fill_to_the_mask() {
        for rows in [
            &["....", ".##.", ".##.", "...."][..],
            &["#####", "#...#", "#.#.#", "#...#", "#####"],
            &["#..", ".#.", "..#"],
            &["##", "##"],
            &["#.#", ".#.", "#.#"],
            &["###", "#.#", "##."],
        ] {
            let rle = mask(rows);
            let found = outlines(&rle, 0.0);
            assert_eq!(filled(&found, rle.dimensions()), rle.decode(), "{rows:?}");
        }
    }

    #[test]
    fn holes_are_told_from_rings_and_pieces_are_apart() {
        let kinds = |rows: &[&str]| outlines(&mask(rows), 0.0).iter().map(|o| o.hole).collect::<Vec<_>>();
        assert_eq!(kinds(&["###", "#.#", "###"]), [false, true]);
        assert_eq!(kinds(&["#.", ".#"]), [false, false]);
        let square = &outlines(&mask(&["...", ".#."]), 0.0)[0].points;
        assert_eq!(square, &[[1., 1.], [2., 1.], [2., 2.], [1., 2.]]);
    }

    #[test]
    fn tolerance_leaves_points_out() {
        let rows: Vec<String> = (0..40).map(|y| (0..40).map(|x| if x <= y { '#' } else { '.' }).collect()).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let rle = mask(&rows);
        assert!(outlines(&rle, 0.0)[0].points.len() > 70);
        assert!(outlines(&rle, 1.0)[0].points.len() <= 5);
    }
}
