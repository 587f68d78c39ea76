"""Times SAM 2.1 following one clicked object through a clip at 1024, `hrseg track` against the authors' video predictor in PyTorch on the processor, process by
process in turn, and prints ratios of the seconds of a tracked frame, of the whole run and of peak memory.

    git clone https://github.com/facebookresearch/sam2 OFFICIAL
    python3 -m venv venv && venv/bin/pip install torch==2.5.1 torchvision==0.20.1 hydra-core iopath tqdm pillow numpy
    cargo build --release
    venv/bin/python benches/peers/sam2_video.py OFFICIAL [--models tiny,large] [--frames 24] [--rounds 3] [--threads 2]

A ratio below 1 means that ours takes less. Both sides run with the same made-up weights, in which the object is always there, decode the same JPEGs, and
write a mask in PNG for each frame. A tracked frame is timed from one mask to the next, where the memory is full: seven maps from frame 7 on, all pointers from
frame 15. The authors' code decodes all frames beforehand, which only the whole run counts; it fills no holes without its CUDA extension, so ours
fills none here.
"""
import argparse, os, statistics, subprocess, sys, tempfile, time

CLICK = (640, 360)
FULL = 7  # frames until the memory is full


def predictor(official, model, checkpoint):
    sys.path.insert(0, official)
    from sam2.build_sam import build_sam2_video_predictor

    return build_sam2_video_predictor(f"configs/sam2.1/sam2.1_hiera_{model[0]}.yaml", checkpoint, device="cpu")


def make_weights(official, model, path):
    import torch

    torch.manual_seed(0)
    state = predictor(official, model, None).state_dict()
    for name, p in state.items():
        if p.dim() > 1:
            p.uniform_(-1, 1).mul_((3 / p[0].numel()) ** 0.5 if name.endswith("weight") else 0.5)
        elif not name.endswith("weight"):
            p.uniform_(-0.05, 0.05)
    state["sam_mask_decoder.pred_obj_score_head.layers.2.bias"].fill_(10)
    torch.save({"model": state}, path)


def make_clip(folder, frames):
    from PIL import Image

    photo = Image.open(os.path.join(os.path.dirname(__file__), "../../tests/data/photos/coffee.jpg")).convert("RGB").resize((1800, 1200))
    for t in range(frames):
        x, y = 10 * t % 500, 5 * t % 400
        photo.crop((x, y, x + 1280, y + 720)).save(os.path.join(folder, f"{t:05d}.jpg"), quality=92)


def child(official, model, checkpoint, clip, output, threads):
    """The authors' code: a line for each frame."""
    import numpy as np
    import torch
    from PIL import Image

    torch.set_num_threads(threads)
    network = predictor(official, model, checkpoint)
    with torch.inference_mode():
        state = network.init_state(clip)
        network.add_new_points_or_box(state, frame_idx=0, obj_id=1, points=np.array([CLICK], np.float32), labels=np.array([1], np.int32))
        for frame, _, masks in network.propagate_in_video(state):
            inside = (masks[0, 0] > 0).numpy().astype(np.uint8)
            Image.fromarray(inside, "P").save(os.path.join(output, f"{frame:05d}.png"))
            print(frame, flush=True)


def timed(command):
    """Seconds between the lines a process prints, its seconds, and its peak memory."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    at = [time.perf_counter() for _ in process.stdout]
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"status {status}: {' '.join(command)}")
    return [b - a for a, b in zip(at, at[1:])][FULL - 1:], time.perf_counter() - start, usage.ru_maxrss * 1024


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("official")
    a.add_argument("--models", default="tiny,large")
    a.add_argument("--frames", type=int, default=24)
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--ours", default=os.path.join(os.path.dirname(__file__), "../../target/release/hrseg"))
    a.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    a = a.parse_args()
    if a.child:
        return child(a.official, *a.child, a.threads)
    if a.frames <= FULL:
        sys.exit(f"--frames {a.frames}: expected more than {FULL}")
    print(f"{a.threads} threads, {a.frames} frames, medians of {a.rounds} rounds in turn\n")
    print("| model | | ours | PyTorch | ratio |\n|---|---|---|---|---|")
    for model in a.models.split(","):
        with tempfile.TemporaryDirectory() as work:
            clip, checkpoint, output = (os.path.join(work, name) for name in ("clip", "weights.pt", "out"))
            os.mkdir(clip), os.mkdir(output)
            make_clip(clip, a.frames)
            subprocess.run([sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import sam2_video; sam2_video.make_weights(*sys.argv[2:])",
                            os.path.dirname(os.path.abspath(__file__)), a.official, model, checkpoint], check=True)
            mine = [a.ours, "track", clip, "--model", f"sam2.1-{model}", "--weights", checkpoint, "--point", f"0:1:{CLICK[0]},{CLICK[1]}",
                    "--format", "labels", "--fill-holes", "0", "--force", "-o", output, "--threads", str(a.threads)]
            theirs = [sys.executable, __file__, a.official, "--threads", str(a.threads), "--child", model, checkpoint, clip, output]
            rounds = [(timed(mine), timed(theirs)) for _ in range(a.rounds)]
            frame = [statistics.median(s for r in rounds for s in r[side][0]) for side in (0, 1)]
            whole, peak = ([statistics.median(r[side][i] for r in rounds) for side in (0, 1)] for i in (1, 2))
            for what, (ours, torch) in (("a tracked frame, s", frame), ("the whole run, s", whole), ("peak memory, GB", [p / 1e9 for p in peak])):
                print(f"| SAM 2.1 {model} | {what} | {ours:.2f} | {torch:.2f} | {ours / torch:.2f} |", flush=True)


if __name__ == "__main__":
    main()
