"""Times our operations against PyTorch's on the same shapes, threads and machine, in turns, and prints ratios.

    python3 -m venv venv && venv/bin/pip install torch==2.5.1
    cargo build --release -p seg-ops --example time_op
    venv/bin/python benches/peers/ops.py [--threads 2] [--runs 9] [--only 'row .*LayerNorm|RoPE'] [--json out.json]

A ratio below 1 means that ours takes less time. For what is bound by arithmetic it prints our rate as well, and its share of the rate that fused
multiply-adds alone reach here on as many threads; operations are counted by definition (a multiply-add is two): a 3x3 convolution as its direct
form, so that Winograd's, which does with fewer, may stand above 100 %, and a backward pass as twice its forward one.
Needs nothing of the project but the built example.
"""
import argparse, json, os, re, statistics, subprocess, sys, time
import torch
import torch.nn.functional as F

# seconds before a turn: the other side's threads spin for a while, waiting for work
PAUSE = 0.02
# seconds of a turn: as many runs as fit, at most TURN_RUNS, one after the other within a process, behind one that wakes the threads and is not counted;
# their median counts. A single short run would tell how fast threads wake up, runs asked for one by one how fast pipes are.
TURN = 0.05
TURN_RUNS = 9
# quicker operations get so many times the turns: where the system has put their threads counts for more, and it lasts for a turn
QUICK, MORE = 0.005, 3
# The processors of a virtual machine share a core now and then, for seconds: multiply-adds then run at half the rate, which hits whoever keeps them
# busiest. A pair of turns is taken again if the rate behind it is below this share of the best one, after a pause, so many times at most for a row.
WHOLE, AGAIN, RETRIES = 0.8, 0.3, 10

# maps are channels first for PyTorch, in the models' layout for ours
SHAPES_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../crates/seg-ops/benches/ops/shapes.txt")


def shapes():
    """Rows (group, name, operation, values) of the list that the criterion benches run too."""
    value = lambda text: int(text) if text.isdigit() else text
    for row in open(SHAPES_FILE, encoding="utf-8"):
        if row.strip() and not row.startswith("#"):
            group, name, op = (part.strip() for part in row.split("|"))
            op, *pairs = op.split()
            yield group, name, op, {k: value(v) for k, v in (pair.split("=") for pair in pairs)}



def attend(q, k, v, p, size, tables, bias):
    """What follows the partition: [windows, heads, N, d] each."""
    if tables is None:
        return F.scaled_dot_product_attention(q, k, v, bias)
    # as SAM's code has it: scores, then the two terms, each from the unscaled query
    groups, heads, n, d = q.shape
    (h, w), q, k, v = size, *(t.reshape(-1, n, d) for t in (q, k, v))
    attn = (q * d**-0.5) @ k.transpose(-2, -1)
    rows = [t[torch.arange(s)[:, None] - torch.arange(s)[None, :] + s - 1] for t, s in zip(tables, size)]
    r_q = q.reshape(-1, h, w, d)
    rel_h = torch.einsum("bhwc,hkc->bhwk", r_q, rows[0])
    rel_w = torch.einsum("bhwc,wkc->bhwk", r_q, rows[1])
    attn = (attn.view(-1, h, w, h, w) + rel_h[:, :, :, :, None] + rel_w[:, :, :, None, :]).view(-1, n, n)
    return (attn.softmax(dim=-1) @ v).reshape(groups, heads, n, d)


