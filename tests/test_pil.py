"""Pillow images in and out: every mode comes back as documented, and what belongs to it stays with it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import mimo_rt
from mimo_rt.errors import ImageNote


def quietly(deblurrer: mimo_rt.Deblurrer, image: Image.Image) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return deblurrer.run(image)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_plain_modes_equal_arrays(deblurrer: mimo_rt.Deblurrer, photo: NDArray[np.uint8], mode: str) -> None:
    image = Image.fromarray(photo).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(photo[:, :, 1]))
    result = quietly(deblurrer, image)
    assert (result.mode, result.size) == (mode, image.size)
    assert np.asarray(result).tobytes() == deblurrer.run(np.asarray(image)).tobytes()
    if mode in ("LA", "RGBA"):
        assert result.getchannel("A").tobytes() == image.getchannel("A").tobytes()


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_deep_grey(deblurrer: mimo_rt.Deblurrer, photo: NDArray[np.uint8], mode: str) -> None:
    grey = photo[:, :, 0].astype(np.uint16) * 257 - 3
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": "i4"}[mode]
    image = Image.fromarray(grey.astype(dtype))
    assert image.mode == mode
    result = quietly(deblurrer, image)
    assert result.mode == mode
    assert (np.asarray(result).astype(np.uint16) == deblurrer.run(grey)).all()


@pytest.mark.parametrize(
    ("mode", "comes_back"),
    [
        ("P", "RGB"),
        ("1", "RGB"),
        ("CMYK", "RGB"),
        ("YCbCr", "RGB"),
        ("HSV", "RGB"),
        ("RGBa", "RGBA"),
        ("PA", "RGBA"),
    ],
)
def test_other_modes_come_back_as_colour_with_a_note(
    deblurrer: mimo_rt.Deblurrer, photo: NDArray[np.uint8], mode: str, comes_back: str
) -> None:
    source = Image.fromarray(photo)
    if mode in ("RGBa", "PA"):
        source.putalpha(128)
    image = source.quantize(32).convert("PA") if mode == "PA" else source.convert(mode)
    with pytest.warns(ImageNote, match=f"comes back as {comes_back}"):
        result = deblurrer.run(image)
    assert (result.mode, result.size) == (comes_back, image.size)
    expected = deblurrer.run(np.asarray(image.convert(comes_back)))
    assert np.asarray(result).tobytes() == expected.tobytes()


def test_a_transparent_palette_becomes_alpha(deblurrer: mimo_rt.Deblurrer, photo: NDArray[np.uint8]) -> None:
    image = Image.fromarray(photo).quantize(16)
    image.info["transparency"] = 3
    with pytest.warns(ImageNote, match="RGBA"):
        result = deblurrer.run(image)
    expected = np.where(np.asarray(image) == 3, 0, 255)
    assert (np.asarray(result.getchannel("A")) == expected).all()
    assert "transparency" not in result.info


@pytest.mark.parametrize(("mode", "key"), [("RGB", (200, 40, 90)), ("L", 7)])
def test_a_transparent_colour_becomes_alpha(
    deblurrer: mimo_rt.Deblurrer, photo: NDArray[np.uint8], mode: str, key: Any
) -> None:
    image = Image.fromarray(photo).convert(mode)
    image.putpixel((3, 4), key)
    image.info["transparency"] = key
    with pytest.warns(ImageNote, match="alpha"):
        result = deblurrer.run(image)
    assert result.mode == mode + "A"
    assert result.getpixel((3, 4))[-1] == 0
    assert result.getpixel((60, 38))[-1] == 255


def test_cmyk_goes_through_its_profile(deblurrer: mimo_rt.Deblurrer) -> None:
    """An unusable profile must neither break the run nor stay on pixels that it does not describe."""
    image = Image.new("CMYK", (8, 8), (0, 128, 255, 10))
    image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with pytest.warns(ImageNote, match="CMYK"):
        result = deblurrer.run(image)
    assert result.mode == "RGB"
    assert "icc_profile" not in result.info


def test_profile_and_exif_stay(
    deblurrer: mimo_rt.Deblurrer, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    path = tmp_path / "a.jpg"
    Image.fromarray(photo).save(path, icc_profile=profile, exif=exif, dpi=(300, 300))
    with Image.open(path) as image:
        result = deblurrer.run(image)
        assert result.info["icc_profile"] == profile
        assert result.info["exif"] == image.info["exif"]
        assert result.getexif()[0x0112] == 6
        assert result.size == image.size


def test_the_input_stays_as_it_was(deblurrer: mimo_rt.Deblurrer, photo: NDArray[np.uint8]) -> None:
    image = Image.fromarray(photo)
    deblurrer.run(image)
    assert (np.asarray(image) == photo).all()


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (0, 5)),
        Image.new("F", (5, 5)),
        Image.new("LAB", (5, 5)),
        Image.fromarray(np.full((3, 3), 70000, np.int32)),
        Image.fromarray(np.full((3, 3), -1, np.int32)),
    ],
    ids=["empty", "F", "LAB", "wide", "negative"],
)
def test_images_that_cannot_be_deblurred(deblurrer: mimo_rt.Deblurrer, image: Image.Image) -> None:
    with pytest.raises(mimo_rt.ImageError):
        deblurrer.run(image)


def test_out_is_for_arrays(deblurrer: mimo_rt.Deblurrer, photo: NDArray[np.uint8]) -> None:
    with pytest.raises(mimo_rt.ImageError, match="arrays"):
        deblurrer.run(Image.fromarray(photo), out=photo)  # type: ignore[call-overload]


def test_a_truncated_file_opened_lazily(
    deblurrer: mimo_rt.Deblurrer, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(photo).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with Image.open(path) as image, pytest.raises(mimo_rt.ImageError, match="decode"):
        deblurrer.run(image)
