"""Prints rows of pil_order.txt for the Pillow that runs it: version channels width height filter new_width new_height fnv1a64.

    for v in 12.3.0 13.0.0; do uv run --with pillow==$v --with numpy python make_pil_order.py; done > pil_order.txt
The input's byte i is that of the generator of tests/common, seeded with width * 1000 + height.
"""

import numpy as np
import PIL
from PIL import Image

SHAPES = [
    (48, 64, 24, 32), (64, 48, 32, 24), (30, 40, 77, 20), (40, 30, 20, 77), (25, 60, 25, 20), (60, 25, 20, 25),  # portrait, landscape, one side alone
    (32, 97, 18, 69), (32, 98, 18, 69), (97, 44, 92, 10), (91, 49, 53, 12), (29, 63, 117, 112), (17, 33, 40, 33),  # where the order turns
    (3, 300, 40, 30), (300, 3, 30, 40), (2, 150, 1, 2), (150, 2, 2, 1), (5, 200, 6, 199),  # slivers
]
FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


def generated(seed, n):
    z = (seed + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(56)).astype(np.uint8)


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & (2**64 - 1)
    return f"{h:016x}"


for w, h, to_w, to_h in SHAPES:
    for name in FILTERS:
        for channels in (1, 3) if name == "bicubic" else (3,):
            pixels = generated(w * 1000 + h, w * h * channels).reshape((h, w, 3) if channels == 3 else (h, w))
            out = Image.fromarray(pixels).resize((to_w, to_h), Image.Resampling[name.upper()])
            print(PIL.__version__, channels, w, h, name, to_w, to_h, fnv(np.asarray(out).tobytes()))
