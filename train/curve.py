"""Draws a training curve: ``python -m train.curve RUN/curve.csv -o docs/images/training_curve.png``."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIZE = (760, 380)
LEFT, TOP, RIGHT, BOTTOM = 56, 36, 650, 330
COLOURS = {"mild": "#1b7f3b", "heavy": "#b3541e", "gopro": "#2456a6", "reds": "#7a3e9d"}
NAMES = {"mild": "mild", "heavy": "heavy", "gopro": "GoPro subset", "reds": "REDS"}


def read(path: Path) -> list[dict[str, float]]:
    """The rows of a curve that `train.fit` wrote, as numbers, without the columns that have none."""
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v not in ("", "nan")} for row in csv.DictReader(file)]


def draw(rows: list[dict[str, float]]) -> Image.Image:
    """Gain on each set, in dB, over the minutes of training."""
    image = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=13)
    gains = [row[name] for row in rows for name in COLOURS if name in row]
    high = max(0.1, *gains) * 1.1 if gains else 1.0
    low = min(0.0, *gains) if gains else 0.0
    longest = max((row["minutes"] for row in rows), default=0.0) or 1.0

    def at(minutes: float, gain: float) -> tuple[float, float]:
        return (
            LEFT + (RIGHT - LEFT) * minutes / longest,
            BOTTOM - (BOTTOM - TOP) * (gain - low) / (high - low),
        )

    tick = next(t for t in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 1e9) if (high - low) / t <= 8)
    level = 0.0
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
    pen.text((LEFT, 10), "mean gain over the blurred input, dB", fill="black", font=font)
    ends = []
    for name, colour in COLOURS.items():
        points = [at(row["minutes"], row[name]) for row in rows if name in row]
        if len(points) > 1:
            pen.line(points, fill=colour, width=2, joint="curve")
            ends.append((points[-1][1], name))
    y = 0.0
    for wanted, name in sorted(ends):
        y = max(wanted, y + 16.0)
        pen.text((RIGHT + 8, y), NAMES[name], fill=COLOURS[name], font=font, anchor="lm")
    return image


def main() -> None:
    """Entry of ``python -m train.curve``."""
    parser = argparse.ArgumentParser(prog="python -m train.curve", description=__doc__)
    parser.add_argument("curve", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    a = parser.parse_args()
    a.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = a.output.with_name(a.output.name + ".partial")
    draw(read(a.curve)).quantize(64).save(temporary, format="PNG", optimize=True)
    temporary.replace(a.output)


if __name__ == "__main__":
    main()
