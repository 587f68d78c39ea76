//! The list of shapes: `benches/peers/ops.py` reads it too, so that candle and PyTorch are compared at the same ones.

use crate::spec::Spec;

const SHAPES: &str = include_str!("shapes.txt");

/// Names of models by what stands in a row's name; the first that does counts.
const MODELS: [(&str, &str); 33] = [
    ("Hiera", "hiera"),
    ("ViT-B", "vit-b"),
    ("TinyViT", "tinyvit"),
    ("DINOv2-L", "dinov2-l"),
    ("IS-Net", "is-net"),
    ("DRM", "drm"),
    ("UNeXT", "unext"),
    ("Pi-SAM", "pi-sam"),
    ("BEiT-3", "beit-3"),
    ("MPAdapter", "mp-adapter"),
    ("ConvNeXt", "video-memory"),
    ("memory", "video-memory"),
    ("RoPE", "video-memory"),
    ("decoder", "mask-decoder"),
    ("neck", "mask-decoder"),
    ("LayerNorm2d", "mask-decoder"),
    ("bilinear 1x256", "mask-decoder"),
    ("bilinear 3ch", "mask-decoder"),
    ("antialiased 3ch", "mask-decoder"),
    ("LayerNorm 65536x96", "hiera"),
    ("LayerNorm 16384x192", "hiera"),
    ("LayerNorm 1024x768", "hiera"),
    ("GELU 65536x384", "hiera"),
    ("bicubic 96ch", "hiera"),
    ("nearest", "hiera"),
    ("LayerNorm 4096x768", "vit-b"),
    ("GELU 4096x3072", "vit-b"),
    ("softmax 58800x196", "vit-b"),
    ("softmax 65536x49", "tinyvit"),
    ("LayerNorm 4096x1024", "dinov2-l"),
    ("bicubic 1024ch", "dinov2-l"),
    ("ch 256->512", "unext"),
    ("pool 2x2 64ch", "is-net"),
];

/// `model: group: what`, and the operation.
pub fn all() -> Vec<(String, Spec)> {
    let rows = SHAPES.lines().filter(|row| !row.is_empty() && !row.starts_with('#'));
    rows.map(|row| parse(row).unwrap_or_else(|| panic!("not a row (group | what | operation key=value …): {row}")))
        .collect()
}

fn parse(row: &str) -> Option<(String, Spec)> {
    let mut parts = row.split('|').map(str::trim);
    let (group, what, operation) = (parts.next()?, parts.next()?, parts.next()?);
    let model = match MODELS.iter().find(|(key, _)| what.contains(key)) {
        _ if group == "backward" => "training",
        Some((_, model)) => model,
        None => "others",
    };
    Some((format!("{model}: {group}: {what}"), Spec::parse(operation)))
}

/// The same operation on a small map and few rows.
pub fn shrink(spec: &mut Spec) {
    for (key, size, most) in [("h", "oh", 48), ("w", "ow", 48), ("n", "", 300), ("m", "", 300)] {
        let (n, most) = (spec.get(key), most + spec.get(key) % 2);
        if n > most {
            spec.set(key, most);
            if spec.get(size) > 0 {
                spec.set(size, (spec.get(size) * most).div_ceil(n));
            }
        }
    }
}
