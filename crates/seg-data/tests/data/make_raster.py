"""Makes `raster/` and `pil_raster.txt`: PNG, GIF, BMP and WebP as people have them, and what Pillow 13.0 reads in them.

python make_raster.py; needs pillow==13.0.0 and numpy. Lines of the table: file, frame (- for a still), width, height,
FNV-1a of the bytes of convert("RGB")."""
import io, os, struct, zlib
import numpy as np
from PIL import Image, ImageFile

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "raster")
W, H = 29, 21
y, x = np.mgrid[0:H, 0:W]
RGB = np.stack([x * 8 % 256, y * 11 % 256, (x * y) % 256], -1).astype(np.uint8)
GREY = (x * 5 + y * 3).astype(np.uint8)
rows = []


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = (h ^ b) * 0x100000001B3 % (1 << 64)
    return f"{h:016x}"


def put(name, data, frames=None, oracle=None, pictures=None):
    """Writes a file; frames: how many to compare; oracle: bytes of the same picture in a form that Pillow reads; pictures: the
    frames' RGB where Pillow does not follow the format."""
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(data)
    if pictures is not None:
        for k, rgb in enumerate(pictures):
            rows.append(f"{name} {k} {W} {H} {fnv(rgb.tobytes())}")
        return
    image = Image.open(io.BytesIO(oracle or data))
    from PIL import ImageOps
    for k in range(frames or 1):
        image.seek(k) if frames else image.load()
        rgb = ImageOps.exif_transpose(image).convert("RGB")
        rows.append(f"{name} {k if frames else '-'} {rgb.width} {rgb.height} {fnv(rgb.tobytes())}")


def chunk(kind, data, wrong=0):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ wrong)


def png(depth, colour, lines, before=(), after=(), end=True, parts=1, w=W, h=H, interlace=0):
    pixels = zlib.compress(lines, 9)
    step = -(-len(pixels) // parts)
    cut = [pixels[i:i + step] for i in range(0, len(pixels), step)]
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, interlace))
    out += b"".join(before) + b"".join(chunk(b"IDAT", c) for c in cut) + b"".join(after)
    return out + (chunk(b"IEND", b"") if end else b"")


def lines(a):
    return b"".join(b"\0" + row.tobytes() for row in a)


def bits(a, depth):
    out = b""
    for row in a:
        s = "".join(f"{v:0{depth}b}" for v in row)
        s += "0" * (-len(s) % 8)
        out += b"\0" + bytes(int(s[i:i + 8], 2) for i in range(0, len(s), 8))
    return out


def exif(value, kind=3, big=False):
    e = ">" if big else "<"
    body = struct.pack(e + ("HHIHH" if kind == 3 else "HHII"), 0x112, kind, 1, *((value, 0) if kind == 3 else (value,)))
    return (b"MM\0*" if big else b"II*\0") + struct.pack(e + "IH", 8, 1) + body + b"\0" * 4


