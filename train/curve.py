"""Draws a training curve: ``python -m train.curve RUN/curve.csv -o curve.png``, or with ``--columns loss``
other columns of it than the gains."""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIZE = (760, 380)
LEFT, TOP, RIGHT, BOTTOM = 56, 36, 650, 330
COLOURS = {"mild": "#1b7f3b", "heavy": "#b3541e", "long": "#8c1f1f", "gopro": "#2456a6", "reds": "#7a3e9d"}
NAMES = {"mild": "mild", "heavy": "heavy", "long": "long", "gopro": "GoPro subset", "reds": "REDS"}

PALETTE = tuple(COLOURS.values())
TITLE = "mean gain over the blurred input, dB"


def read(path: Path) -> list[dict[str, float]]:
    """The rows of a curve that `train.fit` wrote, as numbers, without the columns that have none."""
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v not in ("", "nan")} for row in csv.DictReader(file)]


def draw(
    rows: list[dict[str, float]], columns: Sequence[str] = tuple(COLOURS), title: str = TITLE
) -> Image.Image:
    """Columns of a curve over the minutes of training; by default the gain on each set, in dB."""
    colours = {c: COLOURS.get(c, PALETTE[i % len(PALETTE)]) for i, c in enumerate(columns)}
    image = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=13)
    values = [row[name] for row in rows for name in columns if name in row]
    high, low = (max(values), min(values)) if values else (1.0, 0.0)
    high += 0.1 * max(0.1, high - low)
    if low > 0.0 and low < 2.0 * (high - low):  # near enough for the axis to begin at nothing
        low = 0.0
    longest = max((row["minutes"] for row in rows), default=0.0) or 1.0

    def at(minutes: float, gain: float) -> tuple[float, float]:
        return (
            LEFT + (RIGHT - LEFT) * minutes / longest,
            BOTTOM - (BOTTOM - TOP) * (gain - low) / (high - low),
        )

    tick = next(t for t in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 1e9) if (high - low) / t <= 8)
    level = math.ceil(low / tick) * tick
    while level <= high:
        _, y = at(0.0, level)
        pen.line([(LEFT, y), (RIGHT, y)], fill="#dddddd")
        pen.text((LEFT - 8, y), f"{level:.2f}", fill="black", font=font, anchor="rm")
        level += tick
    step = next(s for s in (1, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if longest / s <= 8)
    for minutes in range(0, int(longest) + 1, step):
        x, _ = at(minutes, low)
        pen.text((x, BOTTOM + 6), str(minutes), fill="black", font=font, anchor="mt")
    pen.text(((LEFT + RIGHT) / 2, BOTTOM + 26), "minutes of training", fill="black", font=font, anchor="mt")
    pen.text((LEFT, 10), title, fill="black", font=font)
    ends = []
    for name, colour in colours.items():
        points = [at(row["minutes"], row[name]) for row in rows if name in row]
        if len(points) > 1:
            pen.line(points, fill=colour, width=2, joint="curve")
            ends.append((points[-1][1], name))
    y = 0.0
    for wanted, name in sorted(ends):
        y = max(wanted, y + 16.0)
        pen.text((RIGHT + 8, y), NAMES.get(name, name), fill=colours[name], font=font, anchor="lm")
    return image


def main() -> None:
    """Entry of ``python -m train.curve``."""
    parser = argparse.ArgumentParser(prog="python -m train.curve", description=__doc__)
    parser.add_argument("curve", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--columns", nargs="+", default=list(COLOURS), help="what is drawn (the gains)")
    parser.add_argument("--title", default=TITLE)
    a = parser.parse_args()
    a.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = a.output.with_name(a.output.name + ".partial")
    draw(read(a.curve), a.columns, a.title).quantize(64).save(temporary, format="PNG", optimize=True)
    temporary.replace(a.output)


if __name__ == "__main__":
    main()
