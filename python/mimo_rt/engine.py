"""Engine: a loaded plan, ready to run; made from an ONNX file, a bundled model or a saved plan."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mimo_rt import _core, models
from mimo_rt.array_runner import ArrayRunner
from mimo_rt.core import EngineCore, Runner, make_runner
from mimo_rt.errors import BackendError, ImageError, ModelError, PlanError, make

GPU_BACKENDS = ("tensorrt", "tensorrt-rtx")
BACKENDS = ("auto", "cpu", *GPU_BACKENDS)
PRECISIONS = ("fp32", "fp16")


@dataclass(frozen=True)
class EngineInfo:
    """What an engine is, for people and programs."""

    backend: str
    """"cpu", "tensorrt" or "tensorrt-rtx"."""
    target: str
    """Instruction set that it runs on, such as "AVX2", or the library."""
    precision: str
    origin: str
    """Where the plan came from: "cache hit", "built: no cached plan", "plan file"..."""
    producer: str
    """The version of mimo_rt that made the plan."""
    channels: tuple[int, int]
    """Channels of the network's input and output."""
    stride: int
    """The network takes heights and widths that are multiples of this; Deblurrer pads to it."""
    receptive_field: tuple[int, int]
    """How many pixels the output looks before and after itself, in rows and in columns alike."""
    halo: int
    """Pixels beside a tile that make it exact: the receptive field, rounded up to the stride."""
    parameters: int
    macs_per_pixel: float
    """Multiply-adds of convolutions for one input pixel."""
    packed_bytes: int
    """Bytes that the weights take, packed for the kernels; of a GPU plan its size."""
    key: dict[str, str]
    """What the plan was made from and for."""
    metadata: dict[str, str]
    """The metadata of the ONNX file."""


