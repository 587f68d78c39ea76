"""Makes the checkpoints of every pickle protocol, of numpy's arrays and of torch's math bits, and `pickles.json`: what torch
loads from each, and from `legacy_p3.pth.bin`. Run with torch 2.5.1 and numpy 2.2.6: python make_pickles.py"""
import argparse
import collections
import io
import json
import os
import warnings

import numpy as np
import torch

warnings.simplefilter("ignore")
here = os.path.dirname(os.path.abspath(__file__))
NAMES = {t: n for n, t in {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64,
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}.items()}
NUMPY = {"?": "BOOL", "e": "F16", "f": "F32", "d": "F64", "b": "I8", "B": "U8", "h": "I16", "H": "U16", "i": "I32", "l": "I64"}
expected = {}


class AsXla:
    """Pickled as torch pickles a tensor of XLA's: as a numpy array, bfloat16 as float32."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        array = (self.tensor.float() if self.tensor.dtype == torch.bfloat16 else self.tensor).numpy()
        return torch._utils._rebuild_device_tensor_from_numpy, (array, self.tensor.dtype, "xla:0", False)


def describe(value):
    if isinstance(value, np.ndarray):
        values = value.astype(np.float64).reshape(-1).tolist()
        return {"dtype": NUMPY[value.dtype.char], "shape": list(value.shape), "values": values}
    values = value.detach().to(torch.float64).reshape(-1).tolist()
    return {"dtype": NAMES[value.dtype], "shape": list(value.shape), "values": values}


def note(name, loaded):
    state = loaded.get("model", loaded)
    expected[name] = {k: describe(v) for k, v in state.items() if not (torch.is_tensor(v) and v.is_complex())}


def write(name, value, **options):
    """Saves to a file; also gives its bytes."""
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    with open(os.path.join(here, name), "wb") as file:
        file.write(buffer.getvalue())
    buffer.seek(0)
    return buffer


def load(buffer):
    return torch.load(buffer, map_location="cpu", weights_only=False)


def ramp(*shape, dtype=torch.float32):
    return torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype) / (1 if not dtype.is_floating_point else 4) - 1


attribute = ramp(2, 2)
attribute.note = "an attribute"
parameter = torch.nn.Parameter(ramp(3))
parameter.note = "an attribute"
state = collections.OrderedDict({
    "weight": torch.nn.Parameter(ramp(2, 3)),
    "view": ramp(3, 4).t()[1:3],
    "expanded": torch.tensor([7.0]).expand(2, 2),
    "attribute": attribute,
    "parameter": parameter,
    "overlapping": ramp(4).as_strided((2, 3), (1, 1), 0),
    "é\\ \n": ramp(2, dtype=torch.bfloat16),
    "count": torch.tensor(3),
    "empty": torch.zeros(0, 2),
})
training = {
    "model": state, "epoch": 300, "args": argparse.Namespace(lr=0.1, big=2**70, negative=-5, name="é"),
    "rest": {"none": None, "tuple": (1, 2, 3, 4), "bytes": b"ab\xff", "set": {1, 2}, "true": True, "nan": float("nan"), "list": [[], {}]},
}
for kind, new in [("zip", True), ("old", False)]:
    options = {"_use_new_zipfile_serialization": new}
    loaded = load(write(f"protocol_2_{kind}.pth.bin", training, **options))
    for protocol in range(6):
        name = f"protocol_{protocol}_{kind}.pth.bin"
        buffer = write(name, training, pickle_protocol=protocol, **options)
        try:
            note(name, load(buffer))
        except AssertionError:
            # protocol 0 has the names of storages as text, torch wants tuples, and cannot load what it saved
            assert protocol == 0
            note(name, loaded)

z = torch.tensor([[1 + 2j, 3 - 4j], [-5 + 0j, 0.5j]])
bits = {
    "real": z.real, "imag": z.clone().imag, "conjugate_imag": z.clone().conj().imag, "row": z.clone().conj().imag[1],
    "transposed": z.clone().conj().imag.t(), "pairs": torch.view_as_real(z.clone()), "double": z.to(torch.complex128).conj().imag,
    "parameter": torch.nn.Parameter(z.clone().conj().imag), "i8": torch._neg_view(torch.tensor([1, -128, 127], dtype=torch.int8)),
    "u8": torch._neg_view(torch.tensor([0, 1, 255], dtype=torch.uint8)), "i64": torch._neg_view(torch.tensor([5, -7])),
    "bf16": torch._neg_view(ramp(3, dtype=torch.bfloat16)), "half": torch._neg_view(ramp(3, dtype=torch.float16)),
    "complex": z.clone(), "complex_conjugate": z.clone().conj(),
}
for name, new in [("math_bits.pth.bin", True), ("math_bits_old.pth.bin", False)]:
    note(name, load(write(name, bits, _use_new_zipfile_serialization=new)))

base = np.arange(6, dtype=np.float32).reshape(2, 3) - 1.5
read_only = np.array([1.5, -2.5])
read_only.flags.writeable = False
arrays = {
    "c": base, "fortran": np.asfortranarray(base), "big_endian": base.astype(">f4"), "transposed": np.arange(24.0).reshape(2, 3, 4).T,
    "cut": base[:, :2], "half": base.astype(np.float16), "read_only": read_only, "i64": np.array([-1, 2**40]), "i16": np.array([-300, 200], ">i2"),
    "u8": np.arange(120, 136, dtype=np.uint8), "bool": np.array([True, False]), "scalar": np.array(2.5), "empty": np.zeros((0, 3), np.float32),
    "xla": AsXla(ramp(2, 3)), "xla_bf16": AsXla(ramp(4, dtype=torch.bfloat16)), "xla_f64": AsXla(ramp(3).double()),
}
for protocol in range(6):
    # no storages here: torch loads protocol 0, too
    name = f"arrays_{protocol}.pth.bin"
    note(name, load(write(name, arrays, pickle_protocol=protocol)))
with open(os.path.join(here, "legacy_p3.pth.bin"), "rb") as file:
    note("legacy_p3.pth.bin", torch.load(file, weights_only=False))
with open(os.path.join(here, "pickles.json"), "w") as file:
    lines = [f"{json.dumps(name)}: {json.dumps(tensors, ensure_ascii=False)}" for name, tensors in expected.items()]
    file.write("{\n" + ",\n".join(lines) + "\n}\n")
