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

# group, name, operation, parameters; maps are channels first for PyTorch, in the models' layout for ours
SHAPES = [
    ("conv dense", "Hiera patch 7x7 s4 3->96 @1024", "conv2d", dict(b=1, c=3, h=1024, w=1024, o=96, k=7, stride=4, pad=3, layout="nhwc")),
    ("conv dense", "ViT-B patch 16x16 s16 3->768 @1024", "conv2d", dict(b=1, c=3, h=1024, w=1024, o=768, k=16, stride=16, layout="nhwc")),
    ("conv dense", "DINOv2-L patch 14x14 s14 3->1024 @518", "conv2d", dict(b=1, c=3, h=518, w=518, o=1024, k=14, stride=14, layout="nhwc")),
    ("conv dense", "SAM neck 3x3 256->256 @64", "conv2d", dict(b=1, c=256, h=64, w=64, o=256, k=3, pad=1, layout="nhwc")),
    ("conv dense", "IS-Net 3x3 64->64 @512", "conv2d", dict(b=1, c=64, h=512, w=512, o=64, k=3, pad=1)),
    ("conv dense", "IS-Net 3x3 512->256 @32", "conv2d", dict(b=1, c=512, h=32, w=32, o=256, k=3, pad=1)),
    ("conv dense", "IS-Net 3x3 d4 256->256 @64", "conv2d", dict(b=1, c=256, h=64, w=64, o=256, k=3, pad=4, dil=4)),
    ("conv dense", "IS-Net 3x3 d2 64->64 @256", "conv2d", dict(b=1, c=64, h=256, w=256, o=64, k=3, pad=2, dil=2)),
    ("conv dense", "UNeXT 3x3 256->128 @256", "conv2d", dict(b=1, c=256, h=256, w=256, o=128, k=3, pad=1)),
    ("conv dense", "UNeXT 3x3 128->128 @256", "conv2d", dict(b=1, c=128, h=256, w=256, o=128, k=3, pad=1)),
    ("conv dense", "UNeXT 3x3 256->128 @512", "conv2d", dict(b=1, c=256, h=512, w=512, o=128, k=3, pad=1)),
    ("conv dense", "IS-Net RSU 3x3 64->32 @512", "conv2d", dict(b=1, c=64, h=512, w=512, o=32, k=3, pad=1)),
    ("conv dense", "IS-Net RSU 3x3 128->16 @512", "conv2d", dict(b=1, c=128, h=512, w=512, o=16, k=3, pad=1)),
    ("conv dense", "IS-Net RSU 3x3 16->16 @512", "conv2d", dict(b=1, c=16, h=512, w=512, o=16, k=3, pad=1)),
    ("conv dense", "IS-Net RSU 3x3 32->32 @256", "conv2d", dict(b=1, c=32, h=256, w=256, o=32, k=3, pad=1)),
    ("conv dense", "IS-Net RSU 3x3 1024->256 @32", "conv2d", dict(b=1, c=1024, h=32, w=32, o=256, k=3, pad=1)),
    ("conv dense", "IS-Net RSU 3x3 d8 256->256 @32", "conv2d", dict(b=1, c=256, h=32, w=32, o=256, k=3, pad=8, dil=8)),
    ("conv dense", "IS-Net stem 3x3 s2 5->64 @1024", "conv2d", dict(b=1, c=5, h=1024, w=1024, o=64, k=3, stride=2, pad=1)),
    ("conv dense", "IS-Net side 3x3 64->1 @512", "conv2d", dict(b=1, c=64, h=512, w=512, o=1, k=3, pad=1)),
    ("conv dense", "Pi-SAM 3x3 32->64 @256", "conv2d", dict(b=1, c=32, h=256, w=256, o=64, k=3, pad=1)),
    ("conv dense", "Pi-SAM 3x3 64->32 @256", "conv2d", dict(b=1, c=64, h=256, w=256, o=32, k=3, pad=1)),
    ("conv few", "TinyViT 3x3 s2 3->32 @1024", "conv2d", dict(b=1, c=3, h=1024, w=1024, o=32, k=3, stride=2, pad=1, layout="nhwc")),
    ("conv few", "TinyViT 3x3 s2 32->64 @512", "conv2d", dict(b=1, c=32, h=512, w=512, o=64, k=3, stride=2, pad=1, layout="nhwc")),
    ("conv few", "DRM 3x3 3->32 @1024", "conv2d", dict(b=1, c=3, h=1024, w=1024, o=32, k=3, pad=1)),
    ("conv few", "DRM 3x3 32->32 @1024", "conv2d", dict(b=1, c=32, h=1024, w=1024, o=32, k=3, pad=1)),
    ("conv few", "DRM 7x7 16->16 @1024", "conv2d", dict(b=1, c=16, h=1024, w=1024, o=16, k=7, pad=3)),
    ("conv few", "Pi-SAM 3x3 8->8 @1024", "conv2d", dict(b=1, c=8, h=1024, w=1024, o=8, k=3, pad=1)),
    ("conv few", "Pi-SAM 3x3 8->1 @1024", "conv2d", dict(b=1, c=8, h=1024, w=1024, o=1, k=3, pad=1)),
    ("conv depthwise", "TinyViT dw 3x3 256 @256", "conv2d", dict(b=1, c=256, h=256, w=256, o=256, k=3, pad=1, groups=256, layout="nhwc")),
    ("conv depthwise", "ConvNeXt dw 7x7 256 @64", "conv2d", dict(b=1, c=256, h=64, w=64, o=256, k=7, pad=3, groups=256, layout="nhwc")),
    ("conv depthwise", "MPAdapter dw 3x3 7 @256", "conv2d", dict(b=1, c=7, h=256, w=256, o=7, k=3, pad=1, groups=7, layout="nhwc")),
    ("conv depthwise", "MPAdapter dw 3x3 28 @64", "conv2d", dict(b=1, c=28, h=64, w=64, o=28, k=3, pad=1, groups=28, layout="nhwc")),
    ("conv depthwise", "TinyViT dw 3x3 s2 256 @128", "conv2d", dict(b=1, c=256, h=128, w=128, o=256, k=3, stride=2, pad=1, groups=256, layout="nhwc")),
    ("conv depthwise", "dw 3x3 128 @128 NCHW", "conv2d", dict(b=1, c=128, h=128, w=128, o=128, k=3, pad=1, groups=128)),
    ("conv depthwise", "dw 7x7 96 @128 NCHW", "conv2d", dict(b=1, c=96, h=128, w=128, o=96, k=7, pad=3, groups=96)),
    ("conv 1x1", "TinyViT 1x1 64->256 @256", "conv2d", dict(b=1, c=64, h=256, w=256, o=256, k=1, layout="nhwc")),
    ("conv transposed", "decoder k2s2 256->64 @64", "conv_transpose2d", dict(b=1, c=256, h=64, w=64, o=64, k=2, stride=2, layout="nhwc")),
    ("conv transposed", "decoder k2s2 64->32 @128", "conv_transpose2d", dict(b=1, c=64, h=128, w=128, o=32, k=2, stride=2, layout="nhwc")),
    ("conv transposed", "Pi-SAM k2s2 32->16 @256", "conv_transpose2d", dict(b=1, c=32, h=256, w=256, o=16, k=2, stride=2)),
    ("conv transposed", "Pi-SAM k2s2 16->8 @512", "conv_transpose2d", dict(b=1, c=16, h=512, w=512, o=8, k=2, stride=2)),
    ("attention", "Hiera window 8 @256 h1 d96", "window_attention", dict(b=1, h=256, w=256, heads=1, d=96, window=8)),
    ("attention", "Hiera window 14 @64 h4 d96", "window_attention", dict(b=1, h=64, w=64, heads=4, d=96, window=14)),
    ("attention", "Hiera window 8 @256 h2 d96 query pool 2", "window_attention", dict(b=1, h=256, w=256, heads=2, d=96, window=8, pool=2)),
    ("attention", "Hiera global @64 h4 d96", "window_attention", dict(b=1, h=64, w=64, heads=4, d=96, window=0)),
    ("attention", "ViT-B global @64 h12 d64", "attention", dict(b=1, heads=12, n=4096, m=4096, d=64)),
    ("attention", "DINOv2-L 1025 h16 d64", "attention", dict(b=1, heads=16, n=1025, m=1025, d=64)),
    ("attention", "DINOv2-L 1370 h16 d64", "attention", dict(b=1, heads=16, n=1370, m=1370, d=64)),
    ("attention", "decoder tokens->image h8 d16", "attention", dict(b=1, heads=8, n=8, m=4096, d=16)),
    ("attention", "decoder image->tokens h8 d16", "attention", dict(b=1, heads=8, n=4096, m=8, d=16)),
    ("attention", "Hiera B+ global @64 h8 d56", "window_attention", dict(b=1, h=64, w=64, heads=8, d=56, window=0)),
    ("attention", "Hiera large window 16 @64 h8 d72", "window_attention", dict(b=1, h=64, w=64, heads=8, d=72, window=16)),
    ("attention", "TinyViT window 7 @128 h4 d32 bias", "window_attention", dict(b=1, h=128, w=128, heads=4, d=32, window=7, bias=1)),
    ("attention", "TinyViT window 14 @64 h5 d32 bias", "window_attention", dict(b=1, h=64, w=64, heads=5, d=32, window=14, bias=1)),
    ("attention", "ViT-B window 14 @64 h12 d64 rel pos", "window_attention", dict(b=1, h=64, w=64, heads=12, d=64, window=14, rel=1)),
    ("attention", "ViT-B global @64 h12 d64 rel pos", "window_attention", dict(b=1, h=64, w=64, heads=12, d=64, window=0, rel=1)),
    ("attention", "memory 4096 q x 28000 k h1 d256", "attention", dict(b=1, heads=1, n=4096, m=28000, d=256)),
    ("attention", "BEiT-3 640 tokens h16 d64", "attention", dict(b=1, heads=16, n=640, m=640, d=64)),
    ("attention", "RoPE 4096 q h1 d256", "rope", dict(b=1, heads=1, n=4096, d=256)),
    ("linear", "Hiera MLP 65536x96->384 GELU", "linear_gelu", dict(n=65536, c=96, o=384)),
    ("linear", "Hiera MLP 4096x384->1536 GELU", "linear_gelu", dict(n=4096, c=384, o=1536)),
    ("linear", "ViT-B MLP 4096x768->3072 GELU", "linear_gelu", dict(n=4096, c=768, o=3072)),
    ("linear", "ViT-B qkv 4096x768->2304", "linear", dict(n=4096, c=768, o=2304)),
    ("linear", "DINOv2-L MLP 4096x1024->4096 GELU", "linear_gelu", dict(n=4096, c=1024, o=4096)),
    ("linear", "DINOv2-L MLP 1370x1024->4096 GELU", "linear_gelu", dict(n=1370, c=1024, o=4096)),
    ("linear", "DINOv2-L MLP 1370x4096->1024", "linear", dict(n=1370, c=4096, o=1024)),
    ("linear", "Hiera MLP 16384x192->768 GELU", "linear_gelu", dict(n=16384, c=192, o=768)),
    ("linear", "small 196x768->768", "linear", dict(n=196, c=768, o=768)),
    ("linear", "small 196x384->1536 GELU", "linear_gelu", dict(n=196, c=384, o=1536)),
    ("row", "LayerNorm 65536x96", "layer_norm", dict(n=65536, c=96)),
    ("row", "LayerNorm 4096x768", "layer_norm", dict(n=4096, c=768)),
    ("row", "LayerNorm 16384x192", "layer_norm", dict(n=16384, c=192)),
    ("row", "LayerNorm 1024x768", "layer_norm", dict(n=1024, c=768)),
    ("row", "LayerNorm 4096x1024", "layer_norm", dict(n=4096, c=1024)),
    ("row", "LayerNorm 1370x1024 (DINOv2-L)", "layer_norm", dict(n=1370, c=1024)),
    ("row", "LayerNorm2d 64 @256", "layer_norm_2d", dict(b=1, c=64, h=256, w=256)),
    ("row", "GELU 4096x3072", "gelu", dict(n=4096, c=3072)),
    ("row", "GELU 65536x384", "gelu", dict(n=65536, c=384)),
    ("row", "softmax 58800x196", "softmax", dict(n=58800, c=196)),
    ("row", "softmax 65536x49", "softmax", dict(n=65536, c=49)),
    ("row", "softmax 16400x197", "softmax", dict(n=16400, c=197)),
    ("row", "softmax 16400x1025", "softmax", dict(n=16400, c=1025)),
    ("row", "softmax 4096x4096", "softmax", dict(n=4096, c=4096)),
    ("row", "bilinear 1x256->1024", "resize", dict(b=1, c=1, h=256, w=256, oh=1024, ow=1024)),
    ("row", "bilinear 64ch 256->512", "resize", dict(b=1, c=64, h=256, w=256, oh=512, ow=512)),
    ("row", "bilinear aligned 128ch 256->512", "resize", dict(b=1, c=128, h=256, w=256, oh=512, ow=512, align=1)),
    ("row", "bilinear 3ch 256->1200x1800", "resize", dict(b=1, c=3, h=256, w=256, oh=1200, ow=1800)),
    ("row", "bilinear 512ch 32->64 (IS-Net)", "resize", dict(b=1, c=512, h=32, w=32, oh=64, ow=64)),
    ("row", "bilinear 1ch 32->1024 (IS-Net)", "resize", dict(b=1, c=1, h=32, w=32, oh=1024, ow=1024)),
    ("row", "bilinear antialiased 3ch 1800x1200->1024", "resize", dict(b=1, c=3, h=1200, w=1800, oh=1024, ow=1024, antialias=1)),
    ("row", "bicubic 96ch 7->256", "resize", dict(b=1, c=96, h=7, w=7, oh=256, ow=256, mode="bicubic")),
    ("row", "bicubic 1024ch 37->32", "resize", dict(b=1, c=1024, h=37, w=37, oh=32, ow=32, mode="bicubic")),
    ("row", "nearest 1024ch 16->64", "resize", dict(b=1, c=1024, h=16, w=16, oh=64, ow=64, mode="nearest")),
    ("row", "nearest 256ch 32->64", "resize", dict(b=1, c=256, h=32, w=32, oh=64, ow=64, mode="nearest")),
    ("row", "max pool 2x2 64ch @512", "max_pool2d", dict(b=1, c=64, h=512, w=512, k=2)),
    ("row", "max pool 2x2 ceil 64ch @1024 (IS-Net)", "max_pool2d", dict(b=1, c=64, h=1024, w=1024, k=2, ceil=1)),
    ("row", "max pool 2x2 ceil 256ch @125 (IS-Net)", "max_pool2d", dict(b=1, c=256, h=125, w=125, k=2, ceil=1)),
    ("row", "max pool 2x2 192ch @256 (Hiera)", "max_pool2d", dict(b=1, c=192, h=256, w=256, k=2, layout="nhwc")),
    ("backward", "conv 3x3 64->64 @128", "conv2d", dict(b=1, c=64, h=128, w=128, o=64, k=3, pad=1, backward=1)),
    ("backward", "conv 3x3 64->64 @128 channels last", "conv2d", dict(b=1, c=64, h=128, w=128, o=64, k=3, pad=1, layout="nhwc", backward=1)),
    ("backward", "conv dw 3x3 128 @64", "conv2d", dict(b=1, c=128, h=64, w=64, o=128, k=3, pad=1, groups=128, backward=1)),
    ("backward", "conv dw 3x3 256 @64 NHWC", "conv2d", dict(b=1, c=256, h=64, w=64, o=256, k=3, pad=1, groups=256, layout="nhwc", backward=1)),
    ("backward", "conv dw 7x7 96 @64", "conv2d", dict(b=1, c=96, h=64, w=64, o=96, k=7, pad=3, groups=96, backward=1)),
    ("backward", "attention 1024 h8 d64", "attention", dict(b=1, heads=8, n=1024, m=1024, d=64, backward=1)),
    ("backward", "attention 4096 h1 d64", "attention", dict(b=1, heads=1, n=4096, m=4096, d=64, backward=1)),
    ("backward", "attention window 14 @64 h4 d96", "window_attention", dict(b=1, h=64, w=64, heads=4, d=96, window=14, backward=1)),
    ("backward", "attention Hiera pooled queries window 8 @64", "window_attention", dict(b=1, h=64, w=64, heads=4, d=96, window=8, pool=2, backward=1)),
    ("backward", "attention ViT-B window 14 rel pos", "window_attention", dict(b=1, h=64, w=64, heads=12, d=64, window=14, rel=1, backward=1)),
    ("backward", "attention global 32x32 h12 rel pos", "window_attention", dict(b=1, h=32, w=32, heads=12, d=64, window=0, rel=1, backward=1)),
    ("backward", "attention TinyViT window 7 bias", "window_attention", dict(b=1, h=128, w=128, heads=4, d=32, window=7, bias=1, backward=1)),
    ("backward", "attention TinyViT window 14 bias", "window_attention", dict(b=1, h=64, w=64, heads=5, d=32, window=14, bias=1, backward=1)),
    ("backward", "linear 4096x384->1536", "linear", dict(n=4096, c=384, o=1536, backward=1)),
    ("backward", "LayerNorm 4096x768", "layer_norm", dict(n=4096, c=768, backward=1)),
]


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
    if op in ("conv2d", "conv_transpose2d", "layer_norm_2d", "resize", "max_pool2d"):
        x = r(p["b"], p["c"], p["h"], p["w"])
    if op == "conv2d":
        g = p.get("groups", 1)
        w, bias = r(p["o"], p["c"] // g, p["k"], p["k"]), r(p["o"])
        leaves = [x, w, bias]
        f = lambda: F.conv2d(x, w, bias, p.get("stride", 1), p.get("pad", 0), p.get("dil", 1), g)
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
    for group, name, op, p in SHAPES:
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
