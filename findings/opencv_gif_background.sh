#!/usr/bin/env bash
# OpenCV's imread gives the pixels of a GIF that are transparent the file's background colour, whatever colour the palette has for
# them: a mask of black and white whose black is the transparent colour, and whose header names white as the background, is read as
# white all over. Pillow's convert("L") gives the palette's colour, and so the mask. No reader says a word.
# Seen with opencv-python-headless 4.14.0.94 and Pillow 13.0.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install opencv-python-headless==4.14.0.94 pillow==13.0.0 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import sys
import cv2
import numpy as np
from PIL import Image

inside = np.zeros((8, 8), np.uint8)
inside[2:6, 2:6] = 1
image = Image.fromarray(inside, "P")
image.putpalette([0, 0, 0, 255, 255, 255])
image.save("mask.gif", transparency=0, background=1, optimize=False)
opencv = cv2.imread("mask.gif", cv2.IMREAD_GRAYSCALE)
pillow = np.asarray(Image.open("mask.gif").convert("L"))
print("OpenCV", cv2.__version__, np.unique(opencv).tolist(), "Pillow", Image.__version__, np.unique(pillow).tolist())
sys.exit(set(np.unique(opencv)) != {255} or set(np.unique(pillow)) != {0, 255})
PY
