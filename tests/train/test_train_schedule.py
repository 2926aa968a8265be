"""Clocks and rates."""

from __future__ import annotations

from datetime import datetime

import pytest

pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")
pytest.importorskip("yaml", reason="needs PyYAML (extra `train`)")

from train.recipe import Recipe
from train.schedule import Clock, Schedule, parse_until

pytestmark = pytest.mark.torch


def test_clock_counts_active_time_and_an_end_by_the_wall() -> None:
    clock = Clock(10.0, None)
    clock.tick(20.0)
    clock.tick(5000.0)  # a pause counts as one long step
    assert clock.progress(0.0) == pytest.approx(50.0 / 600.0)
    clock = Clock(None, 1000.0)
    assert clock.progress(400.0) == 0.0
    clock.tick(20.0)
    assert clock.progress(980.0) == pytest.approx(0.5)
    assert clock.progress(1000.0) == clock.progress(2000.0) == 1.0
    both = Clock(10.0, 100.0)
    both.tick(25.0)
    assert both.progress(75.0) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="minutes"):
        Clock(None, None)


def test_rate_is_constant_and_then_falls_to_zero() -> None:
    schedule = Schedule(Recipe(schedule="linear", constant=0.6, warmup=0), 1, None)
    factors = [schedule.factor(9, p) for p in (0.0, 0.6, 0.8, 1.0)]
    assert factors == pytest.approx([1.0, 1.0, 0.5, 0.0])
    warm = Schedule(Recipe(schedule="constant", warmup=4), 1, None)
    assert [warm.factor(s, 0.9) for s in (0, 1, 3, 4)] == [0.25, 0.5, 1.0, 1.0]


def test_until_is_the_next_such_time() -> None:
    now = datetime(2026, 3, 4, 17, 30)
    assert datetime.fromtimestamp(parse_until("19:15", now)) == datetime(2026, 3, 4, 19, 15)
    assert datetime.fromtimestamp(parse_until("06:00", now)) == datetime(2026, 3, 5, 6, 0)