def pngs():
    rgb = lines(RGB)
    whole = png(8, 2, rgb)
    put("rgb.png", whole)
    put("no_end.png", whole[:-12], oracle=whole)
    put("cut_end.png", whole[:-5], oracle=whole)
    put("trailing.png", whole + b"trailing garbage" * 3)
    put("garbage_for_end.png", whole[:-12] + b"\x00\x01\x02\x03" * 9, oracle=whole)
    put("empty_idat.png", png(8, 2, rgb, [chunk(b"IDAT", b"")], [chunk(b"IDAT", b"")], parts=7))
    put("many_idat.png", png(8, 2, rgb, parts=40))
    put("bad_ancillary.png", png(8, 2, rgb, [chunk(b"gAMA", struct.pack(">I", 45455), 1)]), oracle=whole)
    put("bad_text_behind.png", png(8, 2, rgb, after=[chunk(b"tEXt", b"a\0b", 1)]), oracle=whole)
    put("text_cut.png", png(8, 2, rgb, after=[chunk(b"tEXt", b"a\0bcdefgh")[:-9]], end=False), oracle=whole)
    put("gama.png", png(8, 2, rgb, [chunk(b"gAMA", struct.pack(">I", 100000)), chunk(b"sBIT", b"\5\6\5")]))
    for name, block in [("exif6_before", exif(6)), ("exif6_big", exif(6, big=True)), ("exif8_long", exif(8, 4)),
                        ("exif5_long_big", exif(5, 4, True)), ("exif3", exif(3)), ("exif_prefix", b"Exif\0\0" + exif(7))]:
        put(name + ".png", png(8, 2, rgb, [chunk(b"eXIf", block)]))
        put(name + "_after.png", png(8, 2, rgb, after=[chunk(b"eXIf", block)]), oracle=png(8, 2, rgb, [chunk(b"eXIf", block)]))
    put("exif6_no_end.png", png(8, 2, rgb, after=[chunk(b"eXIf", exif(6))], end=False), oracle=png(8, 2, rgb, [chunk(b"eXIf", exif(6))]))
    put("grey.png", png(8, 0, lines(GREY)))
    put("grey_trns.png", png(8, 0, lines(GREY), [chunk(b"tRNS", b"\0\x08")]))
    put("rgb_trns.png", png(8, 2, rgb, [chunk(b"tRNS", b"\0\0\0\0\0\0")]))
    palette = b"".join(bytes((i * 7 % 256, i * 31 % 256, 255 - i)) for i in range(256))
    for depth in (1, 2, 4, 8):
        index = (GREY.astype(int) % (1 << depth)).astype(np.uint8)
        put(f"palette{depth}.png", png(depth, 3, bits(index, depth), [chunk(b"PLTE", palette[:3 << depth])]))
        trns = bytes([0, 128, 255][:min(3, 1 << depth)])
        put(f"palette{depth}_trns.png", png(depth, 3, bits(index, depth), [chunk(b"PLTE", palette[:3 << depth]), chunk(b"tRNS", trns)]))
        put(f"grey{depth}.png", png(depth, 0, bits(index, depth)))
    put("grey_alpha.png", png(8, 4, lines(np.stack([GREY, 255 - GREY], -1))))
    put("rgba.png", png(8, 6, lines(np.dstack([RGB, GREY]))))
    apngs()


def apng_by_specification(picture, places, dispose):
    """Frames laid over; Pillow 13.0 mixes their alpha as if it were a colour, and does not restore what was under them."""
    full = picture if picture.shape[2] == 4 else np.dstack([picture, np.full((H, W), 255)])
    canvas, out, before = np.zeros((H, W, 4), int), [], None
    for k, (left, top) in enumerate([(0, 0), *places]):
        part = full if k == 0 else full[2:14, 3:17][::-1]
        where = np.s_[top:top + part.shape[0], left:left + part.shape[1]]
        before, under, over = canvas.copy(), canvas[where].astype(int), part.astype(int)
        mine, rest = over[..., 3:] * 255, under[..., 3:] * (255 - over[..., 3:])
        total = np.maximum(mine + rest, 1)
        mixed = np.dstack([(2 * (over[..., :3] * mine + under[..., :3] * rest) + total) // (2 * total), (2 * total + 255) // 510])
        mixed = np.where(under[..., 3:] == 0, over, mixed)
        canvas[where] = over if k == 0 else np.where(over[..., 3:] == 0, under, mixed)
        out.append(canvas[..., :3].astype(np.uint8))
        if dispose == 1 or (dispose == 2 and k == 0):
            canvas[where] = 0
        elif dispose == 2:
            canvas = before
    return out


def apngs():
    """Animations of RGB and RGBA, a part for a frame, every way to dispose of it and to lay it on."""
    def control(number, w, h, left, top, dispose, blend):
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, w, h, left, top, 1, 10, dispose, blend))

    rgba = np.dstack([RGB, GREY])
    for colour, picture in ((2, RGB), (6, rgba)):
        for dispose in range(3):
            for blend in range(2):
                part = lines(np.ascontiguousarray(picture[2:14, 3:17][::-1]))
                frames, number = b"", 1
                for left, top in ((4, 6), (10, 3), (0, 0)):
                    frames += control(number, 14, 12, left, top, dispose, blend)
                    frames += chunk(b"fdAT", struct.pack(">I", number + 1) + zlib.compress(part, 9))
                    number += 2
                before = [chunk(b"acTL", struct.pack(">II", 4, 0)), control(0, W, H, 0, 0, dispose, blend)]
                data = png(8, colour, lines(picture), before, [frames])
                spec = apng_by_specification(picture, [(4, 6), (10, 3), (0, 0)], dispose) if blend else None
                put(f"apng{colour}_{dispose}{blend}.png", data, 4, pictures=spec)
    first = [chunk(b"acTL", struct.pack(">II", 2, 0))]
    hidden = control(0, W, H, 0, 0, 0, 0) + chunk(b"fdAT", struct.pack(">I", 1) + zlib.compress(lines(RGB[::-1].copy()), 9))
    hidden += control(2, 14, 12, 4, 6, 0, 0) + chunk(b"fdAT", struct.pack(">I", 3) + zlib.compress(lines(RGB[2:14, 3:17].copy()), 9))
    put("apng_hidden_first.png", png(8, 2, lines(RGB), first, [hidden]))


