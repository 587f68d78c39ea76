//! The hot operations of high-resolution segmentation for candle: fast forward, correct backward
