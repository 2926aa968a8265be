"""Pictures of the best, the median and the worst."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")

from train import evaluate, holdout  # noqa: E402
from train.pictures import LINE, SIDE, Pictures, difference  # noqa: E402

pytestmark = pytest.mark.torch

BLUE, GREEN, RED = (0, 0, 255), (0, 255, 0), (255, 0, 0)


def flat(colour: tuple[int, int, int], height: int = 300, width: int = 400) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def test_best_median_and_worst_stand_below_each_other(tmp_path: Path) -> None:
    pictures = Pictures("before", "after")
    for figure, colour in ((1.0, GREEN), (-3.0, RED), (2.0, BLUE), (1.5, BLUE), (0.5, RED)):
        pictures.add(figure, f"{figure}", flat((0, 0, 0)), flat(colour))
    pictures.write(tmp_path / "new" / "sheet.jpg")
    sheet = np.asarray(Image.open(tmp_path / "new" / "sheet.jpg").convert("RGB")).astype(int)
    assert sheet.shape == (LINE + 3 * (LINE + SIDE), 2 * SIDE, 3)
    for row, colour in enumerate((BLUE, GREEN, RED)):
        y = LINE + row * (LINE + SIDE) + LINE + SIDE // 2
        assert np.abs(sheet[y, SIDE // 2]).max() < 8
        assert np.abs(sheet[y, SIDE + SIDE // 2] - colour).max() < 8


@pytest.mark.parametrize("size", [(300, 400), (100, 700), (40, 30)])
def test_the_part_that_changed_most_is_shown(tmp_path: Path, size: tuple[int, int]) -> None:
    before, after = flat(GREEN, *size), flat(GREEN, *size)
    after[-20:, -20:] = RED
    pictures = Pictures("before", "after")
    pictures.add(0.0, "", before, after)
    cut = pictures.examples[0].columns[1]
    assert cut.shape == (min(SIDE, size[0]), min(SIDE, size[1]), 3)
    assert (cut == RED).all(axis=2).sum() == 400


def test_difference_is_ten_times_what_is_brighter() -> None:
    a, b = flat((100, 100, 0)), flat((101, 98, 255))
    assert difference(a, b)[0, 0].tolist() == [138, 108, 255]


def test_evaluate_fills_them() -> None:
    rng = np.random.default_rng(5)
    images = [torch.from_numpy(rng.random((3, 32, 48), np.float32)) for _ in range(4)]
    sets: dict[str, holdout.Images] = {
        "pairs": [(images[0], images[1]), (images[2], images[3])],
        "sharp": [(images[0], images[0])],
    }
    pictures: dict[str, Pictures] = {}
    rows = evaluate.measure(lambda x: x * np.float32(0.5), sets, pictures)
    assert [len(pictures[name].examples) for name in sets] == [2, 1]
    gains = [example.figure for example in pictures["pairs"].examples]
    assert np.mean(gains) == pytest.approx(rows[0].gain)
    assert min(gains) == pytest.approx(rows[0].worst_gain)
    assert pictures["sharp"].examples[0].figure == pytest.approx(rows[1].after)
