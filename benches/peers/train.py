"""Times a training step at 1024, batch 1, of `hrseg bench --train` and of the authors' code in PyTorch on the CPU, process by process in turn, and prints ratios of
time, of processor time and of peak memory (whole process).

    mkdir official && cd official && git clone https://github.com/WZH0120/SAM2-UNeXT && git clone https://github.com/sevenshr/MGD-SAM2
    git clone https://github.com/xuebinqin/DIS && git clone https://github.com/Tennine2077/DIS-SAM && git clone https://github.com/lmzpai/pi-sam && cd ..
    python3 -m venv venv && venv/bin/pip install torch==2.5.1 torchvision==0.20.1 timm==1.0.31 hydra-core iopath einops opencv-python-headless tqdm matplotlib scikit-image
    cargo build --release
    venv/bin/python benches/peers/train.py official [--systems is-net,dis-sam,pi-sam-decoder,mgd-sam2-dis,sam2-unext] [--threads 2] [--rounds 3] [--runs 2]

A ratio below 1 means that ours takes less. Both sides have random weights and one picture; loss, backward pass and optimiser are the authors' own on their side. What
asks for a GPU by name is given the CPU.
"""
import argparse, ast, json, os, resource, statistics, subprocess, sys, tempfile, time, types

SYSTEMS = ["is-net", "dis-sam", "pi-sam-decoder", "mgd-sam2-dis", "sam2-unext"]


def on_the_cpu(torch):
    """Calls that name a GPU get the CPU."""
    def without_gpu(make):
        return lambda *a, **k: make(*a, **{**k, **({"device": "cpu"} if k.get("device") == "cuda" else {})})

    moved = torch.Tensor.to
    torch.Tensor.to = lambda self, *a, **k: self if a and a[0] == "cuda" else moved(self, *a, **k)
    torch.Tensor.cuda = lambda self, *a, **k: self
    torch.arange, torch.zeros = without_gpu(torch.arange), without_gpu(torch.zeros)


def function_of(path, name, names):
    """One function of a script that cannot be imported, since it reads its arguments at once."""
    found = [node for node in ast.parse(open(path).read()).body if isinstance(node, ast.FunctionDef) and node.name == name]
    exec(compile(ast.Module(found, []), path, "exec"), names)
    return names[name]


def sam2_unext(official, torch, image, mask):
    folder = os.path.join(official, "SAM2-UNeXT")
    sys.path.insert(0, folder), os.chdir(folder)
    import SAM2UNeXT as code

    build = code.build_sam2
    code.build_sam2 = lambda config, file=None: build(config, file, device="cpu")
    net = code.SAM2UNeXT().train()
    loss_of = function_of("train.py", "structure_loss", {"torch": torch, "F": torch.nn.functional})
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-4, weight_decay=5e-4)

    def step():
        optimiser.zero_grad()
        loss = loss_of(net(image), mask)
        loss.backward()
        optimiser.step()
        return loss
    return step


def mgd_sam2(official, torch, image, mask):
    folder = os.path.join(official, "MGD-SAM2")
    sys.path.insert(0, folder), os.chdir(folder)
    on_the_cpu(torch)
    import models, yaml

    net = models.make(yaml.safe_load(open("configs/dis-sam-vit-b1.yaml"))["model"]).train()
    for name, weight in net.named_parameters():
        weight.requires_grad_("image_encoder.trunk" not in name or "mpadapter" in name)
    net.optimizer = torch.optim.AdamW([w for w in net.parameters() if w.requires_grad], lr=2e-4, weight_decay=0)

    def step():
        net.set_input(image, mask)
        net.optimize_parameters()
        return net.loss_G
    return step


def is_net(official, torch, image, mask, prompted=False):
    sys.modules["monai"] = types.ModuleType("monai")  # named, not used
    sys.path.insert(0, os.path.join(official, "DIS-SAM/IS_Net/models" if prompted else "DIS/IS-Net/models"))
    import isnet

    net = (isnet.ISNetDIS(in_ch=5) if prompted else isnet.ISNetDIS()).train()
    inputs = torch.cat([image, mask, mask], 1) if prompted else image
    optimiser = torch.optim.Adam(net.parameters(), lr=4e-5 if prompted else 1e-3)

    def step():
        optimiser.zero_grad()
        _, loss = net.compute_loss(net(inputs)[0], mask)
        loss.backward()
        optimiser.step()
        return loss
    return step


