"""Writes the files of `readers/` and prints readers.txt: what OpenCV and Pillow read them as in grey.

    uv run --with opencv-python-headless==4.14.0.94 --with pillow==13.0.0 --with tifffile --with imagecodecs --with numpy python make_readers.py readers > readers.txt
A row is: file, width height digest of cv2.imread(IMREAD_GRAYSCALE), the same of Image.open().convert("L"); "- - -" where it cannot.
"""

import io
import pathlib
import struct
import sys
import zlib

import cv2
import numpy as np
import PIL
import tifffile
from PIL import Image

OUT = pathlib.Path(sys.argv[1])
W, H = 20, 12


def generated(seed, shape):
    n = int(np.prod(shape))
    z = (seed + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(48)).astype(np.uint16).reshape(shape)


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & (2**64 - 1)
    return f"{h:016x}"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(name, pixels, depth, colour, before=b"", bits=8):
    rows = pixels.reshape(H, -1)
    if bits < 8:
        packed = np.unpackbits(rows.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :].reshape(H, -1)
        rows = np.packbits(packed, axis=1)
    raw = b"".join(b"\0" + row.astype(">u2" if depth == 16 else np.uint8).tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", W, H, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + before + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")
    (OUT / name).write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def exif(orientation):
    return b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x112, 3, 1, orientation) + b"\0\0\0\0"


deep = generated(1, (H, W, 4))
deep[0, :, 1] = deep[0, :, 2] = deep[0, :, 0]  # a row of greys
flat = (deep >> 8).astype(np.uint8)
grey16, grey8 = deep[..., 0], flat[..., 0]
two16, two8 = deep[..., [0, 3]], flat[..., [0, 3]]
colours = flat.reshape(-1, 4)[W : W + 16, :3].copy()
colours[0] = 0
plte = chunk(b"PLTE", colours.tobytes())
index = (grey8 >> 4).astype(np.uint8)
srgb, gamma = chunk(b"sRGB", b"\0"), lambda g: chunk(b"gAMA", struct.pack(">I", g))
white = [31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000]
chrm = chunk(b"cHRM", struct.pack(">8I", *white))

for bits in (1, 2, 4):
    png(f"grey{bits}.png", grey8 >> (8 - bits), bits, 0, bits=bits)
png("grey8.png", grey8, 8, 0)
png("grey8_turned.png", grey8, 8, 0, chunk(b"eXIf", exif(6)))
png("grey8_trns.png", grey8, 8, 0, chunk(b"tRNS", struct.pack(">H", grey8[1, 1])))
png("grey16.png", grey16, 16, 0)
png("grey16_srgb.png", grey16, 16, 0, srgb)
png("grey_alpha8.png", two8, 8, 4)
png("grey_alpha16.png", two16, 16, 4)
png("rgb8.png", flat[..., :3], 8, 2)
png("rgb8_trns.png", flat[..., :3], 8, 2, chunk(b"tRNS", struct.pack(">HHH", *flat[1, 1, :3])))
png("rgb8_srgb.png", flat[..., :3], 8, 2, srgb)
png("rgb8_gamma.png", flat[..., :3], 8, 2, gamma(55000))
png("rgb8_linear.png", flat[..., :3], 8, 2, gamma(100000))
png("rgb8_chrm.png", flat[..., :3], 8, 2, chrm)
png("rgb8_chrm_gamma.png", flat[..., :3], 8, 2, gamma(45455) + chrm)
png("rgb16.png", deep[..., :3], 16, 2)
png("rgb16_srgb.png", deep[..., :3], 16, 2, srgb)
png("rgba8.png", flat, 8, 6)
png("rgba8_srgb.png", flat, 8, 6, srgb)
png("rgba16.png", deep, 16, 6)
png("rgba16_gamma.png", deep, 16, 6, gamma(45455))
png("palette4.png", index, 4, 3, plte, bits=4)
png("palette8.png", index, 8, 3, plte)
png("palette8_srgb.png", index, 8, 3, srgb + plte)
png("palette8_turned.png", index, 8, 3, chunk(b"eXIf", exif(6)) + plte)
png("palette8_trns.png", index, 8, 3, plte + chunk(b"tRNS", bytes([0, 255, 90])))

tags = {"compression": "deflate"}
tiff = lambda name, pixels, kind, **more: tifffile.imwrite(OUT / name, pixels, photometric=kind, metadata=None, **tags, **more)
tiff("grey8.tif", grey8, "minisblack")
tiff("grey16.tif", grey16, "minisblack")
tiff("white8.tif", grey8, "miniswhite")
tiff("white16.tif", grey16, "miniswhite")
tiff("rgb8.tif", flat[..., :3], "rgb")
tiff("rgb16.tif", deep[..., :3], "rgb")
for alpha in ("unassalpha", "assocalpha", "unspecified"):
    short = alpha[:5]
    tiff(f"grey_{short}8.tif", two8, "minisblack", planarconfig="contig", extrasamples=[alpha])
    tiff(f"grey_{short}16.tif", two16, "minisblack", planarconfig="contig", extrasamples=[alpha])
    tiff(f"rgb_{short}8.tif", flat, "rgb", extrasamples=[alpha])
    tiff(f"rgb_{short}16.tif", deep, "rgb", extrasamples=[alpha])
