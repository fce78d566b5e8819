"""Reads and writes safetensors files: our checkpoints, and what the two sides exchange."""

import ctypes
import json
import math
import struct

import torch

DTYPES = {
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
    "I32": torch.int32,
    "U8": torch.uint8,
}
MAX_HEADER_BYTES = 100_000_000


def read(path):
    """Returns (metadata, {name: tensor}); ValueError, in one line, for a file that is none."""
    with open(path, "rb") as file:
        data = file.read()
    if len(data) < 8:
        raise ValueError(f"{path}: only {len(data)} bytes, too short for safetensors")
    (length,) = struct.unpack_from("<Q", data)
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError(f"{path}: claims a header of {length} bytes, the file has {len(data)}")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"))
    except ValueError as e:
        raise ValueError(f"{path}: its header is not JSON: {e}") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path}: its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    body = bytearray(data[8 + length :])
    tensors = {}
    for name, entry in header.items():
        try:
            dtype = DTYPES[entry["dtype"]]
            shape = [int(n) for n in entry["shape"]]
            begin, end = (int(n) for n in entry["data_offsets"])
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path}: tensor '{name}' is not described as a tensor is") from None
        count = math.prod(shape)
        size = count * torch.empty(0, dtype=dtype).element_size()
        if not 0 <= begin <= end <= len(body) or end - begin != size:
            raise ValueError(f"{path}: tensor '{name}' lies at {begin} to {end} of {len(body)} bytes")
        if count == 0:
            tensors[name] = torch.empty(shape, dtype=dtype)
        else:
            raw = torch.frombuffer(body, dtype=torch.uint8, count=size, offset=begin)
            tensors[name] = raw.clone().view(dtype).reshape(shape)  # cloned: aligned
    return metadata, tensors


def write(path, tensors, metadata=None):
    """Writes tensors, in their order."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    header, parts, at = {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    for name, tensor in tensors.items():
        dense = tensor.detach().cpu().contiguous()
        raw = ctypes.string_at(dense.data_ptr(), dense.numel() * dense.element_size())
        offsets = [at, at + len(raw)]
        header[name] = {"dtype": names[dense.dtype], "shape": list(dense.shape), "data_offsets": offsets}
        parts.append(raw)
        at += len(raw)
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))
