use crate::training::procedural::fill::fill;
use crate::training::procedural::path::{Path, Point, round};
use crate::training::{Dice, Place};

/// The same by 64 x 64 points in each pixel, of the outline with its corners on eighths.
fn sampled(path: &Path, (width, height): (u32, u32)) -> Vec<f64> {
    let snapped = |p: &Point| [p[0], (p[1] * 8.).round() / 8.];
    let mut levels = vec![0.; (width * height) as usize];
    for line in 0..height * 64 {
        let y = (f64::from(line) + 0.5) / 64.;
        let mut crossings: Vec<(f64, i32)> = Vec::new();
        for contour in path.contours() {
            for (p, q) in contour.iter().zip(contour.iter().cycle().skip(1)) {
                let (p, q) = (snapped(p), snapped(q));
                if (p[1] <= y) != (q[1] <= y) {
                    let x = p[0] + (y - p[1]) / (q[1] - p[1]) * (q[0] - p[0]);
                    crossings.push((x, if p[1] <= y { 1 } else { -1 }));
                }
            }
        }
        for column in 0..width * 64 {
            let x = (f64::from(column) + 0.5) / 64.;
            let winding: i32 = crossings.iter().filter(|c| c.0 <= x).map(|c| c.1).sum();
            levels[(line / 64 * width + column / 64) as usize] += f64::from(u8::from(winding != 0)) / 4096.;
        }
    }
    levels
}

#[test]
fn areas_are_those_of_many_samples() {
    let size = (24, 20);
    let mut dice = Dice::new(Place { seed: 3, epoch: 0, index: 0 }, "fill");
    for case in 0..6 {
        let mut path = Path::default();
        let mut point = || [dice.between(-6., 30.), dice.between(-6., 26.)];
        // lines thinner and thicker than a pixel that cross each other and the borders, a triangle, a ring
        for width in [0.6, 1., 1.7, 3.] {
            path.line(&[point(), point(), point()], width);
        }
        path.area(vec![point(), point(), point()]);
        let centre = point();
        path.area(round(centre, 7.));
        path.hole(round(centre, 5.));
        let covered = fill(&path, size).unwrap();
        let expected = sampled(&path, size);
        let mut worst = 0f64;
        let mut sum = 0f64;
        for (i, expected) in expected.iter().enumerate() {
            let (x, y) = (i as i64 % 24, i as i64 / 24);
            let apart = (f64::from(covered.at(x, y)) / 255. - expected).abs();
            worst = worst.max(apart);
            sum += apart;
        }
        // half a level of rounding, the samples' own error, and crossings within a quarter of a band
        assert!(worst < 0.03 && sum / 480. < 0.002, "case {case}: {worst} {}", sum / 480.);
    }
}

#[test]
fn areas_of_plain_shapes_are_exact() {
    let mut path = Path::default();
    path.area(vec![[1.25, 1.5], [4.75, 1.5], [4.75, 3.25], [1.25, 3.25]]);
    let covered = fill(&path, (6, 5)).unwrap();
    assert_eq!((covered.left, covered.top, covered.width, covered.height), (1, 1, 4, 3));
    assert_eq!(covered.row(0), [96, 128, 128, 96]);
    assert_eq!(covered.row(1), [191, 255, 255, 191]);
    assert_eq!(covered.row(2), [48, 64, 64, 48]);
    let mut disc = Path::default();
    disc.disc([40., 40.], 30.);
    let area = fill(&disc, (80, 80)).unwrap().levels.iter().map(|v| f64::from(*v)).sum::<f64>() / 255.;
    assert!((area / (std::f64::consts::PI * 900.) - 1.).abs() < 0.005, "{area}");
    let mut outside = Path::default();
    outside.disc([-50., 10.], 20.);
    assert_eq!(fill(&outside, (20, 20)), None);
    assert_eq!(fill(&Path::default(), (20, 20)), None);
}
