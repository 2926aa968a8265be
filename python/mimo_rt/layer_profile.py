"""What each layer of a model costs at one image size: time, share, arithmetic and memory rates.

Rates count the work of a direct convolution and every value read or written once, whatever the kernel really
does: a Winograd kernel reaches more GFLOP/s than the processor has, and that is its point.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimo_rt.deblurrer import Deblurrer

COLUMNS = ("layer", "tactic", "ms", "share", "GFLOP/s", "GB/s")


@dataclass(frozen=True)
class LayerCost:
    """One layer. seconds: mean of a run; share: of all layers' time, 0 to 1."""

    name: str
    tactic: str
    seconds: float
    share: float
    gflops: float
    gigabytes: float

    def cells(self) -> list[str]:
        """The row of a table with `COLUMNS`."""
        return [
            self.name,
            self.tactic,
            f"{1000 * self.seconds:.3f}",
            f"{100 * self.share:.2f} %",
            f"{self.gflops:.1f}",
            f"{self.gigabytes:.2f}",
        ]


def layer_costs(
    layers: Sequence[dict[str, Any]], seconds: Sequence[float], height: int, width: int
) -> list[LayerCost]:
    """The costs of ``layers`` (as `Engine.layers` lists them) that took ``seconds`` each for an image of
    ``height`` x ``width``, padding counted as part of it."""
    total = sum(seconds) or 1.0
    pixels = height * width
    costs = []
    for layer, time in zip(layers, seconds, strict=True):
        divisor = max(time, 1e-9) * 1e9
        costs.append(
            LayerCost(
                name=str(layer["name"]),
                tactic=f"{layer['kernel']} {layer['block']}" if layer["block"] > 1 else str(layer["kernel"]),
                seconds=time,
                share=time / total,
                gflops=2.0 * layer["macs_per_pixel"] * pixels / divisor,
                gigabytes=layer["bytes_per_pixel"] * pixels / divisor,
            )
        )
    return costs


def device_rows(times: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """`Deblurrer.device_profile` as trtexec exports it: the number of runs, and for each layer its name, the
    sum, mean and median of its milliseconds, and its percentage of all. Empty where nothing is known."""
    if not times:
        return []
    total = sum(map(sum, times.values())) or 1.0
    rows: list[dict[str, Any]] = [{"count": max(map(len, times.values()))}]
    for name, runs in times.items():
        rows.append(
            {
                "name": name,
                "timeMs": sum(runs),
                "averageMs": statistics.fmean(runs),
                "medianMs": statistics.median(runs),
                "percentage": 100.0 * sum(runs) / total,
            }
        )
    return rows


class Sum:
    """Adds up the layers' times over the runs of a Deblurrer."""

    def __init__(self, deblurrer: Deblurrer) -> None:
        self._deblurrer = deblurrer
        self._seconds: list[float] = []
        self._runs = 0

    def add_last_run(self) -> None:
        """Take in the run that has just ended."""
        last = self._deblurrer.last_layer_times
        self._seconds = [a + b for a, b in zip(self._seconds, last, strict=True)] if self._seconds else last
        self._runs += 1

    def costs(self, height: int, width: int) -> list[LayerCost]:
        """The mean costs at this image size; at least one run must have been taken in."""
        means = [s / self._runs for s in self._seconds]
        return layer_costs(self._deblurrer.engine.layers(), means, height, width)
