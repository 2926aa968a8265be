"""Synthesis of blur: where it stands, how long it is, what it keeps and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")

from train.blur import (  # noqa: E402
    LEAST_MARGIN,
    Shake,
    homographies,
    path_reach,
    smooth_path,
    soft_mask,
    synthesize,
    to_8bit,
)

pytestmark = pytest.mark.torch

STILL = Shake(reach=(0.0, 0.0), rotation=0.0, zoom=0.0, tilt=0.0, noise=0.0)


def picture(seed: int, size: int = 48) -> torch.Tensor:
    values = np.random.default_rng(seed).random((3, size + 2 * LEAST_MARGIN, size + 2 * LEAST_MARGIN))
    return torch.from_numpy((np.floor(values * 255.0) / 255.0).astype(np.float32))


def centre(x: torch.Tensor) -> torch.Tensor:
    return x[:, LEAST_MARGIN:-LEAST_MARGIN, LEAST_MARGIN:-LEAST_MARGIN]


def test_sharp_picture_is_the_photograph_itself() -> None:
    photo = picture(0)
    blurred, sharp = synthesize(photo, np.random.default_rng(1), Shake())
    assert torch.allclose(sharp, centre(photo), atol=1e-6)
    assert blurred.shape == sharp.shape == (3, 48, 48)
    assert float((blurred - sharp).abs().mean()) > 0.02


def test_no_shake_is_no_blur() -> None:
    photo = picture(2)
    for seed in range(4):  # both ways to average
        blurred, sharp = synthesize(photo, np.random.default_rng(seed), STILL)
        assert float((blurred - sharp).abs().max()) <= 1.0 / 255.0 + 1e-6


def test_still_layer_is_composited_alike_in_both_pictures() -> None:
    for seed in range(4):
        blurred, sharp = synthesize(picture(3), np.random.default_rng(seed), STILL, picture(4))
        assert float((blurred - sharp).abs().max()) <= 1.5 / 255.0
        assert float((sharp - centre(picture(3))).abs().mean()) > 0.01  # the layer covers something


def test_same_seed_same_pair_and_8_bit_values() -> None:
    one, two = (synthesize(picture(5), np.random.default_rng(7), Shake(), picture(6)) for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    for image in one:
        assert float(image.min()) >= 0.0
        assert float(image.max()) <= 1.0
        assert torch.equal(image, to_8bit(image))


def test_blur_stands_in_the_middle_of_the_sharp_picture() -> None:
    """The centroid of a dot stays where it is, however far the shake reaches."""
    dot = torch.zeros(3, 41 + 2 * LEAST_MARGIN, 41 + 2 * LEAST_MARGIN)
    dot[:, LEAST_MARGIN + 20, LEAST_MARGIN + 20] = 1.0
    shake = Shake(reach=(4.0, 4.0), rotation=0.0, zoom=0.0, tilt=0.0, linear=0.0, noise=0.0)
    grid = torch.arange(41.0) - 20.0
    drifts = []
    for seed in range(20):
        blurred, _ = synthesize(dot, np.random.default_rng(seed), shake)
        mass = blurred[0] / blurred[0].sum()
        drifts.append([float((mass.sum(0) * grid).sum()), float((mass.sum(1) * grid).sum())])
    assert np.abs(drifts).max() < 0.25  # rounding to 8 bits takes the rim of a faint dot away


@pytest.mark.parametrize("reach", [2.0, 7.5])
def test_path_reaches_as_far_as_asked_and_passes_through_the_identity(reach: float) -> None:
    for seed in range(20):
        h = homographies(np.random.default_rng(seed), Shake(reach=(reach, reach)), 96)
        assert path_reach(h[:, :2, 2]) == pytest.approx(reach)
        np.testing.assert_allclose(h[len(h) // 2], np.eye(3), atol=1e-12)


def test_path_is_zero_in_the_middle_and_in_the_mean() -> None:
    for seed in range(20):
        path = smooth_path(np.random.default_rng(seed), 15, 2)
        np.testing.assert_allclose(path[7], 0.0, atol=1e-12)
        np.testing.assert_allclose(path.mean(axis=0), 0.0, atol=1e-12)
        assert path_reach(path) > 0.1


def test_path_is_smooth_in_time() -> None:
    """Its steps turn slowly: second differences stay well below the first ones, unlike a random walk's."""
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(200):
        path = smooth_path(rng, 11, 2)
        steps = np.diff(path, axis=0)
        ratios.append(np.abs(np.diff(steps, axis=0)).mean() / np.abs(steps).mean())
    assert np.mean(ratios) < 0.5


def test_soft_mask_is_soft_and_covers_a_part() -> None:
    masks = [soft_mask(np.random.default_rng(seed), 96, 96) for seed in range(40)]
    assert all(float(m.min()) >= 0.0 and float(m.max()) <= 1.0 for m in masks)
    assert 0.2 < float(np.mean([float(m.mean()) for m in masks])) < 0.6
    steps = [float((m[:, 1:] - m[:, :-1]).abs().max()) for m in masks]
    assert float(np.median(steps)) < 0.5  # a rim of a few pixels; a hard one would step by 1


def test_long_shakes_have_the_margin_they_need() -> None:
    long = Shake(reach=(20.0, 24.0), poses=31, rotation=0.0, zoom=0.0, tilt=0.0, noise=0.0, linear=0.0)
    assert Shake().margin == LEAST_MARGIN
    assert long.margin == 40
    side = 101 + 2 * long.margin
    dot = torch.zeros(3, side, side)
    dot[:, side // 2, side // 2] = 1.0
    blurred, sharp = synthesize(dot, np.random.default_rng(0), long)
    assert blurred.shape == sharp.shape == (3, 101, 101)
    ys, xs = torch.nonzero(blurred[0] > 0.5 / 255.0, as_tuple=True)
    assert 15.0 <= float(torch.hypot(ys - 50.0, xs - 50.0).max()) <= 27.0


def test_bright_lights_clip_in_both_pictures() -> None:
    bright = Shake(reach=(3.0, 3.0), bright=1.0, noise=0.0, linear=1.0)
    photo = 0.5 + 0.5 * picture(8)
    blurred, sharp = synthesize(photo, np.random.default_rng(2), bright)
    plain_blurred, plain = synthesize(
        photo, np.random.default_rng(2), Shake(reach=(3.0, 3.0), noise=0.0, linear=1.0)
    )
    assert float((sharp == 1.0).float().mean()) > float((plain == 1.0).float().mean()) + 0.05
    assert bool((sharp >= plain - 1e-6).all())
    assert float(blurred.mean()) > float(plain_blurred.mean())


def test_a_blurred_picture_may_have_been_a_jpeg_file() -> None:
    plain, through = (
        synthesize(picture(9), np.random.default_rng(4), Shake(jpeg=share, noise=0.0)) for share in (0.0, 1.0)
    )
    assert torch.equal(plain[1], through[1]), "the sharp picture is none"
    difference = (plain[0] - through[0]).abs()
    assert 0.0 < float(difference.mean()) < 0.05


def test_odd_shakes_and_photos_are_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        Shake(poses=10)
    with pytest.raises(ValueError, match="reach"):
        Shake(reach=(4.0, 100.0))
    with pytest.raises(ValueError, match="margin"):
        synthesize(torch.zeros(3, 2 * LEAST_MARGIN, 60), np.random.default_rng(0), Shake())
