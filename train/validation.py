"""What a network is worth while it trains: mean gain on small fixed sets, and PSNR on the pairs held out.

PSNR follows the reference protocol: clipped to [0, 1], no rounding, mean of the figures of single images.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from train import holdout
from train.model import MIMOUNet
from train.sources import Material, holdout_sets

GAINS = ("mild", "heavy", "long", "gopro", "reds")
SELECTING = ("psnr", "mild", "heavy", "long", "reds")
"""Figures that choose the best checkpoint: never one of a test split, as the GoPro subset is."""


class Validation:
    """Measures a network on what `Material` holds out.

    pairs: the mean PSNR "psnr" and the input's own "blurred" on the validation pairs; ``whole``: whole
    images, else the middle 256 x 256 of each. The sets of `holdout_sets`: the gain in dB, for sharp
    photographs the PSNR.
    """

    COLUMNS = ("psnr", "blurred", *GAINS, "sharp")

    def __init__(self, material: Material, count: int = 32, size: int = 128, *, whole: bool = False) -> None:
        self.pairs = material.validation
        self.size = None if whole else 256
        self.sets = holdout_sets(material, count, size)

    def some(self, count: int = 8) -> list[Tensor]:
        """A few inputs, of the first set that there is."""
        if self.sets:
            return [given for given, _ in next(iter(self.sets.values()))[:count]]
        return [given for given, _ in holdout.real(self.pairs[:count], 256)]

    @torch.no_grad()
    def measure(self, net: MIMOUNet) -> dict[str, float]:
        """Mean over each set's images; sets that are absent are left out."""
        device = next(net.parameters()).device
        was_training = net.training
        net.eval()
        result = {}
        if self.pairs:
            images = (holdout.real([pair], self.size)[0] for pair in self.pairs)
            result["blurred"], result["psnr"] = _means(net, images, device)
        for name, held in self.sets.items():
            before, after = _means(net, held, device)
            result[name] = after if name == "sharp" else after - before
        net.train(was_training)
        return result


def _means(
    net: MIMOUNet, images: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> tuple[float, float]:
    """Mean PSNR of the inputs and of the outputs. One that is infinite counts as 100 dB."""
    figures = []
    for given, wanted in images:
        output = net(given[None].to(device))[2][0].cpu()
        figures.append([min(holdout.psnr(x, wanted), holdout.LARGEST_PSNR) for x in (given, output)])
    before, after = np.mean(figures, axis=0)
    return float(before), float(after)


def score(figures: dict[str, float]) -> float | None:
    """What the best checkpoint is chosen by: the mean of the figures that may choose; None where there are
    none."""
    chosen = [figures[name] for name in SELECTING if name in figures]
    return float(np.mean(chosen)) if chosen else None


def batch_gain(output: Tensor, given: Tensor, wanted: Tensor) -> float:
    """Mean gain in dB over the pairs (N, 3, H, W) whose input is not the target; NaN where there is none."""
    before = (given - wanted).square().mean((1, 2, 3))
    after = (output.clamp(0.0, 1.0) - wanted).square().mean((1, 2, 3))
    told = before > 0
    return float(10.0 * torch.log10(before[told] / after[told].clamp_min(1e-10)).mean())
