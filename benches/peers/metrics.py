"""Times `hrseg evaluate` against PySODMetrics on the same files, decoding included for both, one process each, and compares the numbers.

    python3 -m venv venv && venv/bin/pip install pysodmetrics==1.6.2 opencv-python-headless==4.12.0.88
    cargo build --release && cargo build --release -p seg-data --example decode_gray
    venv/bin/python benches/peers/metrics.py [--pairs 4] [--size 3072x2048] [--runs 3] [--threads 2] [--json out.json]
    venv/bin/python benches/peers/metrics.py --pred DIR --gt DIR

Without folders the pairs are drawn: thick blobs with a rough edge, thin stripes, gray predictions. Ours is timed from the start of the process to its
end; theirs from the first file on, after all imports, and takes each image from the disk once for all metrics of a set. The sides take turns, and
the median counts. CPU seconds are told beside, for machines that are shared. `decoding` reads the files and does nothing with them;
`without it` is what measuring takes beside that.

HCE depends on the release of OpenCV: up to 4.12 both sides give the same number, from 4.13 on PySODMetrics gives another.
"""
import argparse, glob, json, os, statistics, subprocess, sys, tempfile, time

SETS = {"standard": "mae,smeasure,emeasure,fmeasure,wfm", "hce": "hce", "decoding": None}


