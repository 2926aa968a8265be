"""Types of the compiled module: what cpp/bindings makes, one topic a file there."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

class Error(Exception):
    """Base of all errors; `code` is a short stable dotted name such as "model.unsupported_operator"."""

    code: str

class ModelError(Error): ...
class PlanError(Error): ...
class ImageError(Error): ...
class BackendError(Error): ...
class MemoryLimitError(Error): ...

def targets() -> list[str]:
    """Instruction sets that this library holds and this processor can run, best first."""

def compiled_targets() -> list[str]:
    """Instruction sets that this library holds."""

def describe(onnx: bytes) -> dict[str, Any]:
    """Of an ONNX file without external data: model_sha256, channels, stride, receptive_field, halo,
    parameters, macs_per_pixel, metadata."""

def plan_tiles(
    padded: tuple[int, int], tile: tuple[int, int], halo: int, stride: int
) -> tuple[tuple[int, int], list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """The size of a tile, then for rows and for columns (origin, first kept, end of kept) of each."""

def sealed_lookup(identity: dict[str, str], conditions: dict[str, str]) -> tuple[bytes | None, str]:
    """From the cache of plans that other libraries made: the plan, or None and why. PlanError where there is
    no secret to seal with."""

def sealed_store(identity: dict[str, str], conditions: dict[str, str], payload: bytes) -> bool: ...
def seal(fields: dict[str, str], payload: bytes) -> bytes: ...
def unseal(file: bytes) -> tuple[dict[str, str], bytes]:
    """PlanError where the seal is not right."""

def cache_folder() -> str:
    """Where plans are kept; empty where there is no home."""

def is_sealed(file: bytes) -> bool:
    """Whether the bytes begin as a sealed plan does."""

class Engine:
    @staticmethod
    def build(
        model: str | bytes,
        *,
        precision: str = "fp32",
        target: str = "",
        tactics: str = "fixed",
        cache: bool = True,
        cache_folder: str = "",
        timer: Callable[[str, Callable[[], None]], float] | None = None,
    ) -> Engine:
        """From the path of an ONNX file, or its bytes. tactics: "fixed", "f4", "direct" or "search"."""

    @staticmethod
    def load(plan: str | bytes) -> Engine:
        """From the path of a plan file, or its bytes."""

    def save(self, path: str) -> None: ...
    def serialize(self) -> bytes: ...
    @property
    def target(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def producer(self) -> str: ...
    @property
    def key(self) -> dict[str, str]: ...
    @property
    def metadata(self) -> dict[str, str]: ...
    @property
    def stride(self) -> int: ...
    @property
    def receptive_field(self) -> tuple[int, int]: ...
    @property
    def halo(self) -> int: ...
    @property
    def parameters(self) -> int: ...
    @property
    def macs_per_pixel(self) -> float: ...
    @property
    def channels(self) -> tuple[int, int]:
        """Channels of the network's input and output."""

    @property
    def packed_bytes(self) -> int: ...
    def layers(self) -> list[dict[str, Any]]:
        """One entry a node: name, op, kernel, block, level, in_channels, out_channels, kernel_size, stride,
        resampling, epilogue, macs_per_pixel, bytes_per_pixel."""

class Deblurrer:
    def __init__(
        self,
        engine: Engine,
        *,
        threads: int = 0,
        memory: int = 0,
        ensemble: int = 0,
        tiles: str = "none",
        tile: tuple[int, int] = (0, 0),
        halo: int = -1,
    ) -> None:
        """tiles: "none", "fixed" (of the size `tile`, height and width) or "chosen" (by `memory`). halo: -1
        for the exact one."""

    def run(
        self,
        source: NDArray[Any],
        destination: NDArray[Any],
        *,
        bgr: bool = False,
        strength: float = 1.0,
        progress: Callable[[float], bool] | None = None,
    ) -> None:
        """H x W x C arrays (C = 1, 3, 4) of uint8, uint16 or float32, any strides, equal shape and dtype.
        Releases the GIL."""

    def infer(self, source: NDArray[np.float32], destination: NDArray[np.float32]) -> None:
        """C x H x W float32 arrays, any strides, sides multiples of the engine's stride. Releases the GIL."""

    def tiles_for(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Height and width of a tile, its halo, how many there are."""

    def memory_for(self, height: int, width: int) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def last_times(self) -> dict[str, float]:
        """Seconds of the last run: total, input, compute, output."""

    @property
    def last_layer_times(self) -> list[float]:
        """Seconds of each layer in the last run, in the order of Engine.layers."""
