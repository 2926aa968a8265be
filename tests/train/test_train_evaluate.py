"""Measuring: PSNR by the reference protocol, hold-outs fixed by their seed, one row a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")

from train import holdout  # noqa: E402
from train.blur import MILD  # noqa: E402
from train.evaluate import format_table, measure  # noqa: E402
from train.photos import PHOTOS, read_photo  # noqa: E402

pytestmark = pytest.mark.torch


def grain(seed: int, size: int = 150) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(size, size, 3), dtype=np.uint8)


def test_psnr_clips_and_does_not_round() -> None:
    wanted = torch.zeros(3, 4, 4)
    assert holdout.psnr(torch.full((3, 4, 4), 0.1), wanted) == pytest.approx(20.0, abs=1e-4)
    assert holdout.psnr(torch.full((3, 4, 4), -5.0), wanted) == float("inf")
    assert holdout.psnr(torch.full((3, 4, 4), 0.001), wanted) == pytest.approx(60.0, abs=1e-3)


def test_synthetic_holdout_is_fixed_by_its_seed() -> None:
    photos = [grain(0), grain(1)]
    one, same = (holdout.synthetic(photos, MILD, 4, 64, seed=9) for _ in range(2))
    other = holdout.synthetic(photos, MILD, 4, 64, seed=10)
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(one, same, strict=True))
    assert not any(torch.equal(a[0], b[0]) for a, b in zip(one, other, strict=True))
    assert all(tuple(x.shape) == (3, 64, 64) for pair in one for x in pair)


def test_measure_gives_means_of_single_images() -> None:
    wanted = torch.zeros(3, 8, 8)
    images = [(torch.full((3, 8, 8), v), wanted) for v in (0.1, 0.01)]
    sets = {"made": images, "sharp": [(wanted, wanted)]}
    rows = measure(lambda image: image / 10.0, sets)
    assert rows[0].before == pytest.approx(30.0, abs=1e-3)
    assert rows[0].after == pytest.approx(50.0, abs=1e-3)
    assert rows[0].gain == pytest.approx(20.0, abs=1e-3)
    assert rows[0].after_8bit != pytest.approx(rows[0].after, abs=1e-3)  # 0.001 rounds to 0, 0.01 to 3/255
    assert rows[1].after == 100.0
    table = format_table(rows)
    assert "| made | 2 | 30.00 | 50.00 | +20.00 |" in table
    assert "| sharp | 1 | - | 100.00 | - |" in table


def test_centre_is_the_middle_and_what_every_network_takes() -> None:
    x = torch.arange(60.0).expand(3, 44, 60)
    assert tuple(holdout.centre(x, None).shape) == (3, 32, 48)
    middle = holdout.centre(x, 16)
    assert tuple(middle.shape) == (3, 16, 16)
    assert float(middle[0, 0, 0]) == 22.0


def test_images_that_lose_are_counted() -> None:
    wanted = torch.zeros(3, 8, 8)
    images = [(torch.full((3, 8, 8), v), wanted) for v in (0.1, 0.2, 0.3, 0.4)]
    (row,) = measure(lambda image: image * (1.02 if image[0, 0, 0] > 0.35 else 1.005), {"made": images})
    assert row.harmed == 0.25
    assert "| -0.17 | 25% |" in format_table([row])


def test_photographs_of_the_splits_are_disjoint_and_licensed() -> None:
    names = [photo.name for photo in PHOTOS]
    assert len(set(names)) == len(names)
    assert {photo.split for photo in PHOTOS} == {"train", "holdout", "example"}
    assert all(photo.licence and photo.author for photo in PHOTOS)
    example = [photo for photo in PHOTOS if photo.split == "example"]
    assert all(photo.licence.startswith(("CC0", "CC-BY-4", "CC-BY-3", "CC-BY-2")) for photo in example)


def test_photo_is_shrunk_by_its_factor(tmp_path: Path) -> None:
    Image.fromarray(grain(0, 90)).save(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png", 1.5).size == (60, 60)
    assert read_photo(tmp_path / "a.png", 1).size == (90, 90)
