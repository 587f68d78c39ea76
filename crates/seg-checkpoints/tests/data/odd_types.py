"""Makes the files of the types that are not read, and of 8-bit floats. Run with torch 2.5.1, numpy and safetensors: python odd_types.py"""
import os
import numpy
import torch
from safetensors.torch import save_file
from torch.masked import masked_tensor

here = os.path.dirname(os.path.abspath(__file__))
at = lambda name: os.path.join(here, name)
w = torch.arange(6.0).reshape(2, 3)
torch.save({
    "plain": w,
    "coo": w.to_sparse(),
    "csr": w.to_sparse_csr(),
    "sparse_parameter": torch.nn.Parameter(w.to_sparse()),
    "complex64": w.to(torch.complex64),
    "complex32": w.to(torch.complex32),
    "quantised": torch.quantize_per_tensor(w, 0.1, 0, torch.qint8),
    "per_channel": torch.quantize_per_channel(w, torch.ones(2), torch.zeros(2), 0, torch.qint8),
    "nested": torch.nested.nested_tensor([w, w]),
    "jagged": torch.nested.nested_tensor([w, w], layout=torch.jagged),
    "meta": torch.empty(2, 3, device="meta"),
    "masked": masked_tensor(w, w > 0),
    "lazy": torch.nn.LazyLinear(3).weight,
    "bits": torch.zeros(4, dtype=torch.uint8).view(torch.bits8),
    "array": numpy.zeros(3, numpy.complex64),
}, at("odd_types.pt.bin"))
torch.save({"w": w.to_sparse()}, at("all_sparse.pt.bin"))

every = torch.arange(256, dtype=torch.uint8).reshape(16, 16)
types = ["e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz"]
small = {name: every.clone().view(getattr(torch, "float8_" + name)) for name in types}
view = torch.tensor([[1.0, -2.0], [0.5, 448.0], [-0.25, 0.0]]).to(torch.float8_e4m3fn).t()
torch.save({**small, "view": view}, at("float8.pt.bin"))
torch.save(small, at("float8_legacy.pt.bin"), _use_new_zipfile_serialization=False)
save_file({name: value.float() for name, value in small.items()}, at("float8_expected.safetensors.bin"))

if hasattr(torch.serialization, "set_crc32_options"):  # torch 2.6 and later, by which no_crc.pt.bin was made (2.15.0)
    torch.serialization.set_crc32_options(False)
    torch.save({"w": torch.tensor([1.0, 2.0, 3.0, 4.0])}, at("no_crc.pt.bin"))
