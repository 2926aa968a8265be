"""The little of the CUDA driver that running a plan needs, through ctypes: memory, copies, one stream.

The driver is part of every NVIDIA GPU's own software; nothing has to be installed for this.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint64, c_void_p
from pathlib import Path
from typing import Any

from mimo_rt.errors import BackendError, MemoryLimitError, make

_OUT_OF_MEMORY = 2
_NON_BLOCKING = 1


def gpu_present() -> bool:
    """Whether the system shows an NVIDIA GPU; costs next to nothing and starts nothing."""
    if sys.platform == "win32":
        return Path(r"C:\Windows\System32\nvcuda.dll").exists()
    return Path("/dev/nvidia0").exists() or Path("/usr/lib/wsl/lib/libcuda.so.1").exists()


def _library() -> Any:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        return ctypes.CDLL(name)
    except OSError:
        raise make(
            BackendError,
            "backend.no_driver",
            f"there is no NVIDIA driver on this machine ({name} was not found); the plan can be built and "
            "saved here, and runs where there is one",
        ) from None


class Device:
    """The first GPU: its primary context, which torch, pycuda's autoprimaryctx and the runtime share, and a
    stream of our own. BackendError where there is none."""

    def __init__(self, library: Any = None) -> None:
        self._cuda = _library() if library is None else library
        self._check(self._cuda.cuInit(0), "start the driver")
        device, context, stream = c_int(), c_void_p(), c_void_p()
        self._check(self._cuda.cuDeviceGet(byref(device), 0), "find a GPU")
        self._check(self._cuda.cuDevicePrimaryCtxRetain(byref(context), device), "open the GPU")
        self._context = context
        with self.current():
            self._check(self._cuda.cuStreamCreate(byref(stream), _NON_BLOCKING), "make a stream")
        self.stream = stream.value or 0

    def _check(self, status: int, what: str) -> None:
        if status == 0:
            return
        name = c_char_p()
        self._cuda.cuGetErrorName(status, byref(name))
        text = f"the NVIDIA driver could not {what}: {(name.value or b'unknown').decode()}"
        if status == _OUT_OF_MEMORY:
            raise make(MemoryLimitError, "memory.device", f"{text}; use smaller tiles")
        raise make(BackendError, "backend.cuda", text)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """The GPU's primary context is the thread's own inside, and what it was before again after. Every
        other method, but `close`, is for inside."""
        self._check(self._cuda.cuCtxPushCurrent_v2(self._context), "use the GPU")
        try:
            yield
        finally:
            self._cuda.cuCtxPopCurrent_v2(byref(c_void_p()))

    def close(self) -> None:
        """Gives back the stream; the last call."""
        stream, self.stream = self.stream, 0
        if stream:
            with self.current():
                self._cuda.cuStreamDestroy_v2(c_void_p(stream))

    def allocate(self, size: int) -> int:
        """The address of so many bytes on the device."""
        address = c_uint64()
        self._check(
            self._cuda.cuMemAlloc_v2(byref(address), c_size_t(size)), f"allocate {size >> 20} MiB on the GPU"
        )
        return address.value

    def free(self, address: int) -> None:
        """Gives back what `allocate` gave."""
        self._cuda.cuMemFree_v2(c_uint64(address))

    def to_device(self, address: int, array: Any) -> None:
        """Copies a contiguous array, in the order of the stream."""
        self._check(
            self._cuda.cuMemcpyHtoDAsync_v2(
                c_uint64(address), c_void_p(array.ctypes.data), c_size_t(array.nbytes), c_void_p(self.stream)
            ),
            "copy to the GPU",
        )

    def to_host(self, array: Any, address: int) -> None:
        """Fills a contiguous array, and waits for all that the stream was given."""
        self._check(
            self._cuda.cuMemcpyDtoHAsync_v2(
                c_void_p(array.ctypes.data), c_uint64(address), c_size_t(array.nbytes), c_void_p(self.stream)
            ),
            "copy from the GPU",
        )
        self._check(self._cuda.cuStreamSynchronize(c_void_p(self.stream)), "finish")
