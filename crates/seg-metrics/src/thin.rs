//! Thinning to a skeleton, equal to scikit-image's `skeletonize`: a table-driven variant of Zhang and Suen's method
//! ("A fast parallel algorithm for thinning digital patterns", 1984).
//!
//! The mask is held in tiles of 8x8 pixels, one word each. Whole-word logic finds a tile's border pixels, the table
//! decides on those, and only tiles in whose neighbourhood something has changed are looked at again: the work grows
//! with the number of foreground pixels, not with that of passes times the image.

use crate::bits::BitMask;

/// Bits of neighbours in a neighbourhood code, which goes clockwise from the upper left (1).
const N: u8 = 2;
const E: u8 = 8;
const S: u8 = 32;
const W: u8 = 128;

/// scikit-image's table differs from the textbook rule in these neighbourhood codes: the passes in which such a pixel is
/// removed, and the codes.
const EXCEPTIONS: [(u8, &[u8]); 4] = [
    (0, &[48, 129]),
    (FIRST, &[3, 6, 11, 12, 14, 131, 134, 161, 194, 198]),
    (SECOND, &[24, 26, 56, 96, 104, 108, 176, 192, 224]),
    (FIRST | SECOND, &[10, 40, 130, 160]),
];
const FIRST: u8 = 1;
const SECOND: u8 = 2;

/// For the nine bits of a 3x3 window, row by row from the upper left: the passes in which its centre is removed.
static REMOVED_IN: [u8; 512] = by_window(by_code());

/// Zhang and Suen's rule with the exceptions, by neighbourhood code.
const fn by_code() -> [u8; 256] {
    let mut table = [0; 256];
    let mut code = 0usize;
    while code < 256 {
        let c = code as u8;
        // neighbours, and changes from clear to set around the ring
        let (set, rises) = (c.count_ones(), (!c & c.rotate_right(1)).count_ones());
        if set >= 2 && set <= 6 && rises == 1 {
            if c & (N | E | S) != N | E | S && c & (E | S | W) != E | S | W {
                table[code] |= FIRST;
            }
            if c & (N | E | W) != N | E | W && c & (N | S | W) != N | S | W {
                table[code] |= SECOND;
            }
        }
        code += 1;
    }
    let mut i = 0;
    while i < EXCEPTIONS.len() {
        let ((passes, codes), mut k) = (EXCEPTIONS[i], 0);
        while k < codes.len() {
            table[codes[k] as usize] = passes;
            k += 1;
        }
        i += 1;
    }
    table
}

const fn by_window(codes: [u8; 256]) -> [u8; 512] {
    // where the bits of the window stand in the code; the centre is left out
    let shift = [0, 1, 2, 7, 8, 3, 6, 5, 4];
    let mut table = [0; 512];
    let mut window = 0;
    while window < 512 {
        let (mut code, mut bit) = (0, 0);
        while bit < 9 {
            code |= (window >> bit & 1) << shift[bit];
            bit += 1;
        }
        if window >> 4 & 1 == 1 {
            table[window] = codes[code & 255];
        }
        window += 1;
    }
    table
}

/// The skeleton of a mask.
pub fn thin(mask: &BitMask) -> BitMask {
    let mut tiles = Tiles::new(mask);
    // the tiles to look at in the first and in the second pass
    let all: Vec<u32> = (0..tiles.words.len() as u32).filter(|&t| tiles.words[t as usize] != 0).collect();
    let mut waiting = [all.clone(), all];
    let mut marks: Vec<u8> = tiles.words.iter().map(|&w| if w == 0 { 0 } else { FIRST | SECOND }).collect();
    let (mut now, mut removals) = (Vec::new(), Vec::new());
    let mut pass = 0;
    while waiting.iter().any(|w| !w.is_empty()) {
        let bit = [FIRST, SECOND][pass];
        std::mem::swap(&mut now, &mut waiting[pass]);
        for &t in &now {
            marks[t as usize] &= !bit;
            let removed = tiles.removable(t as usize, bit);
            if removed != 0 {
                removals.push((t, removed));
            }
        }
        now.clear();
        for &(t, removed) in &removals {
            tiles.words[t as usize] &= !removed;
        }
        for (t, removed) in removals.drain(..) {
            tiles.for_each_concerned(t as usize, removed, |t| {
                if tiles.words[t] == 0 {
                    return;
                }
                for (list, bit) in waiting.iter_mut().zip([FIRST, SECOND]) {
                    if marks[t] & bit == 0 {
                        marks[t] |= bit;
                        list.push(t as u32);
                    }
                }
            });
        }
        pass ^= 1;
    }
    tiles.into_mask(mask)
}

