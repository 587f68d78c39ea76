use thiserror::Error as ThisError;

/// What can go wrong between an image, a model and its masks.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// A click that is not on the image.
    #[error("point ({x}, {y}) is outside the image, expected x in 0..{width} and y in 0..{height} pixels")]
    PointOutside {
        /// Pixels from the left edge.
        x: f32,
        /// Pixels from the top edge.
        y: f32,
        /// Width of the image.
        width: u32,
        /// Height of the image.
        height: u32,
    },
    /// A box that leaves the image.
    #[error("box {corners:?} leaves the image, expected x in 0..{width} and y in 0..{height} pixels")]
    BoxOutside {
        /// Left, top, right, bottom.
        corners: [f32; 4],
        /// Width of the image.
        width: u32,
        /// Height of the image.
        height: u32,
    },
    /// A box without an inside.
    #[error("box {corners:?} is empty, expected left, top, right, bottom with left < right and top < bottom")]
    EmptyBox {
        /// Left, top, right, bottom.
        corners: [f32; 4],
    },
    /// A mask prompt of another shape than the image.
    #[error("the mask prompt is {}x{}, expected the shape of the image, {}x{}", mask.0, mask.1, image.0, image.1)]
    MaskShape {
        /// Width and height of the mask.
        mask: (u32, u32),
        /// Width and height of the image.
        image: (u32, u32),
    },
    /// A coarse mask of another size than the image.
    #[error("the mask is {}x{} pixels, expected the size of the image, {}x{}", mask.0, mask.1, image.0, image.1)]
    MaskSize {
        /// Width and height of the mask.
        mask: (u32, u32),
        /// Width and height of the image.
        image: (u32, u32),
    },
    /// A mask with nothing inside.
    #[error("the {what} is empty, expected at least one pixel inside")]
    EmptyMask {
        /// Which mask.
        what: &'static str,
    },
    /// A two-stage predictor without a prompt.
    #[error("there is no prompt, expected a point, a box or a mask")]
    NoPrompt,
    /// A map with more or fewer values than pixels.
    #[error("a map of {len} values, expected {}x{}", size.0, size.1)]
    MapLength {
        /// Values given.
        len: usize,
        /// Width and height.
        size: (u32, u32),
    },
    /// A model whose every mask begins with a box was asked without one.
    #[error(
        "{model} needs a box, but there is none ({clicks} clicks): clicks only correct the mask of a box, which may also be given by a mask image"
    )]
    NoBox {
        /// The model that was asked.
        model: &'static str,
        /// Clicks that were given.
        clicks: usize,
    },
    /// Clicks for a Pi-SAM that was saved without its Precise Interactor.
    #[error("{clicks} clicks to correct the mask with, but these weights have no Precise Interactor (`interact_2`)")]
    NoInteractor {
        /// Clicks that were given.
        clicks: usize,
    },
    /// A model that takes no prompts was asked for as one that does.
    #[error("{model} is no promptable model, expected one that answers to clicks and boxes, such as mobile-sam")]
    NotPromptable {
        /// The model.
        model: &'static str,
    },
    /// A low-resolution mask prompt that is not of the decoder's size.
    #[error("the mask prompt has logits of shape {got:?}, expected {expected:?}")]
    LowResMaskShape {
        /// The shape given.
        got: Vec<usize>,
        /// `[1, 4h, 4w]`.
        expected: [usize; 3],
    },
    /// An image embedding that another model has made.
    #[error("the image embedding is not of {model}: expected one {expected} high-resolution features")]
    OtherEmbedding {
        /// The model that was asked.
        model: &'static str,
        /// "with" or "without".
        expected: &'static str,
    },
    /// A mask on a video frame that is given in another way than alone, as an image.
    #[error("the mask for a video frame comes as {got}, expected {expected}")]
    VideoMaskPrompt {
        /// What was given.
        got: &'static str,
        /// What may be.
        expected: &'static str,
    },
    /// Tracking without anything to track.
    #[error("there is no object to track, expected a point, a box or a mask for one first")]
    NoObjects,
    /// Tensors' shapes from which no model can be put together.
    #[error("{}: the sizes are not of {model}: {problem}", path.display())]
    Sizes {
        /// The file.
        path: std::path::PathBuf,
        /// The model that it was taken for.
        model: &'static str,
        /// What does not fit, and what was expected.
        problem: String,
    },
    /// No sentencepiece model beside the weights.
    #[error("{}: no sentencepiece model there, expected {}", folder.display(), names.join(" or "))]
    NoTokenizer {
        /// Where it was looked for.
        folder: std::path::PathBuf,
        /// Its names.
        names: Vec<&'static str>,
    },
    /// A text longer than the encoder's position table.
    #[error("a text of {tokens} tokens, the model takes {most} at most")]
    TextTokens {
        /// Tokens of the text, its beginning and end included.
        tokens: usize,
        /// What is possible.
        most: usize,
    },
    /// A clip of which no frame was looked at.
    #[error("a clip without frames, expected at least one")]
    EmptyClip,
    /// A clip's frames are not segmented as they were looked at.
    #[error(
        "frame {index} of the clip is {what}, expected {expected}: frames are segmented in the order in which they were looked at"
    )]
    ClipFrame {
        /// Its place in the clip.
        index: usize,
        /// What came.
        what: String,
        /// What was looked at.
        expected: String,
    },
    /// A model that cannot follow objects was asked for one that can.
    #[error("{model} has no memory, expected a model that follows objects through a video, such as sam2.1-tiny")]
    NoMemory {
        /// The model.
        model: &'static str,
    },
    /// A model that takes no text was asked for one that does.
    #[error("{model} takes no text, expected a model that looks for what a sentence says: mpg-sam2 or mpg-sam2-tiny")]
    NotReferring {
        /// The model.
        model: &'static str,
    },
    /// Weights for images alone.
    #[error(
        "{}: good for images, not for video: the file has no {}; expected a complete official file (Meta's .pt)",
        path.display(), missing.join(", ")
    )]
    NotForVideo {
        /// The file.
        path: std::path::PathBuf,
        /// Parts that are not in it.
        missing: Vec<&'static str>,
    },
    /// A file that is not of a video session of this model.
    #[error("{}: {problem}", path.display())]
    SessionFile {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An image without pixels.
    #[error("the image is {width}x{height}, expected at least 1x1 pixels")]
    EmptyImage {
        /// Width of the image.
        width: u32,
        /// Height of the image.
        height: u32,
    },
    /// A setting of the automatic masks that no mask can come from.
    #[error("automatic masks: {option} is {value}, expected {expected}")]
    AutomaticMasks {
        /// Which setting.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// A file of another model than is asked for, or that training starts from.
    #[error("{}: this is {found}, expected {expected}", path.display())]
    OtherBase {
        /// The file.
        path: std::path::PathBuf,
        /// What it looks like.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// What a file of our own training says of its model cannot be.
    #[error("{}: its metadata `hrseg_model` says what cannot be: {problem}", path.display())]
    Said {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// A model name that nobody knows.
    #[error("unknown model `{name}`, expected one of {}", known.join(", "))]
    UnknownModel {
        /// The name given.
        name: String,
        /// The names there are.
        known: Vec<&'static str>,
    },
    /// A tokenizer, or a text for it, cannot be used.
    #[error(transparent)]
    Text(#[from] beit3_encoder::Error),
    /// An error of the image side.
    #[error(transparent)]
    Data(#[from] seg_data::DataError),
    /// An error of the checkpoint side.
    #[error(transparent)]
    Checkpoint(#[from] seg_checkpoints::Error),
    /// An error of the tensor side.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
