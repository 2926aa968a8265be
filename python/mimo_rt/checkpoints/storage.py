"""Numbers of a file as float32 arrays: element types, and the views that tensors are of stored runs of
elements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimo_rt.checkpoints.unpickler import Tensor, damaged

BFLOAT16 = "bfloat16"
"""No element type of numpy's: the upper half of a float32."""


@dataclass(frozen=True)
class Storage:
    """A run of elements, little-endian, in the file's own memory."""

    data: memoryview
    dtype: str
    """A numpy type without its byte order ("f4"), or `BFLOAT16`."""
    big_endian: bool = False

    @property
    def width(self) -> int:
        """Bytes an element."""
        return 2 if self.dtype == BFLOAT16 else np.dtype(self.dtype).itemsize

    @property
    def count(self) -> int:
        """Elements."""
        return len(self.data) // self.width


def as_float32(storage: Storage) -> NDArray[np.float32]:
    """All elements of a storage."""
    order = ">" if storage.big_endian else "<"
    whole = storage.data[: storage.count * storage.width]
    if storage.dtype == BFLOAT16:
        wide: NDArray[np.uint32] = np.frombuffer(whole, order + "u2").astype(np.uint32) << np.uint32(16)
        return wide.view(np.float32)
    numbers: NDArray[np.float32] = np.frombuffer(whole, order + storage.dtype).astype(np.float32)
    return numbers


def check_view(tensor: Tensor, count: int) -> int:
    """Elements of a view of ``count`` stored ones; raises ModelError where it reaches past them, or where it
    has more elements than are stored."""
    elements = math.prod(tensor.shape)
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if elements and (last >= count or elements > count):
        raise damaged(f"a tensor of shape {list(tensor.shape)} does not fit into its {count} numbers")
    return elements


def view(tensor: Tensor, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    """The tensor as an array of its own, from all numbers of its storage; `check_view` comes first."""
    if 0 in tensor.shape:
        return np.empty(tensor.shape, np.float32)
    strides = tuple(4 * stride for stride in tensor.strides)
    seen = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides)
    return np.array(seen, dtype=np.float32, order="C")


def arrays(
    tensors: Mapping[str, Tensor], storages: Mapping[str, Storage], limit: int
) -> dict[str, NDArray[np.float32]]:
    """The tensors, whose ``storage`` is a key of ``storages``; raises ModelError before anything is allocated
    where they would take more than ``limit`` bytes in all."""
    total = sum(check_view(t, storages[t.storage].count) for t in tensors.values())
    if 4 * total > limit:
        raise damaged(f"its tensors claim {4 * total} bytes")
    read: dict[str, NDArray[np.float32]] = {}
    last_key, numbers = "", np.empty(0, np.float32)
    for name, tensor in tensors.items():
        if tensor.storage != last_key:
            last_key, numbers = tensor.storage, as_float32(storages[tensor.storage])
        read[name] = view(tensor, numbers)
    return read
