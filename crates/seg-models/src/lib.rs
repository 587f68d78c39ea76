//! Whole segmentation systems on candle: SAM 2, MobileSAM, with their pre- and post-processing
