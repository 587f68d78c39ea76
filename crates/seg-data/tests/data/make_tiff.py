"""Writes tests/data/tiff/*.tif and tiff.txt: TIFFs of all kinds that people have, and what their pixels are.

The values are functions of the pixel's place, so that what a file holds is known without any reader:
    python make_tiff.py      (tifffile 2026.3, imagecodecs 2026.3, Pillow 13.0, OpenCV 4.14; tiffcp of libtiff-tools 4.7 for the fax files)
A row: file width height fnv1a64-of-the-RGB-bytes word: `*` for no note, else words that the notes have (or the error of what is
refused), `_` for a blank. Where a file is lossy the digest is that of what Pillow 13.0 reads.
"""

import os
import struct
import subprocess

import cv2
import imagecodecs
import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "tiff")
W, H = 23, 17
y, x = np.mgrid[:H, :W]
RGB = np.stack([(x * 11) % 256, (y * 15) % 256, (x * 7 + y * 5) % 256], -1).astype(np.uint8)
GREY = RGB[..., 2]
ALPHA = ((x * 9 + y * 3) % 255 + 1).astype(np.uint8)
rows = []


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & (2**64 - 1)
    return f"{h:016x}"


def expect(name, rgb, note="*"):
    rgb = np.asarray(rgb)
    if rgb.ndim == 2:
        rgb = np.stack([rgb] * 3, -1)
    rows.append(f"{name}.tif {rgb.shape[1]} {rgb.shape[0]} {fnv(rgb.astype(np.uint8).tobytes())} {note}")


def path(name):
    return os.path.join(OUT, name + ".tif")


def write(name, pixels, rgb, note="*", **how):
    tifffile.imwrite(path(name), pixels, metadata=None, **how)
    expect(name, rgb, note)


def rgb_of(name, pixels, note="*", **how):
    write(name, pixels, RGB, note, photometric="rgb", **how)


def grey_of(name, pixels, rgb=GREY, note="*", photometric="minisblack", **how):
    write(name, pixels, rgb, note, photometric=photometric, **how)


def patch(name, tag, change):
    """Changes an entry of the first directory of a little-endian classic file: change(kind, count, value) -> the same."""
    data = bytearray(open(path(name), "rb").read())
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for i in range(count):
        entry = at + 2 + 12 * i
        code, kind, n, value = struct.unpack_from("<HHII", data, entry)
        if code == tag:
            struct.pack_into("<HHII", data, entry, code, *change(kind, n, value))
            break
    else:
        raise SystemExit(f"{name}: no tag {tag}")
    open(path(name), "wb").write(data)


