//! What can go wrong.

/// Errors of the metrics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A plane has no pixels.
    #[error("an image of {width}x{height} has no pixels")]
    Empty {
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// The bytes of a plane are not as many as its sides say.
    #[error("{len} pixels given for an image of {width}x{height}")]
    Length {
        /// Pixels given.
        len: usize,
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// A prediction and its ground truth differ in size, and the protocol does not resize.
    #[error(
        "the prediction is {pred_width}x{pred_height} and the ground truth {gt_width}x{gt_height}: this protocol refuses to resize; \
         save the prediction in the size of the ground truth, or take a protocol that resizes it (birefnet, saliency_toolbox, mvanet)"
    )]
    SizeMismatch {
        /// Width of the prediction.
        pred_width: usize,
        /// Height of the prediction.
        pred_height: usize,
        /// Width of the ground truth.
        gt_width: usize,
        /// Height of the ground truth.
        gt_height: usize,
    },
    /// Two pairs have one name.
    #[error("the pair {stem:?} is there twice")]
    Twice {
        /// Their name.
        stem: String,
    },
    /// Parts were measured differently.
    #[error("the parts do not belong together: {ours:?} and {theirs:?} differ in protocol or metrics")]
    OtherProtocol {
        /// Protocol of the first part.
        ours: String,
        /// Protocol of the other part.
        theirs: String,
    },
    /// The temporary file with the results of the pairs does not work.
    #[error("cannot {action} the temporary file with the results of the pairs: {reason}")]
    Spool {
        /// What was tried.
        action: &'static str,
        /// Why not.
        reason: String,
    },
    /// A predicted value is NaN or infinite.
    #[error("the prediction is {value} at ({x}, {y}), expected a number from 0 to 1")]
    NotFinite {
        /// The value.
        value: String,
        /// Its column.
        x: usize,
        /// Its row.
        y: usize,
    },
    /// A mask of one object has more than two values.
    #[error("the {side} has {values} different values, expected a mask of one object with two at most")]
    NotBinary {
        /// "prediction" or "ground truth".
        side: &'static str,
        /// How many different values.
        values: usize,
    },
    /// A label image has a label that is too high.
    #[error("the prediction has label {label}, the highest allowed here is {limit}")]
    Label {
        /// The label.
        label: u8,
        /// The highest allowed.
        limit: u8,
    },
}

/// A result of the metrics.
pub type Result<T, E = Error> = std::result::Result<T, E>;
