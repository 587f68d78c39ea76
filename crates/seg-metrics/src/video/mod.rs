//! Region similarity J and boundary accuracy F of object masks in videos, by the rules of DAVIS 2017 and of SA-V.

mod assignment;
mod davis;
mod frame;
mod sav;
mod statistics;

pub use assignment::assign;
pub use davis::{DavisSequence, DavisSummary, DavisTask, ObjectScores};
pub use frame::{BOUNDARY_TOLERANCE, ObjectMask, boundary_f, boundary_map, region_j, tolerance_radius};
pub use sav::{SavMasks, SavObject, SavVideo};
pub use statistics::{Decay, Statistics};
