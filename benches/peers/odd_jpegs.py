"""Makes some 600 odd JPEGs, decodes them with `seg-data`, Pillow and OpenCV, and prints a table of where they differ.

    python3 -m venv venv && venv/bin/pip install pillow==13.0.0 opencv-python-headless==4.14.0.94 numpy
    cargo build --release -p seg-data --example decode_folder
    venv/bin/python benches/peers/odd_jpegs.py [--keep FOLDER] [--list]

Needs `cjpeg` of libjpeg-turbo (Debian: libjpeg-turbo-progs). The files are drawn from a photo of the tests: every sampling, baseline, progressive and
arithmetic; restart markers taken out, doubled, renumbered, swapped, with bytes before them; stray bytes between segments; ends missing, cut, doubled;
Adobe markers that contradict the rest; CMYK. They are not kept in the project: they take a second to make.
"""
import argparse, collections, os, subprocess, sys, tempfile

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
KINDS = [[], ["-progressive"], ["-arithmetic"]]
ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"


class Maker:
    def __init__(self, folder):
        from PIL import Image
        self.folder = folder
        self.photo = Image.open(os.path.join(ROOT, "tests", "data", "photos", "coffee.jpg")).convert("RGB")

    def write(self, name, data):
        with open(os.path.join(self.folder, name + ".jpg"), "wb") as f:
            f.write(data)

    def encode(self, name, options, size=(97, 61)):
        """The file by cjpeg, which refuses some samplings: then none."""
        header = b"P6 %d %d 255\n" % size
        done = subprocess.run(["cjpeg", *options], input=header + self.photo.resize(size).tobytes(), capture_output=True)
        if done.returncode == 0:
            self.write(name, done.stdout)
        return done.stdout

    def samplings(self):
        for factor in ("1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "3x1", "3x3"):
            for size in ((97, 61), (16, 16), (3, 5), (1, 1), (33, 7)):
                for kind in KINDS[:2]:
                    self.encode(f"sampling_{factor}_{size[0]}{''.join(kind)}", ["-sample", f"{factor},1x1,1x1", *kind], size)
        for three in ("1x1,2x2,2x2", "1x1,2x1,2x1", "2x2,2x1,1x2", "2x1,1x2,1x1", "1x1,2x1,1x2", "3x1,2x1,1x1", "2x2,1x1,2x1", "1x2,2x1,1x1",
                      "4x1,2x1,1x1", "1x1,1x2,2x2"):
            for colours in ([], ["-rgb"]):
                for kind in KINDS:
                    self.encode(f"sampling_{three.replace(',', '_')}{''.join(colours + kind)}", ["-sample", three, *colours, *kind])
        for options in (["-grayscale"], ["-grayscale", "-sample", "2x2"], ["-grayscale", "-sample", "2x2", "-arithmetic"], ["-arithmetic"], ["-arithmetic", "-progressive"], ["-quality", "100"], ["-optimize"]):
            self.encode("plain" + "".join(options), options)

    def restarts(self):
        for interval in ("1", "2B", "4B", "7B"):
            for kind in ([], ["-progressive"], ["-grayscale"], ["-sample", "1x1"], ["-arithmetic"]):
                name = f"restart_{interval}{''.join(kind)}"
                file = self.encode(name, ["-restart", interval, *kind], (160, 120))
                at = [i for i in range(len(file) - 1) if file[i] == 255 and 0xD0 <= file[i + 1] <= 0xD7]
                if len(at) < 8:
                    continue
                for j in (0, 3, len(at) - 1):
                    i = at[j]
                    before, marker, behind = file[:i], file[i:i + 2], file[i + 2:]
                    self.write(f"{name}_missing{j}", before + behind)
                    self.write(f"{name}_twice{j}", before + marker + marker + behind)
                    self.write(f"{name}_fill{j}", before + b"\xff\xff" + marker + behind)
                    self.write(f"{name}_bytes{j}", before + b"\x12\x34" + marker + behind)
                    self.write(f"{name}_zeros{j}", before + b"\0\0" + marker + behind)
                    self.write(f"{name}_number{j}", before + bytes([255, 0xD0 + (marker[1] - 0xD0 + 4) % 8]) + behind)
                swapped = bytearray(file)
                swapped[at[2] + 1], swapped[at[3] + 1] = swapped[at[3] + 1], swapped[at[2] + 1]
                self.write(f"{name}_swapped", bytes(swapped))
                self.write(f"{name}_lost", file[:at[2]] + file[at[3]:])
                self.write(f"{name}_lost3", file[:at[2]] + file[at[5]:])

    def segments(self):
        for kind in KINDS[:2]:
            name = "segments" + "".join(kind)
            file = self.encode(name, kind, (160, 120))
            for stray, data in (("zeros", b"\0\0\0"), ("text", b"hello"), ("fill", b"\xff\xff\xff"), ("stuffed", b"\xff\0"), ("tem", b"\xff\x01")):
                self.write(f"{name}_stray_{stray}", file[:20] + data + file[20:])
            text = b"text after\r\n"
            for end, data in (("none", file[:-2]), ("text", file[:-2] + text), ("twice", file + file), ("zeros", file + b"\0" * 999), ("half", file[:len(file) // 2]),
                              ("half_marked", file[:len(file) // 2] + b"\xff\xd9"), ("cut", file[:-40]), ("cut_text", file[:-40] + 3 * text)):
                self.write(f"{name}_end_{end}", data)
            for transform in (0, 1, 2, 7):
                self.write(f"{name}_jfif_adobe{transform}", file[:20] + ADOBE + bytes([transform]) + file[20:])
                self.write(f"{name}_adobe{transform}", file[:2] + ADOBE + bytes([transform]) + file[20:])
            self.write(f"{name}_bare", file[:2] + file[20:])
            same = bytearray(file)
            frame = file.find(b"\xff\xc2" if kind else b"\xff\xc0")
            same[frame + 10:frame + 19:3] = b"\1\1\1"
            at = file.find(b"\xff\xda")
            same[at + 5:at + 11:2] = b"\1\1\1"
            if not kind:
                self.write(f"{name}_one_id", bytes(same))
            scans = [i for i in range(len(file) - 1) if file[i:i + 2] == b"\xff\xda"]
            for j, i in enumerate(scans[1:]):
                self.write(f"{name}_scans{j + 1}", file[:i] + b"\xff\xd9")

    def inks(self):
        import io
        for sampling in (0, 1, 2):
            out = io.BytesIO()
            self.photo.resize((97, 61)).convert("CMYK").save(out, "JPEG", subsampling=sampling)
            file = out.getvalue()
            self.write(f"cmyk_{sampling}", file)
            at = file.find(b"Adobe")
            if at > 0:
                for transform in (0, 1, 2):
                    self.write(f"cmyk_{sampling}_transform{transform}", file[:at + 11] + bytes([transform]) + file[at + 12:])
                self.write(f"cmyk_{sampling}_bare", file[:at - 4] + file[at + 12:])


def fnv(data):
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = ((digest ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def compare(folder, show):
    import cv2
    from PIL import Image
    decoder = os.path.join(ROOT, "target", "release", "examples", "decode_folder")
    lines = subprocess.run([decoder, folder, "--digests"], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = dict(line.split("|", 1) for line in lines if "|" in line)
    table = collections.defaultdict(collections.Counter)
    for name in sorted(ours):
        path = os.path.join(folder, name)
        try:
            pillow = fnv(Image.open(path).convert("RGB").tobytes())
        except Exception as error:
            pillow = f"refused: {error}"
        image = cv2.imread(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        opencv = "refused" if image is None else fnv(image[..., ::-1].tobytes())
        mine = ours[name]
        refused, theirs = mine.startswith("refused"), pillow.startswith("refused")
        verdict = ("as Pillow" if mine == pillow else "both refuse" if refused and theirs else "we refuse" if refused
                   else "Pillow refuses, as OpenCV" if theirs and mine == opencv else "Pillow refuses" if theirs else "OTHER PIXELS")
        group = name.split("_")[0] + ("-arithmetic" if "-arithmetic" in name else "-progressive" if "-progressive" in name else "")
        table[group.removesuffix(".jpg")][verdict] += 1
        if show and verdict not in ("as Pillow", "both refuse"):
            print(f"{verdict:26} {name:44} {mine[:90]}")
    verdicts = ["as Pillow", "both refuse", "Pillow refuses, as OpenCV", "Pillow refuses", "we refuse", "OTHER PIXELS"]
    print("| files | " + " | ".join(verdicts) + " |\n| --- |" + " ---: |" * len(verdicts))
    for group, counts in sorted(table.items()):
        print(f"| {group} | " + " | ".join(str(counts[v] or "") for v in verdicts) + " |")
    total = sum(table.values(), collections.Counter())
    print("| all | " + " | ".join(str(total[v]) for v in verdicts) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", metavar="FOLDER", help="leave the files here")
    parser.add_argument("--list", action="store_true", help="name the files that differ")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or temporary
        os.makedirs(folder, exist_ok=True)
        maker = Maker(folder)
        maker.samplings(), maker.restarts(), maker.segments(), maker.inks()
        compare(folder, options.list)
        sys.exit(0)
