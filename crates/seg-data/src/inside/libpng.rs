//! The grey that libpng makes of colours where OpenCV asks for it: weights in 15 bits, and by the gamma that the file names.

/// Weights of red, green and blue: 0.299 and 0.587 cut off, and what is left of 32768.
const WEIGHTS: [u32; 3] = [9797, 19234, 3737];
/// 16-bit levels are looked up by their highest bits.
const LOOKED_UP: u32 = 11;

/// What is made of a file's pixels.
pub(super) struct Grey {
    /// To light and back, for 8 and 16 bits; none where the file names no gamma, or nearly 1.
    curves: Option<Curves>,
}

struct Curves {
    eight: [[u8; 256]; 2],
    sixteen: [Vec<u16>; 2],
    /// Greys of 16 bits to the nearest level of 8.
    greys: Vec<u8>,
}

impl Grey {
    /// `gamma` as in a `gAMA` chunk, times 100,000. `deep`: 16 bits.
    pub fn new(gamma: Option<u32>, deep: bool) -> Self {
        // numbers of this form differ by less than nothing from 1
        let counts = |gamma: u32| !(95_000..=105_000).contains(&gamma);
        let inverse = |gamma: u32| (1e10 / f64::from(gamma) + 0.5).floor() as u32;
        let curves = gamma.filter(|&gamma| gamma > 0 && (counts(gamma) || counts(inverse(gamma)))).map(|gamma| {
            let both = [inverse(gamma), inverse(inverse(gamma))];
            let power = |gamma: u32| if counts(gamma) { f64::from(gamma) * 0.00001 } else { 1. };
            Curves {
                eight: both.map(|gamma| eight(power(gamma))),
                sixteen: both.map(|gamma| if deep { sixteen(power(gamma)) } else { Vec::new() }),
                greys: if deep { nearest() } else { Vec::new() },
            }
        });
        Self { curves }
    }

    /// Of 8 bits.
    pub fn eight(&self, [r, g, b]: [u8; 3]) -> u8 {
        if r == g && g == b {
            return r;
        }
        match &self.curves {
            None => (weighted([r, g, b].map(u32::from)) >> 15) as u8,
            Some(Curves { eight: [light, back], .. }) => {
                let light = [r, g, b].map(|v| u32::from(light[usize::from(v)]));
                back[((weighted(light) + (1 << 14)) >> 15) as usize & 255]
            }
        }
    }

    /// Of 16 bits, in 8.
    pub fn sixteen(&self, [r, g, b]: [u16; 3]) -> u8 {
        let at = |v: u32| (v >> (16 - LOOKED_UP)) as usize;
        let grey = |colours: [u32; 3]| (weighted(colours) + (1 << 14)) >> 15;
        match &self.curves {
            None if r == g && g == b => (r >> 8) as u8,
            None => (grey([r, g, b].map(u32::from)) >> 8) as u8,
            Some(curves) if r == g && g == b => curves.greys[at(r.into())],
            Some(Curves { sixteen: [light, back], .. }) => {
                let light = [r, g, b].map(|v| u32::from(light[at(v.into())]));
                (back[at(grey(light))] >> 8) as u8
            }
        }
    }
}

fn weighted(colours: [u32; 3]) -> u32 {
    colours.iter().zip(WEIGHTS).map(|(v, weight)| v * weight).sum()
}

fn eight(power: f64) -> [u8; 256] {
    std::array::from_fn(|v| (255. * (v as f64 / 255.).powf(power) + 0.5).floor() as u8)
}

fn sixteen(power: f64) -> Vec<u16> {
    let most = f64::from((1u32 << LOOKED_UP) - 1);
    (0..1u32 << LOOKED_UP).map(|v| (65535. * (f64::from(v) * (1. / most)).powf(power) + 0.5).floor() as u16).collect()
}

/// Each level of [`LOOKED_UP`] bits in 8 bits, rounded.
fn nearest() -> Vec<u8> {
    let most = (1u32 << LOOKED_UP) - 1;
    let last = |out: u32| ((out * 257 + 128) * most + 32768) / 65535;
    let mut out = 0;
    (0..=most)
        .map(|v| {
            while out < 255 && v > last(out) {
                out += 1;
            }
            out as u8
        })
        .collect()
}
