#!/usr/bin/env bash
# OpenCV's imread scales a plain PGM (P2, numbers as text) by the largest level that its header names, and a raw one (P5, bytes)
# not: the same picture of levels 0 to 15 comes back as 0 to 255 from the one and as 0 to 15, nearly black, from the other.
# Pillow scales both. A mask of 4 bits kept as raw PGM has no pixel above one half for every evaluation that reads with OpenCV.
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

levels = np.arange(16, dtype=np.uint8).reshape(4, 4)
with open("raw.pgm", "wb") as f:
    f.write(b"P5\n4 4\n15\n" + levels.tobytes())
with open("plain.pgm", "w") as f:
    f.write("P2\n4 4\n15\n" + "\n".join(map(str, levels.ravel())) + "\n")
opencv = {name: int(cv2.imread(name, cv2.IMREAD_GRAYSCALE).max()) for name in ("raw.pgm", "plain.pgm")}
pillow = {name: int(np.asarray(Image.open(name)).max()) for name in opencv}
print("OpenCV", cv2.__version__, opencv, "Pillow", Image.__version__, pillow)
sys.exit(opencv != {"raw.pgm": 15, "plain.pgm": 255} or set(pillow.values()) != {255})
PY
