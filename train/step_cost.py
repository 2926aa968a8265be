"""What one training step costs on this machine: measured, for the plan that is shown before a long run."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from train.distributed import Group, join
from train.recipe import Recipe
from train.trainer import Trainer, peak_memory, synchronize


@dataclass(frozen=True)
class StepCost:
    """Median time of an update without the loader, and the most memory that it took."""

    ms_per_step: float
    peak_bytes: int
    device: str


def device_name(device: torch.device) -> str:
    """What the device calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    from mimo_rt import machine

    return machine.cpu_name()


def measure(recipe: Recipe, steps: int = 2, device: str = "auto") -> StepCost:
    """Runs ``steps`` updates of the recipe's network on random pairs, after one that is not counted."""
    group: Group = join(device)
    trainer = Trainer(recipe, recipe.network(), group)
    generator = torch.Generator().manual_seed(0)
    shape = (recipe.batch, 3, recipe.crop, recipe.crop)
    wanted = torch.rand(shape, generator=generator).to(group.device)
    given = (wanted + 0.1 * torch.rand(shape, generator=generator).to(group.device)).clamp(0.0, 1.0)
    times = []
    for step in range(steps + 1):
        begin = time.perf_counter()
        trainer.update(step, given, wanted, 1.0, 1.0)
        synchronize(group.device)
        times.append(1000.0 * (time.perf_counter() - begin))
    return StepCost(float(np.median(times[1:])), peak_memory(group.device), device_name(group.device))
