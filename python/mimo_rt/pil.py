"""Pillow's image modes as arrays, and back: what each comes back as, and what there is to say about it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mimo_rt.errors import ImageError, make
from mimo_rt.pixels import Pixels

if TYPE_CHECKING:
    from PIL import Image

_DIRECT = ("L", "LA", "RGB", "RGBA")
_DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N")
_NAMES = {
    "1": "a 1-bit image",
    "P": "a palette image",
    "PA": "a palette image",
    "CMYK": "a CMYK image",
    "YCbCr": "a YCbCr image",
    "HSV": "an HSV image",
    "RGBX": "an RGB image with padding",
    "RGBa": "an image with premultiplied alpha",
    "La": "an image with premultiplied alpha",
}


@dataclass
class Converted:
    """An image's pixels, the mode to give back, and notes for the user (whole clauses, no final stop)."""

    pixels: Pixels
    mode: str
    notes: list[str] = field(default_factory=list)
    keeps_profile: bool = True
    """False where an embedded ICC profile no longer describes the pixels."""


def from_pil(image: Image.Image) -> Converted:
    """Pixels of a Pillow image, uint8 or uint16, H x W or H x W x C.

    Modes L, LA, RGB, RGBA and 16-bit grey are taken as they are. 1-bit, palette and CMYK images become RGB,
    or RGBA where they are transparent, with a note; so do YCbCr, HSV and premultiplied alpha. A transparent
    colour becomes an alpha channel. Anything else (32-bit, floating-point, Lab): ImageError. Decoding errors
    of a lazily loaded file pass through as Pillow raises them.
    """
    if 0 in image.size:
        raise make(ImageError, "image.empty", f"the image is empty: {image.width}x{image.height}")
    image.load()
    mode = image.mode
    if mode in _DEEP_GREY:
        return Converted(np.asarray(image), mode)
    if mode == "I":
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > 65535:
            raise make(
                ImageError,
                "image.mode",
                "a 32-bit image (mode I) with values outside 0..65535 cannot be deblurred",
            )
        return Converted(wide.astype(np.uint16), mode)
    transparent = "transparency" in image.info and mode in ("1", "L", "RGB", "P")
    if mode in _DIRECT and not transparent:
        return Converted(np.asarray(image), mode)
    if mode in ("L", "RGB"):
        mode = {"L": "LA", "RGB": "RGBA"}[mode]
        note = "its transparent colour was turned into an alpha channel"
        return Converted(np.asarray(image.convert(mode)), mode, [note])
    if mode not in _NAMES:
        raise make(
            ImageError,
            "image.mode",
            f"an image of mode {mode} cannot be deblurred; convert it to L, LA, RGB, RGBA or I;16",
        )
    target = "RGBA" if transparent or mode in ("PA", "RGBa", "La") else "RGB"
    note = f"{_NAMES[mode]} comes back as {target}"
    if mode == "CMYK":
        return Converted(np.asarray(_from_cmyk(image)), target, [note], keeps_profile=False)
    if mode == "La":
        image = image.convert("LA")
    return Converted(np.asarray(image.convert(target)), target, [note], keeps_profile=mode != "1")


def to_pil(pixels: Pixels, mode: str) -> Image.Image:
    """A Pillow image of `mode` (one that `from_pil` gave) from pixels shaped as it gave them."""
    from PIL import Image

    if mode == "I":
        return Image.fromarray(pixels.astype(np.int32))
    image = Image.fromarray(np.ascontiguousarray(pixels))
    assert image.mode == mode or mode in _DEEP_GREY  # Pillow has one array type for I;16, I;16L and I;16N
    return image


def _from_cmyk(image: Image.Image) -> Image.Image:
    """CMYK to sRGB: through its own ICC profile where it has a sound one, else by Pillow's plain rule."""
    profile = image.info.get("icc_profile")
    if profile:
        from PIL import ImageCms

        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB")
