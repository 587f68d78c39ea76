"""Makes `profiles/` and `cms_profiles.txt`: one picture with colour profiles in PNG, JPEG, TIFF and WebP, and its pixels in sRGB as
LittleCMS gives them through Pillow.

python make_profiles.py; needs pillow==13.0.0 and numpy. Lines of the table: file, the profile's name with _ for blanks, then R, G, B
of the 24 middle pixels of the fields in sRGB.
"""
import io, os, struct, zlib
import numpy as np
from PIL import Image, ImageCms

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "profiles")


def s15(v):
    return struct.pack(">i", round(v * 65536))


def text(name):
    return b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name.encode() + b"\0" * 79


def icc(name, space, tags, version=0x02400000):
    tags = {"desc": text(name), "cprt": b"text\0\0\0\0none\0", "wtpt": b"XYZ \0\0\0\0" + s15(0.9642) + s15(1) + s15(0.8249), **tags}
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for key, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += key.encode() + struct.pack(">II", at + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"\0" * 4, version, b"mntr", space, b"XYZ ") + b"\0" * 12 + b"acsp" + b"\0" * 24 + b"\0" * 4
    head += s15(0.9642) + s15(1) + s15(0.8249)
    head += b"\0" * (128 - len(head))
    return head + struct.pack(">I", len(tags)) + table + body


def gamma(g):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(g * 256)) + b"\0\0"


def srgb_curve():
    v = np.linspace(0, 1, 1024)
    lin = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + np.round(lin * 65535).astype(">u2").tobytes()


def matrix(primaries, white):
    """Columns of the primaries, adapted to D50 by Bradford."""
    xyz = lambda x, y: np.array([x / y, 1, (1 - x - y) / y])
    m = np.stack([xyz(*p) for p in primaries], 1)
    m = m * np.linalg.solve(m, xyz(*white))
    b = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    d50 = np.array([0.9642, 1, 0.8249])
    return np.linalg.inv(b) @ np.diag((b @ d50) / (b @ xyz(*white))) @ b @ m


def rgb_profile(name, primaries, white, curve):
    m = matrix(primaries, white)
    tags = {k: b"XYZ \0\0\0\0" + b"".join(s15(v) for v in m[:, i]) for i, k in enumerate(("rXYZ", "gXYZ", "bXYZ"))}
    return icc(name, b"RGB ", {**tags, "rTRC": curve, "gTRC": curve, "bTRC": curve})


D65 = (0.3127, 0.3290)
P3 = rgb_profile("Display P3", [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)], D65, srgb_curve())
ADOBE = rgb_profile("Adobe RGB (1998)", [(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)], D65, gamma(2.2))
SRGB = rgb_profile("sRGB IEC61966-2.1", [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)], D65, srgb_curve())
GREY = icc("Gray Gamma 1.8", b"GRAY", {"kTRC": gamma(1.8)})

fields = np.array([[(200, 30, 40), (30, 180, 60), (40, 60, 210), (250, 250, 250), (128, 128, 128), (10, 12, 14)],
                   [(255, 0, 0), (0, 255, 0), (0, 0, 255), (220, 180, 140), (90, 120, 60), (180, 90, 160)],
                   [(64, 32, 16), (16, 64, 32), (32, 16, 64), (200, 200, 60), (60, 200, 200), (200, 60, 200)],
                   [(240, 200, 180), (120, 80, 60), (60, 80, 120), (0, 0, 0), (255, 255, 255), (77, 77, 77)]], np.uint8)
RGB = Image.fromarray(fields.repeat(8, 0).repeat(8, 1))
L = Image.fromarray(fields[..., 0].repeat(8, 0).repeat(8, 1))
rows = []


def put(name, image, profile, label, **options):
    """label None: a profile that changes nothing or cannot be used."""
    path = os.path.join(OUT, name)
    if profile is not None:
        options["icc_profile"] = profile
    image.save(path, **options)
    row(name, profile, label)


def row(name, profile, label):
    opened = Image.open(os.path.join(OUT, name))
    if profile and label:
        to = ImageCms.createProfile("sRGB")
        opened = ImageCms.profileToProfile(opened, ImageCms.ImageCmsProfile(io.BytesIO(profile)), to, renderingIntent=0, outputMode="RGB")
    a = np.asarray(opened.convert("RGB"))[4::8, 4::8]
    rows.append(" ".join([name, (label or "-").replace(" ", "_"), *map(str, a.ravel())]))


os.makedirs(OUT, exist_ok=True)
put("p3.png", RGB, P3, "Display P3")
put("p3.jpg", RGB, P3, "Display P3", quality=95, subsampling=0)
put("p3.webp", RGB, P3, "Display P3", lossless=True)
put("p3.tif", RGB, P3, "Display P3", compression="tiff_lzw")
put("adobe.png", RGB, ADOBE, "Adobe RGB (1998)")
put("adobe_rgba.png", RGB.convert("RGBA"), ADOBE, "Adobe RGB (1998)")
put("srgb.jpg", RGB, SRGB, None, quality=95)
put("grey.png", L, GREY, "Gray Gamma 1.8")
put("none.png", RGB, None, None)
rows.append("# in several APP2 segments, and with one of them missing")
data = open(os.path.join(OUT, "p3.jpg"), "rb").read()
at = data.index(b"\xff\xe2")
end = at + 2 + int.from_bytes(data[at + 2:at + 4], "big")
part = lambda k, n, body: b"\xff\xe2" + struct.pack(">H", 16 + len(body)) + b"ICC_PROFILE\0" + bytes((k, n)) + body
two = [part(2, 2, P3[1000:]), part(1, 2, P3[:1000])]
for name, parts in [("parts.jpg", two), ("part_missing.jpg", two[1:])]:
    open(os.path.join(OUT, name), "wb").write(data[:at] + b"".join(parts) + data[end:])
row("parts.jpg", P3, "Display P3")
row("part_missing.jpg", None, None)
# a PNG that says it in numbers
plain = io.BytesIO()
RGB.save(plain, "PNG")
plain = plain.getvalue()
for name, numbers, profile, label in [("cicp_p3.png", (12, 13, 0, 1), P3, "Display P3"), ("cicp_srgb.png", (1, 13, 0, 1), None, None),
                                      ("cicp_pq.png", (9, 16, 0, 1), None, None)]:
    body = b"cICP" + bytes(numbers)
    open(os.path.join(OUT, name), "wb").write(plain[:33] + struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body)) + plain[33:])
    row(name, profile, label)
with open(os.path.join(HERE, "cms_profiles.txt"), "w") as f:
    f.write("# file, profile (- where nothing is to be converted), R G B of 24 fields in sRGB (LittleCMS, perceptual)\n" + "\n".join(rows) + "\n")