def pi_sam(official, torch, image, mask):
    """The first stage on ViT-B: frozen encoder without gradients, decoder on a box."""
    sys.path.insert(0, os.path.join(official, "pi-sam"))
    # of the package only `modeling` and the encoder's construction: the rest asks for packages that a step does not need
    package = types.ModuleType("segment_anything")
    package.__path__ = [os.path.join(official, "pi-sam", "segment_anything")]
    sys.modules["segment_anything"] = package
    from segment_anything.build_sam_encoder import build_mask_decoder, sam_model_registry
    from segment_anything.modeling import MaskDecoderAE

    encoder = sam_model_registry["vit_b"]()
    with tempfile.NamedTemporaryFile() as file:
        torch.save(build_mask_decoder("ori", "vit_b", "").state_dict(), file.name)
        decoder = MaskDecoderAE("vit_b", file.name, interact=False).train()
    optimiser = torch.optim.Adam([w for w in decoder.parameters() if w.requires_grad], lr=1e-3)
    box = torch.tensor([[300.0, 300.0, 699.0, 699.0]])

    def step():
        with torch.no_grad():
            outputs, features = encoder([{"image": image[0] * 255, "boxes": box, "original_size": (1024, 1024)}])
        losses = decoder(outputs, features, mask, None, get_loss=True)["losses"]
        loss = sum(losses.values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss
    return step


def child(official, system, threads, runs):
    """One PyTorch process: seconds of each step behind a first one, processor seconds of a step, peak memory."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    image = torch.rand(1, 3, 1024, 1024)
    mask = torch.zeros(1, 1, 1024, 1024)
    mask[..., 300:700, 300:700] = 1
    make = {"sam2-unext": sam2_unext, "mgd-sam2-dis": mgd_sam2, "is-net": is_net, "pi-sam-decoder": pi_sam,
            "dis-sam": lambda *a: is_net(*a, prompted=True)}[system]
    step, seconds, before = make(os.path.abspath(official), torch, image, mask), [], time.process_time()
    for run in range(runs + 1):
        start = time.perf_counter()
        float(step())
        if run:
            seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"step_s": seconds, "processor_s": (time.process_time() - before) / (runs + 1), "peak_rss_bytes": peak}))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("official")
    a.add_argument("--systems", default=",".join(SYSTEMS))
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--runs", type=int, default=2)
    a.add_argument("--set", action="append", default=[], help="of `hrseg bench --train`")
    a.add_argument("--ours", default=os.path.join(os.path.dirname(__file__), "../../target/release/hrseg"))
    a.add_argument("--child", help=argparse.SUPPRESS)
    a = a.parse_args()
    if a.child:
        return child(a.official, a.child, a.threads, a.runs)
    env = dict(os.environ, RAYON_NUM_THREADS=str(a.threads))
    last = lambda command: json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.splitlines()[-1])
    print(f"{a.threads} threads, medians of {a.rounds} rounds of {a.runs} steps, in turn\n")
    print("| a step of | s | PyTorch | ratio | processor s | PyTorch | ratio | GiB | PyTorch | ratio |\n|---|---|---|---|---|---|---|---|---|---|")
    for system in a.systems.split(","):
        ours, theirs = [], []
        for _ in range(a.rounds):
            sets = [word for value in ["data.batch=1", "data.accumulate=1", *a.set] for word in ("--set", value)]
            ours.append(last([a.ours, "bench", "--train", system, "--runs", str(a.runs), "--threads", str(a.threads), "--json", *sets]))
            theirs.append(last([sys.executable, __file__, a.official, "--child", system, "--threads", str(a.threads), "--runs", str(a.runs)]))
        cells = []
        for key, scale in (("step_s", 1), ("processor_s", 1), ("peak_rss_bytes", 2**-30)):
            flat = lambda sides: [v * scale for side in sides for v in (side[key] if isinstance(side[key], list) else [side[key]])]
            m, t = statistics.median(flat(ours)), statistics.median(flat(theirs))
            cells += [f"{m:.2f}", f"{t:.2f}", f"{m / t:.2f}"]
        print(f"| {system} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
