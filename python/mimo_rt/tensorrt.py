"""The backend "tensorrt": NVIDIA's TensorRT through our own shared library (cpp/src/tensorrt).

Both are loaded on demand. Our library comes with the wheel, one for each major version of TensorRT; NVIDIA's
is taken from its Python packages (extra `tensorrt`) or from the system.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import math
import os
import sys
from ctypes import (
    POINTER,
    byref,
    c_char,
    c_char_p,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint64,
    c_void_p,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mimo_rt.array_runner import ImageRun
from mimo_rt.core import Pair
from mimo_rt.device_arrays import Memory
from mimo_rt.errors import BackendError, ImageError, MemoryLimitError, ModelError, PlanError, make
from mimo_rt.gpu_core import Order
from mimo_rt.gpu_shapes import Shapes
from mimo_rt.padding import Float

INTERFACE = 5
MAJORS = (11, 10)
_PACKAGE = "tensorrt_libs"
"""What NVIDIA's wheels of libraries unpack."""
_ERRORS = {
    1: (ModelError, "model.refused"),
    2: (PlanError, "plan.refused"),
    3: (BackendError, "backend.tensorrt"),
    4: (MemoryLimitError, "memory.device"),
    5: (ImageError, "image.cancelled"),
    6: (BackendError, "backend.non_finite"),
}

_Sides = c_int64 * 2
_Sink = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_size_t)
_LayerSink = ctypes.CFUNCTYPE(None, c_void_p, ctypes.c_char_p, c_float)
_Progress = ctypes.CFUNCTYPE(c_int, c_void_p, ctypes.c_char_p, c_int32, c_int32)


class _Error(ctypes.Structure):
    _fields_ = (("text", c_char * 1024),)


class _BuildOptions(ctypes.Structure):
    _fields_ = (
        ("onnx", c_void_p),
        ("onnx_size", c_size_t),
        ("smallest", _Sides),
        ("best", _Sides),
        ("largest", _Sides),
        ("batch", c_int32),
        ("optimization_level", c_int32),
        ("tf32", c_int32),
        ("workspace", c_uint64),
        ("timing_cache", c_void_p),
        ("timing_cache_size", c_size_t),
        ("user", c_void_p),
        ("progress", _Progress),
        ("timing_cache_sink", _Sink),
        ("plan_sink", _Sink),
    )


class _PlanInfo(ctypes.Structure):
    _fields_ = (
        ("smallest", _Sides),
        ("best", _Sides),
        ("largest", _Sides),
        ("batch", c_int32),
        ("channels_in", c_int32),
        ("channels_out", c_int32),
        ("layers", c_int32),
        ("weights", c_int64),
        ("workspace", c_int64),
        ("workspace_of_smallest", c_int64),
        ("pixel_memory", c_int64),
    )


class _Versions(ctypes.Structure):
    _fields_ = (("tensorrt", c_int32), ("build", c_int32), ("cuda", c_int32))


class _Times(ctypes.Structure):
    _fields_ = (("to_device", c_float), ("compute", c_float), ("to_host", c_float), ("enqueue", c_float))


class _View(ctypes.Structure):
    _fields_ = (
        ("data", c_void_p),
        ("type", c_int32),
        ("height", c_int64),
        ("width", c_int64),
        ("channels", c_int64),
        ("row_stride", c_int64),
        ("column_stride", c_int64),
        ("channel_stride", c_int64),
    )


class _Tile(ctypes.Structure):
    _fields_ = tuple(
        (name, c_int64) for name in ("top", "left", "first_row", "end_row", "first_column", "end_column")
    )


class _ImageRun(ctypes.Structure):
    _fields_ = (
        ("source", _View),
        ("destination", _View),
        ("bgr", c_int32),
        ("strength", c_float),
        ("tile_height", c_int64),
        ("tile_width", c_int64),
        ("tiles", POINTER(_Tile)),
        ("tile_count", c_size_t),
        ("on_device", c_int32),
        ("stream", c_void_p),
        ("user", c_void_p),
        ("progress", _Progress),
    )


@dataclass(frozen=True)
class Found:
    """Our library for one major version, and NVIDIA's two that it needs: paths, or names for the system's.
    packaged: whether they are of NVIDIA's Python package, which knows what they need in turn."""

    ours: Path
    nvinfer: str
    parser: str
    packaged: bool = False


def _names(major: int) -> tuple[str, str, str]:
    """File names of our library and NVIDIA's two."""
    if sys.platform == "win32":
        return f"mimo_rt_tensorrt{major}.dll", f"nvinfer_{major}.dll", f"nvonnxparser_{major}.dll"
    return f"libmimo_rt_tensorrt{major}.so", f"libnvinfer.so.{major}", f"libnvonnxparser.so.{major}"


def _folder_of_ours() -> Path:
    return Path(os.environ.get("MIMO_RT_TENSORRT") or Path(__file__).parent)


def _folder_of_nvidias() -> Path | None:
    spec = importlib.util.find_spec(_PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) if places else None


