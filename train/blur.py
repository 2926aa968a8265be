"""Synthesis of motion blur: camera shake as paths of homographies, and a second layer that moves on its
own.

A photograph is seen from a run of camera poses that is smooth in time and passes through the identity in
its middle; what the poses see is averaged, in sRGB or in (nearly) linear light. So the sharp picture of the
pair is the untouched photograph, and it stands in the middle of the blur. In some pairs a second layer with
a soft mask moves on a path of its own and covers and uncovers what lies behind it. Sensor noise and
rounding to 8 bits come last.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

LEAST_MARGIN = 20
"""Pixels of photograph around the crop on every side, at least: see `Shake.margin`."""

LONGEST_REACH = 60.0
"""The largest shift in pixels that a recipe may ask for: a slip of the pen beyond."""


@dataclass(frozen=True)
class Shake:
    """What a blur is drawn from. Lengths are in pixels of the network's input.

    reach: the range that the largest shift away from the middle pose is drawn from, uniformly; a blur is up
    to twice as long. rotation: standard deviation of the largest rotation, in degrees. zoom: of the largest
    change of scale. tilt: of the perspective terms, as displacement in pixels at the crop's edge. layer:
    share of pairs that have a moving layer (the caller draws it). linear: share averaged in linear light
    (gamma 2.2) instead of sRGB. noise: largest standard deviation of the noise, of the range [0, 1]. poses:
    how many poses are averaged (odd). bend: 1 for paths that bend and stop as hands do, 0 for straight ones
    at an even pace. directions: how many directions a path may set out in, evenly spread; 0 for any. Few
    directions and straight paths are what a network learns to tell blurs apart on: on the full variety it
    settles for one mean sharpening first, and stays there for long. bright: share of pairs that are exposed
    so long that lights clip, which no average of clipped pictures shows. jpeg: share that went through a
    JPEG file.
    """

    reach: tuple[float, float] = (1.0, 8.0)
    rotation: float = 0.25
    zoom: float = 0.004
    tilt: float = 0.4
    layer: float = 0.4
    linear: float = 0.5
    noise: float = 0.01
    poses: int = 15
    bend: float = 1.0
    directions: int = 0
    bright: float = 0.0
    jpeg: float = 0.0

    def __post_init__(self) -> None:
        if self.poses < 3 or self.poses % 2 == 0:
            raise ValueError(f"poses must be odd and at least 3, got {self.poses}")
        low, high = self.reach
        if not 0.0 <= low <= high <= LONGEST_REACH:
            raise ValueError(f"reach must be a range within 0..{LONGEST_REACH:g} pixels, got {self.reach}")

    @property
    def margin(self) -> int:
        """Pixels of photograph that `synthesize` needs around the crop on every side, for poses that look
        past it."""
        return max(LEAST_MARGIN, math.ceil(self.reach[1] / 0.6))


MILD = Shake(reach=(1.0, 4.0))
HEAVY = Shake(reach=(4.0, 8.0))
LONG = Shake(reach=(8.0, 16.0), poses=25)


def smooth_path(rng: np.random.Generator, poses: int, dims: int, bend: float = 1.0) -> NDArray[np.float64]:
    """A random path, smooth in time: float64 (poses, dims), of no particular scale. ``bend`` as in `Shake`.

    Zero in the middle and zero in the mean: where a picture as a whole stands cannot be told from its blur,
    so a blur that drifts off its sharp picture would teach nothing but noise. A cubic in time with a
    wobble: hands do not shake in straight lines, nor at an even speed.
    """
    t = np.linspace(-1.0, 1.0, poses)[:, None]
    c = rng.normal(size=(4, dims)) * np.array([1.0, 0.5, 0.4, 0.25])[:, None]
    phase = rng.uniform(0.0, 2.0 * np.pi, size=dims)
    wobble = np.sin(np.pi * rng.uniform(0.6, 1.6, size=dims) * t + phase)
    curve = c[1] * t**4 + c[2] * t**3 + c[3] * (wobble - wobble[poses // 2])
    path: NDArray[np.float64] = c[0] * t + bend * curve
    parabola = t**2
    path -= path.mean(axis=0) * parabola / parabola.mean()
    return path


def path_reach(shifts: NDArray[np.float64]) -> float:
    """The largest distance of a pose of a shift path (poses, 2) from the middle one, in its own units."""
    return float(np.sqrt(((shifts - shifts[len(shifts) // 2]) ** 2).sum(-1)).max())


def set_out(shifts: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """The shift path (poses, 2) turned so that it leaves its middle pose at ``angle`` (radians)."""
    middle = len(shifts) // 2
    dx, dy = shifts[middle + 1] - shifts[middle - 1]
    turn = angle - np.arctan2(dy, dx)
    c, s = np.cos(turn), np.sin(turn)
    turned: NDArray[np.float64] = shifts @ np.array([[c, s], [-s, c]])
    return turned


def homographies(rng: np.random.Generator, shake: Shake, size: int) -> NDArray[np.float64]:
    """One camera path as matrices (poses, 3, 3) in pixels about the crop's centre, identity in the middle."""
    shifts = smooth_path(rng, shake.poses, 2, shake.bend)
    if shake.directions:
        shifts = set_out(shifts, np.pi * float(rng.integers(shake.directions)) / shake.directions)
    shifts *= rng.uniform(*shake.reach) / max(path_reach(shifts), 1e-9)
    others = smooth_path(rng, shake.poses, 4)
    others /= np.abs(others).max(axis=0, keepdims=True) + 1e-9
    half = size / 2.0
    angle = np.deg2rad(others[:, 0] * rng.normal(0.0, shake.rotation))
    zoom = 1.0 + others[:, 1] * rng.normal(0.0, shake.zoom)
    tilt = others[:, 2:] * rng.normal(0.0, shake.tilt, size=2) / half**2
    h = np.zeros((shake.poses, 3, 3))
    h[:, 0, 0] = h[:, 1, 1] = zoom * np.cos(angle)
    h[:, 0, 1] = -zoom * np.sin(angle)
    h[:, 1, 0] = zoom * np.sin(angle)
    h[:, :2, 2] = shifts
    h[:, 2, :2] = tilt
    h[:, 2, 2] = 1.0
    return h


