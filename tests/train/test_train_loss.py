"""The losses: the paper's to the letter, and the mean PSNR."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")

from train.loss import DECIBEL_WEIGHT, LOSSES, decibel_loss, multi_scale_loss, pyramid, spectrum_l1  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("size", [(4, 4), (6, 9), (5, 8), (1, 1)])
def test_half_a_spectrum_tells_what_the_full_one_does(size: tuple[int, int]) -> None:
    difference = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    full = torch.view_as_real(torch.fft.fft2(difference)).abs().mean()
    torch.testing.assert_close(spectrum_l1(difference), full)


def test_loss_is_zero_on_target_and_weighs_every_level() -> None:
    target = torch.rand(1, 3, 16, 16)
    levels = pyramid(target)
    assert [tuple(x.shape[2:]) for x in levels] == [(4, 4), (8, 8), (16, 16)]
    assert float(multi_scale_loss(levels, target)) == 0.0
    for i in range(3):
        off = [x + 0.1 if j == i else x for j, x in enumerate(levels)]
        side = levels[i].shape[-1]
        # a constant error is one frequency, 0.1 * side^2 high, among side^2 complex ones
        spectrum = 0.1 * side**2 / (2 * side**2)
        assert float(multi_scale_loss(off, target)) == pytest.approx(0.1 + 0.1 * spectrum, rel=1e-3)


def test_both_losses_together_count_the_rim() -> None:
    target = torch.rand(2, 3, 32, 32)
    levels = [level + 0.1 * torch.rand_like(level) for level in pyramid(target)]
    wanted = multi_scale_loss(levels, target)
    wanted = wanted + DECIBEL_WEIGHT * decibel_loss(levels, target, rim=0, floor=1e-5)
    torch.testing.assert_close(LOSSES["paper+decibel"](levels, target), wanted)
    worse = [level.clone() for level in levels]
    worse[2][:, :, :, 0] += 0.5
    assert LOSSES["paper+decibel"](worse, target) > wanted


def test_decibels_are_of_every_image_alone_and_leave_the_rim_out() -> None:
    target = torch.zeros(2, 3, 32, 32)
    quiet, loud = torch.full_like(target, 0.01), torch.full_like(target, 0.1)
    levels = pyramid(torch.stack([quiet[0], loud[0]]))
    wanted = torch.log(torch.tensor([1e-4, 1e-2]) + 2e-5).mean() * 1.2
    torch.testing.assert_close(decibel_loss(levels, target), wanted)
    rim = [x.clone() for x in pyramid(target)]
    rim[2][..., :8] = 1.0
    torch.testing.assert_close(decibel_loss(rim, target), decibel_loss(pyramid(target), target))
