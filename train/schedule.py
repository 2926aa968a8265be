"""How long a run is and how its rate falls: by steps and epochs, or by the clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from train.recipe import Recipe

LONGEST_STEP = 30.0
"""Seconds of a step that count as training at most by the clock: a longer one was a pause."""


class Clock:
    """Share of the run that is over: active seconds against a budget and an end by the wall clock.

    Active time is what was spent training: a process that was stopped or starved keeps its budget.
    """

    def __init__(self, minutes: float | None, until: float | None, active: float = 0.0) -> None:
        if minutes is None and until is None:
            raise ValueError("a run by the clock needs --minutes or --until")
        self.minutes = minutes
        self.until = until
        self.active = active

    def tick(self, seconds: float) -> None:
        """Count a step that took ``seconds`` by the wall clock."""
        self.active += min(seconds, LONGEST_STEP)

    def progress(self, now: float) -> float:
        """0 at the start, 1 at the end."""
        left = [self.minutes * 60.0 - self.active] if self.minutes is not None else []
        if self.until is not None:
            left.append(self.until - now)
        remaining = max(0.0, min(left))
        return 1.0 if remaining == 0.0 else self.active / (self.active + remaining)


def parse_until(text: str, now: datetime) -> float:
    """``HH:MM`` as a time stamp: the next time that the local clock shows it."""
    at = datetime.strptime(text, "%H:%M")
    end = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    return (end if end > now else end + timedelta(days=1)).timestamp()


@dataclass(frozen=True)
class Schedule:
    """The factor on the recipe's rates at any step of a run of ``total`` steps (None: by a clock alone)."""

    recipe: Recipe
    steps_per_epoch: int
    total: int | None

    def factor(self, step: int, progress: float) -> float:
        """step: from 0. progress: the share of the run that is over."""
        recipe = self.recipe
        warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
        if recipe.schedule == "halve":
            return warm * float(0.5 ** (step // self.steps_per_epoch // recipe.halve_every))
        if recipe.schedule == "constant" or progress <= recipe.constant:
            return warm
        return warm * max(0.0, (1.0 - progress) / (1.0 - recipe.constant))