class Engine:
    """A network made ready for this machine. Immutable: one engine serves many Deblurrers and threads.

    Made by `mimo_rt.build` from an ONNX file, by `Engine.load` from a plan file.
    """

    __slots__ = ("_core", "_lock", "_runner", "backend_reason")

    def __init__(self, core: EngineCore, backend_reason: str = "") -> None:
        self._core = core
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self.backend_reason = backend_reason
        """Why backend "auto" took this backend although a GPU is there; empty otherwise."""

    @staticmethod
    def load(plan: str | os.PathLike[str] | bytes) -> Engine:
        """From a plan file or its bytes. PlanError where it is damaged or foreign, BackendError where this
        machine lacks the instruction set or library that it was made for."""
        sealed = _sealed(plan)
        if sealed is not None:
            from mimo_rt import gpu_core

            return Engine(gpu_core.load(sealed))
        return Engine(_core.Engine.load(plan if isinstance(plan, bytes) else os.fspath(plan)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan to a file (to a temporary name first, then renamed). PlanError where it cannot be
        written."""
        self._core.save(os.fspath(path))

    @property
    def info(self) -> EngineInfo:
        """What this engine is: instruction set, size, receptive field, origin..."""
        core = self._core
        return EngineInfo(
            backend="cpu" if isinstance(core, _core.Engine) else core.key["backend"],
            target=core.target,
            precision=core.precision,
            origin=core.origin,
            producer=core.producer,
            channels=core.channels,
            stride=core.stride,
            receptive_field=core.receptive_field,
            halo=core.halo,
            parameters=core.parameters,
            macs_per_pixel=core.macs_per_pixel,
            packed_bytes=core.packed_bytes,
            key=core.key,
            metadata=core.metadata,
        )

    def layers(self) -> list[dict[str, Any]]:
        """One dictionary a layer, in running order: name, op, kernel, block, level, in_channels,
        out_channels, kernel_size, stride, resampling ("nearest x1/2", "linear x2" and the like, "" for
        none), epilogue (a list of "relu", "add", "mul", "quantise", "add linear x2" and the like), and for
        one input pixel the multiply-adds of a direct convolution (macs_per_pixel) and the bytes read and
        written, each once (bytes_per_pixel)."""
        return self._core.layers()

    def infer(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The raw network: no padding, no clipping.

        x: float32 (N, C, H, W), N >= 1, C the network's input channels, H and W multiples of `info.stride`;
        any strides. Returns float32 (N, C_out, H, W). Anything else: ImageError.
        """
        channels_in, channels_out = self._core.channels
        stride = self._core.stride
        if not isinstance(x, np.ndarray) or x.dtype != np.float32 or not x.dtype.isnative:
            found = f"{x.dtype} array" if isinstance(x, np.ndarray) else type(x).__name__
            raise make(ImageError, "image.dtype", f"infer takes a float32 array (N, C, H, W), not a {found}")
        if x.ndim != 4 or x.shape[1] != channels_in or 0 in x.shape:
            raise make(
                ImageError,
                "image.shape",
                f"infer takes an array (N, {channels_in}, H, W) with no empty axis, got {x.shape}",
            )
        if x.shape[2] % stride or x.shape[3] % stride:
            raise make(
                ImageError,
                "image.size",
                f"infer takes heights and widths that are multiples of {stride}, got "
                f"{x.shape[2]}x{x.shape[3]}; "
                "Deblurrer.run pads by itself",
            )
        if not x.flags.aligned:
            x = x.copy()
        with self._lock:
            if self._runner is None:
                self._runner = make_runner(self._core)
            runner = self._runner
        y = np.empty((x.shape[0], channels_out, *x.shape[2:]), np.float32)
        if isinstance(runner, ArrayRunner):
            runner.infer_all(x, y)
        else:
            for source, destination in zip(x, y, strict=True):
                runner.infer(source, destination)
        return y

    def __repr__(self) -> str:
        core = self._core
        return (
            f"<mimo_rt.Engine {core.precision} on {core.target}, {core.parameters / 1e6:.2f} M parameters, "
            f"{core.origin}>"
        )


def build(
    model: str | os.PathLike[str] | bytes,
    *,
    backend: str = "auto",
    precision: str = "fp32",
    target: str | None = None,
    tactics: str = "fixed",
    tile: int | tuple[int, int] | None = None,
    batch: int = 1,
    optimization_level: int | None = None,
    keep_fp32: Sequence[str] | Literal["auto"] = (),
    fused_blocks: bool = False,
    half_images: bool = False,
    cache: bool = True,
    progress: Callable[[str, int, int], object] | None = None,
) -> Engine:
    """Make an Engine from a model.

    model: path of an ONNX file or of a checkpoint (PyTorch's, safetensors, MindSpore's; nothing in it is
    executed), its bytes, or the name of a bundled model ("mimo-unet-s", "mimo-unet-s@1") or of one in the
    user's folder of models.
    backend: "auto", "cpu", "tensorrt" (NVIDIA's TensorRT, extra `tensorrt`: built and run on the GPU) or
    "tensorrt-rtx" (NVIDIA's TensorRT for RTX, extra `rtx`: built on any machine, run where a GPU is);
    "auto" is the processor for now, and `Engine.backend_reason` says so where a GPU is seen. precision,
    on the cpu: "fp32", or "fp16", which rounds what layers pass on to half precision and carries it in
    half the memory, and keeps weights in half precision where that moves the result on a picture made for
    it by less than would cost 0.01 dB at 40 dB; arithmetic stays in single precision, and takes a little
    longer. target: an instruction set by name ("AVX2"), None for the best that this processor has.
    tactics: "fixed" (the fastest kernels, by a fixed rule), "f4" (a smaller Winograd transform: slower, a
    third of the rounding error), "direct" (direct convolution everywhere, the reference) or "search" (for
    each layer the fastest of these by the clock: the bits then depend on the machine that built the
    plan). On a GPU: "fp32", "fp16" or "int8", where int8 takes an int8 export. tile, optimization_level:
    of a GPU plan. The one size, or (height, width), of what it is fed, halo included, rounded up to the
    network's stride; None for a range of sizes up to 1920x1088, or as much more as the
    network's halo takes. batch: of a TensorRT plan of one size, how
    many tiles it takes at once. 0 (quick to build) to 5 (fast to run),
    None for the library's own. keep_fp32: layers of the ONNX file, by name, that stay in fp32 in a plan of
    precision "fp16"; "auto" for those that make numbers too large for it on pictures made to find them.
    fused_blocks: ResBlocks of 32 channels by a kernel of our own, of backend "tensorrt" with "fp16"; not
    known to be faster. half_images: the image goes into and out of the network in half precision, likewise;
    values in [0, 1] keep 11 bits. cache: keep the plan in the user's cache folder, and take it from there if
    it is the very same. progress: told the phase, its step and how many steps it has while TensorRT builds,
    maybe from another thread; returning False ends the build. Other backends take seconds, and do not tell.

    Raises ModelError where the model cannot be read or is not supported, BackendError where backend,
    precision, target or tactics are not to be had here.
    """
    if backend not in BACKENDS:
        raise make(
            BackendError,
            "backend.unknown",
            f"there is no backend {backend!r} here; those that exist are {', '.join(BACKENDS)}",
        )
    if backend in GPU_BACKENDS:
        if target is not None or tactics != "fixed":
            raise make(BackendError, "backend.option", "target and tactics are options of the cpu backend")
    elif (
        tile is not None
        or batch != 1
        or optimization_level is not None
        or keep_fp32
        or fused_blocks
        or half_images
    ):
        raise make(
            BackendError,
            "backend.option",
            "tile, batch, optimization_level, keep_fp32, fused_blocks and half_images are options of GPU "
            "plans; on the cpu give tile to Deblurrer",
        )
    elif precision not in PRECISIONS:
        raise make(
            BackendError,
            "backend.precision",
            f"the cpu backend has no precision {precision!r}; it has {', '.join(PRECISIONS)}",
        )

    def make_engine(source: str | bytes) -> Engine:
        from mimo_rt import checkpoints

        if checkpoints.is_checkpoint(source):
            from mimo_rt.convert import convert

            source = convert(source).onnx
        if backend in GPU_BACKENDS:
            from mimo_rt import gpu_core

            return Engine(
                gpu_core.build(
                    gpu_core.library_of(backend),
                    source,
                    precision=precision,
                    tile=tile,
                    batch=batch,
                    optimization_level=optimization_level,
                    keep_fp32=keep_fp32,
                    fused_blocks=fused_blocks,
                    half_images=half_images,
                    cache=cache,
                    progress=progress,
                )
            )
        core = _core.Engine.build(
            source, precision=precision, target=target or "", tactics=tactics, cache=cache
        )
        return Engine(core, _why_no_gpu() if backend == "auto" else "")

    if isinstance(model, bytes):
        return make_engine(model)
    known = models.find(model) if isinstance(model, str) else None
    if known is None:
        return make_engine(str(existing_file(model)))
    try:
        engine = make_engine(str(known.path))
    except ModelError:
        models.verify(known)
        raise
    key = engine.info.key
    found = key.get("model_sha256", key.get("model"))
    if found != known.sha256:
        raise models.damaged(known, f"its sha256 is {found}")
    return engine


def _why_no_gpu() -> str:
    from mimo_rt.cuda_driver import gpu_present

    if not gpu_present():
        return ""
    return "an NVIDIA GPU is here and is not used: ask for backend tensorrt or tensorrt-rtx"


def _sealed(plan: str | os.PathLike[str] | bytes) -> bytes | None:
    """The bytes of a plan that another library made, None for any other file."""
    if isinstance(plan, bytes):
        return plan if _core.is_sealed(plan) else None
    try:
        with Path(plan).open("rb") as file:
            head = file.read(16)
            return head + file.read() if _core.is_sealed(head) else None
    except OSError:
        return None  # reading it as a plan of ours gives the error


def existing_file(model: str | os.PathLike[str]) -> Path:
    """`model` as the path of a regular file; ModelError, which lists the models' names, where it is none."""
    path = Path(model)
    if path.is_file():
        return path
    what = "is a folder, not a model" if path.is_dir() else "is neither a file nor the name of a model"
    raise make(ModelError, "model.not_found", f"{os.fspath(model)!r} {what} ({models.names()})")


def open_engine(
    model: str | os.PathLike[str] | bytes,
    *,
    precision: str | None = None,
    backend: str = "auto",
    cache: bool = True,
) -> Engine:
    """An Engine from whatever names one: a bundled model, one of the user's, an ONNX file, a checkpoint or a
    plan file (told apart by what is in them), or the bytes of any.

    precision: as `build` takes it, None for fp32, or for what a plan file has; BackendError where a plan file
    has another. backend: as `build` takes it; a plan file has its own, and BackendError is raised where that
    is not the one asked for.
    """
    if isinstance(model, str) and models.find(model) is not None:
        return build(model, backend=backend, precision=precision or "fp32", cache=cache)
    source = model if isinstance(model, bytes) else str(existing_file(model))
    try:
        engine = Engine.load(source)
    except PlanError as error:
        empty = len(source) == 0 if isinstance(source, bytes) else Path(source).stat().st_size == 0
        if error.code != "plan.not_a_plan" and not empty:
            raise
        return build(model, backend=backend, precision=precision or "fp32", cache=cache)
    if backend not in ("auto", engine.info.backend):
        raise make(
            BackendError,
            "backend.plan",
            f"the plan is for backend {engine.info.backend}; for {backend} give the ONNX file",
        )
    if precision not in (None, engine.info.precision):
        raise make(
            BackendError,
            "backend.precision",
            f"the plan was built in {engine.info.precision}; for {precision} give the ONNX file that it was "
            "built from",
        )
    return engine


__all__ = ["Engine", "EngineInfo", "build", "open_engine"]
