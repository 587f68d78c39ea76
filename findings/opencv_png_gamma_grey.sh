#!/usr/bin/env bash
# OpenCV's grey of a colour PNG depends on whether the file names a gamma: with an sRGB or gAMA chunk, imread(IMREAD_GRAYSCALE)
# weighs the colours in linear light, without one it weighs the stored levels. The same pixels, which imread in colour and
# Pillow give alike, differ by up to 69 of 255 levels; a colour mask thresholded at 128 changes its meaning. Neither is
# cvtColor(BGR2GRAY) of the colour image. Seen with opencv-python-headless 4.14.0.94 (libpng 1.6.58), for red 255, 0, 0 and
# green 0, 128, 0:
#   no chunk (76, 75), sRGB chunk (147, 101), cvtColor (76, 75); Pillow (76, 75) for both files
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install opencv-python-headless==4.14.0.94 pillow==13.0.0 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import struct
import sys
import zlib
import cv2
import numpy as np
from PIL import Image


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


Image.fromarray(np.array([[(255, 0, 0), (0, 128, 0)]], np.uint8)).save("plain.png")
plain = open("plain.png", "rb").read()
open("srgb.png", "wb").write(plain[:33] + chunk(b"sRGB", b"\0") + plain[33:])
levels = lambda image: tuple(int(v) for v in np.asarray(image)[0])
grey = [levels(cv2.imread(f, cv2.IMREAD_GRAYSCALE)) for f in ("plain.png", "srgb.png")]
same = np.array_equal(cv2.imread("plain.png"), cv2.imread("srgb.png"))
made = levels(cv2.cvtColor(cv2.imread("srgb.png"), cv2.COLOR_BGR2GRAY))
pillow = [levels(Image.open(f).convert("L")) for f in ("plain.png", "srgb.png")]
print("OpenCV", cv2.__version__, f"no chunk {grey[0]}, sRGB chunk {grey[1]}, cvtColor {made}, in colour alike: {same}; Pillow {pillow}")
sys.exit(not (same and pillow[0] == pillow[1] and grey[0] != grey[1] and grey[1][0] > 127 > grey[0][0]))
PY
