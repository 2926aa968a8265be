"""Arrays that lie in a GPU's memory, whoever made them: PyTorch, CuPy, PyCUDA, Numba, JAX... They show
themselves by ``__cuda_array_interface__`` or by DLPack; nothing of them is copied, and none of those packages
is needed here.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from mimo_rt import dlpack, pixels
from mimo_rt.errors import ImageError, make

Strides = tuple[int, int, int]

_REFUSALS = (RuntimeError, TypeError, KeyError)
"""By PyTorch's tensors: those that require grad, and of types that the interface has no name for."""


@dataclass(frozen=True)
class Memory:
    """Pixels at an address, of the host or of a GPU: (H, W, C), strides in bytes."""

    address: int
    dtype: str
    shape: tuple[int, int, int]
    strides: Strides
    owner: object = None
    """What has to live as long as the address is used."""


def is_on_device(image: object) -> bool:
    """Whether an object shows itself as an array in a GPU's memory."""
    # PyTorch's tensors have the attribute wherever they lie, and raise where that is the host.
    try:
        if isinstance(getattr(image, "__cuda_array_interface__", None), dict):
            return True
    except (AttributeError, *_REFUSALS):
        pass
    return not isinstance(image, np.ndarray) and dlpack.device_of(image) in dlpack.CUDA


def of_host(array: np.ndarray[Any, Any]) -> Memory:
    """A NumPy array (H, W, C) of the host, as it lies."""
    height, width, channels = array.shape
    strides: Strides = array.strides  # type: ignore[assignment]
    return Memory(array.ctypes.data, str(array.dtype), (height, width, channels), strides)


def of_device(image: object, *, writable: bool = False) -> Memory:
    """An array on a GPU as (H, W, C): grey without an axis of channels gets one. ImageError where it is none
    that a Deblurrer takes."""
    shown = _shown(image)
    if shown.get("mask") is not None:
        raise make(ImageError, "image.dtype", "a masked array is no image")
    dtype, shape = np.dtype(shown["typestr"]), tuple(int(n) for n in shown["shape"])
    # Only asked for its shape and type: no memory of the host is taken for it.
    pixels.check(np.broadcast_to(np.empty((), dtype), shape))
    if not dtype.isnative:
        raise make(ImageError, "image.dtype", "pixels on a GPU must be in native byte order")
    if len(shape) == 3 and shape[2] == 2:
        raise make(ImageError, "image.shape", "grey and alpha is for arrays of the host")
    address, read_only = shown["data"]
    if writable and read_only:
        raise make(ImageError, "image.out", "out is read-only")
    strides = shown.get("strides")
    if strides is None:
        strides = tuple(int(np.prod(shape[i + 1 :])) * dtype.itemsize for i in range(len(shape)))
    if any(at % dtype.itemsize for at in (int(address), *strides)):
        raise make(
            ImageError,
            "image.dtype",
            f"{dtype.name} pixels on a GPU must lie at multiples of {dtype.itemsize} bytes; copy it first",
        )
    if len(shape) == 2:
        shape, strides = (*shape, 1), (*strides, dtype.itemsize)
    return Memory(
        int(address),
        dtype.name,
        shape,  # type: ignore[arg-type]
        tuple(int(s) for s in strides),  # type: ignore[arg-type]
        shown.get("owner"),
    )


def _shown(image: Any) -> dict[str, Any]:
    """What an array says of itself, in the words of ``__cuda_array_interface__``. ImageError where its maker
    refuses."""
    try:
        shown: dict[str, Any] = image.__cuda_array_interface__
        return shown
    except AttributeError:
        return dlpack.shown(image)
    except _REFUSALS as error:
        raise make(
            ImageError,
            "image.device",
            "the array on the GPU does not show its memory; detach it from its gradient, or convert it to "
            f"uint8, uint16 or float32: {error}",
        ) from error


def _package(image: object) -> str:
    """The package that an array is of, "" where it is of none that is known; subclasses, of whatever module,
    are of their base's."""
    modules = (kind.__module__.partition(".")[0] for kind in type(image).__mro__)
    return next((name for name in modules if name in ("torch", "cupy", "pycuda")), "")


def overlap(a: Memory, b: Memory) -> bool:
    """Whether the bytes between the first and the last of two arrays meet."""

    def ends(m: Memory) -> tuple[int, int]:
        reach = [(n - 1) * s for n, s in zip(m.shape, m.strides, strict=True)]
        low = m.address + sum(min(0, r) for r in reach)
        return low, m.address + sum(max(0, r) for r in reach) + np.dtype(m.dtype).itemsize

    (low_a, end_a), (low_b, end_b) = ends(a), ends(b)
    return low_a < end_b and low_b < end_a


def empty_like(image: Any) -> Any:
    """A new array of the same kind, shape and type, contiguous. ImageError where its maker is not known."""
    package = _package(image)
    if package == "torch":
        torch = importlib.import_module("torch")
        return torch.empty(image.shape, dtype=image.dtype, device=image.device)
    if package == "cupy":
        return importlib.import_module("cupy").empty(image.shape, image.dtype)
    if package == "pycuda":
        return importlib.import_module("pycuda.gpuarray").empty(image.shape, image.dtype)
    raise make(
        ImageError,
        "image.out",
        f"results are made anew for torch, cupy and pycuda; for {type(image).__name__} give out=",
    )


def stream_of(image: Any) -> int:
    """The stream that the caller works on: that of its package, or the one that the array names; 0, the
    default stream, where neither is known."""
    package = _package(image)
    if package == "torch":
        return int(importlib.import_module("torch").cuda.current_stream(image.device).cuda_stream)
    if package == "cupy":
        return int(importlib.import_module("cupy").cuda.get_current_stream().ptr)
    return int(getattr(image, "__cuda_array_interface__", {}).get("stream") or 0)
