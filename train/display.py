"""What a training run shows: rows of the curve on standard output, and on a terminal a bar with the time
left."""

from __future__ import annotations

import sys
from datetime import datetime
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Display:
    """Shows one run; silent where ``shown`` is false. A context manager."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if shown and sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:.1f} %"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("training", total=1.0, left="")

    def step(self, step: int, total: int | None, progress: float, active: float, loss: float) -> None:
        """After an update. progress: the share of the run that is over; active: seconds of training so
        far."""
        if self._bar is None:
            return
        left = active * (1.0 - progress) / progress if progress > 0 else None
        told = f"{_span(left)} left" if left is not None else ""
        of = f"/{total}" if total is not None else ""
        self._bar.update(
            self._task, completed=progress, description=f"step {step}{of}, loss {loss:.4f}", left=told
        )

    def row(self, row: dict[str, Any]) -> None:
        """A new row of the curve."""
        if self._shown:
            told = " ".join(f"{name} {value}" for name, value in row.items() if value != "")
            if self._bar is not None and sys.stdout.isatty():
                self._bar.console.print(f"{datetime.now():%H:%M:%S} {told}", highlight=False)
            else:
                print(f"{datetime.now():%H:%M:%S} {told}", flush=True)

    def __enter__(self) -> Display:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _span(seconds: float) -> str:
    """Hours and minutes, days from two on."""
    minutes = round(seconds / 60.0)
    if minutes >= 2 * 24 * 60:
        return f"{minutes / (24 * 60):.1f} days"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
