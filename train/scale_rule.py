"""Finds the thresholds of ``scale="auto"``: ``python -m train.scale_rule --photos PHOTOS [--model M]``.

Runs the training photographs of 4 megapixels and more at their full size, sharp and shaken as `train.large`
shakes the held-out ones, at every scale; then tries every set of thresholds on a grid. It prints the one that
gains most in the mean over the shaken ones among those that never fall more than ``--least`` dB below scale 1
on any, the sharp ones included. `mimo_rt.scale_choice` holds what it printed for the bundled model.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import mimo_rt
from mimo_rt.scale_choice import LACK, MORE, decide
from train.large import Case, cases
from train.photos import PHOTOS, Photo, read_photo, unpack

LEAST_PIXELS = 4_000_000
"""Of a photograph; what shake and crop leave must still be enough for the rule to look at."""
_LACKS = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.2, 0.25, 0.3, 0.4)
_MORES = (0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0)

Thresholds = tuple[dict[float, float], dict[float, float]]
"""`LACK` and `MORE` of `mimo_rt.scale_choice`."""


def grid() -> Iterator[Thresholds]:
    """Every set of thresholds that is tried, the strictest first."""
    for half, quarter, more_half, more_quarter in itertools.product(
        _LACKS, _LACKS, _MORES[::-1], _MORES[::-1]
    ):
        yield {0.5: half, 0.25: quarter}, {0.5: more_half, 0.25: more_quarter}


def judge(found: Sequence[Case], thresholds: Thresholds) -> tuple[float, float]:
    """(mean over the shaken, worst over all) of the dB by which the rule is better than scale 1."""
    over = [
        case.found[decide(case.choice.changes, case.choice.lacks, *thresholds)] - case.found[1.0]
        for case in found
    ]
    return float(np.mean([o for o, case in zip(over, found, strict=True) if case.reach])), min(over)


def search(found: Sequence[Case], least: float) -> Thresholds:
    """The best set of thresholds of the grid whose worst is at least -`least` dB; the first of equals. The
    strictest never leaves scale 1, so there is one."""
    scored = ((judge(found, thresholds), thresholds) for thresholds in grid())
    allowed = [(mean, thresholds) for (mean, worst), thresholds in scored if worst >= -least]
    return max(allowed, key=lambda entry: entry[0])[1]


def large_training_photos(cache: Path) -> list[Photo]:
    """Training photographs that are large at their full size."""
    chosen = []
    for photo in PHOTOS:
        if photo.split == "train":
            image = read_photo(unpack(photo.package, cache) / photo.path, 1)
            if image.width * image.height >= LEAST_PIXELS:
                chosen.append(photo)
    return chosen


def main() -> None:
    """Entry of ``python -m train.scale_rule``."""
    parser = argparse.ArgumentParser(prog="python -m train.scale_rule", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder that train.photos wrote")
    parser.add_argument("--model", default="mimo-unet-s")
    parser.add_argument("--size", type=int, default=1792, help="side of the crop; 0: the whole photograph")
    parser.add_argument("--least", type=float, default=0.1, help="dB that may be lost against scale 1")
    a = parser.parse_args()
    cache = a.photos / "cache"
    found = []
    print("| photograph | reach | at 1 | at 0.5 | at 0.25 | change | lack |")
    print("|---|---:|---:|---:|---:|---|---|")
    for case in cases(large_training_photos(cache), cache, mimo_rt.Deblurrer(a.model), a.size):
        found.append(case)
        gains = " | ".join(f"{psnr - case.found[1.0]:+.2f}" for psnr in case.found.values())
        changes = " ".join(f"{255 * change:.2f}" for change in case.choice.changes.values())
        lacks = " ".join(f"{lack:.3f}" for lack in case.choice.lacks.values())
        print(f"| {case.name} | {case.reach} | {gains} | {changes} | {lacks} |", flush=True)
    best = [max(case.found.values()) - case.found[1.0] for case in found if case.reach]
    print(f"over scale 1 in dB: always the best scale {np.mean(best):+.3f}")
    for title, thresholds in (("as they stand", (LACK, MORE)), ("found", search(found, a.least))):
        mean, worst = judge(found, thresholds)
        print(f"{title}: LACK = {thresholds[0]}, MORE = {thresholds[1]}: {mean:+.3f}, at worst {worst:+.3f}")


if __name__ == "__main__":
    main()