def lzw(indices, bits_):
    """Codes without compression: a clear code before the width would grow."""
    clear, codes, out, acc, n, count = 1 << bits_, [], bytearray(), 0, 0, 0
    for i, v in enumerate(indices):
        if i % ((1 << bits_) - 2) == 0:
            codes.append(clear)
        codes.append(int(v))
    codes.append(clear + 1)
    for c in codes:
        acc |= c << n
        n += bits_ + 1
        while n >= 8:
            out.append(acc & 255)
            acc >>= 8
            n -= 8
    out.append(acc & 255)
    return bytes([bits_]) + b"".join(bytes([len(out[i:i + 255])]) + bytes(out[i:i + 255]) for i in range(0, len(out), 255)) + b"\0"


def gif_frame(a, left=0, top=0, dispose=0, transparent=None, delay=5, local=None, interlaced=False):
    h, w = a.shape
    flags = dispose << 2 | (transparent is not None)
    order = [*range(0, h, 8), *range(4, h, 8), *range(2, h, 4), *range(1, h, 2)] if interlaced else range(h)
    data = np.concatenate([a[r] for r in order])
    packed = (0x80 | 3 if local else 0) | (0x40 if interlaced else 0)
    return (b"!\xf9\4" + struct.pack("<BHBB", flags, delay, transparent or 0, 0) + b"," + struct.pack("<HHHHB", left, top, w, h, packed)
            + (local or b"") + lzw(data, 4))


def gif(frames, background=0, trailer=b";", w=W, h=H, table=True):
    palette = b"".join(bytes((i * 16, 255 - i * 9, i * 37 % 256)) for i in range(16))
    return b"GIF89a" + struct.pack("<HHBBB", w, h, 0x83 if table else 0, background, 0) + (palette if table else b"") + b"".join(frames) + trailer


def gifs():
    a = (GREY % 16).astype(np.uint8)
    local = b"".join(bytes((255 - i * 16, i * 5, 200 - i)) for i in range(16))
    put("still.gif", gif([gif_frame(a)]))
    put("still_no_trailer.gif", gif([gif_frame(a)], trailer=b""))
    put("still_zeros.gif", gif([gif_frame(a)], trailer=b"\0\0\0"))
    put("still_garbage.gif", gif([gif_frame(a)], trailer=b"garbage"))
    put("interlaced.gif", gif([gif_frame(a, interlaced=True)]))
    put("local.gif", gif([gif_frame(a, local=local)]))
    put("local_only.gif", gif([gif_frame(a, local=local)], table=False))
    small = a[3:15, 2:20]
    put("offset.gif", gif([gif_frame(small, 5, 4)], background=3))
    put("offset_background0.gif", gif([gif_frame(small, 5, 4)]))
    put("offset_transparent.gif", gif([gif_frame(small, 5, 4, transparent=7)], background=3))
    put("offset_local.gif", gif([gif_frame(small, 5, 4, local=local)], background=3))
    put("corner.gif", gif([gif_frame(small, 0, 0)], background=9))
    put("transparent.gif", gif([gif_frame(a, transparent=7)]))
    put("sticks_out.gif", gif([gif_frame(a, 4, 6)]))
    several = [gif_frame(a), gif_frame(small, 3, 2, dispose=1, delay=0), gif_frame((a + 5) % 16, dispose=1)]


    put("three.gif", gif(several), 3)
    put("three_no_trailer.gif", gif(several, trailer=b""), 3)
    put("three_zeros.gif", gif(several, trailer=b"\0\0"), 3)
    put("three_garbage.gif", gif(several, trailer=b"\xff\xfe"), 3)
    put("local_frames.gif", gif([gif_frame(a, local=local), gif_frame(small, 3, 2, local=local[::-1]), gif_frame(small, 9, 8)]), 3)
    for dispose in (1, 2, 3):
        for hole in (None, 7):
            run = [gif_frame(a, dispose=dispose, transparent=hole), gif_frame(small, 3, 2, dispose=dispose, transparent=hole),
                   gif_frame((small[:6, :9] + 3) % 16, 9, 8, dispose=dispose, transparent=hole), gif_frame(small[::-1], 6, 5, transparent=hole)]
            put(f"dispose{dispose}_{hole}.gif", gif(run, background=3), 4)
            put(f"dispose{dispose}_{hole}_small.gif", gif(run[1:], background=3), 3)
    put("previous.gif", gif([gif_frame(a), gif_frame(small, 3, 2, dispose=3), gif_frame(small, 9, 8)]), 3)