def draw(folder, pairs, width, height):
    import cv2
    import numpy as np

    def field(rng, sigma):
        step = max(1, sigma // 3)
        noise = cv2.GaussianBlur(rng.random((height // step + 2, width // step + 2)), (0, 0), sigma / step)
        noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        return (noise - noise.mean()) / noise.std()

    for side in ("pred", "gt"):
        os.makedirs(os.path.join(folder, side), exist_ok=True)
    y, x = np.mgrid[0:height, 0:width]
    for i in range(pairs):
        rng = np.random.default_rng(i)
        shape = field(rng, 220) + 0.4 * field(rng, 25) + 0.08 * field(rng, 4) - 0.2
        stripes = (np.abs((x + 0.3 * y) % 97 - 40) < 4) & (field(rng, 60) > 0.8)
        guess = 2 * shape + 0.4 * field(rng, 6) + 0.3 * field(rng, 30) + 1.5 * (stripes & (shape <= 0))
        gt = np.where((shape > 0) | stripes, 255, 0).astype(np.uint8)
        pred = np.clip(255 / (1 + np.exp(-3 * guess)), 0, 255).astype(np.uint8)
        cv2.imwrite(os.path.join(folder, "pred", f"{i:02}.png"), pred)
        cv2.imwrite(os.path.join(folder, "gt", f"{i:02}.png"), gt)


def worker(kind, pred, gt, threads):
    """One set by PySODMetrics: prints seconds, CPU seconds and the numbers of each pair."""
    import cv2
    import py_sod_metrics as ps

    cv2.setNumThreads(threads)
    files = sorted(glob.glob(os.path.join(gt, "*")))
    values = {}
    start, cpu = time.perf_counter(), time.process_time()
    if kind == "standard":
        metrics = [ps.MAE(), ps.Smeasure(), ps.Emeasure(), ps.Fmeasure(), ps.WeightedFmeasure()]
    else:
        metrics = [ps.HumanCorrectionEffortMeasure()] if kind == "hce" else []
    for file in files:
        name = os.path.basename(file)
        p = cv2.imread(os.path.join(pred, name), cv2.IMREAD_GRAYSCALE)
        g = cv2.imread(file, cv2.IMREAD_GRAYSCALE)
        for metric in metrics:
            metric.step(pred=p, gt=g)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    for i, file in enumerate(files):
        if kind == "standard":
            mae, s, e, f, w = metrics
            curve = e.changeable_ems[i]
            got = {
                "mae": mae.maes[i], "smeasure.sm": s.sms[i], "emeasure.adp": e.adaptive_ems[i], "emeasure.mean": curve.mean(), "emeasure.max": curve.max(),
                "fmeasure.adp": f.adaptive_fms[i], "fmeasure.mean": f.changeable_fms[i].mean(), "fmeasure.max": f.changeable_fms[i].max(),
                "wfm_beta1": w.weighted_fms[i],
            }
        else:
            got = {"hce": metrics[0].hces[i]} if metrics else {}
        values[os.path.splitext(os.path.basename(file))[0]] = {k: float(v) for k, v in got.items()}
    print(json.dumps({"seconds": seconds, "cpu": cpu, "values": values, "opencv": cv2.__version__}))


def timed(command, env):
    """Wall and CPU seconds of a whole process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        sys.exit(f"{command[0]} failed: {' '.join(command)}")
    return seconds, usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pred")
    parser.add_argument("--gt")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--size", default="3072x2048")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hrseg", default="target/release/hrseg")
    parser.add_argument("--decoder", default="target/release/examples/decode_gray")
    parser.add_argument("--json")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return worker(args.worker, args.pred, args.gt, args.threads)

    with tempfile.TemporaryDirectory() as folder:
        pred, gt = args.pred, args.gt
        if pred is None:
            draw(folder, args.pairs, *map(int, args.size.split("x")))
            pred, gt = os.path.join(folder, "pred"), os.path.join(folder, "gt")
        threads = str(args.threads)
        env = dict(os.environ, RAYON_NUM_THREADS=threads, OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads)
        out, results = os.path.join(folder, "ours.json"), {}
        sides = {name: {"ours": [], "theirs": []} for name in SETS}
        mine, values = {}, {}
        # all sets and both sides in turn, so that a busy while of the machine falls on all
        for _ in range(args.runs):
            for name, metrics in SETS.items():
                if metrics is None:
                    sides[name]["ours"].append(timed([args.decoder, pred, gt], env))
                else:
                    command = [args.hrseg, "evaluate", "--protocol", "pysodmetrics", "--metrics", metrics]
                    sides[name]["ours"].append(timed(command + ["--pred", pred, "--gt", gt, "--json", out, "--force"], env))
                    mine[name] = json.load(open(out))["pairs"]
                command = [sys.executable, __file__, "--worker", name, "--pred", pred, "--gt", gt, "--threads", threads]
                got = json.loads(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)
                sides[name]["theirs"].append((got["seconds"], got["cpu"]))
                values[name] = got["values"]
        for name, metrics in SETS.items():
            pairs = len(values[name])
            median = lambda side, i: statistics.median(run[i] for run in sides[name][side]) / pairs
            row = {"ours": median("ours", 0), "ours_cpu": median("ours", 1), "theirs": median("theirs", 0), "theirs_cpu": median("theirs", 1), "pairs": pairs}
            if metrics is not None:
                gap = {}
                for stem, numbers in values[name].items():
                    for key, value in numbers.items():
                        gap[key] = max(gap.get(key, 0.0), abs(mine[name][stem][key] - value))
                row["largest_difference"] = gap
                # of runs side by side: what measuring costs beside decoding
                shares = [ours[0] / decoding[0] - 1 for ours, decoding in zip(sides[name]["ours"], sides["decoding"]["ours"])]
                row["measuring_of_decoding"] = statistics.median(shares)
            results[name] = row
        decoding = results["decoding"]["ours"]
        print(f"seconds a pair, {results['hce']['pairs']} pairs, {threads} threads, OpenCV {got['opencv']}")
        print(f"{'':10}{'hrseg':>9}{'CPU':>9}{'PySOD':>9}{'CPU':>9}{'faster':>9}{'of decoding':>13}{'without it':>12}")
        for name, row in results.items():
            times = "".join(f"{row[k]:9.4f}" for k in ("ours", "ours_cpu", "theirs", "theirs_cpu"))
            print(f"{name:10}{times}{row['theirs'] / row['ours']:8.1f}x{row['ours'] / decoding:12.2f}x{row.get('measuring_of_decoding', 0):11.2f}x")
        for name, row in results.items():
            for key, value in row.get("largest_difference", {}).items():
                print(f"  {key}: largest difference {value:.3g}")
        if args.json:
            json.dump(results, open(args.json, "w"), indent=1)


if __name__ == "__main__":
    main()