def find() -> Found:
    """What is to be loaded. NVIDIA's packages are preferred to the system's libraries. BackendError, which
    says what is missing."""
    ours, packages = _folder_of_ours(), _folder_of_nvidias()
    built = [major for major in MAJORS if (ours / _names(major)[0]).is_file()]
    if not built:
        raise make(
            BackendError,
            "backend.not_built",
            "this mimo_rt was built without its TensorRT part; the wheels for Linux have it, and a build "
            "from source does with MIMO_RT_TENSORRT=ON and TensorRT_ROOT",
        )
    for major in built:
        own, nvinfer, parser = _names(major)
        if packages is not None and (packages / nvinfer).is_file():
            return Found(ours / own, str(packages / nvinfer), str(packages / parser), packaged=True)
    for major in built:
        own, nvinfer, parser = _names(major)
        try:
            ctypes.CDLL(nvinfer)
        except OSError:
            continue
        return Found(ours / own, nvinfer, parser)
    raise make(
        BackendError,
        "backend.no_library",
        f"TensorRT {' or '.join(map(str, sorted(built)))} is not installed: pip install 'mimo-rt[tensorrt]'",
    )


def _load_packaged() -> None:
    """Has NVIDIA's package load its libraries, as `import tensorrt` does: those that nvinfer opens by name
    while it builds (its kernels, NVRTC) are in no folder that the system searches. They stay loaded."""
    # Where it fails, opening nvinfer tells what is missing.
    with contextlib.suppress(ImportError, OSError, RuntimeError):
        importlib.import_module(_PACKAGE)


class TensorRtLibrary:
    """A `mimo_rt.gpu_core.Library`. A plan is for the very version of TensorRT and the very GPU."""

    backend = "tensorrt"

    def __init__(self) -> None:
        found = find()
        if found.packaged:
            _load_packaged()
        try:
            self._ours = ctypes.CDLL(str(found.ours))
        except OSError as error:
            raise make(
                BackendError, "backend.no_library", f"{found.ours} cannot be loaded: {error}"
            ) from None
        if self._ours.mimo_rt_trt_interface() != INTERFACE:
            raise make(
                BackendError,
                "backend.not_built",
                f"{found.ours} is of another version of mimo_rt; reinstall it",
            )
        self._ours.mimo_rt_trt_free.argtypes = (c_void_p,)
        self._ours.mimo_rt_trt_free.restype = None
        versions = _Versions()
        self.call("open", os.fsencode(found.nvinfer), os.fsencode(found.parser), byref(versions))
        number, build = versions.tensorrt, f".{versions.build}" if versions.build else ""
        self._version = f"{number // 10000}.{number // 100 % 100}.{number % 100}{build}"
        self._cuda = f"{versions.cuda // 1000}.{versions.cuda // 10 % 100}"
        text = ctypes.create_string_buffer(512)
        self.call("device", text, c_size_t(len(text)))
        self._device = text.value.decode("utf-8", "replace")

    def call(self, name: str, *given: Any) -> None:
        """mimo_rt_trt_NAME; what it returns becomes an error of ours."""
        error = _Error()
        status = getattr(self._ours, f"mimo_rt_trt_{name}")(*given, byref(error))
        if status:
            kind, code = _ERRORS.get(status, (BackendError, "backend.tensorrt"))
            raise make(kind, code, error.text.decode("utf-8", "replace"))

    def free(self, engine: c_void_p) -> None:
        """Gives back what `network` took."""
        self._ours.mimo_rt_trt_free(engine)

    @property
    def conditions(self) -> dict[str, str]:
        """Version with its build where that is told, CUDA runtime and GPU."""
        return {"TensorRT": self._version, "CUDA": self._cuda, "GPU": self._device}

    def make_plan(self, order: Order) -> bytes:
        """On the GPU, in seconds to minutes. The timings of kernels are cached, sealed as plans are. Raises
        what the order's progress raises, and BackendError where it ended the build."""
        from mimo_rt import _core

        which = {"timings of": self.backend}
        timings, plan = [b""], [b""]
        try:
            timings[0] = _core.sealed_lookup(which, self.conditions)[0] or b""
        except PlanError:
            which = {}
        known = timings[0]

        def keep(store: list[bytes]) -> Any:
            return _Sink(lambda user, data, size: store.__setitem__(0, ctypes.string_at(data, size)))

        ended: list[BaseException] = []

        def tell(_user: int | None, phase: bytes, step: int, steps: int) -> int:
            try:
                name = phase.decode("utf-8", "replace")
                if order.progress is None or order.progress(name, step, steps) is not False:
                    return 1
                raise make(BackendError, "backend.cancelled", "the build was ended before it was done")
            except BaseException as error:
                ended.append(error)
            return 0

        sizes = order.shapes
        level = -1 if order.optimization_level is None else order.optimization_level
        options = _BuildOptions(
            onnx=ctypes.cast(c_char_p(order.onnx), c_void_p),
            onnx_size=len(order.onnx),
            smallest=_Sides(*sizes.smallest),
            best=_Sides(*sizes.best),
            largest=_Sides(*sizes.largest),
            batch=order.batch,
            optimization_level=level,
            timing_cache=ctypes.cast(c_char_p(known), c_void_p) if known else None,
            timing_cache_size=len(known),
            progress=_Progress(tell),
            timing_cache_sink=keep(timings),
            plan_sink=keep(plan),
        )
        try:
            self.call("build", byref(options))
        except ImageError:  # cancelled
            # Ctrl-C on the way into `tell` is lost in ctypes, which hands the library another number than 1.
            raise (ended[0] if ended else KeyboardInterrupt()) from None
        if which and timings[0] != known:
            _core.sealed_store(which, self.conditions, timings[0])
        return plan[0]

    def network(self, plan: bytes, facts: dict[str, Any], shapes: Shapes) -> TensorRtNetwork:
        """In a context of its own, with streams and memory of its own."""
        return TensorRtNetwork(self, plan, facts["stride"], facts["halo"], shapes)


