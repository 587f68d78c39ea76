#!/usr/bin/env bash
# Pillow's Resampling.BICUBIC is two filters. resize() takes the cubic with a = -0.5; transform() and rotate(), which are given the same name,
# take the one with a = -1, which overshoots about twice as far. An augmentation that rotates bicubically therefore sharpens what the resizing
# of the same name would not. A single pixel of 200 enlarged to twice its width, by either way, at the same places of the source:
#   12.3.0 resize: 45 173 173 45, transform: 59 178 178 59
#   13.0.0 resize: 45 173 173 45, transform: 59 178 178 59
# (0.2266 and 0.8672 of 200 are a = -0.5, 0.2969 and 0.8906 are a = -1.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/cubic.py" <<'PY'
import sys
import PIL
from PIL import Image

row = Image.new("L", (8, 1))
row.putpixel((4, 0), 200)
bicubic = Image.Resampling.BICUBIC
resized = row.resize((16, 1), bicubic)
# x of the source is half of x of the result, both counted from the left edge: what resize does
moved = row.transform((16, 1), Image.Transform.AFFINE, (0.5, 0, 0, 0, 1, 0), bicubic)
values = [[image.getpixel((x, 0)) for x in range(7, 11)] for image in (resized, moved)]
print(PIL.__version__, "resize: %d %d %d %d, transform: %d %d %d %d" % (*values[0], *values[1]))


# three quarters and a quarter of a pixel from the one that is not black
expected = [[int(200 * ((a + 2) * x**3 - (a + 3) * x**2 + 1)) for x in (0.75, 0.25, 0.25, 0.75)] for a in (-0.5, -1.0)]
sys.exit(values != expected)
PY
for version in 12.3.0 13.0.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" -q install "pillow==$version"
    "$folder/$version/bin/python" "$folder/cubic.py"
done
