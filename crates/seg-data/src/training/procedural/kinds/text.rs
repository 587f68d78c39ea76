//! Letters and digits as lines of a pen.

use super::Frame;
use crate::training::Dice;
use crate::training::procedural::path::{Path, Point};

/// Strokes on a grid of 5 x 7 points: digits in pairs, x (0 to 4) and y (0 to 6, downwards); `~` before a stroke that is bent, not broken.
const GLYPHS: [(char, &str); 36] = [
    ('A', "062046 1434"),
    ('B', "0600 ~003041423303 ~033344453606"),
    ('C', "~4130100105163645"),
    ('D', "0006 ~002042442606"),
    ('E', "40000646 0333"),
    ('F', "400006 0333"),
    ('G', "~4130100105163645 454323"),
    ('H', "0006 4046 0343"),
    ('I', "2026"),
    ('J', "~4045361605"),
    ('K', "0006 400346"),
    ('L', "000646"),
    ('M', "0600244046"),
    ('N', "06004640"),
    ('O', "~204046060020"),
    ('P', "0600 ~003041423303"),
    ('Q', "~204046060020 2446"),
    ('R', "0600 ~003041423303 2346"),
    ('S', "~413010010213334445361605"),
    ('T', "0040 2026"),
    ('U', "~000516364540"),
    ('V', "002640"),
    ('W', "0016233640"),
    ('X', "0046 4006"),
    ('Y', "002340 2326"),
    ('Z', "00400646"),
    ('0', "~204046060020 1531"),
    ('1', "112026 0646"),
    ('2', "~0110304142 420646"),
    ('3', "~01103041423313 ~13334445361605"),
    ('4', "36300444"),
    ('5', "400003 ~0312324345361605"),
    ('6', "~413010010516364544331304"),
    ('7', "004016"),
    ('8', "~200003434020 ~230306464323"),
    ('9', "~051636454110300102133342"),
];

pub(super) fn text(path: &mut Path, frame: &Frame, dice: &mut Dice) {
    let rows = 1 + dice.below(4) as usize;
    let letters = 2 + dice.below(if rows == 1 { 5 } else { 9 }) as usize;
    let slant = if dice.chance(0.3) { dice.between(0.1, 0.35) } else { 0. };
    // a letter with its gap is six steps wide, a row ten high
    let (wide, high) = (2. / (6. * letters as f64 - 2.), 2. / (9. * rows as f64 - 3.));
    // neither very broad nor very narrow
    let (across, down) = (wide * frame.half[0], high * frame.half[1]);
    let (wide, high) = (wide * (1.1 * down / across).min(1.), high * (2. * across / down).min(1.));
    let step = across.min(down);
    let middle = [3. * letters as f64 - 1., 4.5 * rows as f64 - 1.5];
    let bold = dice.chance(0.4);
    let width = if bold { step * dice.between(0.7, 1.4) } else { frame.width(dice).min(step * 1.2) };
    for row in 0..rows {
        let count = if row + 1 == rows { 1 + dice.below(letters as u64) as usize } else { letters };
        for column in 0..count.max(2.min(letters)) {
            if count > 3 && dice.chance(0.1) {
                continue; // between words
            }
            let Some((_, strokes)) = dice.pick(&GLYPHS) else { continue };
            let place = |[x, y]: Point| {
                let x = 6. * column as f64 + x + slant * (3. - y);
                frame.at([(x - middle[0]) * wide, (9. * row as f64 + y - middle[1]) * high])
            };
            for stroke in strokes.split(' ') {
                let line = pen(stroke);
                path.line(&line.into_iter().map(place).collect::<Vec<_>>(), width);
            }
        }
    }
}

/// The points of one stroke; corners of a bent one are cut twice (Chaikin).
fn pen(stroke: &str) -> Vec<Point> {
    let digits: Vec<f64> = stroke.chars().filter_map(|c| c.to_digit(10)).map(f64::from).collect();
    let mut line: Vec<Point> = digits.chunks_exact(2).map(|p| [p[0], p[1]]).collect();
    for _ in 0..if stroke.starts_with('~') { 3 } else { 0 } {
        let mut finer = vec![line[0]];
        for pair in line.windows(2) {
            let mix = |t: f64| [0, 1].map(|k| pair[0][k] + t * (pair[1][k] - pair[0][k]));
            finer.extend([mix(0.25), mix(0.75)]);
        }
        finer.push(line[line.len() - 1]);
        line = finer;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_glyph_lies_on_its_grid() {
        for (letter, strokes) in GLYPHS {
            for stroke in strokes.split(' ') {
                let digits = stroke.trim_start_matches('~');
                assert!(digits.len() >= 4 && digits.len().is_multiple_of(2), "{letter}: {stroke}");
                assert!(digits.bytes().step_by(2).all(|x| (b'0'..=b'4').contains(&x)), "{letter}: {stroke}");
                assert!(digits.bytes().skip(1).step_by(2).all(|y| (b'0'..=b'6').contains(&y)), "{letter}: {stroke}");
                assert!(pen(stroke).len() >= 2);
            }
        }
    }
}
