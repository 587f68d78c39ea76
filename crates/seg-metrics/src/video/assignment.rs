//! The assignment of proposals to objects that has the highest sum of scores.

/// For each row of the `rows x columns` matrix (row-major, `rows <= columns`), the column it is assigned; no column
/// twice, and the sum of the scores is the highest there is.
///
/// The Hungarian method with shortest augmenting paths (Jonker and Volgenant, 1987).
///
/// # Panics
/// When there are more rows than columns, or the matrix has another size.
pub fn assign(scores: &[f64], rows: usize, columns: usize) -> Vec<usize> {
    assert!(rows <= columns, "{rows} rows cannot have different ones of {columns} columns");
    assert_eq!(scores.len(), rows * columns, "the matrix has another size");
    // potentials; row and column 0 are outside the matrix
    let (mut u, mut v) = (vec![0.; rows + 1], vec![0.; columns + 1]);
    // the row of each column, 0 for none
    let mut row_of = vec![0; columns + 1];
    for row in 1..=rows {
        row_of[0] = row;
        let mut column = 0;
        let mut least = vec![f64::INFINITY; columns + 1];
        let mut before = vec![0; columns + 1];
        let mut done = vec![false; columns + 1];
        // grow the tree of shortest paths until it reaches a free column
        while row_of[column] != 0 {
            done[column] = true;
            let r = row_of[column];
            let (mut step, mut next) = (f64::INFINITY, 0);
            for c in 1..=columns {
                if done[c] {
                    continue;
                }
                let reduced = -scores[(r - 1) * columns + c - 1] - u[r] - v[c];
                if reduced < least[c] {
                    (least[c], before[c]) = (reduced, column);
                }
                if least[c] < step || next == 0 {
                    (step, next) = (least[c], c);
                }
            }
            for c in 0..=columns {
                if done[c] {
                    u[row_of[c]] += step;
                    v[c] -= step;
                } else {
                    least[c] -= step;
                }
            }
            column = next;
        }
        // turn the path around
        while column != 0 {
            row_of[column] = row_of[before[column]];
            column = before[column];
        }
    }
    let mut assigned = vec![0; rows];
    for (column, &row) in row_of.iter().enumerate().skip(1) {
        if row != 0 {
            assigned[row - 1] = column - 1;
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The best sum over all assignments of the rows from `row` on.
    fn best(scores: &[f64], columns: usize, row: usize, taken: u32) -> f64 {
        if row * columns == scores.len() {
            return 0.;
        }
        (0..columns)
            .filter(|c| taken >> c & 1 == 0)
            .map(|c| scores[row * columns + c] + best(scores, columns, row + 1, taken | 1 << c))
            .fold(f64::NEG_INFINITY, f64::max)
    }

    #[test]
    fn sum_is_the_highest() {
        let mut s = 11u64;
        for (rows, columns) in [(1, 1), (2, 2), (3, 5), (5, 5), (6, 7)] {
            for _ in 0..50 {
                let scores: Vec<f64> = (0..rows * columns)
                    .map(|_| {
                        s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                        // few values, so that there are ties
                        f64::from((s >> 60) as u8) / 16.
                    })
                    .collect();
                let assigned = assign(&scores, rows, columns);
                let sum: f64 = assigned.iter().enumerate().map(|(r, c)| scores[r * columns + c]).sum();
                assert!((sum - best(&scores, columns, 0, 0)).abs() < 1e-12, "{scores:?}: {assigned:?}");
                let mut columns_used = assigned.clone();
                columns_used.sort_unstable();
                columns_used.dedup();
                assert_eq!(columns_used.len(), rows);
            }
        }
    }
}
