"""Times a click on a photo that is encoded already: over HTTP through `hrseg serve`, and through transformers' decoder in PyTorch, in turn.

    python3 -m venv venv && venv/bin/pip install torch==2.5.1 transformers==4.57.1 pillow numpy
    cargo build --release
    venv/bin/python benches/peers/click.py target/release/hrseg mobile-sam mobile_sam.pt tests/data/photos/coffee.jpg
    venv/bin/python benches/peers/click.py target/release/hrseg sam2-tiny sam2_hiera_tiny.pt tests/data/photos/coffee.jpg

Ours: the whole request, three candidate masks at the size of the photo as run lengths. Theirs: prompt encoder, mask decoder (made-up weights of SAM's or
SAM 2's sizes, the same arithmetic), and the enlargement of the masks to the photo; no server. Medians and 95th percentiles, and the ratio of the medians:
below 1 means that ours takes less.
"""
import argparse, json, math, statistics, subprocess, time, urllib.error, urllib.request


def theirs(sam2, width, height):
    import torch
    import torch.nn.functional as F

    if sam2:
        from transformers import Sam2Config, Sam2Model

        model = Sam2Model(Sam2Config()).eval()
        maps = [torch.randn(1, 32, 256, 256), torch.randn(1, 64, 128, 128), torch.randn(1, 256, 64, 64)]
    else:
        from transformers import SamConfig, SamModel

        config = SamConfig()
        config.vision_config.num_hidden_layers = 1  # the encoder is not asked
        config.vision_config.global_attn_indexes = [0]
        model = SamModel(config).eval()
        maps = torch.randn(1, 256, 64, 64)

    def click(x, y):
        with torch.inference_mode():
            out = model(
                input_points=torch.tensor([[[[x * 1024 / width, y * 1024 / height]]]]),
                input_labels=torch.ones(1, 1, 1, dtype=torch.long),
                image_embeddings=maps,
                multimask_output=True,
            )
            return F.interpolate(out.pred_masks[0], (height, width), mode="bilinear") > 0

    return click


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("hrseg"), a.add_argument("model"), a.add_argument("weights"), a.add_argument("photo")
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--clicks", type=int, default=20, help="of each round")
    args = a.parse_args()
    import torch
    from PIL import Image

    torch.set_num_threads(args.threads)
    width, height = Image.open(args.photo).size
    command = [args.hrseg, "--threads", str(args.threads), "serve", "--model", args.model, "--weights", f"{args.model}={args.weights}", "--port", "0", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = json.loads(server.stdout.readline())["url"].rstrip("/")

        def post(path, body, kind):
            request = urllib.request.Request(url + path, data=body, headers={"Content-Type": kind})
            return json.load(urllib.request.urlopen(request))

        while True:
            try:
                urllib.request.urlopen(url + "/readyz")
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        image = post("/v1/images", open(args.photo, "rb").read(), "image/jpeg")["id"]

        def ours(x, y):
            asked = {"model": args.model, "points": [[x, y, 1]], "multimask": True}
            post(f"/v1/images/{image}/masks", json.dumps(asked).encode(), "application/json")

        sides = {"hrseg": ours, "transformers": theirs(args.model.startswith("sam2"), width, height)}
        seconds = {name: [] for name in sides}
        for turn in range(args.rounds + 1):  # the first one warms up
            for name, click in sides.items():
                for k in range(args.clicks if turn else 3):
                    start = time.perf_counter()
                    click(width * (0.3 + 0.4 * k / args.clicks), height * 0.5)
                    if turn:
                        seconds[name].append(time.perf_counter() - start)
    finally:
        server.terminate()
    for name, values in seconds.items():
        p95 = sorted(values)[math.ceil(0.95 * len(values)) - 1]
        print(f"{name:13} median {1000 * statistics.median(values):6.1f} ms, 95 % below {1000 * p95:6.1f} ms, {len(values)} clicks")
    print(f"ratio {statistics.median(seconds['hrseg']) / statistics.median(seconds['transformers']):.2f}")


if __name__ == "__main__":
    main()
