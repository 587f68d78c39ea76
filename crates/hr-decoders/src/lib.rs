//! SAM and SAM 2 prompt encoder, two-way transformer and mask decoders on candle
