//! Small shared layers for segmentation models on candle: Linear, Conv2d, norms, Mlp, position embeddings
