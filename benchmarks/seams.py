"""What a halo smaller than exact costs in tiles: the largest error at a seam, against the halo.

``python benchmarks/seams.py --model M [--image PHOTO]``

At the four places of most texture of a photo a strip is run whole and as two tiles that meet in its middle
(`mimo_rt.seams`). Beside it stands how many times the pixels of its own result a tile computes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mimo_rt  # noqa: E402
from benchmarks import pages  # noqa: E402
from mimo_rt.seams import seam_error  # noqa: E402

HALOS = (0, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192)
TILES = (512, 1024)
"""Sides of what is kept of a tile."""


def render(report: pages.Report) -> str:
    """A report of this script as Markdown."""
    rows = []
    for point in report["points"]:
        halo = point["halo"]
        work = [f"{((side + 2 * halo) / side) ** 2:.2f}" for side in TILES]
        name = f"{halo} (exact)" if halo == report["exact"] else str(halo)
        rows.append([name, f"{255 * point['fixed']:.2g}", f"{255 * point['direct']:.2g}", *work])
    header = [
        "halo",
        "error, levels of 255",
        "with direct convolution",
        *(f"work for {side}x{side}" for side in TILES),
    ]
    field = f"receptive field {report['exact']} pixels to a side"
    return f"{pages.sentence(report, field)}\n\n{pages.table(header, rows)}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", default="mimo-unet-s")
    parser.add_argument("--image", type=Path, default=ROOT / "examples" / "blurred.jpg")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    a = parser.parse_args(arguments)
    with Image.open(a.image) as opened:
        image = np.asarray(opened.convert("RGB"))
    engines = {tactics: mimo_rt.build(a.model, tactics=tactics) for tactics in ("fixed", "direct")}
    exact = engines["fixed"].info.halo
    points = []
    for halo in [*(h for h in HALOS if h < exact), exact]:
        errors = {tactics: seam_error(engine, image, halo) for tactics, engine in engines.items()}
        points.append({"halo": halo, **errors})
        print(f"halo {halo}: {255 * errors['fixed']:.3g} levels", file=sys.stderr, flush=True)
    report = pages.made_by(Path(a.model).name, mimo_rt.Deblurrer(engines["fixed"]).threads)
    report |= {"image": a.image.name, "exact": exact, "points": points}
    pages.tell(render(report), report, a.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