def _grid(h: Tensor, height: int, width: int, margin: int) -> Tensor:
    """Sampling grid (poses, height, width, 2) for a source with ``margin`` pixels more on every side."""
    ys = torch.arange(height, dtype=torch.float32) - (height - 1) / 2.0
    xs = torch.arange(width, dtype=torch.float32) - (width - 1) / 2.0
    points = torch.stack(
        [xs.expand(height, width), ys[:, None].expand(height, width), torch.ones(height, width)], -1
    )
    seen = points.reshape(1, -1, 3) @ h.transpose(1, 2).float()
    seen = seen[..., :2] / seen[..., 2:]
    span = torch.tensor([(width + 2 * margin - 1) / 2.0, (height + 2 * margin - 1) / 2.0])
    return (seen / span).reshape(h.shape[0], height, width, 2)


def _warp(source: Tensor, h: NDArray[np.float64], margin: int) -> Tensor:
    """What every pose sees of ``source`` (C, H + 2 margin, W + 2 margin): (poses, C, H, W)."""
    grid = _grid(torch.from_numpy(h), source.shape[1] - 2 * margin, source.shape[2] - 2 * margin, margin)
    batch = source.unsqueeze(0).expand(h.shape[0], -1, -1, -1)
    return F.grid_sample(batch, grid, mode="bicubic", padding_mode="reflection", align_corners=True)


def soft_mask(rng: np.random.Generator, height: int, width: int) -> Tensor:
    """A random blob with a soft rim, float32 (1, height, width) in [0, 1], covering very roughly a third."""
    coarse = torch.from_numpy(
        rng.normal(size=(1, 1, int(rng.integers(3, 7)), int(rng.integers(3, 7)))).astype(np.float32)
    )
    field = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)[0]
    softness = float(rng.uniform(0.02, 0.15))
    return torch.sigmoid((field - float(rng.uniform(0.0, 0.5))) / softness)


def with_noise(x: Tensor, rng: np.random.Generator, sigma: float) -> Tensor:
    """``x`` with normal noise of that standard deviation."""
    return x + torch.from_numpy(rng.normal(0.0, sigma, size=tuple(x.shape)).astype(np.float32))


def through_jpeg(x: Tensor, rng: np.random.Generator) -> Tensor:
    """``x``, float32 (3, H, W) in [0, 1], as a JPEG file of a quality that cameras use gives it back."""
    pixels = (to_8bit(x) * 255.0).to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=int(rng.integers(75, 98)))
    read = np.array(Image.open(file).convert("RGB"))
    return torch.from_numpy(read).permute(2, 0, 1).float() / 255.0


def synthesize(
    photo: Tensor, rng: np.random.Generator, shake: Shake, other: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One (blurred, sharp) pair from a photograph.

    photo: float32 (3, H + 2 margin, W + 2 margin) in [0, 1] with the shake's margin. other: a second one of
    that size, for the moving layer; without it there is none. Returns two float32 (3, H, W) in [0, 1], both
    on the grid of 8 bits.
    """
    margin = shake.margin
    height, width = photo.shape[1] - 2 * margin, photo.shape[2] - 2 * margin
    if height < 1 or width < 1:
        raise ValueError(
            f"photo of {tuple(photo.shape)} is smaller than its margin of {margin} pixels a side"
        )
    size = max(height, width)
    gamma = 2.2 if rng.random() < shake.linear else 1.0
    middle = light = photo**gamma
    seen = _warp(light, homographies(rng, shake, size), margin)
    if other is not None:
        mask = soft_mask(rng, photo.shape[1], photo.shape[2])
        own = replace(shake, rotation=2.0 * shake.rotation)
        moving = _warp(torch.cat([other**gamma, mask]), homographies(rng, own, size), margin)
        cover = moving[:, 3:].clamp(0.0, 1.0)
        seen = seen + cover * (moving[:, :3] - seen)
        middle = light + mask * (other**gamma - light)
    sharp = middle[:, margin:-margin, margin:-margin].clamp_min(0.0)
    blurred = seen.mean(0).clamp_min(0.0)
    if shake.bright and rng.random() < shake.bright:
        exposure = float(rng.uniform(1.3, 3.0))
        sharp, blurred = (exposure * sharp).clamp_max(1.0), (exposure * blurred).clamp_max(1.0)
    if gamma != 1.0:
        sharp, blurred = sharp ** (1.0 / gamma), blurred ** (1.0 / gamma)
    sigma = float(rng.uniform(0.0, shake.noise)) if rng.random() < 0.7 else 0.0
    if sigma > 0.0:
        blurred = with_noise(blurred, rng, sigma)
    if shake.jpeg and rng.random() < shake.jpeg:
        return through_jpeg(blurred, rng), to_8bit(sharp)
    return to_8bit(blurred), to_8bit(sharp)


def to_8bit(x: Tensor) -> Tensor:
    """``x`` clipped to [0, 1] and rounded to the 256 levels of 8 bits, still float32."""
    return torch.floor(x.clamp(0.0, 1.0) * 255.0 + 0.5) / 255.0
