"""What the facade needs of a backend: an engine core, and the runner that it makes. The compiled CPU engine
is one; backends that live in Python bring their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mimo_rt import _core

Pair: TypeAlias = tuple[int, int]


class Runner(Protocol):
    """Runs images, one at a time: what `_core.Deblurrer` is."""

    def run(
        self,
        source: NDArray[Any],
        destination: NDArray[Any],
        *,
        bgr: bool = False,
        strength: float = 1.0,
        progress: Callable[[float], bool] | None = None,
    ) -> None: ...
    def infer(self, source: NDArray[np.float32], destination: NDArray[np.float32]) -> None: ...
    def tiles_for(self, height: int, width: int) -> tuple[int, int, int, int]: ...
    def memory_for(self, height: int, width: int) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def last_times(self) -> dict[str, float]: ...
    @property
    def last_layer_times(self) -> list[float]: ...


class EngineCore(Protocol):
    """A loaded plan: what `_core.Engine` is. `EngineInfo` says what the properties mean."""

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
    def receptive_field(self) -> Pair: ...
    @property
    def halo(self) -> int: ...
    @property
    def parameters(self) -> int: ...
    @property
    def macs_per_pixel(self) -> float: ...
    @property
    def channels(self) -> Pair: ...
    @property
    def packed_bytes(self) -> int: ...
    def layers(self) -> list[dict[str, Any]]: ...
    def save(self, path: str) -> None: ...


class RunnerMaker(Protocol):
    """An engine core that is not the compiled one makes its runners itself."""

    def runner(
        self, *, threads: int, memory: int, ensemble: int, tiles: str, tile: Pair, halo: int
    ) -> Runner: ...


def make_runner(
    core: EngineCore,
    *,
    threads: int = 0,
    memory: int = 0,
    ensemble: int = 0,
    tiles: str = "none",
    tile: Pair = (0, 0),
    halo: int = -1,
) -> Runner:
    """A runner of an engine core; options as `_core.Deblurrer` takes them."""
    if isinstance(core, _core.Engine):
        return _core.Deblurrer(
            core, threads=threads, memory=memory, ensemble=ensemble, tiles=tiles, tile=tile, halo=halo
        )
    maker: RunnerMaker = core  # type: ignore[assignment]
    return maker.runner(threads=threads, memory=memory, ensemble=ensemble, tiles=tiles, tile=tile, halo=halo)
