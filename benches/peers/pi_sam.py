"""Times Pi-SAM's decoder at 1024 (all but the image encoder), without and with three clicks, against the authors' code in PyTorch, process by process in
turn, and prints ratios of time and of peak memory (whole process).

    git clone https://github.com/lmzpai/pi-sam OFFICIAL
    python3 -m venv venv && venv/bin/pip install torch==2.5.1 torchvision==0.20.1 pillow numpy
    cargo build --release -p seg-models --example time_pi_sam
    venv/bin/python benches/peers/pi_sam.py OFFICIAL [--threads 2] [--rounds 3] [--runs 5]

A ratio below 1 means that ours takes less. Both sides run with made-up weights, whose offsets are a pixel or so; OpenCV, which only training uses, need not
be there.
"""
import argparse, json, os, resource, statistics, subprocess, sys, tempfile, time, types


def child(official, threads, runs):
    """One PyTorch process: prints the seconds of each run and the peak memory."""
    import torch

    sys.modules["cv2"] = types.ModuleType("cv2")
    # the modules alone: the package's own __init__ wants everything else, too
    for name in ("segment_anything", "segment_anything.modeling"):
        package = types.ModuleType(name)
        package.__path__ = [os.path.join(official, *name.split("."))]
        sys.modules[name] = package
    from segment_anything.modeling.mask_decoder_ori import MaskDecoder
    from segment_anything.modeling.mask_decoder_pi import MaskDecoderAE
    from segment_anything.modeling.transformer import TwoWayTransformer

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    sam = MaskDecoder(transformer_dim=256, transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8))
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save(sam.state_dict(), file.name)
        network = MaskDecoderAE("vit_b", file.name, interact=True).eval()
    with torch.no_grad():
        for name, p in network.named_parameters():
            if p.dim() > 1 and "laplacian" not in name:
                bound = (3 / p[0].numel()) ** 0.5
                p.uniform_(-bound, bound)
    noise = lambda *shape: torch.rand(*shape) * 2 - 1
    outputs = dict(image_embeddings=noise(1, 256, 64, 64), image_pe=noise(1, 256, 64, 64),
                   sparse_prompt_embeddings=noise(1, 2, 256), dense_prompt_embeddings=noise(1, 256, 64, 64))
    interm = [noise(1, 64, 64, 768), noise(1, 8, 1024, 1024)]
    fg, bg = torch.tensor([[[0.31, 0.42], [0.655, 0.2]]]), torch.tensor([[[0.5, 0.871]]])
    result = {}
    with torch.inference_mode():
        for key, extra in (("plain_s", {}), ("clicks_s", dict(fg=fg, bg=bg, interactive=True))):
            seconds = []
            for run in range(runs + 1):
                start = time.perf_counter()
                network(outputs, interm, **extra)
                if run:
                    seconds.append(time.perf_counter() - start)
            result[key] = seconds
    result["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(result))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("official")
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--runs", type=int, default=5)
    a.add_argument("--ours", default=os.path.join(os.path.dirname(__file__), "../../target/release/examples/time_pi_sam"))
    a.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    a = a.parse_args()
    if a.child:
        return child(a.official, a.threads, a.runs)
    env = dict(os.environ, RAYON_NUM_THREADS=str(a.threads))

    def last(command):
        """What a process says, and its processor seconds."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return dict(json.loads(out.splitlines()[-1]), cpu=sum(after[:2]) - sum(before[:2]))

    ours, theirs = [], []
    for _ in range(a.rounds):
        ours.append(last([a.ours, str(a.runs)]))
        theirs.append(last([sys.executable, __file__, a.official, "--child", "--threads", str(a.threads), "--runs", str(a.runs)]))
    print(f"{a.threads} threads, medians of {a.rounds} rounds of {a.runs} runs, in turn\n")
    print("| Pi-SAM's decoder at 1024 | ours | PyTorch | ratio |\n|---|---|---|---|")
    rows = [("one box, s", "plain_s", 1), ("one box and 3 clicks, s", "clicks_s", 1), ("peak memory, GB", "peak", 1e-9),
            ("processor seconds of a process", "cpu", 1)]
    for name, key, scale in rows:
        flat = lambda sides: [v * scale for side in sides for v in (side[key] if isinstance(side[key], list) else [side[key]])]
        m, t = statistics.median(flat(ours)), statistics.median(flat(theirs))
        print(f"| {name} | {m:.3f} | {t:.3f} | {m / t:.2f} |")
    best = lambda sides, key: min(v for side in sides for v in side[key])
    print("\nquickest runs: " + ", ".join(
        f"{key[:-2]} {best(ours, key):.3f} s and {best(theirs, key):.3f} s" for key in ("plain_s", "clicks_s")))


if __name__ == "__main__":
    main()
