#![doc = include_str!("../README.md")]

pub mod dis_sam;
mod error;
pub mod losses;
pub mod mgd_sam2;
pub mod mpg_sam2;
pub mod optim;
pub mod pi_sam;
pub mod random;
pub mod sam2;
pub mod sam2_unet;

pub use error::TrainError;

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, TrainError>;
