#!/usr/bin/env bash
# Pillow scrambles an uncompressed grey TIFF whose orientation tag lays it on its side (5 to 8): opened by its path the file is
# mapped into memory by the turned size, then turned once more, so that rows are cut at the wrong width, and size is (w, h) before
# loading and (h, w) after. The same file compressed, in colour, or opened from a file object comes out right. OpenCV 4.14's imread
# returns None for all of these. Seen with Pillow 11 to 13.0.0, opencv-python-headless 4.14.0.94, for 3x2 pixels 0 1 2 / 3 4 5:
#   by path [[4, 2, 0], [5, 3, 1]]; from a file object, and compressed, [[3, 0], [4, 1], [5, 2]], which is right
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install pillow==13.0.0 opencv-python-headless==4.14.0.94 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import io
import sys
import cv2
import numpy as np
import PIL
from PIL import Image

pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
Image.fromarray(pixels).save("plain.tif", tiffinfo={0x112: 6})
Image.fromarray(pixels).save("deflate.tif", tiffinfo={0x112: 6}, compression="tiff_deflate")
shown = np.rot90(pixels, -1)
path = np.asarray(Image.open("plain.tif"))
stream = np.asarray(Image.open(io.BytesIO(open("plain.tif", "rb").read())))
deflate = np.asarray(Image.open("deflate.tif"))
opencv = cv2.imread("deflate.tif", cv2.IMREAD_UNCHANGED)
print("Pillow", PIL.__version__, "by path", path.tolist(), "from a stream", stream.tolist(), "compressed", deflate.tolist())
print("OpenCV", cv2.__version__, opencv)
right = [np.array_equal(shown, a) for a in (path, stream, deflate)]
sys.exit(not (right == [False, True, True] and opencv is None))
PY
