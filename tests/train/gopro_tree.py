"""GOPRO_Large in miniature, in the layout that it is published in: for everything that reads the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SCENES: dict[str, tuple[str, ...]] = {
    "train": ("GOPR0372_07_00", "GOPR0374_11_00", "GOPR0378_13_00"),
    "test": ("GOPR0384_11_00", "GOPR0396_11_00"),
}

SIZE = (64, 48)


def make_gopro_tree(
    root: Path,
    scenes: Mapping[str, Sequence[str]] = SCENES,
    frames: int = 3,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Path:
    """``root/{train,test}/SCENE/{blur,blur_gamma,sharp}/NNNNNN.png`` of (width, height) pixels, with the
    text file of each scene of the training split. Each scene has its own picture, which moves from frame to
    frame; its blur is the mean over a shift of 7 pixels, in light for ``blur`` and in pixel values for
    ``blur_gamma``. Returns root."""
    rng = np.random.default_rng(seed)
    for split, names in scenes.items():
        for scene in names:
            folder = root / split / scene
            for kind in ("blur", "blur_gamma", "sharp"):
                (folder / kind).mkdir(parents=True)
            if split == "train":
                (folder / "frames 1 offset 0.txt").write_text("")
            picture = _patches(rng, size[0] + 2 * frames + 8, size[1])
            for i in range(frames):
                for kind, pixels in _frame(picture, 2 * i, size[0]).items():
                    Image.fromarray(pixels).save(folder / kind / f"{i + 1:06d}.png")
    return root


def _patches(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """Patches of colour with hard edges: something that blurs."""
    small = rng.integers(0, 256, size=(height // 6 + 1, width // 6 + 1, 3), dtype=np.uint8)
    return np.repeat(np.repeat(small, 6, axis=0), 6, axis=1)[:height, :width]


def _frame(picture: NDArray[np.uint8], x: int, width: int) -> dict[str, NDArray[np.uint8]]:
    seen = np.stack([picture[:, x + d : x + d + width] for d in range(7)]) / 255.0
    light = (seen**2.2).mean(axis=0) ** (1.0 / 2.2)
    rounded = {"blur": light, "blur_gamma": seen.mean(axis=0), "sharp": seen[3]}
    return {kind: np.round(255.0 * pixels).astype(np.uint8) for kind, pixels in rounded.items()}
