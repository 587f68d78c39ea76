//! Vision transformers of the SAM family on candle: TinyViT (MobileSAM)