def bmps():
    def bmp(header, body, palette=b"", size=None):
        offset = 14 + len(header) + len(palette)
        return b"BM" + struct.pack("<IHHI", size if size is not None else offset + len(body), 0, 0, offset) + header + palette + body

    def info(depth, compression=0, h=H, length=40, colours=0, size=0):
        return (struct.pack("<IiiHHIIiiII", length, W, h, 1, depth, compression, size, 2835, 2835, colours, 0) + b"\0" * 24)[:length]

    def rows_of(data):
        return b"".join(r + b"\0" * (-len(r) % 4) for r in data[::-1])

    bgr = [RGB[r, :, ::-1].tobytes() for r in range(H)]
    plain = bmp(info(24), rows_of(bgr))
    put("rgb24.bmp", plain)
    put("wrong_size.bmp", bmp(info(24), rows_of(bgr), size=12))
    put("zero_size.bmp", bmp(info(24), rows_of(bgr), size=0))
    put("top_down.bmp", bmp(info(24, h=-H), rows_of(bgr[::-1])))
    put("core.bmp", bmp(struct.pack("<IHHHH", 12, W, H, 1, 24), rows_of(bgr)))
    put("os2_64.bmp", bmp(info(24, length=64), rows_of(bgr)), oracle=plain)
    for length in (16, 24, 42, 48, 60):
        put(f"os2_{length}.bmp", bmp(info(24, length=length), rows_of(bgr)), oracle=plain)
    table = b"".join(bytes((i, 255 - i, i * 3 % 256, 0)) for i in range(256))
    grey8 = [GREY[r].tobytes() for r in range(H)]
    p8 = bmp(info(8, colours=256), rows_of(grey8), table)
    put("palette8.bmp", p8)
    put("os2_palette8.bmp", bmp(info(8, length=64, colours=256), rows_of(grey8), table), oracle=p8)
    put("palette8_200.bmp", bmp(info(8, colours=200), rows_of([bytes(v % 200 for v in r) for r in grey8]), table[:800]))
    put("palette4.bmp", bmp(info(4, colours=16), rows_of([bits(GREY[r:r + 1] % 16, 4)[1:] for r in range(H)]), table[:64]))
    put("palette1.bmp", bmp(info(1, colours=2), rows_of([bits(GREY[r:r + 1] % 2, 1)[1:] for r in range(H)]), table[4:12]))
    c = RGB.astype(np.uint16)
    p565 = (c[..., 0] >> 3) << 11 | (c[..., 1] >> 2) << 5 | c[..., 2] >> 3
    p555 = (c[..., 0] >> 3) << 10 | (c[..., 1] >> 3) << 5 | c[..., 2] >> 3
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    put("rgb565.bmp", bmp(info(16, 3), rows_of([p565[r].astype("<u2").tobytes() for r in range(H)]), masks))
    put("rgb555.bmp", bmp(info(16), rows_of([p555[r].astype("<u2").tobytes() for r in range(H)])))
    bgrx = np.dstack([RGB[..., ::-1], GREY])
    put("rgb32.bmp", bmp(info(32), rows_of([bgrx[r].tobytes() for r in range(H)])))
    rle = b"".join(b"".join(bytes((1, v)) for v in grey8[r]) + b"\0\0" for r in range(H - 1, -1, -1)) + b"\0\1"
    put("rle8.bmp", bmp(info(8, 1, colours=256, size=len(rle)), rle, table))


