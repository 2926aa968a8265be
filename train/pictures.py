"""What figures look like: of many images the best, the median and the worst, each before, after and as it
should be, in one picture."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from mimo_rt.temporary import replace_whole
from train.frames import Pixels

SIDE = 240
LINE = 16
"""Height in pixels of a line of text."""


@dataclass(frozen=True)
class Example:
    """A cut of one image. figure: the more the better; text: what to write above."""

    figure: float
    text: str
    columns: tuple[Pixels, ...]


class Pictures:
    """The examples of one set. headings: what the columns are."""

    def __init__(self, *headings: str) -> None:
        self.headings = headings
        self.examples: list[Example] = []

    def add(self, figure: float, text: str, *columns: Pixels) -> None:
        """Images (H, W, 3) of 8 bits and of one size; what is kept is the part of SIDE x SIDE in which the
        first two differ most."""
        y, x = _busiest(columns[0], columns[1])
        cut = tuple(column[y : y + SIDE, x : x + SIDE].copy() for column in columns)
        self.examples.append(Example(figure, text, cut))

    def write(self, path: Path) -> None:
        """A JPEG of three rows. Raises OSError."""
        ranked = sorted(self.examples, key=lambda example: -example.figure)
        rows = {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}
        width, height = SIDE * len(self.headings), LINE + len(rows) * (LINE + SIDE)
        sheet = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(sheet)
        for i, heading in enumerate(self.headings):
            draw.text((i * SIDE + 4, 2), heading, "black")
        for row, (name, example) in enumerate(rows.items()):
            top = LINE + row * (LINE + SIDE)
            draw.text((4, top + 2), f"{name} of {len(ranked)}: {example.text}", "black")
            for i, column in enumerate(example.columns):
                sheet.paste(Image.fromarray(column), (i * SIDE, top + LINE))
        data = io.BytesIO()
        sheet.save(data, "JPEG", quality=88)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, data.getvalue())


def to_pixels(image: Tensor) -> Pixels:
    """float32 (3, H, W) in [0, 1] as (H, W, 3) of 8 bits."""
    pixels: Pixels = (image.clamp(0.0, 1.0) * 255.0).round().byte().permute(1, 2, 0).contiguous().numpy()
    return pixels


def difference(a: Pixels, b: Pixels) -> Pixels:
    """Ten times what ``b`` is brighter than ``a``, around middle grey."""
    found: Pixels = np.clip(128.0 + 10.0 * (b.astype(np.float32) - a), 0.0, 255.0).astype(np.uint8)
    return found


def _busiest(a: Pixels, b: Pixels) -> tuple[int, int]:
    """Where the part of SIDE x SIDE begins in which two images differ most."""
    difference = np.abs(a.astype(np.int16) - b).sum(axis=2, dtype=np.int64)
    sums: NDArray[np.int64] = np.pad(difference.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    h, w = (min(SIDE, n) for n in difference.shape)
    totals = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
    y, x = np.unravel_index(int(totals.argmax()), totals.shape)
    return int(y), int(x)
