"""Whether a set of images is the whole test split of GOPRO_Large, a part of it, or something else: told by
scenes, frames and sizes, so that no figure of a subset passes for the benchmark's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

FRAMES = {
    "GOPR0384_11_00": (1, 100),
    "GOPR0384_11_05": (4001, 4100),
    "GOPR0385_11_01": (3011, 3110),
    "GOPR0396_11_00": (1, 100),
    "GOPR0410_11_00": (101, 234),
    "GOPR0854_11_00": (1, 100),
    "GOPR0862_11_00": (1, 77),
    "GOPR0868_11_00": (1, 100),
    "GOPR0869_11_00": (1, 100),
    "GOPR0871_11_00": (1, 100),
    "GOPR0881_11_01": (201, 300),
}
"""First and last frame of every scene of the test split; none between them is missing."""

SIZE = (720, 1280)
"""Height and width of all its frames."""

NAME = "GOPRO_Large's test split"

_FLAT = re.compile(r"(GOPR\d{4}_\d\d_\d\d)[-_](\d{6})")


@dataclass(frozen=True)
class Item:
    """What is asked about one image: where it comes from, and its size in pixels."""

    scene: str
    frame: str
    height: int
    width: int


@dataclass(frozen=True)
class Standing:
    """What a set of images is, beside the benchmark."""

    kind: str
    """"complete", "part" or "other"."""
    images: int
    known: int
    """How many of them have the names of the benchmark's, each counted once."""
    sentence: str
    """For people. Says of all but a complete set that it is not the benchmark."""

    @property
    def complete(self) -> bool:
        return self.kind == "complete"


def total() -> int:
    """How many pairs the benchmark has."""
    return sum(last - first + 1 for first, last in FRAMES.values())


def standing(items: Sequence[Item], *, gamma: bool = False) -> Standing:
    """What these images are. gamma: whether they are those blurred in gamma space, another protocol."""
    count = len(items)
    keys = {key for item in items if (key := _key(item)) is not None}
    known, wanted = len(keys), total()
    all_known = known == count
    other_size = sum((item.height, item.width) != SIZE for item in items)
    pairs = "pair" if count == 1 else "pairs"
    if all_known and count == wanted and not other_size:
        text = f"This is {NAME}, complete: {count} pairs of {len(FRAMES)} scenes"
        text += "; but blurred in gamma space (blur_gamma), which is another protocol." if gamma else "."
        return Standing("complete", count, known, text)
    text = "This is not the GoPro benchmark"
    if all_known and count and not other_size:
        return Standing("part", count, known, f"{text}: {count} of the {wanted} pairs of {NAME}.")
    text = f"{text} but another set, of {count} {pairs}"
    if known:
        text += f", {known} of which bear names of the {wanted} pairs of {NAME}"
    if known and other_size:
        height, width = SIZE
        text += f" ({other_size} of another size than {width}x{height})"
    return Standing("other", count, known, f"{text}.")


def _key(item: Item) -> tuple[str, int] | None:
    """Scene and number of a frame of the benchmark; None for any other image."""
    scene, frame = item.scene, item.frame
    if not scene and (flat := _FLAT.fullmatch(frame)):  # scene and frame in one name
        scene, frame = flat[1], flat[2]
    if scene not in FRAMES or not re.fullmatch(r"[0-9]{6}", frame):
        return None
    first, last = FRAMES[scene]
    return (scene, int(frame)) if first <= int(frame) <= last else None
