"""Photographs that need no deblurring, as training pairs whose target is their input.

A network that only ever sees shaken pictures sharpens everything: grain, what lies out of focus on purpose,
the rims of letters. So some of its pairs are pictures that are right as they are.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from train.blur import through_jpeg, to_8bit, with_noise

KINDS = {"sharp": 0.4, "noisy": 0.15, "unfocused": 0.2, "night": 0.1, "text": 0.1, "flat": 0.05}
"""What a photograph is made into, and how often."""

LARGEST_DISC = 6.0
"""Radius of the widest circle of confusion, in pixels."""

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?-"


def untouched(photo: Tensor, rng: np.random.Generator) -> Tensor:
    """One of `KINDS` made from a photograph, float32 (3, H, W) in [0, 1] on the grid of 8 bits. In one of
    four cases it went through a JPEG file."""
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind == "noisy":
        photo = with_noise(photo, rng, float(rng.uniform(0.005, 0.06)))
    elif kind == "unfocused":
        photo = out_of_focus(photo, float(rng.uniform(1.0, LARGEST_DISC)))
        photo = with_noise(photo, rng, float(rng.uniform(0.0, 0.01)))
    elif kind == "night":
        dark = photo ** float(rng.uniform(1.5, 3.0)) * float(rng.uniform(0.2, 1.0))
        photo = with_noise(dark, rng, float(rng.uniform(0.0, 0.03)))
    elif kind == "text":
        photo = with_text(photo, rng)
    elif kind == "flat":
        colour = torch.from_numpy(rng.uniform(0.0, 1.0, size=(3, 1, 1)).astype(np.float32))
        photo = with_noise(colour.expand_as(photo), rng, max(0.0, float(rng.uniform(-0.03, 0.03))))
    if rng.random() < 0.25:
        return through_jpeg(photo, rng)
    return to_8bit(photo)


def out_of_focus(x: Tensor, radius: float) -> Tensor:
    """``x`` (3, H, W) with a circle of confusion of that radius in pixels, its rim smooth."""
    reach = math.ceil(radius)
    away = torch.arange(-reach, reach + 1, dtype=torch.float32)
    return through_lens(x, (radius + 0.5 - torch.hypot(away[:, None], away[None, :])).clamp(0.0, 1.0))


def through_lens(x: Tensor, disc: Tensor) -> Tensor:
    """``x``, float32 (3, H, W) in [0, 1], with every point of light spread over ``disc``, odd sides, any
    scale."""
    kernel = (disc / disc.sum()).expand(3, 1, -1, -1)
    light = F.pad(x[None] ** 2.2, (disc.shape[0] // 2,) * 4, mode="reflect")
    seen: Tensor = F.conv2d(light, kernel, groups=3)[0].clamp_min(0.0) ** (1.0 / 2.2)
    return seen


def with_text(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Random letters over a pale or dark version of ``x`` (3, H, W)."""
    height, width = x.shape[1:]
    paper = float(rng.choice([0.0, 1.0]))
    letters = Image.new("L", (width, height))
    draw = ImageDraw.Draw(letters)
    y = int(rng.integers(-8, 8))
    while y < height:
        size = int(rng.integers(9, 30))
        line = "".join(rng.choice(list(_LETTERS + "      "), size=max(1, 2 * width // size)))
        draw.text((int(rng.integers(-8, 8)), y), line, fill=255, font=ImageFont.load_default(size))
        y += round(1.3 * size)
    ink = torch.from_numpy(np.array(letters)).float() / 255.0
    ground = paper + float(rng.uniform(0.0, 0.6)) * (x - paper)
    colour = torch.from_numpy(rng.uniform(0.0, 0.4, size=(3, 1, 1)).astype(np.float32))
    colour = colour if paper else 1.0 - colour
    return ground + ink * (colour - ground)