image = Image.fromarray(index, "P")
image.putpalette(colours.tobytes())
image.save(OUT / "palette8.tif")
one = Image.fromarray((grey8 > 127).astype(np.uint8) * 255).convert("1")
one.save(OUT / "grey1.tif")
# Pillow gives other pixels of it uncompressed, OpenCV reads neither
Image.fromarray(grey8).save(OUT / "grey8_turned.tif", tiffinfo={0x112: 6}, compression="tiff_deflate")
Image.fromarray(flat[..., :3]).save(OUT / "rgb8_turned.tif", tiffinfo={0x112: 6})

rgb, smooth = Image.fromarray(flat[..., :3]), np.mgrid[:H, :W].sum(0)
photo = np.dstack([smooth * 8, 255 - smooth * 5, (smooth * 11) % 256]).astype(np.uint8)
rgb.save(OUT / "rgb8.bmp")
image.save(OUT / "palette8.bmp")
one.save(OUT / "grey1.bmp")
image.save(OUT / "palette8.gif")
Image.fromarray(flat).save(OUT / "rgba8.bmp")
rgb.save(OUT / "rgb8.webp", lossless=True)
Image.fromarray(flat).save(OUT / "rgba8.webp", lossless=True, exact=True)
for sampling in (0, 1, 2):
    Image.fromarray(photo).save(OUT / f"photo_{sampling}.jpg", quality=80, subsampling=sampling)
rgb.save(OUT / "noise.jpg", quality=60)
rgb.save(OUT / "noise_progressive.jpg", quality=60, progressive=True)
rgb.save(OUT / "rgb.jpg", quality=80, keep_rgb=True)
Image.fromarray(grey8).save(OUT / "grey8.jpg", quality=80)
Image.fromarray(photo).save(OUT / "photo_turned.jpg", quality=80, exif=b"Exif\0\0" + exif(6))
Image.fromarray(flat).convert("RGB").convert("CMYK").save(OUT / "cmyk.jpg", quality=80)


Image.fromarray(flat, "CMYK").save(OUT / "cmyk.tif", compression="tiff_lzw")
tifffile.imwrite(OUT / "cmyk_planes.tif", np.moveaxis(flat, 2, 0), photometric="separated", planarconfig="separate")


def gif(name, background=None, transparent=None, place=(0, 0, W, H), local=False):
    """A picture of 4 colours; no palette of the file's own without a background."""
    colours = bytes([10, 20, 30, 200, 50, 80, 0, 255, 0, 255, 255, 255])
    out = b"GIF89a" + struct.pack("<HHBBB", W, H, 0x81 if background is not None else 1, background or 0, 0)
    out += colours if background is not None else b""
    if transparent is not None:
        out += b"\x21\xf9\x04" + struct.pack("<BHBB", 1, 0, transparent, 0)
    out += b"\x2c" + struct.pack("<HHHHB", *place, 0x81 if local else 0) + (colours[::-1] if local else b"")
    # codes of 3 bits; a clear code before every second pixel, so that they stay so short
    codes = [c for i, v in enumerate(grey8.ravel()[: place[2] * place[3]] & 3) for c in ([4] if i % 2 == 0 else []) + [int(v)]] + [5]
    bits = sum(c << 3 * i for i, c in enumerate(codes))
    packed = bits.to_bytes(len(codes) * 3 // 8 + 1, "little")
    blocks = b"".join(bytes([len(packed[at : at + 255])]) + packed[at : at + 255] for at in range(0, len(packed), 255))
    (OUT / name).write_bytes(out + b"\2" + blocks + b"\0;")


gif("clear_background0.gif", 0, 1)
gif("clear_background3.gif", 3, 1)
gif("clear_local.gif", 2, 1, local=True)
gif("clear_only_local.gif", None, 1, local=True)
gif("small.gif", 3, place=(3, 2, 10, 7))
gif("small_clear.gif", 2, 1, place=(3, 2, 10, 7))
packet = b'<rdf:Description tiff:Orientation="6"/>'
png("grey8_xmp.png", grey8, 8, 0, before=chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))
tifffile.imwrite(OUT / "grey8_xmp.tif", grey8, metadata=None, extratags=[(700, 1, None, packet, True)])
Image.fromarray(photo).save(OUT / "photo_xmp.jpg", quality=80, xmp=packet)
rgb.save(OUT / "rgb8_xmp.webp", lossless=True, xmp=packet)


def row(pixels):
    return "- - -" if pixels is None else f"{pixels.shape[1]} {pixels.shape[0]} {fnv(pixels.tobytes())}"


def pillow(path):
    try:
        return np.asarray(Image.open(path).convert("L"))
    except (OSError, ValueError):
        return None


print(f"# of OpenCV {cv2.__version__} and Pillow {PIL.__version__}")
for path in sorted(OUT.iterdir()):
    print(path.name, row(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)), row(pillow(path)))
