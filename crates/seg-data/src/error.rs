//! The crate's error type. Every message is one line and names the file or value, what was found, and what was expected.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong while reading, converting or writing images and masks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused something.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted, as a verb phrase ("open it", "write it").
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The disk (or quota) is full; nothing was left behind under the target name.
    #[error("{}: no space left on the disk, so nothing was written there", path.display())]
    DiskFull {
        /// The file that was to be written.
        path: PathBuf,
    },
    /// The target exists and overwriting was not asked for.
    #[error("{}: already exists; expected a new name, or permission to overwrite", path.display())]
    AlreadyExists {
        /// The file that exists.
        path: PathBuf,
    },
    /// A file of 0 bytes.
    #[error("{name}: the file is empty (0 bytes); expected an image")]
    EmptyFile {
        /// File name.
        name: String,
    },
    /// The first bytes belong to no image format known here.
    #[error("{name}: not an image: it begins with {found}; expected PNG, JPEG, WebP, BMP, TIFF or GIF")]
    NotAnImage {
        /// File name.
        name: String,
        /// The first bytes, readable.
        found: String,
    },
    /// A file that Git LFS has not fetched.
    #[error("{name}: it is a Git LFS pointer, not the image itself; get that with 'git lfs pull'")]
    LfsPointer {
        /// File name.
        name: String,
    },
    /// A known image format that this build cannot read.
    #[error("{name}: {format} is not built in; convert it to PNG, JPEG, WebP, BMP, TIFF or GIF first")]
    NotBuiltIn {
        /// File name.
        name: String,
        /// Format name.
        format: &'static str,
    },
    /// A limit of [`DecodeLimits`](crate::DecodeLimits) was exceeded; nothing was decoded.
    #[error("{name}: {what} is {value}, the limit is {limit}")]
    TooLarge {
        /// File name.
        name: String,
        /// Which quantity, with its unit.
        what: &'static str,
        /// The file's value.
        value: String,
        /// The limit.
        limit: String,
    },
    /// Width or height is 0.
    #[error("{name}: the image is {width}x{height} pixels; expected at least 1x1")]
    ZeroSize {
        /// File name.
        name: String,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The file is damaged, cut off, or not what its first bytes claim.
    #[error("{name}: cannot decode this {format} file: {reason}")]
    Decode {
        /// File name.
        name: String,
        /// Format name.
        format: &'static str,
        /// The decoder's reason, on one line.
        reason: String,
    },
    /// The file ends too early.
    #[error("{name}: this {format} file is truncated: {reason}")]
    Truncated {
        /// File name.
        name: String,
        /// Format name.
        format: &'static str,
        /// How it was noticed.
        reason: String,
    },
    /// Sound, but uses a feature that is not supported.
    #[error("{name}: this {format} file is not supported: {reason}")]
    Unsupported {
        /// File name.
        name: String,
        /// Format name.
        format: &'static str,
        /// Which feature.
        reason: String,
    },
    /// A mask file that could mean several things.
    #[error("{name}: this mask has {found}; expected {expected}")]
    MaskMeaning {
        /// File name.
        name: String,
        /// What is in it.
        found: &'static str,
        /// What would be clear.
        expected: &'static str,
    },
    /// A mask without a pixel inside.
    #[error("{name}: no pixel is inside: the largest level is {largest}, expected 128 or more where the object is")]
    NothingInside {
        /// File name, or what the mask is.
        name: String,
        /// Its largest level.
        largest: u8,
    },
    /// An image could not be encoded.
    #[error("cannot encode {what}: {reason}")]
    Encode {
        /// What was to be encoded.
        what: String,
        /// The encoder's reason.
        reason: String,
    },
    /// A still image where a video was expected.
    #[error("{name}: a single image ({format}), expected a folder of frames, an animation or a video")]
    SingleImage {
        /// File name.
        name: String,
        /// Format name.
        format: &'static str,
    },
    /// A video, and nothing to read it with.
    #[error(
        "{name}: video files need the program `ffmpeg`, which is not installed (or not on the PATH); install it, or give a folder of frames, a GIF or an APNG"
    )]
    NoFfmpeg {
        /// File name.
        name: String,
    },
    /// `ffmpeg` could not read a video, or not to its end.
    #[error("{name}: ffmpeg cannot read this video: {reason}")]
    Ffmpeg {
        /// File name.
        name: String,
        /// The last line that it said.
        reason: String,
    },
    /// A buffer or a second image has the wrong size.
    #[error("{what} is {found}, expected {expected}")]
    Size {
        /// Which argument.
        what: &'static str,
        /// Its size.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A COCO run-length encoding is malformed.
    #[error("COCO RLE: {reason}")]
    Rle {
        /// What is wrong, where, and what was expected.
        reason: String,
    },
    /// An input argument matches nothing.
    #[error("{input}: no such file or folder")]
    InputNotFound {
        /// The argument as given.
        input: String,
    },
    /// A folder or a pattern has no images.
    #[error("{input}: no images in it{}; expected files ending in {}",
        left_out.note().map(|n| format!(" ({n})")).unwrap_or_default(), crate::inputs::EXTENSIONS.join(", "))]
    NoImages {
        /// The argument as given.
        input: String,
        /// What is there instead.
        left_out: crate::inputs::LeftOut,
    },
    /// A glob pattern that cannot be parsed.
    #[error("{input}: not a valid pattern: {reason}")]
    BadPattern {
        /// The argument as given.
        input: String,
        /// The parser's reason.
        reason: String,
    },
    /// Two inputs have one stem: they would be written to the same output, or be the same prediction.
    #[error("{} and {} have the same stem, \"{stem}\"{}; rename one, or keep them in different folders", first.display(), second.display(),
        crate::inputs::difference(first, second))]
    Collision {
        /// The common stem.
        stem: String,
        /// One input.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A name of a data set that is not known.
    #[error("{name}: no layout of this name; known: {known}")]
    UnknownLayout {
        /// The name as given.
        name: String,
        /// The names that are known.
        known: String,
    },
    /// No part of a data set is where its layout says.
    #[error("{root}: nothing of the layout {layout} in it; expected {expected}")]
    NoSplit {
        /// The folder.
        root: String,
        /// The layout.
        layout: String,
        /// Some of the folders that were looked for.
        expected: String,
    },
    /// No picture has a mask.
    #[error(
        "{root}: no picture and mask of the same stem; expected two folders such as im and gt, or images and masks, with files such as a.jpg and a.png"
    )]
    NoPairs {
        /// The folder or folders.
        root: String,
    },
    /// Several parts of a data set, or not the one that was asked for.
    #[error("{root}: which part is asked for ({asked})? There are {found}")]
    WhichSplit {
        /// The folder.
        root: String,
        /// The part as given.
        asked: String,
        /// The parts that are there.
        found: String,
    },
    /// Two folders whose stems pair, of which neither or both look like masks.
    #[error("{} and {} have the same stems, but which of them are the masks? Name them im and gt, or images and masks", first.display(), second.display())]
    WhichAreMasks {
        /// One folder.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A mask has not its picture's size.
    #[error("{}: the mask is {mask_size} pixels, its picture {} is {image_size}; expected the same", mask.display(), image.display())]
    PairSizes {
        /// The picture's file.
        image: PathBuf,
        /// Its size as it is shown.
        image_size: String,
        /// The mask's file.
        mask: PathBuf,
        /// Its size.
        mask_size: String,
    },
    /// Annotations that are not as expected.
    #[error("{}: {reason}", path.display())]
    Annotations {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what was expected.
        reason: String,
    },
    /// A plan of a training's data that cannot be followed.
    #[error("{what} is {found}, expected {expected}")]
    Plan {
        /// Which number.
        what: &'static str,
        /// Its value.
        found: String,
        /// What would do.
        expected: String,
    },
    /// A worker could not prepare an example, by a fault of the program.
    #[error("example {index} of pass {epoch}: preparing it broke off ({reason})")]
    Prepare {
        /// Its number in the source.
        index: u64,
        /// Passes that were done before.
        epoch: u64,
        /// The panic's message.
        reason: String,
    },
    /// The text of a specification that is no TOML, or has keys or values that it cannot have.
    #[error("{name}, line {line}: {reason}")]
    SpecText {
        /// The file's name.
        name: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A value of a specification that cannot be.
    #[error("{name}: `{key}` is {found}; expected {expected}")]
    Spec {
        /// The file's name, or the specification's.
        name: Box<str>,
        /// The key, with its tables.
        key: Box<str>,
        /// Its value.
        found: Box<str>,
        /// What it may be.
        expected: Box<str>,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, DataError>;

impl DataError {
    /// An I/O error at `path`; a full disk becomes [`DataError::DiskFull`].
    pub fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path: path.to_owned() },
            _ => Self::Io { path: path.to_owned(), action, source },
        }
    }

    pub(crate) fn size(what: &'static str, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Size { what, found: found.into(), expected: expected.into() }
    }

    /// A file that breaks off in its data.
    pub(crate) fn cut(name: String, format: &'static str) -> Self {
        Self::Truncated { name, format, reason: "it ends in the middle of the data".into() }
    }

    pub(crate) fn rle(reason: impl Into<String>) -> Self {
        Self::Rle { reason: reason.into() }
    }
}

/// Folds a decoder's message onto one line.
pub(crate) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
