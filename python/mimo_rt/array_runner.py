"""Images through a network that takes whole float32 arrays of a range of sizes: what runs a plan on a GPU
through its Python API.

Padding, tiles, grey, alpha, channel order, strength and rounding are those of the CPU engine
(`cpp/src/api/pixels.cpp`), in NumPy; the tests hold one against the other.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mimo_rt import _core
from mimo_rt.core import Pair
from mimo_rt.device_arrays import Memory, of_host
from mimo_rt.errors import BackendError, ImageError, MemoryLimitError, make
from mimo_rt.padding import Float
from mimo_rt.scale import top
from mimo_rt.tile_choice import choose_tile

CHANNELS = 3
"""Of a colour image, and of what a network takes and gives."""

TILES_AT_ONCE = 4
"""Given to the network in one call, which may overlap their copies and computation; two batches where those
are more."""

_LUMA = (np.float32(0.299), np.float32(0.587), np.float32(0.114))  # Rec. 601


@dataclass(frozen=True)
class ImageRun:
    """One image through a network that takes pixels itself. tiles: (top, left, first kept row, its end, first
    kept column, its end) of each; fed: size of a tile as the network is given. progress is not told of images
    on a device; stream is the caller's."""

    source: Memory
    destination: Memory
    bgr: bool
    strength: float
    fed: Pair
    tiles: list[tuple[int, int, int, int, int, int]]
    progress: Callable[[float], bool] | None = None
    on_device: bool = False
    stream: int = 0


class Network(Protocol):
    """A network on some device. `smallest` and `largest`: (height, width) that it takes, multiples of the
    stride; the same where it is of one size. `batch`: images that it computes at once."""

    stride: int
    batch: int
    halo: int
    smallest: Pair
    largest: Pair

    @property
    def device_times(self) -> dict[str, float]:
        """Milliseconds of the last call by the device's own clock: to_device, compute, to_host, enqueue.
        Empty where it does not tell."""

    def __call__(self, x: Float) -> Float:
        """(N, C, H, W) to (N, C', H, W), float32, contiguous."""

    def run_image(self, run: ImageRun) -> None:
        """The whole way of an image on the device. Only where `takes_pixels`."""

    @property
    def takes_pixels(self) -> bool:
        """Whether it has `run_image`; else pixels become arrays on the host."""

    def memory_for(self, height: int, width: int) -> int:
        """Bytes that a run of tiles of this size takes on the device, weights included."""

    def profile(self, height: int, width: int, runs: int) -> dict[str, list[float]]:
        """Milliseconds of every layer in every run on one image of that size, by name; empty where the
        library does not tell."""

    def layers(self) -> str:
        """The library's own description of the plan's layers, JSON; empty where it does not tell."""


NON_FINITE = "backend.non_finite"
DEVICE_FULL = "memory.device"


