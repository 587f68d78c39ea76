#![doc = include_str!("../README.md")]

mod accumulate;
pub mod bits;
pub mod borders;
pub mod boundary;
pub mod distance;
mod error;
pub mod evaluate;
pub mod hce;
pub mod msiou;
pub mod number;
pub mod overlap;
mod pixel;
mod plane;
pub mod polyline;
pub mod prepare;
mod presets;
pub mod protocol;
mod regions;
pub mod resize;
mod shape;
mod spool;
mod sum;
mod tally;
pub mod thin;
pub mod video;
mod wide;

pub use accumulate::{Accumulator, Aggregate, Measured};
pub use error::{Error, Result};
pub use evaluate::{Evaluator, Scores};
pub use number::Number;
pub use pixel::confusion::{Confusion, Ratio};
pub use plane::Plane;
pub use prepare::{Foreground, Prepared};
pub use presets::NAMES as PROTOCOLS;
pub use protocol::{Metric, Protocol};
pub use sum::ExactSum;
