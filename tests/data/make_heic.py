"""Makes the HEIC files of this folder: ``python make_heic.py``, with pillow-heif (which, unlike the reader
that we use, can write them).

turned.heic lies on its side, as a phone held upright stores it, with EXIF, XMP and a profile. deep.heic has
10 bits and says that its colours are those of HDR (BT.2100 PQ in the primaries of P3).
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageCms

HERE = Path(__file__).parent

y, x = np.mgrid[0:48, 0:64]
wave = 128 + 100 * np.sin(x / 6) * np.cos(y / 5)
picture = np.stack([x * 4, y * 5, wave], 2).clip(0, 255).astype(np.uint8)

pillow_heif.register_heif_opener()
exif = Image.Exif()
exif[274] = 6
exif[271] = "Maker"
profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
Image.fromarray(picture).save(
    HERE / "turned.heic", exif=exif.tobytes(), icc_profile=profile, quality=60, xmp=xmp
)

pillow_heif.options.SAVE_NCLX_PROFILE = True
deep = pillow_heif.from_bytes(mode="RGB;16", size=(64, 48), data=(picture.astype(np.uint16) * 257).tobytes())
file = io.BytesIO()
colours = {"color_primaries": 12, "transfer_characteristics": 16, "matrix_coefficients": 0}
deep.save(file, quality=95, chroma=444, **colours)
(HERE / "deep.heic").write_bytes(file.getvalue())