class TensorRtNetwork:
    """A `mimo_rt.array_runner.Network`: images of one call overlap their copies and computation."""

    def __init__(self, library: TensorRtLibrary, plan: bytes, stride: int, halo: int, shapes: Shapes) -> None:
        self.stride, self.halo = stride, halo
        self.smallest, self.largest = shapes.smallest, shapes.largest
        self._library = library
        self._engine = c_void_p()
        self._info = _PlanInfo()
        library.call("load", plan, c_size_t(len(plan)), byref(self._engine), byref(self._info))
        self.batch = int(self._info.batch)
        self._times = _Times()
        self.takes_pixels = True

    @property
    def device_times(self) -> dict[str, float]:
        """By CUDA events, and the host's clock for enqueue."""
        return {name: float(getattr(self._times, name)) for name, _ in _Times._fields_}

    def memory_for(self, height: int, width: int) -> int:
        """Weights, workspace, and what images in and out of both slots take. The workspace lies on the line
        between that of the smallest size and of the largest, which TensorRT tells."""
        info, pixels = self._info, height * width
        low, high = (math.prod(size) for size in (self.smallest, self.largest))
        part = (pixels - low) / (high - low) if high > low else 1.0
        workspace = info.workspace_of_smallest + part * (info.workspace - info.workspace_of_smallest)
        return int(info.weights + math.ceil(workspace) + info.pixel_memory * pixels)

    def __call__(self, x: Float) -> Float:
        y = np.empty(x.shape, np.float32)
        size: Pair = (int(x.shape[2]), int(x.shape[3]))
        pointers = c_void_p * len(x)
        self._library.call(
            "run",
            self._engine,
            c_size_t(len(x)),
            pointers(*(image.ctypes.data for image in x)),
            pointers(*(result.ctypes.data for result in y)),
            c_int64(size[0]),
            c_int64(size[1]),
            byref(self._times),
        )
        return y

    def run_image(self, run: ImageRun) -> None:
        """Pixels in and out, all of it on the GPU."""
        tiles = (_Tile * len(run.tiles))(*(_Tile(*tile) for tile in run.tiles))
        told, ended = run.progress, False

        def tell(_user: int | None, _phase: bytes, step: int, steps: int) -> int:
            nonlocal ended
            ended = told is not None and not told(step / steps)
            return int(not ended)

        given = _ImageRun(
            source=_view(run.source),
            destination=_view(run.destination),
            bgr=run.bgr,
            strength=run.strength,
            tile_height=run.fed[0],
            tile_width=run.fed[1],
            tiles=tiles,
            tile_count=len(tiles),
            on_device=run.on_device,
            stream=run.stream or None,
            progress=_Progress(tell),
        )
        try:
            self._library.call("run_image", self._engine, byref(given), byref(self._times))
        except ImageError as error:
            # Ctrl-C on the way into `tell` is lost in ctypes, which hands the library another number than 1.
            if error.code == _ERRORS[5][1] and not ended:
                raise KeyboardInterrupt from None
            raise

    def profile(self, height: int, width: int, runs: int) -> dict[str, list[float]]:
        """Milliseconds of every layer in every run, by name in the order of running."""
        found: dict[str, list[float]] = {}

        def take(_user: int | None, layer: bytes, milliseconds: float) -> None:
            found.setdefault(layer.decode("utf-8", "replace"), []).append(milliseconds)

        sink = _LayerSink(take)
        size = c_int64(height), c_int64(width)
        self._library.call("profile", self._engine, *size, c_int32(runs), None, sink)
        return found

    def layers(self) -> str:
        """TensorRT's own description of the plan, JSON."""
        found = [b""]
        sink = _Sink(lambda user, data, size: found.__setitem__(0, ctypes.string_at(data, size)))
        self._library.call("layers", self._engine, None, sink)
        return found[0].decode("utf-8", "replace")

    def __del__(self) -> None:
        engine = self.__dict__.get("_engine")
        if engine:
            self._library.free(engine)


def _view(pixels: Memory) -> _View:
    return _View(
        pixels.address,
        ("uint8", "uint16", "float32").index(pixels.dtype),
        *pixels.shape,
        *pixels.strides,
    )


__all__ = ["Found", "TensorRtLibrary", "TensorRtNetwork", "find"]
