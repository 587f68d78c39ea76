//! Where points of a picture go.

use crate::training::ExamplePrompt;

/// An affine map of a picture's plane, in which pixel 0 reaches from 0 to 1: `x' = a·x + b·y + c`, `y' = d·x + e·y + f`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Map(pub [f64; 6]);

impl Map {
    pub fn scale(x: f64, y: f64) -> Self {
        Self([x, 0., 0., 0., y, 0.])
    }

    pub fn shift(x: f64, y: f64) -> Self {
        Self([1., 0., x, 0., 1., y])
    }

    pub fn point(&self, x: f64, y: f64) -> (f64, f64) {
        let [a, b, c, d, e, f] = self.0;
        (a * x + b * y + c, d * x + e * y + f)
    }

    /// The way back; `None` where all points fall on a line.
    pub fn inverse(&self) -> Option<Self> {
        let [a, b, c, d, e, f] = self.0;
        let det = a * e - b * d;
        (det.abs() > 1e-12)
            .then(|| Self([e / det, -b / det, (b * f - e * c) / det, -d / det, a / det, (d * c - a * f) / det]))
    }
}

/// Moves clicks and bounds; what falls off a picture of `size` is left out or cut.
pub(super) fn follow(prompt: &mut ExamplePrompt, map: &Map, (width, height): (u32, u32)) {
    let (w, h) = (f64::from(width), f64::from(height));
    for click in &mut prompt.clicks {
        let (x, y) = map.point(f64::from(click.0) + 0.5, f64::from(click.1) + 0.5);
        (click.0, click.1) = ((x - 0.5) as f32, (y - 0.5) as f32);
    }
    prompt
        .clicks
        .retain(|(x, y, _)| (-0.5..w - 0.5).contains(&f64::from(*x)) && (-0.5..h - 0.5).contains(&f64::from(*y)));
    prompt.bounds = prompt.bounds.and_then(|bounds| {
        let [x0, y0, x1, y1] = bounds.map(f64::from);
        let corners = [(x0, y0), (x1 + 1., y0), (x0, y1 + 1.), (x1 + 1., y1 + 1.)].map(|(x, y)| map.point(x, y));
        let least = |of: fn(&(f64, f64)) -> f64| corners.iter().map(of).fold(f64::INFINITY, f64::min).max(0.);
        let most =
            |of: fn(&(f64, f64)) -> f64, end: f64| corners.iter().map(of).fold(f64::NEG_INFINITY, f64::max).min(end);
        let (left, top, right, bottom) = (least(|c| c.0), least(|c| c.1), most(|c| c.0, w), most(|c| c.1, h));
        (left < right && top < bottom)
            .then(|| [left, top, (right - 1.).max(left), (bottom - 1.).max(top)].map(|v| v as f32))
    });
}
