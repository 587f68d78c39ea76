//! Read, check, fetch and write checkpoints for candle: safetensors, .pt/.pth, hub, package registries