class ArrayRunner:
    """A `mimo_rt.core.Runner` over a `Network`."""

    def __init__(
        self,
        network: Network,
        *,
        memory: int,
        ensemble: int,
        tiles: str,
        tile: Pair,
        halo: int,
        why_non_finite: Callable[[], str],
    ) -> None:
        """why_non_finite: a sentence for the error where the network gives NaN or infinity."""
        if ensemble not in (0, 4, 8):
            raise make(ImageError, "image.ensemble", f"ensemble must be 0, 4 or 8, not {ensemble}")
        self._network = network
        self._memory = memory
        self._ensemble = ensemble
        self._fixed = tile if tiles == "fixed" else None
        self._room = 0  # bytes for tiles, once the device had less than the largest ones need
        self._halo = network.halo if halo < 0 else halo
        self._why_non_finite = why_non_finite
        self._lock = threading.Lock()
        self._times = {"total": 0.0, "input": 0.0, "compute": 0.0, "output": 0.0}
        self._device_times: dict[str, float] = {}

    @property
    def threads(self) -> int:
        """Of the host; the work is the device's."""
        return 1

    @property
    def last_times(self) -> dict[str, float]:
        """Seconds of the last run: total, input, compute (copies to the device and back included), output."""
        return dict(self._times)

    @property
    def last_device_times(self) -> dict[str, float]:
        """Milliseconds of the last run by the device's own clock, as `Network.device_times` has them."""
        return dict(self._device_times)

    @property
    def last_layer_times(self) -> list[float]:
        """Not known."""
        return []

    def memory_for(self, height: int, width: int, pixel_bytes: int = CHANNELS) -> int:
        """Bytes on the device. pixel_bytes: of a pixel of the image; 0 where it lies there already."""
        tile = self._plan(height, width, pixel_bytes)[0]
        needed = self._needed(tile, height * width * pixel_bytes)
        if self._memory and needed > self._memory:
            raise make(
                MemoryLimitError,
                "memory.bound",
                f"an image of {width}x{height} in tiles of {tile[1]}x{tile[0]} needs {needed >> 20} MiB; "
                f"the bound is {self._memory >> 20} MiB. Set smaller tiles",
            )
        return needed

    def _needed(self, tile: Pair, image_bytes: int) -> int:
        needed = self._network.memory_for(*self._fed(tile))
        if self._network.takes_pixels and not self._ensemble:
            needed += 2 * image_bytes  # the whole image, in and out
        return needed

    def tiles_for(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Height and width of a tile, halo, number of tiles."""
        tile, rows, columns = self._plan(height, width)
        count = len(rows) * len(columns)
        return (
            *tile,
            0 if count == 1 else -(-self._halo // self._network.stride) * self._network.stride,
            count,
        )

    def run(
        self,
        source: NDArray[Any],
        destination: NDArray[Any],
        *,
        bgr: bool = False,
        strength: float = 1.0,
        progress: Callable[[float], bool] | None = None,
    ) -> None:
        """As `_core.Deblurrer.run`."""
        height, width, channels = source.shape

        def work() -> None:
            self._run(source, destination, bgr, np.float32(strength), progress)

        with self._lock, self._explained():
            self._in_fitting_tiles(height, width, channels * source.dtype.itemsize, work)

    @contextlib.contextmanager
    def _explained(self, besides: str = "") -> Iterator[None]:
        """Says why a result is not finite. besides: another reason that there may be."""
        try:
            yield
        except BackendError as error:
            if error.code != NON_FINITE:
                raise
            raise make(BackendError, NON_FINITE, f"{error}: {self._why_non_finite()}{besides}") from None

    def _in_fitting_tiles(self, height: int, width: int, pixel_bytes: int, work: Callable[[], None]) -> None:
        """Again in smaller tiles where the device has too little memory, unless the caller set the tiles."""
        while True:
            try:
                return work()
            except MemoryLimitError as error:
                if error.code != DEVICE_FULL or not self._shrink(height, width, pixel_bytes):
                    raise

    def _shrink(self, height: int, width: int, pixel_bytes: int) -> bool:
        """Bounds the memory of tiles, of this image and later ones, so that this one's become smaller. False
        where they cannot."""
        if self._fixed is not None:
            return False
        before = self._room
        tile = self._plan(height, width, pixel_bytes)[0]
        self._room = self._network.memory_for(*self._fed(tile)) * 3 // 4
        try:
            self._plan(height, width, pixel_bytes)
        except MemoryLimitError:
            self._room = before
            return False
        return True

    def _run(
        self,
        source: NDArray[Any],
        destination: NDArray[Any],
        bgr: bool,
        strength: np.float32,
        progress: Callable[[float], bool] | None,
    ) -> None:
        begin = time.perf_counter()
        self._times = dict.fromkeys(self._times, 0.0)
        self._device_times = {}
        height, width, channels = source.shape
        self.memory_for(height, width, channels * source.dtype.itemsize)
        if source.dtype.kind == "f" and not np.isfinite(source).all():
            raise make(
                ImageError,
                "image.non_finite",
                "the image holds NaN or infinite pixels; replace them before deblurring",
            )
        if strength == 0.0:
            destination[...] = source
            return
        if self._network.takes_pixels and not self._ensemble:
            self._run_pixels(source, destination, bgr, strength, progress)
            self._times["total"] = self._times["compute"] = time.perf_counter() - begin
            return
        image = _to_unit(source, bgr)
        self._times["input"] = time.perf_counter() - begin
        passes = max(1, self._ensemble)
        total: Float | None = None
        for kind in reversed(range(passes)):
            turned = np.rot90(image[:, ::-1] if kind >= 4 else image, kind % 4)
            done = passes - 1 - kind
            result = np.rot90(
                self._pass(turned, lambda part, done=done: _told(progress, (done + part) / passes)),  # type: ignore[misc]
                -(kind % 4),
            )
            result = result[:, ::-1] if kind >= 4 else result
            total = result if total is None else total + result
        assert total is not None
        start = time.perf_counter()
        _store(total / np.float32(passes) if passes > 1 else total, source, destination, bgr, strength)
        self._times["output"] = time.perf_counter() - start
        self._times["total"] = time.perf_counter() - begin

    def _run_pixels(
        self,
        source: NDArray[Any],
        destination: NDArray[Any],
        bgr: bool,
        strength: np.float32,
        progress: Callable[[float], bool] | None,
    ) -> None:
        given = np.ascontiguousarray(source)
        direct = destination.flags.c_contiguous
        result = destination if direct else np.empty(destination.shape, destination.dtype)
        size = source.shape[2] * source.dtype.itemsize
        self._network.run_image(
            self._image_run(of_host(given), of_host(result), bgr, float(strength), size, progress=progress)
        )
        self._device_times = dict(self._network.device_times)
        if not direct:
            destination[...] = result
        _told(progress, 1.0)

    def run_on_device(
        self, source: Memory, destination: Memory, *, bgr: bool, strength: float, stream: int
    ) -> None:
        """Pixels in the device's memory. The work waits for what `stream` was given, and ends here."""
        if not self._network.takes_pixels or self._ensemble:
            raise make(
                ImageError,
                "image.device",
                "arrays on a GPU are taken by backend tensorrt, and without ensemble; copy them to the host",
            )
        height, width, _ = source.shape

        def work() -> None:
            self.memory_for(height, width, 0)
            self._network.run_image(
                self._image_run(source, destination, bgr, strength, 0, on_device=True, stream=stream)
            )

        besides = ", or the image holds NaN or infinite pixels" if source.dtype == "float32" else ""
        with self._lock, self._explained(besides):
            self._in_fitting_tiles(height, width, 0, work)

    def _image_run(
        self,
        source: Memory,
        destination: Memory,
        bgr: bool,
        strength: float,
        pixel_bytes: int,
        **options: Any,
    ) -> ImageRun:
        tile, rows, columns = self._plan(*source.shape[:2], pixel_bytes)
        tiles = [
            (y, x, first_row, end_row, first_column, end_column)
            for y, first_row, end_row in rows
            for x, first_column, end_column in columns
        ]
        return ImageRun(source, destination, bgr, strength, self._fed(tile), tiles, **options)

    def profile(self, height: int, width: int, runs: int) -> dict[str, list[float]]:
        """Milliseconds of every layer of the network in every run on one tile of an image of that size."""
        with self._lock:
            return self._network.profile(*self._fed(self._plan(height, width)[0]), runs)

    def layers(self) -> str:
        """The library's own description of the plan's layers, JSON."""
        return self._network.layers()

    def infer(self, source: NDArray[np.float32], destination: NDArray[np.float32]) -> None:
        """(C, H, W) float32; H and W must lie between the network's smallest and largest."""
        self.infer_all(source[None], destination[None])

    def infer_all(self, sources: NDArray[np.float32], destinations: NDArray[np.float32]) -> None:
        """Likewise of (N, C, H, W)."""
        height, width = sources.shape[2:]
        low, high = self._network.smallest, self._network.largest
        if not (low[0] <= height <= high[0] and low[1] <= width <= high[1]):
            raise make(
                ImageError,
                "image.size",
                f"the plan takes {low[1]}x{low[0]} to {high[1]}x{high[0]}, not {width}x{height}; run "
                "tiles and pads by itself",
            )
        with self._lock:
            for first in range(0, len(sources), self._at_once):
                part = slice(first, first + self._at_once)
                destinations[part] = self._network(np.ascontiguousarray(sources[part]))

    @property
    def _at_once(self) -> int:
        return max(TILES_AT_ONCE, 2 * self._network.batch)

    def _plan(
        self, height: int, width: int, pixel_bytes: int = CHANNELS
    ) -> tuple[Pair, list[tuple[int, int, int]], list[tuple[int, int, int]]]:
        """A tile's size, and the places of tiles in rows and columns."""
        stride, most = self._network.stride, self._network.largest
        padded = (-(-height // stride) * stride, -(-width // stride) * stride)
        self._check_room_for_halos(padded)
        tile = self._fixed or most
        if self._fixed is None and (self._memory or self._room):
            tile = self._chosen(padded, height, width, pixel_bytes)
        wanted = (min(tile[0], most[0]), min(tile[1], most[1]))
        return _core.plan_tiles(padded, wanted, self._halo, stride)

    def _check_room_for_halos(self, padded: Pair) -> None:
        stride, most = self._network.stride, self._network.largest
        halo = -(-self._halo // stride) * stride
        least = max(2 * halo + stride, 2 * stride)
        if any(whole > side and side < least for whole, side in zip(padded, most, strict=True)):
            raise make(
                ImageError,
                "image.tile",
                f"the plan takes {most[1]}x{most[0]} at most, and two halos of {halo} pixels leave nothing "
                f"of such a tile; build it with a tile of {least} pixels or more, or give a smaller halo",
            )

    def _chosen(self, padded: Pair, height: int, width: int, pixel_bytes: int) -> Pair:
        """The tile for which the least is computed twice, among those that memory allows."""
        most = self._network.largest
        image_bytes = height * width * pixel_bytes

        def fits(tile: Pair) -> bool:
            if tile[0] > most[0] or tile[1] > most[1]:
                return False
            if self._room and self._network.memory_for(*self._fed(tile)) > self._room:
                return False
            return not self._memory or self._needed(tile, image_bytes) <= self._memory

        tile = choose_tile(padded, self._halo, self._network.stride, fits)
        if tile is None:
            raise make(
                MemoryLimitError,
                "memory.bound",
                f"no tile of an image of {width}x{height} fits; the bound is {self._memory >> 20} MiB. Give "
                "more memory, or build a plan of smaller tiles",
            )
        return tile

    def _fed(self, tile: Pair) -> Pair:
        """The size that the network is given for a tile: never less than its smallest."""
        return max(tile[0], self._network.smallest[0]), max(tile[1], self._network.smallest[1])

    def _pass(self, image: Float, told: Callable[[float], None]) -> Float:
        height, width = image.shape[:2]
        tile, rows, columns = self._plan(height, width)
        fed = self._fed(tile)
        result = np.empty((height, width, 3), np.float32)
        places = [(row, column) for row in rows for column in columns]
        for first in range(0, len(places), self._at_once):
            chunk = places[first : first + self._at_once]
            start = time.perf_counter()
            planes = np.empty((len(chunk), 3, *fed), np.float32)
            for plane, ((y, _, _), (x, _, _)) in zip(planes, chunk, strict=True):
                plane[...] = _padded(image[y : y + tile[0], x : x + tile[1]], fed).transpose(2, 0, 1)
            ready = time.perf_counter()
            outputs = self._network(planes)
            self._times["input"] += ready - start
            self._times["compute"] += time.perf_counter() - ready
            for name, value in self._network.device_times.items():
                self._device_times[name] = self._device_times.get(name, 0.0) + value
            for output, ((y, top_row, end_row), (x, left, right)) in zip(outputs, chunk, strict=True):
                kept = output[:, top_row - y : end_row - y, left - x : right - x]
                if not np.isfinite(kept).all():
                    raise make(
                        BackendError,
                        NON_FINITE,
                        "the plan computed numbers that are not finite",
                    )
                here = result[top_row:end_row, left:right]
                here[...] = kept.transpose(1, 2, 0)[: here.shape[0], : here.shape[1]]
            told((first + len(chunk)) / len(places))
        return result


def _told(progress: Callable[[float], bool] | None, fraction: float) -> None:
    if progress is not None and not progress(fraction):
        raise make(ImageError, "image.cancelled", "the run was ended before it was done")


def _padded(image: Float, size: Pair) -> Float:
    """Grown to the right and at the bottom, as `mimo_rt.padding.pad` does it."""
    for axis in (0, 1):
        amount = size[axis] - image.shape[axis]
        if amount > 0:
            width = [(0, amount if a == axis else 0) for a in range(3)]
            image = np.pad(image, width, mode="reflect" if amount <= image.shape[axis] - 1 else "edge")
    return image


def _to_unit(source: NDArray[Any], bgr: bool) -> Float:
    """(H, W, 3) float32 in [0, 1], RGB; grey replicated, alpha left out."""
    if source.shape[2] == 1:
        colours = np.repeat(source, 3, axis=2)
    else:
        colours = source[:, :, 2::-1] if bgr else source[:, :, :3]
    unit: Float = colours.astype(np.float32) / np.float32(top(source.dtype))
    return unit


def _store(
    result: Float, source: NDArray[Any], destination: NDArray[Any], bgr: bool, strength: np.float32
) -> None:
    largest = np.float32(top(source.dtype))
    if source.shape[2] == 1:
        result = (_LUMA[0] * result[:, :, :1] + _LUMA[1] * result[:, :, 1:2]) + _LUMA[2] * result[:, :, 2:]
        colours: NDArray[Any] = source
    else:
        result = result[:, :, ::-1] if bgr else result
        colours = source[:, :, :3]
    if strength != 1.0:
        given = colours.astype(np.float32) / largest
        result = given + strength * (result - given)
    result = np.clip(result, np.float32(0), np.float32(1))
    if source.dtype.kind == "u":
        result = result * largest + np.float32(0.5)
    destination[:, :, : result.shape[2]] = result.astype(source.dtype)
    destination[:, :, result.shape[2] :] = source[:, :, result.shape[2] :]


__all__ = ["ArrayRunner", "Network"]
