"""The loss of the MIMO-UNet paper: L1 of images and of their Fourier transforms, at three levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

FREQUENCY_WEIGHT = 0.1


def pyramid(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``x`` (N, C, H, W) at levels 1/4, 1/2, 1, bilinear as in the paper: 2x2 means."""
    half = F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
    quarter = F.interpolate(x, scale_factor=0.25, mode="bilinear", align_corners=False)
    return quarter, half, x


def multi_scale_loss(
    outputs: Sequence[Tensor], target: Tensor, frequency_weight: float = FREQUENCY_WEIGHT
) -> Tensor:
    """Sum over the levels of the mean absolute error and ``frequency_weight`` times that of the 2-D FFTs.

    outputs: the network's three images, levels 1/4, 1/2, 1. target: the sharp image at level 1.
    """
    total = target.new_zeros(())
    for output, wanted in zip(outputs, pyramid(target), strict=True):
        difference = output - wanted
        total = total + difference.abs().mean()
        spectrum = torch.view_as_real(torch.fft.rfft2(difference))
        total = total + frequency_weight * spectrum.abs().mean()
    return total
