#![doc = include_str!("../README.md")]

mod detail_refinement;
pub mod interactor;
mod interactor_transformer;
pub mod is_net;
pub mod rsu;

pub use detail_refinement::{DetailRefinement, DetailRefinementConfig};
pub use interactor::{Clicks, PreciseInteractor, PreciseInteractorConfig};
pub use is_net::{IsNet, IsNetConfig, IsNetGtConfig, IsNetGtEncoder, IsNetOutput};
pub use rsu::{Rsu, RsuConfig, RsuKind};
