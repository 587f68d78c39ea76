//! One operation at one shape, `NAME key=value …` as in `shapes.txt`, and the tensors it takes.

use candle_core::{Device, Result, Tensor};
use seg_ops::Layout;
use std::collections::HashMap;

pub struct Spec {
    pub op: String,
    values: HashMap<String, String>,
}

impl Spec {
    /// Anything that is not `key=value` is left out.
    pub fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let op = words.next().unwrap_or_default().to_owned();
        let values = words.filter_map(|w| w.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        Self { op, values }
    }

    /// A whole number; 0 where it is not given.
    pub fn get(&self, key: &str) -> usize {
        self.values.get(key).and_then(|v| v.parse().ok()).unwrap_or(0)
    }

    pub fn text(&self, key: &str) -> &str {
        self.values.get(key).map_or("", String::as_str)
    }

    #[allow(dead_code)] // the example times whole shapes
    pub fn set(&mut self, key: &str, value: usize) {
        self.values.insert(key.to_owned(), value.to_string());
    }

    /// Whether the gradients of the inputs are computed as well.
    pub fn backward(&self) -> bool {
        self.get("backward") == 1
    }

    pub fn layout(&self) -> Layout {
        if self.text("layout") == "nhwc" { Layout::Nhwc } else { Layout::Nchw }
    }

    pub fn stride(&self) -> usize {
        self.get("stride").max(1)
    }

    pub fn dilation(&self) -> usize {
        self.get("dil").max(1)
    }

    pub fn groups(&self) -> usize {
        self.get("groups").max(1)
    }

    /// Rows and columns of a convolution's output.
    pub fn convolved(&self) -> (usize, usize) {
        let side = |n: usize| (n + 2 * self.get("pad") - self.dilation() * (self.get("k") - 1) - 1) / self.stride() + 1;
        (side(self.get("h")), side(self.get("w")))
    }

    /// Rows and columns of an attention window.
    pub fn window(&self) -> (usize, usize) {
        match self.get("window") {
            0 => (self.get("h"), self.get("w")),
            side => (side, side),
        }
    }

    /// Side of the square of queries of which the greatest is taken.
    pub fn query_pool(&self) -> usize {
        self.get("pool").max(1)
    }

    /// What the operation takes, and how many of these (the first ones) get a gradient where gradients are asked for.
    pub fn inputs(&self) -> Result<(Vec<Tensor>, usize)> {
        let [b, c, h, w, n, o, k, d, heads] =
            ["b", "c", "h", "w", "n", "o", "k", "d", "heads"].map(|key| self.get(key));
        let map = match self.layout() {
            Layout::Nchw => vec![b, c, h, w],
            Layout::Nhwc => vec![b, h, w, c],
        };
        let (shapes, learned) = match self.op.as_str() {
            "conv2d" => (vec![map, vec![o, c / self.groups(), k, k], vec![o]], 3),
            // weight, bias, and the norm's two
            "conv_batch_norm" => (vec![map, vec![o, c, k, k], vec![o], vec![o], vec![o]], 5),
            "conv_transpose2d" => (vec![map, vec![c, o, k, k], vec![o]], 3),
            // the norm's two, then both products'
            "feed_forward" => {
                (vec![vec![n, c], vec![c], vec![c], vec![4 * c, c], vec![4 * c], vec![c, 4 * c], vec![c]], 7)
            }
            "binary_cross_entropy" => (vec![map.clone(), map], 1),
            "linear" | "linear_gelu" => (vec![vec![n, c], vec![o, c], vec![o]], 3),
            "attention" => {
                let keys = vec![b, heads, self.get("m"), d];
                (vec![vec![b, heads, n, d], keys.clone(), keys], 3)
            }
            "window_attention" => {
                let mut shapes = vec![vec![b, h, w, 3 * heads * d], vec![3 * heads * d]];
                let (wh, ww) = self.window();
                if self.get("rel") == 1 {
                    shapes.extend([vec![2 * wh - 1, d], vec![2 * ww - 1, d]]);
                }
                if self.get("bias") == 1 {
                    shapes.push(vec![heads, wh * ww, wh * ww]);
                }
                // what windows that stick out are filled with has a gradient only where there are such windows
                let filled = !(h.is_multiple_of(wh) && w.is_multiple_of(ww));
                (shapes, 1 + usize::from(filled))
            }
            "rope" => (vec![vec![b, heads, n, d], vec![n, d / 2], vec![n, d / 2]], 1),
            "layer_norm" => (vec![vec![n, c], vec![c], vec![c]], 3),
            "layer_norm_2d" => (vec![map, vec![c], vec![c]], 3),
            "gelu" | "softmax" => (vec![vec![n, c]], 1),
            "resize" | "max_pool2d" => (vec![map], 1),
            other => candle_core::bail!("unknown operation {other}"),
        };
        let mut tensors: Vec<Tensor> =
            shapes.iter().zip(1..).map(|(dims, seed)| noise(dims, seed)).collect::<Result<_>>()?;
        if self.op == "binary_cross_entropy" {
            // probabilities
            tensors = tensors.iter().map(|t| t.affine(0.499, 0.5)).collect::<Result<_>>()?;
        }
        Ok((tensors, learned))
    }

    /// Floating-point operations (a multiply-add is two) of what is bound by arithmetic, by the definition of the operation: a convolution counts as
    /// its direct form also where Winograd's form does with fewer. A backward pass counts twice the forward products, without what is computed
    /// again; `None` for operations bound by memory.
    pub fn flops(&self) -> Option<f64> {
        let [b, c, h, w, n, m, o, k, d, heads] =
            ["b", "c", "h", "w", "n", "m", "o", "k", "d", "heads"].map(|key| self.get(key) as f64);
        let forward = match self.op.as_str() {
            "conv2d" | "conv_batch_norm" => {
                let (rows, columns) = self.convolved();
                2. * b * o * (rows * columns) as f64 * c / self.groups() as f64 * k * k
            }
            "conv_transpose2d" => 2. * b * h * w * c * o * k * k,
            "linear" | "linear_gelu" => 2. * n * c * o,
            "feed_forward" => 16. * n * c * c,
            "attention" => 4. * b * heads * n * m * d,
            "window_attention" => {
                let ((wh, ww), pool) = (self.window(), self.query_pool() as f64);
                let queries = b * heads * h * w / (pool * pool);
                let positions = if self.get("rel") == 1 { 2. * (wh + ww) as f64 } else { 0. };
                queries * d * (4. * (wh * ww) as f64 + positions)
            }
            _ => return None,
        };
        Some(if self.backward() { 3. * forward } else { forward })
    }
}

/// Deterministic numbers in −1..1.
fn noise(dims: &[usize], seed: u32) -> Result<Tensor> {
    let mut state = 0x9E37_79B9_u32.wrapping_mul(seed);
    let values: Vec<f32> = (0..dims.iter().product::<usize>())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_vec(values, dims, &Device::Cpu)
}
