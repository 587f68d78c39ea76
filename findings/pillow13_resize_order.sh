#!/usr/bin/env bash
# Pillow 13.0's Image.resize gives other pixels than 12.3 on portrait images: it takes the vertical pass first where an image
# loses more than twice as many rows as columns. Between the passes values are rounded to 8 bits and cut off at 0 and 255, so the
# order shows: by 1 level with bilinear, by many with the negative lobes of bicubic and Lanczos. Which order is taken does
# not depend on the filter. Seen with Pillow 12.3.0 (never vertical first) and 13.0.0:
#   12.3.0 vertical first: 0 of 2000, rule right: False
#   13.0.0 vertical first: 627 of 2000, rule right: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/order.py" <<'PY'
import sys
import numpy as np
import PIL
from PIL import Image

rng, first, right, tried = np.random.default_rng(0), 0, True, 0
while tried < 2000:
    w, h, to_w, to_h = (int(v) for v in rng.integers(2, 120, 4))
    image = Image.fromarray(rng.integers(0, 256, (h, w), dtype=np.uint8))
    filter = rng.choice([Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS])
    if w == to_w or h == to_h:
        continue
    columns_first = image.resize((to_w, h), filter).resize((to_w, to_h), filter)
    rows_first = image.resize((w, to_h), filter).resize((to_w, to_h), filter)
    if columns_first == rows_first:
        continue
    tried += 1
    vertical = image.resize((to_w, to_h), filter) == rows_first
    first += vertical
    right &= vertical == (to_h < h and h - to_h > 2 * (w - to_w))
print(PIL.__version__, f"vertical first: {first} of {tried}, rule right: {right}")
sys.exit(not (first == 0 if PIL.__version__ == "12.3.0" else right and first > 0))
PY
for version in 12.3.0 13.0.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" -q install "pillow==$version" numpy==2.2.6
    "$folder/$version/bin/python" "$folder/order.py"
done
