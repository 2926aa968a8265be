"""The backend "tensorrt-rtx": NVIDIA's TensorRT for RTX, which comes in plain wheels (extra `rtx`).

Its builder runs on any machine, with a GPU or without: a plan is made in a second or two on the processor,
and finished for the GPU at hand when it is first run. Plans are sealed and cached like those of TensorRT.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from mimo_rt.array_runner import CHANNELS, ImageRun
from mimo_rt.core import Pair
from mimo_rt.cuda_driver import Device
from mimo_rt.errors import BackendError, MemoryLimitError, ModelError, PlanError, make
from mimo_rt.gpu_core import Order
from mimo_rt.gpu_shapes import Shapes
from mimo_rt.padding import Float

_MODULE = "tensorrt_rtx_bindings"


def library() -> Any:
    """NVIDIA's Python module; BackendError where it is not installed or does not load."""
    try:
        return importlib.import_module(_MODULE)
    except ImportError as error:
        missing = getattr(error, "name", None) == _MODULE
        why = "is not installed" if missing else f"does not load ({error})"
        raise make(
            BackendError,
            "backend.no_library",
            f"TensorRT for RTX {why}: pip install 'mimo-rt[rtx]' (Linux and Windows, x86-64)",
        ) from None


@functools.cache
def _logger(trt: Any) -> Any:
    """The logger, which keeps the last error or warning instead of printing it. One for the whole process:
    the library keeps the first that it is given for all builders and runtimes to come."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.kept = ""

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.WARNING:
                self.kept = message

        def last(self) -> str:
            return self.kept or "it does not say why"

        def clear(self) -> None:
            self.kept = ""

    return Log()


def build_plan(onnx: bytes, shapes: Shapes, optimization_level: int | None = None) -> bytes:
    """A plan, unsealed, of a typed ONNX file with one image in and out. ModelError where the parser or the
    builder refuses it."""
    trt = library()
    log = _logger(trt)
    log.clear()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(onnx):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        what = "; ".join(f"{e.node_name() or 'the graph'}: {e.desc()}" for e in errors[:3]) or log.last()
        raise make(ModelError, "model.refused", f"TensorRT for RTX cannot read the model: {what}")
    config = builder.create_builder_config()
    if optimization_level is not None:
        config.builder_optimization_level = optimization_level
    image = network.get_input(0)
    profile = builder.create_optimization_profile()
    sizes = [(1, CHANNELS, *size) for size in (shapes.smallest, shapes.best, shapes.largest)]
    profile.set_shape(image.name, *sizes)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise make(ModelError, "model.refused", f"TensorRT for RTX cannot build a plan: {log.last()}")
    return bytes(plan)


class RtxLibrary:
    """A `mimo_rt.gpu_core.Library`. Its plans are for every GPU that it knows."""

    backend = "tensorrt-rtx"

    def __init__(self) -> None:
        self._trt = library()

    @property
    def conditions(self) -> dict[str, str]:
        """The library's version."""
        return {"TensorRT for RTX": str(self._trt.__version__)}

    def make_plan(self, order: Order) -> bytes:
        """On the processor."""
        return build_plan(order.onnx, order.shapes, order.optimization_level)

    def network(self, plan: bytes, facts: dict[str, Any], shapes: Shapes) -> RtxNetwork:
        """On the first GPU."""
        return RtxNetwork(plan, facts["stride"], facts["halo"], shapes, Device())


class RtxNetwork:
    """A `mimo_rt.array_runner.Network`: a plan in a context of its own, on a stream of its own."""

    def __init__(self, plan: bytes, stride: int, halo: int, shapes: Shapes, device: Device) -> None:
        trt = library()
        self.stride, self.halo = stride, halo
        self.smallest, self.largest = shapes.smallest, shapes.largest
        self._device = device
        self._log = _logger(trt)
        self._log.clear()
        self._weights = len(plan)
        self.device_times: dict[str, float] = {}
        self.takes_pixels = False
        self.batch = 1
        self._addresses: tuple[int, int] | None = None
        self._size: Pair = (0, 0)
        with device.current():
            self._open(trt, plan)

    def _open(self, trt: Any, plan: bytes) -> None:
        self._runtime = trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise make(
                PlanError, "plan.refused", f"TensorRT for RTX cannot load the plan: {self._log.last()}"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise make(
                MemoryLimitError,
                "memory.device",
                f"TensorRT for RTX cannot make a context: {self._log.last()}; use smaller tiles",
            )
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        inputs = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self._input, self._output = inputs[0], next(n for n in names if n not in inputs)

    def profile(self, height: int, width: int, runs: int) -> dict[str, list[float]]:
        """Nothing: TensorRT for RTX is not asked for its layers."""
        del height, width, runs
        return {}

    def layers(self) -> str:
        """Nothing."""
        return ""

    def run_image(self, run: ImageRun) -> None:
        """Not by this library."""
        raise NotImplementedError

    def memory_for(self, height: int, width: int) -> int:
        """Weights (at most the plan's bytes), workspace for the largest size, and two float32 images."""
        del height, width
        pixels = self.largest[0] * self.largest[1]
        return self._weights + int(self._engine.device_memory_size_v2) + 2 * 4 * CHANNELS * pixels

    def __call__(self, x: Float) -> Float:
        y = np.empty(x.shape, np.float32)
        with self._device.current():
            for image, result in zip(x, y, strict=True):
                self._run(image, result)
        return y

    def _run(self, image: Float, result: Float) -> None:
        size = (int(image.shape[1]), int(image.shape[2]))
        if self._addresses is None:
            room = 4 * CHANNELS * self.largest[0] * self.largest[1]
            first = self._device.allocate(room)
            try:
                self._addresses = first, self._device.allocate(room)
            except BaseException:
                self._device.free(first)
                raise
        if size != self._size:
            self._size = (0, 0)
            done = self._context.set_input_shape(self._input, (1, *image.shape))
            done = done and self._context.set_tensor_address(self._input, self._addresses[0])
            if not (done and self._context.set_tensor_address(self._output, self._addresses[1])):
                raise self._failure(f"take an image of {size[1]}x{size[0]}")
            self._size = size
        self._device.to_device(self._addresses[0], image)
        if not self._context.execute_async_v3(self._device.stream):
            raise self._failure("run")
        self._device.to_host(result, self._addresses[1])

    def _failure(self, what: str) -> Exception:
        return make(BackendError, "backend.run", f"TensorRT for RTX could not {what}: {self._log.last()}")

    def __del__(self) -> None:
        device = self.__dict__.get("_device")
        if device is None:
            return
        with device.current():
            # Context before engine before runtime, says NVIDIA.
            for name in ("_context", "_engine", "_runtime"):
                self.__dict__.pop(name, None)
            for address in self.__dict__.get("_addresses") or ():
                device.free(address)
        device.close()
