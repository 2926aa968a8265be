"""DLPack, as far as an array on a GPU has to show itself: the capsule that ``__dlpack__`` gives is read, and
kept until the work is handed over; its maker frees it.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_int32, c_int64, c_uint8, c_uint16, c_uint64, c_void_p
from typing import Any

import numpy as np

from mimo_rt.errors import ImageError, make

CUDA = (2, 13)
"""kDLCUDA and kDLCUDAManaged."""
_KINDS = {0: "i", 1: "u", 2: "f"}
_LEGACY_DEFAULT_STREAM = 1


class _Tensor(Structure):
    _fields_ = (
        ("data", c_void_p),
        ("device_type", c_int32),
        ("device_id", c_int32),
        ("ndim", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    )


def device_of(image: object) -> int | None:
    """The kind of device that an array lies on, None where it does not say."""
    ask = getattr(image, "__dlpack_device__", None)
    try:
        return None if ask is None else int(ask()[0])
    except (TypeError, ValueError, RuntimeError, BufferError):
        return None


def shown(image: Any) -> dict[str, Any]:
    """What ``__cuda_array_interface__`` would say of the array, with the capsule as its `owner`. Its maker
    puts the default stream in order with its own. ImageError where the array cannot be shown."""
    try:
        capsule = image.__dlpack__(stream=_LEGACY_DEFAULT_STREAM)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise make(ImageError, "image.device", f"the array cannot be shown by DLPack: {error}") from error
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = c_void_p, (ctypes.py_object, ctypes.c_char_p)
    try:
        address = pointer(capsule, b"dltensor")
    except ValueError as error:
        raise make(ImageError, "image.device", f"no DLPack capsule: {error}") from error
    tensor = _Tensor.from_address(address)
    kind = _KINDS.get(tensor.code)
    if kind is None or tensor.lanes != 1 or tensor.bits % 8 or not 0 <= tensor.ndim <= 8:
        raise make(ImageError, "image.dtype", "pixels must be uint8, uint16 or float32 (in [0, 1])")
    size = tensor.bits // 8
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    strides = tuple(tensor.strides[i] * size for i in range(tensor.ndim)) if tensor.strides else None
    try:
        dtype = np.dtype(f"{kind}{size}")
    except TypeError:
        raise make(ImageError, "image.dtype", "pixels must be uint8, uint16 or float32 (in [0, 1])") from None
    return {
        "shape": shape,
        "typestr": dtype.str,
        "data": ((tensor.data or 0) + tensor.byte_offset, False),
        "strides": strides,
        "owner": capsule,
    }
