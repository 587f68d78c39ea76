#![doc = include_str!("../README.md")]

pub mod clicks;
pub mod dis_sam;
pub mod ema;
pub mod embeddings;
mod error;
pub mod init;
pub mod learners;
pub mod log;
pub mod losses;
pub mod mgd_sam2;
pub mod mpg_sam2;
pub mod optim;
pub mod parallel;
pub mod pi_sam;
pub mod probe;
pub mod random;
pub mod recipe;
pub mod run;
pub mod sam2;
pub mod sam2_unet;
pub mod schedule;
pub mod store;

pub use error::TrainError;

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, TrainError>;
