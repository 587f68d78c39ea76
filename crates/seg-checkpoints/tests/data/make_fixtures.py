"""Makes the small real checkpoints beside this file. Run with torch 2.5.1: python make_fixtures.py"""
import os
import torch

here = os.path.dirname(os.path.abspath(__file__))
ramp = lambda *shape: torch.arange(float(torch.Size(shape).numel())).reshape(shape)


def save(name, value, **options):
    torch.save(value, os.path.join(here, name), **options)


net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
with torch.no_grad():
    for i, p in enumerate(net.parameters()):
        p.copy_(ramp(*p.shape) / 8 - i)
opt = torch.optim.AdamW(net.parameters())
net(torch.ones(1, 2, 4, 4)).sum().backward()
opt.step()
with torch.no_grad():
    for i, p in enumerate(net.parameters()):
        p.copy_(ramp(*p.shape) / 8 - i)
save("training_state.pth.bin", {"epoch": 3, "model": net.state_dict(), "optimizer": opt.state_dict(), "args": {"lr": 0.1}})
save("ddp_legacy.pth.bin", {"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, _use_new_zipfile_serialization=False)

base = ramp(4, 6)
save("views.pth.bin", {
    "base": base,
    "transposed": base.t(),
    "slice": base[1:3, 2:5],
    "column": base[:, 1],
    "expanded": torch.tensor([7.0]).expand(3, 2),
    "permuted": ramp(2, 3, 4).permute(2, 0, 1),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "parameter": torch.nn.Parameter(ramp(2, 2)),
})
save("dtypes.pth.bin", {
    "f64": ramp(3).double() / 3,
    "f32": ramp(3) / 3,
    "f16": (ramp(3) / 3).half(),
    "bf16": (ramp(3) / 3).bfloat16(),
    "i64": torch.tensor([-1, 2**40, 3]),
    "i32": torch.tensor([-1, 2**20, 3], dtype=torch.int32),
    "i16": torch.tensor([-1, 300, 3], dtype=torch.int16),
    "i8": torch.tensor([-1, 100, 3], dtype=torch.int8),
    "u8": torch.tensor([255, 100, 3], dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "c64": torch.tensor([1 + 2j]),
})
save("whole_module.pth.bin", torch.nn.Linear(2, 2))
torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), os.path.join(here, "torchscript.pt.bin"))
