"""The safetensors format: a length, a JSON header of that length, and the numbers one after the other."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

from mimo_rt.checkpoints.storage import BFLOAT16, Storage
from mimo_rt.checkpoints.unpickler import Tensor, damaged

LONGEST_HEADER = 100_000_000
"""By the format."""
LONGEST_READ = 2_000_000
"""Of a header that is read: twenty times that of a network of a thousand tensors. As objects it takes up to
25 times as much memory."""

_DTYPES = {
    "F64": "f8",
    "F32": "f4",
    "F16": "f2",
    "BF16": BFLOAT16,
    "I64": "i8",
    "I32": "i4",
    "I16": "i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "u1",
}


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file that begins so, of so many bytes, is one."""
    if len(head) < 9 or head[8:9] != b"{":
        return False
    length: int = struct.unpack("<Q", head[:8])[0]
    return 2 <= length <= min(LONGEST_HEADER, size - 8)


def read_safetensors(data: bytes) -> tuple[Any, dict[str, Storage]]:
    """The tensors by name, each of a storage of its own, and the storages."""
    length: int = struct.unpack("<Q", data[:8])[0]
    if length > LONGEST_READ:
        raise damaged(f"its header has {length} bytes; that of no MIMO-UNet has more than {LONGEST_READ}")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged("its header is no JSON") from error
    if not isinstance(header, dict):
        raise damaged("its header is no table")
    body = memoryview(data)[8 + length :]
    tensors: dict[str, Tensor] = {}
    storages: dict[str, Storage] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
            begin, end = entry["data_offsets"]
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(f"its header does not describe {name!r}") from error
        numbers = (begin, end, *shape)
        if (
            any(type(n) is not int or n < 0 for n in numbers)
            or len(shape) > 8
            or not begin <= end <= len(body)
        ):
            raise damaged(f"its header places {name!r} outside the file")
        storage = Storage(body[begin:end], dtype)
        if math.prod(shape) * storage.width != end - begin:
            raise damaged(f"{name!r} has another size than its shape says")
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        storages[name] = storage
        tensors[name] = Tensor(name, 0, shape, strides)
    return tensors, storages
