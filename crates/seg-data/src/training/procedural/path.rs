//! Outlines: closed polygons in pixels, filled together wherever their windings do not add up to zero.

use std::f64::consts::TAU;

/// x to the right, y down, in pixels from the picture's upper left corner.
pub(super) type Point = [f64; 2];

/// What is inside of any of its areas, less the holes cut out of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    contours: Vec<Vec<Point>>,
}

impl Path {
    /// A polygon's inside, whichever way round its points go.
    pub fn area(&mut self, mut points: Vec<Point>) {
        if doubled_area(&points) < 0. {
            points.reverse();
        }
        self.contours.push(points);
    }

    /// A hole in one area that lies around it.
    pub fn hole(&mut self, mut points: Vec<Point>) {
        if doubled_area(&points) > 0. {
            points.reverse();
        }
        self.contours.push(points);
    }

    pub fn disc(&mut self, centre: Point, radius: f64) {
        self.area(round(centre, radius));
    }

    /// A band along a smooth line; `width` tells its width at 0 (begin) to 1 (end).
    pub fn stroke(&mut self, line: &[Point], width: impl Fn(f64) -> f64) {
        if line.len() < 2 {
            return;
        }
        let last = line.len() - 1;
        let (mut there, mut back) = (Vec::with_capacity(2 * line.len()), Vec::with_capacity(line.len()));
        for (i, p) in line.iter().enumerate() {
            let (from, to) = (line[i.saturating_sub(1)], line[(i + 1).min(last)]);
            let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
            let half = width(i as f64 / last as f64) / 2. / dx.hypot(dy).max(1e-9);
            there.push([p[0] + dy * half, p[1] - dx * half]);
            back.push([p[0] - dy * half, p[1] + dx * half]);
        }
        there.extend(back.into_iter().rev());
        self.contours.push(there); // always this way round, even where it crosses itself
    }

    /// A band of one width along a line with corners, round at corners and ends.
    pub fn line(&mut self, line: &[Point], width: f64) {
        line.windows(2).for_each(|pair| self.stroke(pair, |_| width));
        if width > 1.2 {
            line.iter().for_each(|p| self.disc(*p, width / 2.));
        }
    }

    pub fn contours(&self) -> &[Vec<Point>] {
        &self.contours
    }
}

/// The corners of a circle, so many that it differs from one by less than a twentieth of a pixel.
pub(super) fn round(centre: Point, radius: f64) -> Vec<Point> {
    let corners = (8. + 10. * radius.max(0.).sqrt()) as usize;
    (0..corners).map(|i| polar(centre, radius, TAU * i as f64 / corners as f64)).collect()
}

pub(super) fn polar(centre: Point, radius: f64, angle: f64) -> Point {
    [centre[0] + radius * angle.cos(), centre[1] + radius * angle.sin()]
}

/// A smooth curve through points (Catmull-Rom), `steps` pieces between two of them.
pub(super) fn through(points: &[Point], steps: usize) -> Vec<Point> {
    let Some(last) = points.len().checked_sub(1) else { return Vec::new() };
    let mut curve = Vec::with_capacity(last * steps + 1);
    for i in 0..last {
        let [a, b, c, d] = [points[i.saturating_sub(1)], points[i], points[i + 1], points[(i + 2).min(last)]];
        for step in 0..steps {
            let t = step as f64 / steps as f64;
            let at = |k: usize| {
                let (p, q) = (c[k] - a[k], 2. * a[k] - 5. * b[k] + 4. * c[k] - d[k]);
                b[k] + 0.5 * t * (p + t * (q + t * (3. * (b[k] - c[k]) + d[k] - a[k])))
            };
            curve.push([at(0), at(1)]);
        }
    }
    curve.push(points[last]);
    curve
}

fn doubled_area(points: &[Point]) -> f64 {
    points.iter().zip(points.iter().cycle().skip(1)).map(|(p, q)| p[0] * q[1] - q[0] * p[1]).sum()
}
