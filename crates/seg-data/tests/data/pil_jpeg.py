"""Prints pil_jpeg.txt: what Pillow 13.0 (libjpeg-turbo 3.2) gives for the odd files of `jpeg/` with convert("RGB").

usage: pil_jpeg.py FOLDER > pil_jpeg.txt
"""
import pathlib
import sys

from PIL import Image


def fnv(data):
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = ((digest ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


print("# file width height fnv1a64 of the RGB bytes that Pillow 13.0 gives")
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jpg")):
    image = Image.open(path).convert("RGB")
    print(path.name, image.width, image.height, fnv(image.tobytes()))
