//! MGD-SAM2 (arXiv 2503.23786, sevenshr/MGD-SAM2): the salient object of an image at high resolution, without any prompt. SAM 2 sees the image in
//! five views, of which adapters and two modules in the decoder let each know of the others.

mod augmentation;
mod config;
mod model;
mod predictor;
mod training;

pub use augmentation::TestTimeAugmentation;
pub use config::{MgdSam2Config, ViewOrder};
pub use model::{MgdSam2, MgdSam2Output};
pub use predictor::MgdSam2Predictor;