def windows(qkv, pad, p, tables=None, bias=None):
    """Windowed attention as a PyTorch model writes it: pad, partition, scaled_dot_product_attention, reverse, crop.

    With `pool` the queries of a window are pooled first (Hiera, at the start of a stage)."""
    b, h, w, _ = qkv.shape
    size, heads, d = p["window"], p["heads"], p["d"]
    if size == 0:
        q, k, v = qkv.reshape(b, h * w, 3, heads, d).permute(2, 0, 3, 1, 4)
        return attend(q, k, v, p, (h, w), tables, bias).transpose(1, 2).reshape(b, h, w, heads * d)
    ph, pw = -h % size, -w % size
    if ph or pw:
        qkv = F.pad(qkv, (0, 0, 0, pw, 0, ph))
    hh, ww = h + ph, w + pw
    x = qkv.view(b, hh // size, size, ww // size, size, 3 * heads * d).transpose(2, 3).reshape(-1, size * size, 3, heads, d)
    q, k, v = x.permute(2, 0, 3, 1, 4)
    pool = p.get("pool", 1)
    if pool > 1:  # as Hiera's code has it
        q = q.transpose(1, 2).reshape(-1, size, size, heads * d).permute(0, 3, 1, 2)
        q = F.max_pool2d(q, pool).permute(0, 2, 3, 1).reshape(-1, (size // pool) ** 2, heads, d).transpose(1, 2)
    n, hh, ww = size // pool, hh // pool, ww // pool
    x = attend(q, k, v, p, (size, size), tables, bias).transpose(1, 2).reshape(-1, n, n, heads * d)
    x = x.view(b, hh // n, ww // n, n, n, heads * d).transpose(2, 3).reshape(b, hh, ww, heads * d)
    return x[:, : h // pool, : w // pool].contiguous() if ph or pw else x


def torch_op(op, p):
    back = p.get("backward", 0) == 1
    r = lambda *s: torch.rand(*s).mul_(2).sub_(1).requires_grad_(back)
    if op in ("conv2d", "conv_batch_norm", "conv_transpose2d", "layer_norm_2d", "resize", "max_pool2d"):
        x = r(p["b"], p["c"], p["h"], p["w"])
    if op == "conv2d":
        g = p.get("groups", 1)
        w, bias = r(p["o"], p["c"] // g, p["k"], p["k"]), r(p["o"])
        leaves = [x, w, bias]
        f = lambda: F.conv2d(x, w, bias, p.get("stride", 1), p.get("pad", 0), p.get("dil", 1), g)
    elif op == "conv_batch_norm":
        w, bias, gamma, beta = r(p["o"], p["c"], p["k"], p["k"]), r(p["o"]), r(p["o"]), r(p["o"])
        leaves = [x, w, bias, gamma, beta]
        f = lambda: F.relu(F.batch_norm(F.conv2d(x, w, bias, padding=p.get("pad", 0)), None, None, gamma, beta, training=True))
    elif op == "feed_forward":
        n, c = p["n"], p["c"]
        x, scale, shift = r(n, c), r(c), r(c)
        up, up_bias, down, down_bias = r(4 * c, c), r(4 * c), r(c, 4 * c), r(c)
        leaves = [x, scale, shift, up, up_bias, down, down_bias]
        f = lambda: x + F.linear(F.gelu(F.linear(F.layer_norm(x, (c,), scale, shift, 1e-6), up, up_bias)), down, down_bias)
    elif op == "binary_cross_entropy":
        x = torch.rand(p["b"], p["c"], p["h"], p["w"]).requires_grad_(back)
        target = torch.rand(p["b"], p["c"], p["h"], p["w"])
        leaves = [x]
        f = lambda: F.binary_cross_entropy(x, target)
    elif op == "conv_transpose2d":
        w, bias = r(p["c"], p["o"], p["k"], p["k"]), r(p["o"])
        leaves = [x, w, bias]
        f = lambda: F.conv_transpose2d(x, w, bias, p.get("stride", 1))
    elif op in ("linear", "linear_gelu"):
        x, w, bias = r(p["n"], p["c"]), r(p["o"], p["c"]), r(p["o"])
        leaves = [x, w, bias]
        f = (lambda: F.gelu(F.linear(x, w, bias))) if op == "linear_gelu" else (lambda: F.linear(x, w, bias))
    elif op == "attention":
        q, k, v = (r(p["b"], p["heads"], p[n], p["d"]) for n in ("n", "m", "m"))
        leaves = [q, k, v]
        f = lambda: F.scaled_dot_product_attention(q, k, v)
    elif op == "window_attention":
        c = 3 * p["heads"] * p["d"]
        qkv, pad = r(p["b"], p["h"], p["w"], c), r(c)
        sides = (p["h"], p["w"]) if p["window"] == 0 else (p["window"],) * 2
        tables = [r(2 * s - 1, p["d"]) for s in sides] if p.get("rel") else None
        bias = r(p["heads"], (sides[0] * sides[1]), (sides[0] * sides[1])) if p.get("bias") else None
        leaves = [qkv, pad] + (tables or []) + ([] if bias is None else [bias])
        f = lambda: windows(qkv, pad, p, tables, bias)
    elif op == "rope":
        x, cos, sin = r(p["b"], p["heads"], p["n"], p["d"]), r(p["n"], p["d"] // 2), r(p["n"], p["d"] // 2)
        leaves = [x]
        turns = torch.complex(cos, sin)
        # as SAM 2's code has it
        f = lambda: torch.view_as_real(torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2)) * turns).flatten(3)
    elif op == "layer_norm":
        x, w, bias = r(p["n"], p["c"]), r(p["c"]), r(p["c"])
        leaves = [x, w, bias]
        f = lambda: F.layer_norm(x, (p["c"],), w, bias, 1e-6)
    elif op == "layer_norm_2d":
        w, bias = r(p["c"], 1, 1), r(p["c"], 1, 1)
        leaves = [x, w, bias]

        def f():  # as SAM's code has it
            u = x.mean(1, keepdim=True)
            s = (x - u).pow(2).mean(1, keepdim=True)
            return w * ((x - u) / torch.sqrt(s + 1e-6)) + bias
    elif op == "gelu":
        x = r(p["n"], p["c"]); leaves = [x]
        f = lambda: F.gelu(x)
    elif op == "softmax":
        x = r(p["n"], p["c"]); leaves = [x]
        f = lambda: F.softmax(x, -1)
    elif op == "resize":
        leaves = [x]; mode = p.get("mode", "bilinear")
        kw = {} if mode == "nearest" else dict(align_corners=p.get("align", 0) == 1, antialias=p.get("antialias", 0) == 1)
        f = lambda: F.interpolate(x, size=(p["oh"], p["ow"]), mode=mode, **kw)
    elif op == "max_pool2d":
        leaves = [x]
        f = lambda: F.max_pool2d(x, p["k"], ceil_mode=p.get("ceil", 0) == 1)
    else:
        raise SystemExit(f"no PyTorch counterpart of {op}")
    if not back:
        return f

    def both():
        for leaf in leaves:
            leaf.grad = None
        y = f()
        y.backward(torch.ones_like(y))  # made within the run, as candle makes what a backward pass begins with
    return both


def timed(f):
    t = time.perf_counter()
    f()
    return time.perf_counter() - t


def turn(seconds_of_runs):
    """The median of a turn; `seconds_of_runs(n)` times n runs."""
    time.sleep(PAUSE)
    first = seconds_of_runs(1)[0]
    return statistics.median(seconds_of_runs(max(1, min(TURN_RUNS, int(TURN / first)))))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--runs", type=int, default=9)
    a.add_argument("--only", type=re.compile, default=re.compile(""), help="regular expression, searched in `group name`")
    a.add_argument("--ours", default=os.path.join(os.path.dirname(__file__), "../../target/release/examples/time_op"))
    a.add_argument("--json")
    a = a.parse_args()
    torch.set_num_threads(a.threads)
    ours = subprocess.Popen([a.ours], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            env=dict(os.environ, RAYON_NUM_THREADS=str(a.threads)))

    def ask(line):
        """Floating-point operations of a run of ours, and the seconds of each."""
        ours.stdin.write(line + "\n"); ours.stdin.flush()
        answer = ours.stdout.readline().split()
        if len(answer) < 2:
            sys.exit(f"our side stopped at: {line}")
        return float(answer[0]), [float(s) for s in answer[1:]]

    def rate():
        flops, (seconds,) = ask("fma_peak")
        return flops / seconds

    # the best of many: what else runs on the machine only takes from it
    peak = max(rate() for _ in range(30))
    rows = []
    print(f"PyTorch {torch.__version__}, {a.threads} threads, medians of {a.runs} turns ({MORE * a.runs} of what takes less than "
          f"{QUICK * 1e3:.0f} ms); fused multiply-adds alone: {peak / 1e9:.0f} GFLOP/s\n")
    print(f"| {'group':<15} | {'what':<42} | ours ms | PyTorch ms | ratio | GFLOP/s | share of peak |\n|---|---|---|---|---|---|---|")
    for group, name, op, p in shapes():
        if not a.only.search(f"{group} {name}"):
            continue
        line = op + "".join(f" {k}={v}" for k, v in p.items())
        grad = torch.enable_grad if p.get("backward") else torch.inference_mode
        mine, theirs = [], []
        with grad():
            f = torch_op(op, p)
            f()
            flops, (first,) = ask(line)
            turns, retries = a.runs * (MORE if first < QUICK else 1), RETRIES
            while len(mine) < turns:
                pair = turn(lambda n: ask(f"{n}*{line}")[1]), turn(lambda n: [timed(f) for _ in range(n)])
                if retries > 0 and max(rate() for _ in range(2)) < WHOLE * peak:
                    retries -= 1
                    time.sleep(AGAIN)
                    continue
                mine.append(pair[0])
                theirs.append(pair[1])
        m, t = statistics.median(mine), statistics.median(theirs)
        rows.append(dict(group=group, name=name, op=op, ours_s=m, torch_s=t, ratio=m / t, flops=flops, peak=peak))
        speed = f"{flops / m / 1e9:7.0f} | {flops / m / peak:11.0%}  " if flops else f"{'':7} | {'':13}"
        print(f"| {group:<15} | {name:<42} | {m * 1e3:7.2f} | {t * 1e3:10.2f} | {m / t:5.2f} | {speed} |", flush=True)
    if a.json:
        with open(a.json, "w") as out:
            json.dump(rows, out, indent=1)


if __name__ == "__main__":
    main()
