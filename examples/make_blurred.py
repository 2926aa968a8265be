"""Makes examples/blurred.jpg: one photograph that no training saw, blurred by the project's own shake
model.

``python examples/make_blurred.py --photos PHOTOS`` where PHOTOS was written by ``python -m train.photos
PHOTOS``. The seed is fixed, so the picture can be made again; with ``--sharp FILE`` the sharp one is
written as well.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from train.blur import Shake, synthesize  # noqa: E402
from train.data import list_images, to_tensor  # noqa: E402
from train.frames import read_image  # noqa: E402

SEED = 4
SHAKE = Shake(reach=(4.5, 4.5), rotation=0.05, zoom=0.0005, tilt=0.3, noise=0.003, linear=0.0, poses=17)
BOX = (0, 330, 1028, 1050)
"""What is taken of the photograph: left, top, right, bottom. The shake eats a margin of it on every side."""
LARGEST = 300_000
"""Bytes of the file at most."""


def to_image(x: torch.Tensor) -> Image.Image:
    """float32 (3, H, W) on the grid of 8 bits as a picture."""
    return Image.fromarray(np.rint(x.permute(1, 2, 0).numpy() * 255.0).astype(np.uint8))


def encode(image: Image.Image) -> bytes:
    """A JPEG of the best quality that stays within `LARGEST` bytes."""
    for quality in range(96, 59, -2):
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=quality, subsampling=0, optimize=True)
        if buffer.tell() <= LARGEST:
            return buffer.getvalue()
    raise ValueError(f"the picture does not fit into {LARGEST} bytes")


def main() -> None:
    """Write the blurred picture and, if asked, the sharp one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "examples" / "blurred.jpg")
    parser.add_argument("--sharp", type=Path, help="write the sharp picture here (PNG)")
    a = parser.parse_args()
    (path,) = list_images(a.photos / "example")
    left, top, right, bottom = BOX
    photo = to_tensor(read_image(path)[top:bottom, left:right])
    blurred, sharp = synthesize(photo, np.random.default_rng(SEED), SHAKE)
    data = encode(to_image(blurred))
    temporary = a.output.with_name(a.output.name + ".partial")
    temporary.write_bytes(data)
    temporary.replace(a.output)
    if a.sharp is not None:
        to_image(sharp).save(a.sharp)
    height, width = blurred.shape[1], blurred.shape[2]
    print(f"{a.output}: {width}x{height}, {len(data)} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
