#![doc = include_str!("../README.md")]

pub mod interactor;
mod interactor_transformer;
pub mod is_net;
pub mod rsu;

pub use interactor::{Clicks, PreciseInteractor, PreciseInteractorConfig};
pub use is_net::{IsNet, IsNetConfig, IsNetGtConfig, IsNetGtEncoder, IsNetOutput};
pub use rsu::{Rsu, RsuConfig, RsuKind};
