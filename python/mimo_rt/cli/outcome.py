"""What became of a photo: how much it has changed, whether that is worth a new file, and the last words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mimo_rt.pixels import Pixels

SLIGHT_MEAN = 1.0
"""8-bit levels: a photo whose mean change is below this, and ..."""
SLIGHT_LEVELS, SLIGHT_SHARE = 4.0, 0.999
"""... in which this share of the values changes by no more than so many levels, is left as it was."""
CLEAR_MEAN = 2.0
"""8-bit levels of mean change from which a photo counts as clearly changed."""
_ROWS = 256


@dataclass(frozen=True)
class Outcome:
    """mean: mean change of a colour value in 8-bit levels. within: share of the values that change by at
    most `SLIGHT_LEVELS`."""

    mean: float
    within: float

    @property
    def slight(self) -> bool:
        """Whether nobody would see the change."""
        return self.mean < SLIGHT_MEAN and self.within >= SLIGHT_SHARE

    def verdict(self, scale: float, strength: float, model: str) -> str:
        """One clause on what was reached, and what to try where that is little."""
        said = f"{self.mean:.2f} of 255 levels in the mean"
        if self.mean >= CLEAR_MEAN:
            return f"changed clearly ({said})"
        other = "--scale 0.25 for long blur" if scale != 0.25 else "--scale 1 for short blur"
        hints = [other, *(["--strength 1.5"] if strength < 1.5 else [])]
        if model.startswith("mimo-unet-s"):
            hints.append("a larger model (mimo-rt models pull)")
        listed = ", ".join(hints[:-1]) + (" or " if hints[1:] else "") + hints[-1]
        return f"changed little ({said}); where it is blurred, try {listed}"


def compare(before: Pixels, after: Pixels) -> Outcome:
    """The change between two arrays of one shape and dtype, uint8 or uint16; alpha, which never changes, is
    left out."""
    import numpy as np

    unit = np.float32(255 / np.iinfo(before.dtype).max)
    colours = 1 if before.ndim == 2 or before.shape[2] < 3 else 3
    total, within, count = 0.0, 0, 0
    for first in range(0, before.shape[0], _ROWS):
        rows = slice(first, first + _ROWS)
        old = before[rows].reshape(-1, 1 if before.ndim == 2 else before.shape[2])[:, :colours]
        new = after[rows].reshape(-1, 1 if before.ndim == 2 else before.shape[2])[:, :colours]
        change = np.abs(new.astype(np.float32) - old.astype(np.float32)) * unit
        total += float(change.sum(dtype=np.float64))
        within += int((change <= np.float32(SLIGHT_LEVELS + 1e-3)).sum())
        count += change.size
    return Outcome(total / count, within / count)
