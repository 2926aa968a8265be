"""One network under training: its optimizer, loss, precision, averaged weights, and the update that a batch
makes."""

from __future__ import annotations

import resource
import sys
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from mimo_rt import network
from train.distributed import Group
from train.loss import LOSSES
from train.model import MIMOUNet
from train.optim import make_optimizer
from train.recipe import Recipe, RecipeError

_AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Average:
    """Exponential average of a network's weights, with a short memory at the start."""

    def __init__(self, net: MIMOUNet, decay: float) -> None:
        self.net = deepcopy(net).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, net: MIMOUNet, step: int) -> None:
        """Take in the weights after step ``step`` (from 1)."""
        keep = min(self.decay, (1.0 + step) / (10.0 + step))
        for mean, new in zip(self.net.parameters(), net.parameters(), strict=True):
            mean.lerp_(new, 1.0 - keep)


class Trainer:
    """Makes updates. The process group's gradients are those of one process with the joint batch."""

    def __init__(self, recipe: Recipe, net: MIMOUNet, group: Group) -> None:
        self.recipe = recipe
        self.group = group
        self.net = net.to(group.device).train()
        if recipe.precision != "fp32":  # what tensor cores and oneDNN's bf16 kernels work in
            self.net = self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = Average(self.net, recipe.ema) if recipe.ema else None
        self.optimizer = make_optimizer(
            self.net, recipe.optimizer, recipe.rate, recipe.rate_rest, recipe.momentum, recipe.decay
        )
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=recipe.precision == "fp16")
        self.skipped = 0
        self._parallel: nn.Module = self.net
        if group.world > 1:
            ids = [group.device.index] if group.device.type == "cuda" else None
            self._parallel = nn.parallel.DistributedDataParallel(self.net, device_ids=ids)

    def close(self) -> None:
        """Let go of the process group, which lives as long as the wrapper that holds it."""
        self._parallel = self.net

    @property
    def result(self) -> MIMOUNet:
        """The network that is measured and kept: the averaged one where the recipe averages."""
        return self.net if self.average is None else self.average.net

    def update(
        self, step: int, given: Tensor, wanted: Tensor, weight: float, factor: float
    ) -> tuple[Tensor, Tensor]:
        """One update at ``factor`` times the recipe's rates; returns the loss and the output at level 1.

        step: counted from 0. given, wanted: float32 (N, 3, H, W), this process's part of the joint batch;
        weight: what it counts for (see `train.data.Batch`).
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        # Dropout draws from here; so a step draws the same however the run came to it.
        torch.manual_seed((self.recipe.seed * 1_000_003 + step) * 4099 + self.group.rank)
        half = _AUTOCAST.get(self.recipe.precision)
        with torch.autocast(self.group.device.type, half or torch.bfloat16, enabled=half is not None):
            if half is not None:
                given = given.contiguous(memory_format=torch.channels_last)
            outputs = self._parallel(given)
        outputs = [output.float() for output in outputs]
        loss = LOSSES[self.recipe.loss](outputs, wanted) * weight
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        limit = self.recipe.clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), limit)
        if self.scaler.is_enabled():
            before = self.scaler.get_scale()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            made = self.scaler.get_scale() >= before
        else:
            made = bool(torch.isfinite(norm))
            if made:
                self.optimizer.step()
        if not made:
            self.skipped += 1
        elif self.average is not None:
            self.average.update(self.net, step + 1)
        return loss.detach(), outputs[2].detach()

    def state(self) -> dict[str, Any]:
        """All that `load` needs to go on as if nothing had happened."""
        state = {
            "model": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "skipped": self.skipped,
        }
        return state | ({} if self.average is None else {"ema": self.average.net.state_dict()})

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; the rates are the recipe's, which may have changed since."""
        self.net.load_state_dict(state["model"])
        if self.average is not None:
            self.average.net.load_state_dict(state.get("ema", state["model"]))
        names = ["base_lr", "momentum", "decay"]
        own = [{k: g[k] for k in names if k in g} for g in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, kept in zip(self.optimizer.param_groups, own, strict=True):
            group.update(kept)
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.skipped = int(state["skipped"])

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Take weights alone. Those of the outputs at 1/2 and 1/4, which an export lacks, and of what joins
        scales, which a network of fewer lacks, stay as they are."""
        shape = network.shape_of({name: value.numpy() for name, value in weights.items()})
        wanted = self.net.shape
        # One of several scales begins as one of fewer, on all alike.
        if (shape.width, shape.blocks) != (wanted.width, wanted.blocks) or shape.scales > wanted.scales:
            raise RecipeError(
                f"the weights to start from have width {shape.width}, {shape.blocks} blocks and "
                f"{shape.scales} scales, the recipe's network width {wanted.width}, {wanted.blocks} and "
                f"{wanted.scales}; preset=from-weights takes theirs"
            )
        kept = ("ConvsOut.", "blend.", "hint.")
        own = {name: value for name, value in self.net.state_dict().items() if name.startswith(kept)}
        self.net.load_state_dict(own | weights)
        if self.average is not None:
            self.average.net.load_state_dict(self.net.state_dict())


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given: before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that tensors took on a GPU, or the most that this process took of the CPU's memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
