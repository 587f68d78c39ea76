"""Decodes a folder of images with `seg-data` and with Pillow and NumPy, in turn, two threads on either side, and prints medians.

    python3 -m venv venv && venv/bin/pip install pillow==13.0.0 numpy
    cargo build --release -p seg-data --example decode_folder
    venv/bin/python benches/peers/decode.py FOLDER [--turns 5] [--old PROGRAM]

`--make FOLDER` draws 50 JPEGs of 12 megapixels (4:2:0, quality 90, with noise) from photos of the tests. The time of the processors, user and system
together, is shown beside that of the clock: other work on the machine changes it less.
"""
import argparse, glob, os, re, statistics, subprocess, sys, time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
# what `seg_ops::keep_freed_memory` sets, as the command does
KEPT = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=2147483647:glibc.malloc.top_pad=67108864"}


def pillow(folder):
    from concurrent.futures import ThreadPoolExecutor
    import numpy
    from PIL import Image

    def size(path):
        try:
            return numpy.asarray(Image.open(path).convert("RGB")).size
        except Exception:
            return 0

    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(size, sorted(glob.glob(os.path.join(folder, "*")))))
    print(f"{1e3 * (time.perf_counter() - start):.1f} ms")


def make(folder):
    import numpy
    from PIL import Image
    os.makedirs(folder, exist_ok=True)
    noise = numpy.random.default_rng(3)
    photos = [Image.open(os.path.join(ROOT, "tests", "data", "photos", f"{name}.jpg")).convert("RGB") for name in ("coffee", "dandelion", "rocket")]
    for i in range(50):
        (w, h), (x, y) = photos[i % 3].size, noise.random(2) / 4
        part = photos[i % 3].crop((int(x * w), int(y * h), int((x + 0.75) * w), int((y + 0.75) * h))).resize((4000, 3000), Image.BICUBIC)
        levels = numpy.asarray(part) + noise.normal(0, 4, (3000, 4000, 1)).astype("f4") + noise.normal(0, 1.5, (3000, 4000, 3)).astype("f4")
        Image.fromarray((levels + 0.5).clip(0, 255).astype("u1")).save(os.path.join(folder, f"{i:02}.jpg"), quality=90, subsampling="4:2:0")


def run(command, environment):
    """Milliseconds by the clock, as the program prints them, and seconds of the processors."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "RAYON_NUM_THREADS": "2", **environment})
    text = process.stdout.read()
    used = os.wait4(process.pid, 0)[2]
    return float(re.search(r"([\d.]+) ms", text)[1]), used.ru_utime + used.ru_stime


def main(folder, turns, old):
    ours = os.path.join(ROOT, "target", "release", "examples", "decode_folder")
    programs = {
        "ImageLoader": ([ours, folder], {}),
        "load_image": ([ours, folder, "--alone"], {}),
        "load_image, freed memory kept": ([ours, folder, "--alone"], KEPT),
        "Pillow, NumPy": ([sys.executable, __file__, "--pillow", folder], {}),
    }
    if old:
        programs["the old program"] = ([old, folder], {})
    times = {name: [] for name in programs}
    for _ in range(turns):
        for name, (command, environment) in programs.items():
            times[name].append(run(command, environment))
    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in times.items()}
    peer = medians["Pillow, NumPy"]
    print("| | clock ms | processors s | of Pillow, clock | of Pillow, processors |\n| --- | ---: | ---: | ---: | ---: |")
    for name, (clock, processors) in medians.items():
        print(f"| {name} | {clock:.0f} | {processors:.2f} | {clock / peer[0]:.2f} | {processors / peer[1]:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--old", metavar="PROGRAM", help="another build of decode_folder")
    parser.add_argument("--make", action="store_true", help="draw the photos into FOLDER and stop")
    parser.add_argument("--pillow", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make(options.folder)
    elif options.pillow:
        pillow(options.folder)
    else:
        main(options.folder, options.turns, options.old)
