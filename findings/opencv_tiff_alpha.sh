#!/usr/bin/env bash
# OpenCV's imread gives other colours for the same RGBA pixels in a TIFF than in a PNG: of a TIFF whose alpha is not associated
# (not premultiplied) the colours come back multiplied by it, so what is transparent is black, and half transparent half as
# bright. Pillow gives the stored colours of both. A model fed through OpenCV sees other photos in TIFF than in PNG. Seen with
# opencv-python-headless 4.14.0.94, Pillow 13.0.0, tifffile 2026.3.3, for a pixel (200, 100, 50) of alpha 128:
#   PNG (200, 100, 50), TIFF (100, 50, 25), TIFF in Pillow (200, 100, 50)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install opencv-python-headless==4.14.0.94 pillow==13.0.0 tifffile==2026.3.3 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import sys
import cv2
import numpy as np
import tifffile
from PIL import Image

pixels = np.full((4, 4, 4), (200, 100, 50, 128), np.uint8)
Image.fromarray(pixels).save("a.png")
tifffile.imwrite("a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
png, tif = (tuple(int(v) for v in cv2.imread(f)[0, 0, ::-1]) for f in ("a.png", "a.tif"))
pillow = Image.open("a.tif").convert("RGB").getpixel((0, 0))
print("OpenCV", cv2.__version__, f"PNG {png}, TIFF {tif}, TIFF in Pillow {pillow}")
sys.exit((png, tif, pillow) != ((200, 100, 50), (100, 50, 25), (200, 100, 50)))
PY
