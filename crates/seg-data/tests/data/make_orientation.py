"""Makes pictures that are to be turned by other words than EXIF's alone, and says how Pillow 13.0's exif_transpose and OpenCV 4.14
turn them. Run with Pillow, OpenCV, tifffile and numpy: python make_orientation.py"""
import io
import os
import struct
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageOps

out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "orientation")
grey = np.kron(np.array([[20, 90, 240], [150, 60, 200]], np.uint8), np.ones((8, 8), np.uint8))
pixels = np.stack([grey] * 3, axis=2)
photo = Image.fromarray(pixels)


def xmp(value, element=False):
    tag = f"<tiff:Orientation>{value}</tiff:Orientation>" if element else ""
    attribute = "" if element else f' tiff:Orientation="{value}"'
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description{attribute}>{tag}</rdf:Description></x:xmpmeta>'.encode()


def exif(value=None):
    entries = [] if value is None else [struct.pack("<HHIHH", 0x112, 3, 1, value, 0)]
    entries.append(struct.pack("<HHII", 0x100, 4, 1, 24))
    entries.sort()
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"


def jpeg(*segments):
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=95)
    parts = b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments)
    return file.getvalue()[:2] + parts + file.getvalue()[2:]


def png(*chunks, behind=()):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in grey)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 24, 16, 8, 0, 0, 0, 0)), *chunks, (b"IDAT", zlib.compress(rows)), *behind, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def webp(frames=1, **more):
    file = io.BytesIO()
    others = [photo.point(lambda v: 255 - v)] * (frames - 1)
    photo.save(file, "WEBP", lossless=True, save_all=frames > 1, append_images=others, **more)
    return file.getvalue()


def tiff(extra, **more):
    file = io.BytesIO()
    tifffile.imwrite(file, grey, metadata=None, software=None, extratags=extra, **more)
    return file.getvalue()


adobe = b"http://ns.adobe.com/xap/1.0/\0"
raw = exif(6)
profile = b"\nexif\n%8d\n%s\n" % (len(raw), b"\n".join(raw.hex().encode()[at:at + 72] for at in range(0, 2 * len(raw), 72)))
key = b"Raw profile type exif\0"
words = b"XML:com.adobe.xmp\0"
files = {
    "xmp8.jpg": jpeg(adobe + xmp(8)),
    "xmp_element3.jpg": jpeg(adobe + xmp(3, True)),
    "exif1_xmp6.jpg": jpeg(b"Exif\0\0" + exif(1), adobe + xmp(6)),
    "exif_other_xmp6.jpg": jpeg(adobe + xmp(6), b"Exif\0\0" + exif()),
    "xmp0.jpg": jpeg(adobe + xmp(0)),
    "raw_profile6.png": png((b"zTXt", key + b"\0" + zlib.compress(profile))),
    "raw_profile6_plain.png": png((b"tEXt", key + profile)),
    "raw_profile6_behind.png": png(behind=[(b"iTXt", key + b"\1\0\0\0" + zlib.compress(profile))]),
    "raw_profile_app1.png": png((b"tEXt", b"Raw profile type APP1\0" + profile)),
    "exif3_raw_profile6.png": png((b"tEXt", key + profile), (b"eXIf", exif(3))),
    "xmp8.png": png((b"iTXt", words + b"\0\0\0\0" + xmp(8))),
    "xmp5_packed.png": png((b"iTXt", words + b"\1\0\0\0" + zlib.compress(xmp(5, True)))),
    "exif_other_xmp7.png": png((b"eXIf", exif()), (b"iTXt", words + b"\0\0\0\0" + xmp(7))),
    "xmp6.webp": webp(xmp=xmp(6)),
    "exif8_animated.webp": webp(2, exif=exif(8)),
    "xmp6.tif": tiff([(700, 1, None, xmp(6), True)]),
    "tag3_xmp6.tif": tiff([(700, 1, None, xmp(6), True), (274, 3, 1, 3, True)]),
}
turns = [grey, grey[:, ::-1], grey[::-1, ::-1], grey[::-1], grey.T, np.rot90(grey, -1), grey[::-1, ::-1].T, np.rot90(grey)]


def named(found):
    if found is None:
        return "none"
    found = np.asarray(found)
    near = [n for n, turned in enumerate(turns, 1) if turned.shape == found.shape and np.abs(turned.astype(int) - found).max() < 20]
    return near[0]


if __name__ == "__main__":
    os.makedirs(out, exist_ok=True)
    for name, data in files.items():
        path = os.path.join(out, name)
        with open(path, "wb") as file:
            file.write(data)
        with Image.open(path) as image:
            pillow = ImageOps.exif_transpose(image).convert("L")
        print(f"{name:26} Pillow {named(pillow)} OpenCV {named(cv2.imread(path, 0))}")
