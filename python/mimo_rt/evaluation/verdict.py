"""What a figure on the complete GoPro test split says beside the published ones. There is no verdict on
anything else."""

from __future__ import annotations

from dataclasses import dataclass

from mimo_rt.evaluation.completeness import Standing

PUBLISHED = {
    ("mimo-unet", 0): ("MIMO-UNet", 31.73),
    ("mimo-unet-plus", 0): ("MIMO-UNet+", 32.45),
    ("mimo-unet-plus", 4): ("MIMO-UNet++", 32.68),
}
"""Name and PSNR in dB that the authors publish for their weights, by preset and ensemble."""

RETRAINED = {"mimo-unet": (31.36, 31.60)}
"""Lowest and highest PSNR in dB that others have told of training it anew."""

BLURRED_INPUT = 25.64
"""PSNR in dB that is published for the blurred images themselves."""

TOLERANCE = 0.02
"""dB. The published figures are rounded to 0.01, and arithmetic differs in the last bits."""


@dataclass(frozen=True)
class Verdict:
    """A measured figure beside a published one."""

    published: float
    difference: float
    """Measured minus published, in dB."""
    reproduced: bool
    sentence: str


def verdict(standing: Standing, preset: str, ensemble: int, psnr: float, *, gamma: bool) -> Verdict | None:
    """The verdict on `psnr`; None where the set is not the complete one, was blurred in gamma space, or
    nothing is published for this preset and ensemble."""
    if not standing.complete or gamma or (preset, ensemble) not in PUBLISHED:
        return None
    name, published = PUBLISHED[preset, ensemble]
    difference = psnr - published
    reproduced = abs(difference) <= TOLERANCE
    text = f"{psnr:.3f} dB beside the {published:.2f} dB published for the authors' weights of {name}: "
    if reproduced:
        text += f"reproduced (+-{TOLERANCE} dB)"
    else:
        text += f"not reproduced, {abs(difference):.3f} dB {'above' if difference > 0 else 'below'}"
        if preset in RETRAINED and not ensemble:
            low, high = RETRAINED[preset]
            if psnr < low - TOLERANCE:
                where = "below"
            elif psnr > high + TOLERANCE:
                where = "above"
            else:
                where = "among"
            text += f"; {where} the {low:.2f} to {high:.2f} dB that others reached who trained it anew"
    return Verdict(published, difference, reproduced, text)


def input_sentence(standing: Standing, before: float, *, gamma: bool) -> str | None:
    """Says how far the complete set's blurred images are from what is published for them; None where they
    agree or are another set."""
    if not standing.complete or gamma or abs(before - BLURRED_INPUT) <= TOLERANCE:
        return None
    return (
        f"The blurred images have {before:.3f} dB where {BLURRED_INPUT:.2f} dB is published: they may not be "
        "the original files."
    )