def raw(name, tags, data):
    """A file of one strip by hand: tags {code: (kind, numbers)}, little-endian."""
    tags = {256: (4, [W]), 257: (4, [H]), 259: (3, [1]), 273: (4, [8]), 278: (4, [H]), 279: (4, [len(data)]), **tags}
    data += b"\0" * (len(data) % 2)
    directory = 8 + len(data)
    far = directory + 2 + 12 * len(tags) + 4
    out, behind = struct.pack("<2sHI", b"II", 42, directory) + data + struct.pack("<H", len(tags)), b""
    for code, (kind, numbers) in sorted(tags.items()):
        value = struct.pack(f"<{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(value) > 4:
            value, behind = struct.pack("<I", far + len(behind)), behind + value
        out += struct.pack("<HHI4s", code, kind, len(numbers), value)
    open(path(name), "wb").write(out + struct.pack("<I", 0) + behind)


def samples():
    rgb_of("rgb_u16", RGB.astype(np.uint16) * 257)
    rgb_of("rgb_u32", RGB.astype(np.uint32) * 16843009)
    rgb_of("rgb_u64", RGB.astype(np.uint64) * 0x0101010101010101)
    rgb_of("rgb_u32_levels", RGB.astype(np.uint32), "levels")
    rgb_of("rgb_i16_levels", RGB.astype(np.int16), "levels")
    rgb_of("rgb_f16", (RGB / 255).astype(np.float16))
    rgb_of("rgb_f32", (RGB / 255).astype(np.float32))
    rgb_of("rgb_f64", RGB / 255)
    rgb_of("rgb_f32_levels", RGB.astype(np.float32), "levels")
    rgb_of("rgb_f32_65535", RGB.astype(np.float32) * 257, "levels")
    grey_of("grey_f32", (GREY / 255).astype(np.float32))
    grey_of("grey_f64_big_endian", GREY / 255, byteorder=">")
    grey_of("grey_f32_levels", GREY.astype(np.float32) + np.float32(0.25), note="levels")
    over = (GREY / 255 * 1.2 - 0.1).astype(np.float32)
    grey_of("grey_f32_overshoot", over, (over.astype(float).clip(0, 1) * 255).round(), "cut")
    holes = (GREY / 255).astype(np.float32)
    holes[3, 4] = np.nan
    grey_of("grey_f32_nan", holes, np.where(np.isnan(holes), 0, GREY), "NaN")
    rgb_of("rgb_i16", RGB.astype(np.int16) * 128, "signed")
    rows[-1] = rows[-1].replace(fnv(RGB.tobytes()), fnv((RGB.astype(float) * 128 * 255 / 32767).round().astype(np.uint8).tobytes()))
    grey_of("grey_f32_whole_01", (GREY > 99).astype(np.float32), (GREY > 99) * 255)
    grey_of("grey_u32_numbers", (GREY // 50).astype(np.uint32), GREY // 50, "levels")
    grey_of("grey_u16_12bit", GREY.astype(np.uint16) * 16, (GREY.astype(float) * 16 * 255 / 65535).round(), "dark")
    wide = np.full((H, W), 65535, np.uint16)
    grey_of("grey_u16_dark_max", GREY.astype(np.uint16) * 16, (GREY.astype(float) * 16 * 255 / 65535).round(), "4095",
            extratags=[(281, 3, 1, 4095, False)])
    grey_of("grey_u16_white", wide, np.full((H, W), 255))
    for bits in (1, 2, 4):
        top = 2**bits - 1
        low = (GREY >> (8 - bits)).astype(np.uint8)
        how = dict(bitspersample=bits)
        grey_of(f"grey_{bits}bit", low.astype(bool) if bits == 1 else low, (low.astype(float) * 255 / top).round(), **how)
        grey_of(f"white_is_zero_{bits}bit", low.astype(bool) if bits == 1 else low, 255 - (low.astype(float) * 255 / top).round(),
                photometric="miniswhite", **how)
    twelve = GREY.astype(np.uint16) * 16 + (GREY >> 4)
    grey_of("grey_12bit_packed", twelve, (twelve.astype(float) * 255 / 4095).round(), bitspersample=12)
    grey_of("white_is_zero_8bit", 255 - GREY, photometric="miniswhite")
    grey_of("white_is_zero_16bit", 65535 - GREY.astype(np.uint16) * 257, photometric="miniswhite")
    grey_of("white_is_zero_f32", (1 - GREY / 255).astype(np.float32), photometric="miniswhite")


def alpha():
    with_alpha = lambda c: np.concatenate([c, ALPHA[..., None]], -1)
    rgb_of("rgba", with_alpha(RGB), extrasamples=["unassalpha"])
    rgb_of("rgba_unknown", with_alpha(RGB), "unknown", extrasamples=["unspecified"])
    rgb_of("rgba_unknown_predictor", with_alpha(RGB), "unknown", extrasamples=["unspecified"], compression="lzw", predictor=2)
    rgb_of("rgba_16", with_alpha(RGB).astype(np.uint16) * 257, extrasamples=["unassalpha"])
    pre = (RGB.astype(int) * ALPHA[..., None] + 127) // 255
    divided = np.minimum(pre * 255 // ALPHA[..., None].astype(int), 255)
    write("rgba_associated", with_alpha(pre.astype(np.uint8)), divided, photometric="rgb", extrasamples=["assocalpha"])
    pre16 = (RGB.astype(np.int64) * 257 * ALPHA[..., None] * 257 + 32767) // 65535
    rgb_of("rgba_associated_16", with_alpha(pre16.astype(np.uint16)) * np.array([1, 1, 1, 257], np.uint16), extrasamples=["assocalpha"])
    pair = np.stack([GREY, ALPHA], -1)
    grey_of("grey_alpha", pair, planarconfig="contig", extrasamples=["unassalpha"])
    grey_of("grey_alpha_16", pair.astype(np.uint16) * 257, planarconfig="contig", extrasamples=["unassalpha"])
    pre = (GREY.astype(int) * ALPHA + 127) // 255
    divided = np.minimum(pre * 255 // ALPHA.astype(int), 255)
    grey_of("grey_associated", np.stack([pre, ALPHA], -1).astype(np.uint8), divided, planarconfig="contig", extrasamples=["assocalpha"])
    grey_of("grey_alpha_white_is_zero", np.stack([255 - GREY, ALPHA], -1), photometric="miniswhite", planarconfig="contig",
            extrasamples=["unassalpha"])


def palettes():
    colours = ((np.arange(256)[None] * np.array([[3], [5], [7]]) + 11) % 256).astype(np.uint16)
    write("palette_8bit", GREY, colours.T[GREY], photometric="palette", colormap=colours * 256)
    for bits in (4, 2, 1):
        index = GREY >> (8 - bits)
        ones = (index[..., None] >> np.arange(bits)[::-1] & 1).reshape(H, -1)
        data = np.packbits(ones, axis=1).tobytes()
        few = colours[:, : 2**bits]
        raw(f"palette_{bits}bit", {258: (3, [bits]), 262: (3, [3]), 320: (3, (few * 256).ravel().tolist())}, data)
        expect(f"palette_{bits}bit", few.T[index])
    deep = (np.arange(1024) * np.array([[701], [907], [1103]]) % 65536).astype(np.uint16)
    index = GREY.astype(np.uint16) * 4 + 3
    ones = (index[..., None] >> np.arange(10)[::-1] & 1).reshape(H, -1)
    data = np.packbits(ones, axis=1).tobytes()
    raw("palette_10bit", {258: (3, [10]), 262: (3, [3]), 320: (3, deep.ravel().tolist())}, data)
    expect("palette_10bit", deep.T[index] >> 8)
    write("palette_257", GREY, colours.T[GREY], photometric="palette", colormap=colours * 257)
    write("palette_small_numbers", GREY, colours.T[GREY], "levels", photometric="palette", colormap=colours)
    write("palette_lzw_tiles", GREY, colours.T[GREY], photometric="palette", colormap=colours * 256, tile=(16, 16), compression="lzw")


def storage():
    for name, compression in [("lzw", "lzw"), ("deflate", "adobe_deflate"), ("old_deflate", "deflate"), ("zstd", "zstd"), ("packbits", "packbits")]:
        rgb_of(f"{name}", RGB, compression=compression)
    rgb_of("lzw_predictor", RGB, compression="lzw", predictor=2)
    rgb_of("deflate_predictor_16_big_endian", RGB.astype(np.uint16) * 257, compression="adobe_deflate", predictor=2, byteorder=">")
    rgb_of("deflate_predictor_32", RGB.astype(np.uint32) * 16843009, compression="adobe_deflate", predictor=2)
    for kind in (np.float16, np.float32, np.float64):
        rgb_of(f"predictor3_{np.dtype(kind).name}", (RGB / 255).astype(kind), compression="adobe_deflate", predictor=3)
    rgb_of("predictor3_big_endian_tiles", (RGB / 255).astype(np.float32), compression="zstd", predictor=3, byteorder=">", tile=(16, 16))
    for order, word in (("<", "little"), (">", "big")):
        rgb_of(f"bigtiff_{word}", RGB, bigtiff=True, byteorder=order)
        grey_of(f"bigtiff_{word}_u16", GREY.astype(np.uint16) * 257, bigtiff=True, byteorder=order)
    write("planar", RGB.transpose(2, 0, 1), RGB, photometric="rgb", planarconfig="separate")
    write("planar_tiles_predictor", RGB.transpose(2, 0, 1), RGB, photometric="rgb", planarconfig="separate", tile=(16, 16),
          compression="lzw", predictor=2)
    write("planar_16bit", RGB.transpose(2, 0, 1).astype(np.uint16) * 257, RGB, photometric="rgb", planarconfig="separate", byteorder=">")
    raw("no_length", {258: (3, [8]), 262: (3, [1]), 279: (4, [0])}, GREY.tobytes())
    expect("no_length", GREY)
    rgb_of("tiles", RGB, tile=(16, 16))
    rgb_of("strips", RGB, rowsperstrip=3)
    grey_of("tiles_1bit", GREY > 127, (GREY > 127) * 255, tile=(16, 16))
    rgb_of("webp", RGB, compression="webp", compressionargs={"lossless": True})
    flipped = np.array([int(f"{v:08b}"[::-1], 2) for v in range(256)], np.uint8)
    for name, code, data in (("8bit", 1, RGB.tobytes()), ("lzw", 5, imagecodecs.lzw_encode(RGB.tobytes()))):
        data = bytes(flipped[b] for b in data)
        raw(f"fill_order_{name}", {258: (3, [8] * 3), 259: (3, [code]), 262: (3, [2]), 266: (3, [2]), 277: (3, [3])}, data)
        expect(f"fill_order_{name}", RGB)


def pages():
    with tifffile.TiffWriter(path("pages")) as out:
        for page in (RGB, 255 - RGB, RGB // 2):
            out.write(page, photometric="rgb", metadata=None)
    expect("pages", RGB, "pages")
    with tifffile.TiffWriter(path("thumbnail_first")) as out:
        out.write(RGB[::4, ::4], photometric="rgb", metadata=None, subfiletype=1)
        out.write(RGB, photometric="rgb", metadata=None)
    expect("thumbnail_first", RGB)
    for kind, word in ((3, "short"), (4, "long")):
        name = f"orientation_6_{word}"
        rgb_of(name, RGB, extratags=[(274, 3, 1, 6, False)])
        patch(name, 274, lambda _, n, value: (kind, n, 6))
        rows.pop()
        expect(name, RGB.transpose(1, 0, 2)[:, ::-1])


def pillow(name, note="*"):
    """What Pillow reads."""
    expect(name, np.array(Image.open(path(name)).convert("RGB")), note)


def by_pillow():
    TiffImagePlugin.WRITE_LIBTIFF = True
    bilevel = Image.fromarray(np.where(GREY > 100, 255, 0).astype(np.uint8)).convert("1", dither=Image.Dither.NONE)
    for name in ("group3", "group4"):
        bilevel.save(path(f"{name}_pillow"), compression=name)
        expect(f"{name}_pillow", np.array(bilevel) * 255)
    Image.fromarray(RGB).quantize(64).save(path("palette_pillow"))
    pillow("palette_pillow")
    cmyk = np.stack([RGB[..., 0], RGB[..., 1], RGB[..., 2], ALPHA], -1)
    Image.fromarray(cmyk, "CMYK").save(path("cmyk"))
    pillow("cmyk")
    for compression in ("raw", "tiff_lzw"):
        name = f"ycbcr_{compression}"
        Image.fromarray(RGB).convert("YCbCr").save(path(name), compression=compression, tiffinfo={530: (1, 1)})
        # without compression Pillow converts itself, one level off; libtiff's own conversion is behind OpenCV's reader
        expect(name, cv2.imread(path(name))[..., ::-1])
    smooth = Image.fromarray(RGB).resize((64, 48), Image.Resampling.BICUBIC)
    smooth.save(path("jpeg_ycbcr"), compression="jpeg", quality=90)
    pillow("jpeg_ycbcr")
    smooth.convert("L").save(path("jpeg_grey"), compression="jpeg", quality=90)
    pillow("jpeg_grey")
    tifffile.imwrite(path("jpeg_rgb"), np.array(smooth), photometric="rgb", compression="jpeg", compressionargs={"level": 90, "outcolorspace": "rgb"}, metadata=None)
    pillow("jpeg_rgb")
    tifffile.imwrite(path("jpeg_tiles"), np.array(smooth), photometric="ycbcr", compression="jpeg", tile=(32, 32), subsampling=(2, 2), metadata=None)
    pillow("jpeg_tiles")


def subsampled():
    """YCbCr without JPEG: blocks of luma and the two chroma samples they share."""
    ycc = np.array(Image.fromarray(RGB).convert("YCbCr")).astype(np.uint8)
    for h, v in ((2, 2), (2, 1), (1, 2), (4, 2)):
        name = f"ycbcr_{h}x{v}"
        height, width = -(-H // v), -(-W // h)
        out = bytearray()
        padded = np.pad(ycc, ((0, height * v - H), (0, width * h - W), (0, 0)), mode="edge")
        for by in range(height):
            for bx in range(width):
                block = padded[by * v:by * v + v, bx * h:bx * h + h]
                out += block[..., 0].tobytes() + block[0, 0, 1:].tobytes()
        raw(name, {258: (3, [8, 8, 8]), 262: (3, [6]), 277: (3, [3]), 530: (3, [h, v])}, bytes(out))
        # Pillow takes it for whole pixels; libtiff's own conversion is behind OpenCV's reader
        expect(name, cv2.imread(path(name))[..., ::-1])


def refused():
    """The word is one of the error's."""
    tifffile_only = lambda name, pixels, word, **how: (tifffile.imwrite(path(name), pixels, metadata=None, **how), rows.append(f"{name}.tif 0 0 refused {word}"))
    for compression, word in (("lzma", "LZMA"), ("lerc", "LERC"), ("jpeg2000", "JPEG_2000"), ("jpegxl", "JPEG_XL")):
        tifffile_only(f"no_{compression}", RGB, word, photometric="rgb", compression=compression)
    tifffile_only("no_cielab", RGB, "L*a*b*", photometric="cielab")
    tifffile_only("no_cfa", GREY, "raw", photometric="cfa")
    tifffile_only("no_complex", (GREY + 1j).astype(np.complex64), "complex")
    tifffile_only("no_negative", GREY.astype(np.int16) - 100, "-100_to_134", photometric="minisblack")
    tifffile_only("no_hdr", (RGB / 64).astype(np.float32), "from_0_to_3.78", photometric="rgb")
    tifffile_only("no_infinite", np.where(GREY > 50, np.inf, 0.5).astype(np.float32), "inf", photometric="minisblack")
    tifffile_only("no_bands", np.stack([GREY] * 3, -1), "3_samples", photometric="minisblack", planarconfig="contig")
    tifffile_only("no_jpeg_cmyk", np.dstack([RGB, GREY]), "JPEG", photometric="separated", compression="jpeg")
    raw("no_huffman", {258: (3, [1]), 259: (3, [2]), 262: (3, [0])}, b"\0" * 99)
    rows.append("no_huffman.tif 0 0 refused Huffman")
    raw("no_old_jpeg", {258: (3, [8]), 259: (3, [6]), 262: (3, [1])}, b"\0" * 99)
    rows.append("no_old_jpeg.tif 0 0 refused old-style_JPEG")


def by_tiffcp():
    for kind in ("g3:1d", "g3:1d:fill", "g4"):
        name = "fax_" + kind.replace(":", "_")
        subprocess.run(["tiffcp", "-c", kind, path("grey_1bit"), path(name)], check=True)
        low = GREY >> 7
        expect(name, low * 255)
    subprocess.run(["tiffcp", "-f", "lsb2msb", "-c", "g4", path("grey_1bit"), path("fax_g4_fill_order")], check=True)
    expect("fax_g4_fill_order", (GREY >> 7) * 255)
    subprocess.run(["tiffcp", "-c", "g3:2d", path("grey_1bit"), path("no_g3_2d")], check=True)
    rows.append("no_g3_2d.tif 0 0 refused two-dimensional")


def main():
    os.makedirs(OUT, exist_ok=True)
    for f in os.listdir(OUT):
        os.remove(os.path.join(OUT, f))
    for part in (samples, alpha, palettes, storage, pages, by_pillow, subsampled, refused, by_tiffcp):
        part()
    with open(os.path.join(HERE, "tiff.txt"), "w") as out:
        out.write("# file width height fnv1a64 of the RGB bytes, a word of its notes (* for no note); made by make_tiff.py\n")
        out.write("\n".join(sorted(rows)) + "\n")


if __name__ == "__main__":
    main()