def pnms():
    rgb, bit, small = RGB.tobytes(), GREY & 1, GREY & 15
    size = b"%d %d" % (W, H)
    put("p6.ppm", b"P6\n# a comment\n" + size + b"\n255\n" + rgb)
    put("p5.pgm", b"P5 " + size + b" 255\n" + GREY.tobytes())
    put("p5_15.pgm", b"P5\n" + size + b"\n15\n" + small.tobytes())
    put("p4.pbm", b"P4\n" + size + b"\n" + b"".join(bits(bit[r:r + 1], 1)[1:] for r in range(H)))
    put("p3.ppm", b"P3\n" + size + b"\n255\n" + b" ".join(b"%d" % v for v in RGB.ravel()) + b"\n")
    put("p2.pgm", b"P2\n" + size + b"\n15\n" + b"\n".join(b"%d" % v for v in small.ravel()) + b"\n")
    put("p1.pbm", b"P1\n" + size + b"\n" + b"\n".join(b" ".join(b"%d" % v for v in row) for row in bit) + b"\n")
    wide = GREY.astype(np.uint32) * 256 + np.arange(W) * 7
    data = b"P5\n" + size + b"\n65535\n" + wide.astype(">u2").tobytes()
    put("p5_16.pgm", data, pictures=[np.dstack([(wide * 255 + 32767) // 65535] * 3).astype(np.uint8)])
    rows[-1] = rows[-1].replace(" 0 ", " - ", 1)


def webps():
    def save(images, **options):
        out = io.BytesIO()
        images[0].save(out, "WEBP", **options)
        return out.getvalue()

    still = Image.fromarray(RGB)
    alpha = Image.fromarray(np.dstack([RGB, GREY]), "RGBA")
    put("lossless.webp", save([still], lossless=True))
    put("lossy.webp", save([still], quality=80))
    put("alpha.webp", save([alpha], lossless=True, exact=True))
    put("alpha_lossy.webp", save([alpha], quality=80))
    for value, kind in [(6, 3), (8, 4)]:
        put(f"exif{value}.webp", save([still], lossless=True, exif=b"Exif\0\0" + exif(value, kind)))
    rolled = [Image.fromarray(np.roll(RGB, 4 * t, 1)) for t in range(4)]
    put("anim.webp", save(rolled, save_all=True, append_images=rolled[1:], lossless=True), 4)
    rows.append(rows[-4].replace(" 0 ", " - ", 1))
    put("anim_lossy.webp", save(rolled, save_all=True, append_images=rolled[1:], quality=70), 4)

    def frame(image, left, top, flags, **options):
        data = save([image], **options)[12:]
        if data[:4] == b"VP8X":
            data = data[18:]
        head = b"".join(struct.pack("<I", v)[:3] for v in (left // 2, top // 2, image.width - 1, image.height - 1, 100)) + bytes([flags])
        return b"ANMF" + struct.pack("<I", len(head + data)) + head + data

    def animation(frames, w=W, h=H):
        body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x12\0\0\0" + struct.pack("<I", w - 1)[:3] + struct.pack("<I", h - 1)[:3]
        body += b"ANIM" + struct.pack("<I", 6) + b"\x10\x20\x30\xff\0\0" + b"".join(frames)
        return b"RIFF" + struct.pack("<I", len(body)) + body

    part = alpha.crop((3, 2, 17, 14))
    solid = still.crop((3, 2, 17, 14))
    for flags in range(4):
        frames = [frame(still, 0, 0, flags & 1, lossless=True), frame(part, 4, 6, flags, lossless=True, exact=True),
                  frame(part, 10, 4, flags, lossless=True, exact=True), frame(solid, 2, 2, 0, lossless=True), frame(part, 0, 0, flags, quality=60)]
        put(f"parts{flags}.webp", animation(frames), 5)
    put("offset_first.webp", animation([frame(part, 4, 6, 1, lossless=True, exact=True), frame(part, 8, 2, 0, lossless=True, exact=True)]), 2)


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    pngs(); gifs(); bmps(); pnms(); webps()
    with open(os.path.join(HERE, "pil_raster.txt"), "w") as f:
        f.write('# file frame width height fnv1a64 of the RGB bytes that Pillow 13.0 gives with exif_transpose and convert("RGB")\n')
        f.write("\n".join(rows) + "\n")
    print(len(rows), "rows")