const TOP: u64 = 0xff;
const LEFT: u64 = 0x0101_0101_0101_0101;
const RIGHT: u64 = LEFT << 7;

/// A mask in tiles of 8x8 pixels, bit `8 row + column`, with a frame of empty tiles.
struct Tiles {
    /// Tiles in a row, with the frame.
    stride: usize,
    words: Vec<u64>,
}

impl Tiles {
    fn new(mask: &BitMask) -> Self {
        let (stride, rows) = (8 * mask.stride() + 2, mask.height().div_ceil(8) + 2);
        let mut words = vec![0u64; stride * rows];
        for y in 0..mask.height() {
            let tiles = &mut words[(y / 8 + 1) * stride + 1..][..stride - 2];
            for (tiles, &word) in tiles.chunks_exact_mut(8).zip(mask.row(y)) {
                for (tile, byte) in tiles.iter_mut().zip(word.to_le_bytes()) {
                    *tile |= u64::from(byte) << (8 * (y % 8));
                }
            }
        }
        Self { stride, words }
    }

    fn into_mask(self, like: &BitMask) -> BitMask {
        let mut mask = BitMask::new(like.width(), like.height());
        let stride = mask.stride();
        for (y, row) in mask.words_mut().chunks_exact_mut(stride).enumerate() {
            let tiles = &self.words[(y / 8 + 1) * self.stride + 1..][..self.stride - 2];
            for (tiles, word) in tiles.chunks_exact(8).zip(row) {
                let mut bytes = [0; 8];
                bytes.iter_mut().zip(tiles).for_each(|(b, tile)| *b = (tile >> (8 * (y % 8))) as u8);
                *word = u64::from_le_bytes(bytes);
            }
        }
        mask
    }

    /// The pixels of tile `t` that this pass removes.
    fn removable(&self, t: usize, pass: u8) -> u64 {
        let tile = self.words[t];
        let (above, below) = (t - self.stride, t + self.stride);
        let (north, south) = (self.words[above], self.words[below]);
        let (west, east) = (self.words[t - 1], self.words[t + 1]);
        // no pixel with four set neighbours is ever removed
        let border = tile
            & !((tile << 8 | north >> 56)
                & (tile >> 8 | south << 56)
                & ((tile & !RIGHT) << 1 | west >> 7 & LEFT)
                & ((tile & !LEFT) >> 1 | east << 7 & RIGHT));
        if border == 0 {
            return 0;
        }
        // ten rows of ten pixels
        let mut rows = [0u64; 10];
        rows[0] = self.words[above - 1] >> 63 | north >> 56 << 1 | (self.words[above + 1] >> 56 & 1) << 9;
        rows[9] = self.words[below - 1] >> 7 & 1 | (south & TOP) << 1 | (self.words[below + 1] & 1) << 9;
        for (r, row) in rows[1..9].iter_mut().enumerate() {
            let r = 8 * r;
            *row = west >> (r + 7) & 1 | (tile >> r & TOP) << 1 | (east >> r & 1) << 9;
        }
        let (mut left, mut removed) = (border, 0);
        while left != 0 {
            let bit = left.trailing_zeros() as usize;
            let (r, c) = (bit / 8, bit % 8);
            let window = rows[r] >> c & 7 | (rows[r + 1] >> c & 7) << 3 | (rows[r + 2] >> c & 7) << 6;
            removed |= u64::from(REMOVED_IN[window as usize] & pass != 0) << bit;
            left &= left - 1;
        }
        removed
    }

