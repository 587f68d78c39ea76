#!/usr/bin/env bash
# Pillow does not lay the frames of an APNG on each other as the PNG specification says. Where a frame is laid OVER what is there:
#  - on a half transparent canvas the alphas are averaged instead of added up: a frame of alpha 128 on one of alpha 128 has
#    128, where the specification (and libpng's APNG readers, browsers) have 192, so that the canvas never gets more opaque;
#  - and is to be restored afterwards (dispose PREVIOUS) it stays if its pixels were looked at, as when all frames are read one
#    after the other; whoever seeks over it gets the restored picture. With blend SOURCE it is restored in either case.
# Frames taken from such a file for a video, or for a cut-out with alpha, are others than everybody sees. Seen with Pillow 13.0.0:
# alpha 128 for 192; the corner red when read in order, blue (right) when skipped to.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import io, struct, sys, zlib
import PIL
from PIL import Image

NONE, PREVIOUS, SOURCE, OVER = 0, 2, 0, 1


def apng(size, frames):
    """frames: pixel of 4 bytes, width and height (in the upper left corner), dispose, blend"""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0))
    out += chunk(b"acTL", struct.pack(">II", len(frames), 0))
    number = 0
    for pixel, side, dispose, blend in frames:
        out += chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, side, side, 0, 0, 1, 10, dispose, blend))
        data = zlib.compress((b"\0" + bytes(pixel) * side) * side)
        number += 1
        if number == 1:
            out += chunk(b"IDAT", data)
        else:
            out += chunk(b"fdAT", struct.pack(">I", number) + data)
            number += 1
    return io.BytesIO(out + chunk(b"IEND", b""))


def corner(file, frame, in_order=True):
    image = Image.open(file)
    for number in range(frame + 1):
        image.seek(number)
        if in_order:
            image.load()
    return image.convert("RGBA").getpixel((0, 0))


half = (200, 100, 50, 128)
red, blue = (255, 0, 0, 255), (0, 0, 255, 255)
over = corner(apng(4, [(half, 4, NONE, SOURCE), (half, 4, NONE, OVER)]), 1)
# blue, then red in the corner for one frame, then something clear: the corner is blue again
clear = (0, 0, 0, 0)
steps = [(blue, 4, NONE, SOURCE), (red, 2, PREVIOUS, OVER), (clear, 1, NONE, OVER)]
read, skipped = corner(apng(4, steps), 2), corner(apng(4, steps), 2, in_order=False)
print("Pillow", PIL.__version__, "alpha", over[3], "read in order", read, "skipped to", skipped)
sys.exit((over[3], read, skipped) != (128, red, blue))
PY
