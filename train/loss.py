"""The loss of the MIMO-UNet paper (L1 of images and of their Fourier transforms, at three levels), and the
mean PSNR that a small network is judged by, as a loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

FREQUENCY_WEIGHT = 0.1


def pyramid(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``x`` (N, C, H, W) at levels 1/4, 1/2, 1, bilinear as in the paper: 2x2 means."""
    half = F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
    quarter = F.interpolate(x, scale_factor=0.25, mode="bilinear", align_corners=False)
    return quarter, half, x


def spectrum_l1(difference: Tensor) -> Tensor:
    """Mean absolute value of the real and imaginary parts of the 2-D Fourier transform of (N, C, H, W), over
    the full spectrum as in the paper. One half of it mirrors the other, so only that half is computed."""
    width = difference.shape[-1]
    parts = torch.view_as_real(torch.fft.rfft2(difference)).abs().sum((-4, -3, -1))
    twice = parts.new_full((parts.shape[-1],), 2.0)
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    return (parts * twice).sum() / (2.0 * difference.numel())


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
        total = total + frequency_weight * spectrum_l1(difference)
    return total


def decibel_loss(
    outputs: Sequence[Tensor], target: Tensor, rim: int = 8, floor: float = 2e-5, side_weight: float = 0.1
) -> Tensor:
    """Mean over the images of log(mean squared error + ``floor``): PSNR but for sign, scale and the floor.

    An L1 loss hardly sees a smooth picture, where small errors cost many dB; this one weighs every picture by
    what it is judged by. ``rim``: columns and rows at the edge of the crop that do not count at level 1:
    what they are a blur of lies partly outside. ``side_weight``: of levels 1/2 and 1/4. Outputs and target as
    in `multi_scale_loss`.
    """
    total = target.new_zeros(())
    for output, wanted in zip(outputs, pyramid(target), strict=True):
        level_rim = rim * wanted.shape[-1] // target.shape[-1]
        difference = output - wanted
        if level_rim:
            difference = difference[..., level_rim:-level_rim, level_rim:-level_rim]
        weight = 1.0 if wanted.shape == target.shape else side_weight
        total = total + weight * torch.log(difference.square().mean((1, 2, 3)) + floor).mean()
    return total


DECIBEL_WEIGHT = 0.25


def paper_and_decibel_loss(outputs: Sequence[Tensor], target: Tensor) -> Tensor:
    """The paper's loss and `DECIBEL_WEIGHT` times `decibel_loss` of whole crops: the one sees long blur, the
    other smooth pictures, where the paper's lets a network do harm. Eight minutes of it after 110 of the
    paper's took held-out REDS frames from +0.89 to +1.03 dB, sharp photographs from 47.8 to 49.9."""
    decibels = decibel_loss(outputs, target, rim=0, floor=1e-5)
    return multi_scale_loss(outputs, target) + DECIBEL_WEIGHT * decibels


LOSSES: dict[str, Callable[[Sequence[Tensor], Tensor], Tensor]] = {
    "paper": multi_scale_loss,
    "decibel": decibel_loss,
    "paper+decibel": paper_and_decibel_loss,
}
"""By the name that a recipe gives: outputs at levels 1/4, 1/2, 1 and the target to a scalar, a mean over
images."""
