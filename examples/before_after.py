"""Makes docs/images/before_after.jpg: parts of examples/blurred.jpg beside what the bundled model makes of
them.

``python examples/before_after.py`` runs mimo_rt on the example picture and enlarges two parts of both
pictures by whole pixels. Nothing is retouched. With ``--sharp FILE`` (see make_blurred.py) it prints the
PSNR before and after as well.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import mimo_rt

ROOT = Path(__file__).resolve().parents[1]
PARTS = ((285, 5, 225, 280), (455, 335, 225, 280))
"""Left, top, width and height of the parts that are shown."""
ENLARGED = 2
GAP = 8
LABEL = 34


def psnr(x: Image.Image, wanted: Image.Image) -> float:
    """PSNR in dB of two 8-bit pictures."""
    error = (np.asarray(x, dtype=np.float64) - np.asarray(wanted, dtype=np.float64)) / 255.0
    return -10.0 * math.log10(float(np.mean(error**2)))


def panel(image: Image.Image) -> Image.Image:
    """The parts of one picture side by side, enlarged by whole pixels."""
    tiles = []
    for left, top, width, height in PARTS:
        part = image.crop((left, top, left + width, top + height))
        tiles.append(part.resize((width * ENLARGED, height * ENLARGED), Image.Resampling.NEAREST))
    total = Image.new("RGB", (sum(t.width for t in tiles) + GAP * (len(tiles) - 1), tiles[0].height), "white")
    x = 0
    for tile in tiles:
        total.paste(tile, (x, 0))
        x += tile.width + GAP
    return total


def montage(before: Image.Image, after: Image.Image) -> Image.Image:
    """Two labelled panels, before above after."""
    panels = [("blurred.jpg", panel(before)), ("after mimo-rt deblur", panel(after))]
    width = panels[0][1].width
    total = Image.new("RGB", (width, sum(p.height + LABEL for _, p in panels)), "white")
    draw = ImageDraw.Draw(total)
    font = ImageFont.load_default(size=22)
    y = 0
    for text, image in panels:
        draw.text((2, y + 4), text, fill="black", font=font)
        total.paste(image, (0, y + LABEL))
        y += LABEL + image.height
    return total


def main() -> None:
    """Run the model and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mimo-unet-s")
    parser.add_argument("--sharp", type=Path, help="the sharp picture, for the PSNR")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "images" / "before_after.jpg")
    a = parser.parse_args()
    with Image.open(ROOT / "examples" / "blurred.jpg") as opened:
        before = opened.convert("RGB")
    after = mimo_rt.deblur(before, model=a.model)
    a.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = a.output.with_name(a.output.name + ".partial")
    montage(before, after).save(temporary, format="JPEG", quality=90)
    temporary.replace(a.output)
    print(f"{a.output}: {a.output.stat().st_size} bytes")
    if a.sharp is not None:
        with Image.open(a.sharp) as opened:
            sharp = opened.convert("RGB")
        print(f"PSNR {psnr(before, sharp):.2f} dB before, {psnr(after, sharp):.2f} dB after")


if __name__ == "__main__":
    main()
