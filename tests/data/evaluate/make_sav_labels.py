"""Prints what SA-V's benchmark gives for label images of odd kinds; tests/evaluate_files.rs makes the same images.

    uv run --with opencv-python-headless --with scikit-image --with pillow --with tqdm --with numpy python make_sav_labels.py SAM2/sav_dataset/utils
The folder is that of sav_benchmark.py in a copy of the official repository (commit 2b90b9f).
"""

import pathlib
import sys
import tempfile

import numpy as np
from PIL import Image

sys.path.insert(0, sys.argv[1])
from sav_benchmark import VideoEvaluator


def frame(t, shift, labels, width, height):
    """Two rectangles: the first moves right, the second down; `shift` pixels away, and narrower by it."""
    out = np.zeros((height, width), np.uint8)
    out[5 + shift : 15, 4 + 2 * t + shift : 16 + 2 * t] = labels[0]
    out[12 + t : 20 + t - shift, 24 + shift : 33] = labels[1]
    return out


CASES = {
    "255": lambda t, shift: Image.fromarray(frame(t, shift, (255, 2), 48, 32)),
    "one bit": lambda t, shift: Image.fromarray(frame(t, shift, (255, 0), 48, 32)).convert("1"),
    "one bit, 8 bits": lambda t, shift: Image.fromarray(frame(t, shift, (1, 0), 48, 32)) if shift else CASES["one bit"](t, 0),
    "sizes": lambda t, shift: Image.fromarray(frame(t, shift, (1, 2), 48 + 16 * (t % 2), 32 + 32 * (t % 2))),
}
for name, make in CASES.items():
    with tempfile.TemporaryDirectory() as folder:
        for side, shift in (("gt", 0), ("pred", 2)):
            video = pathlib.Path(folder, side, "v")
            video.mkdir(parents=True)
            for t in range(6):
                make(t, shift).save(video / f"{t:05}.png")
        _, j, f = VideoEvaluator(f"{folder}/gt", f"{folder}/pred")("v")
        print(name, {int(k): (round(j[k], 4), round(f[k], 4)) for k in j})
