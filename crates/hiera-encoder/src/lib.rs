//! SAM 2's image encoder on candle: Hiera trunk, FPN neck
