"""Numbers of a file as float32 arrays: element types, and the views that tensors are of stored runs of
elements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimo_rt.checkpoints.unpickler import Tensor, damaged

MOST_NUMBERS = 1 << 40

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


def check_view(tensor: Tensor, count: int) -> int:
    """Elements of a view of ``count`` stored ones; raises ModelError where it reaches past them, or where it
    has more elements than are stored."""
    numbers = (*tensor.shape, *tensor.strides, tensor.offset, math.prod(size or 1 for size in tensor.shape))
    if max(numbers) >= MOST_NUMBERS:
        raise damaged(f"a tensor of shape {list(tensor.shape)[:8]} is larger than any file")
    elements = math.prod(tensor.shape)
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if elements and (last >= count or elements > count):
        raise damaged(f"a tensor of shape {list(tensor.shape)} does not fit into its {count} numbers")
    return elements


def view(tensor: Tensor, storage: Storage) -> NDArray[np.float32]:
    """The tensor as a float32 array of its own; `check_view` comes first. Of the storage nothing else is
    read."""
    if 0 in tensor.shape:
        return np.empty(tensor.shape, np.float32)
    order = ">" if storage.big_endian else "<"
    kind = np.dtype(order + ("u2" if storage.dtype == BFLOAT16 else storage.dtype))
    numbers = np.frombuffer(storage.data[: storage.count * storage.width], kind)
    strides = tuple(storage.width * stride for stride in tensor.strides)
    seen = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides)
    if storage.dtype == BFLOAT16:
        wide: NDArray[np.uint32] = seen.astype(np.uint32, order="C") << np.uint32(16)
        return wide.view(np.float32)
    return np.array(seen, dtype=np.float32, order="C")


def arrays(
    tensors: Mapping[str, Tensor], storages: Mapping[str, Storage], limit: int
) -> dict[str, NDArray[np.float32]]:
    """The tensors, whose ``storage`` is a key of ``storages``; raises ModelError before anything is allocated
    where they would take more than ``limit`` bytes in all."""
    unknown = [tensor.storage for tensor in tensors.values() if tensor.storage not in storages]
    if unknown:
        raise damaged("a tensor's numbers are not in it")
    total = sum(check_view(t, storages[t.storage].count) for t in tensors.values())
    if 4 * total > limit:
        raise damaged(f"its tensors claim {4 * total} bytes")
    return {name: view(tensor, storages[tensor.storage]) for name, tensor in tensors.items()}
