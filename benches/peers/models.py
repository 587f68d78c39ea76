"""Times our image encoders against the same models of `transformers` (SAM 2) and `timm` (MobileSAM) in PyTorch, process by process in
turn, and prints ratios of time and of peak memory (whole process).

    python3 -m venv venv && venv/bin/pip install torch==2.5.1 torchvision==0.20.1 transformers==4.57.1 timm==1.0.31
    cargo build --release
    venv/bin/python benches/peers/models.py [--threads 2] [--rounds 3] [--runs 3] [--models sam2-tiny,sam2-base-plus]

A ratio below 1 means that ours takes less. Both sides run with made-up weights: time does not depend on them. Ours includes the
preparation of the image, the PyTorch side gets a ready tensor.

`timm` has no MobileSAM. Its peer is timm's TinyViT-5M with what MobileSAM changed: no classifier, windows of 7, 7, 14 and 7, a last stage
that keeps the map's size, and SAM's neck behind it. Its attention is PyTorch's fused one, which the official code does not use.
"""
import argparse, json, os, resource, statistics, subprocess, sys, time

# hidden size, heads, blocks a stage, global blocks, windows, side of the background position grid
SAM2 = {
    "sam2-tiny": (96, 1, [1, 2, 7, 2], [5, 7, 9], [8, 4, 14, 7], 7),
    "sam2-small": (96, 1, [1, 2, 11, 2], [7, 10, 13], [8, 4, 14, 7], 7),
    "sam2-base-plus": (112, 2, [2, 3, 16, 3], [12, 16, 20], [8, 4, 14, 7], 14),
    "sam2-large": (144, 2, [2, 6, 36, 4], [23, 33, 43], [8, 4, 16, 8], 7),
}


def sam2(model):
    from transformers import Sam2HieraDetConfig, Sam2VisionConfig
    from transformers.models.sam2.modeling_sam2 import Sam2VisionModel

    width, heads, blocks, globals_, windows, grid = SAM2[model]
    widths = [width << i for i in range(4)]
    trunk = Sam2HieraDetConfig(
        hidden_size=width, num_attention_heads=heads, blocks_per_stage=blocks, embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[heads << i for i in range(4)], global_attention_blocks=globals_,
        window_size_per_stage=windows, window_positional_embedding_background_size=[grid, grid])
    return Sam2VisionModel(Sam2VisionConfig(backbone_config=trunk, backbone_channel_list=widths[::-1])).eval()


def mobile_sam():
    import timm
    from timm.layers import LayerNorm2d
    from torch import nn

    trunk = timm.create_model("tiny_vit_5m_224", window_sizes=(7, 7, 14, 7), num_classes=0)
    trunk.stages[3].downsample.conv2.conv.stride = (1, 1)

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch_embed, self.stages = trunk.patch_embed, trunk.stages
            self.neck = nn.Sequential(
                nn.Conv2d(320, 256, 1, bias=False), LayerNorm2d(256), nn.Conv2d(256, 256, 3, padding=1, bias=False), LayerNorm2d(256))

        def forward(self, image):
            return self.neck(self.stages(self.patch_embed(image)))

    return Encoder().eval()


def child(model, threads, runs):
    """One PyTorch process: prints the seconds of each run and the peak memory."""
    import torch

    torch.set_num_threads(threads)
    network = mobile_sam() if model == "mobile-sam" else sam2(model)
    seconds = []
    with torch.inference_mode():
        image = torch.randn(1, 3, 1024, 1024)
        for run in range(runs + 1):
            start = time.perf_counter()
            network(image)
            if run:
                seconds.append(time.perf_counter() - start)
    print(json.dumps(dict(runs_s=seconds, peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--runs", type=int, default=3)
    a.add_argument("--models", default=",".join(["mobile-sam", *SAM2]))
    a.add_argument("--ours", default=os.path.join(os.path.dirname(__file__), "../../target/release/hrseg"))
    a.add_argument("--child", help=argparse.SUPPRESS)
    a = a.parse_args()
    if a.child:
        return child(a.child, a.threads, a.runs)
    last = lambda command: json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    print(f"{a.threads} threads, medians of {a.rounds} rounds of {a.runs} runs, in turn\n")
    print("| encoder at 1024 | ours s | PyTorch s | ratio | ours GB | PyTorch GB | ratio |\n|---|---|---|---|---|---|---|")
    for model in a.models.split(","):
        mine, theirs, memory, their_memory = [], [], [], []
        for _ in range(a.rounds):
            ours = last([a.ours, "bench", "--model", model, "--size", "1024", "--threads", str(a.threads), "--runs", str(a.runs), "--json"])
            mine.append(ours["encode_median_s"])
            memory.append(ours["peak_rss_bytes"])
            torch = last([sys.executable, __file__, "--child", model, "--threads", str(a.threads), "--runs", str(a.runs)])
            theirs.append(statistics.median(torch["runs_s"]))
            their_memory.append(torch["peak"])
        m, t, r, s = (statistics.median(v) for v in (mine, theirs, memory, their_memory))
        print(f"| {model} | {m:.2f} | {t:.2f} | {m / t:.2f} | {r / 1e9:.2f} | {s / 1e9:.2f} | {r / s:.2f} |", flush=True)


if __name__ == "__main__":
    main()