    /// The tiles with pixels whose neighbourhood has changed when these were removed from tile `t`.
    fn for_each_concerned(&self, t: usize, removed: u64, mut f: impl FnMut(usize)) {
        let (top, bottom) = (removed & TOP != 0, removed >> 56 != 0);
        let (left, right) = (removed & LEFT != 0, removed & RIGHT != 0);
        f(t);
        for (concerned, at) in [
            (top, t - self.stride),
            (bottom, t + self.stride),
            (left, t - 1),
            (right, t + 1),
            (removed & 1 != 0, t - self.stride - 1),
            (removed >> 7 & 1 != 0, t - self.stride + 1),
            (removed >> 56 & 1 != 0, t + self.stride - 1),
            (removed >> 63 != 0, t + self.stride + 1),
        ] {
            if concerned {
                f(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plane;

    fn from_rows(rows: &[&str]) -> BitMask {
        let data: Vec<u8> = rows.iter().flat_map(|r| r.bytes()).map(|b| u8::from(b == b'#')).collect();
        BitMask::above(Plane::new(&data, rows[0].len(), rows.len()).unwrap(), 0)
    }

    /// Two passes over the whole image until nothing changes.
    fn by_definition(mask: &BitMask) -> BitMask {
        let codes = by_code();
        let mut mask = mask.clone();
        loop {
            let before = mask.clone();
            for pass in [FIRST, SECOND] {
                let old = mask.clone();
                for (y, start, end) in old.runs() {
                    for x in start..end {
                        let ring = [(-1, -1), (0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0)];
                        let code: usize = (ring.iter().enumerate())
                            .map(|(i, (dx, dy))| usize::from(old.get(x as isize + dx, y as isize + dy)) << i)
                            .sum();
                        if codes[code] & pass != 0 {
                            mask.clear(x, y);
                        }
                    }
                }
            }
            if mask == before {
                return mask;
            }
        }
    }

    #[test]
    fn tiles_equal_whole_passes() {
        let mut seed = 1u64;
        for (width, height) in [(1, 1), (8, 8), (65, 9), (7, 70), (130, 61), (200, 100)] {
            for blur in [1, 3, 12] {
                // blocks of random values: noise, and shapes of some thickness
                let data: Vec<u8> = (0..height * width)
                    .map(|i| {
                        let (x, y) = ((i % width) / blur, (i / width) / blur);
                        seed = (x * 7919 + y * 104_729 + blur) as u64;
                        seed = (seed ^ (seed >> 7)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                        u8::from(seed >> 40 & 3 != 0)
                    })
                    .collect();
                let mask = BitMask::above(Plane::new(&data, width, height).unwrap(), 0);
                assert_eq!(thin(&mask), by_definition(&mask), "{width}x{height}, blocks of {blur}");
            }
        }
    }

    /// What scikit-image 0.25.2 gives.
    #[test]
    fn equals_skimage() {
        let mask = from_rows(&[
            "..##.........#####...#############....#.",
            ".######......####....#####.#######....##",
            "######.......###....####################",
            "######..............####################",
            "######....###.......####################",
            "#..###...#####.....##..###..############",
            "....####.####......##....##..###########",
            "....########......###.....#...##########",
            ".......####.......###.....##..##....###.",
            "############.......#......###.#.....###.",
            "#..#########........................###.",
            "...#########.......................#####",
            "...#########........#####.....##########",
            "...#########........#####.....##########",
        ]);
        let skeleton = from_rows(&[
            "...............###........#...........#.",
            ".....##......##..........#.#..........#.",
            "...##.................#########.......#.",
            ".##.#................#...#.....#.....#..",
            "....#...............#....#.....#######..",
            "....#......#........#....#.....#.....#..",
            ".....##...#........#.....#.....#.....#..",
            ".......#..#........#......#...#......#..",
            "........##.........#......#...#......#..",
            ".###.....#.................##........#..",
            "....#....#...........................#..",
            ".....####............................#..",
            "....................#####.....#########.",
            "........................................",
        ]);
        assert_eq!(thin(&mask), skeleton);
    }
}
