"""HEIC and AVIF, which phones store: read with all that belongs to the photo, written as JPEG or as asked."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from mimo_rt import ImageError, image_io
from mimo_rt.cli import main
from mimo_rt.image_io.formats import kind_of_box

DATA = Path(__file__).resolve().parent / "data"
AVIF = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


def drawn() -> NDArray[np.uint8]:
    """The picture in the files of tests/data/make_heic.py."""
    y, x = np.mgrid[0:48, 0:64]
    wave = 128 + 100 * np.sin(x / 6) * np.cos(y / 5)
    picture: NDArray[np.uint8] = np.stack([x * 4, y * 5, wave], 2).clip(0, 255).astype(np.uint8)
    return picture


def avif(pixels: NDArray[np.uint8], **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "AVIF", quality=90, **options)
    return file.getvalue()


def difference(pixels: NDArray[Any], expected: NDArray[Any]) -> float:
    assert pixels.shape == expected.shape
    return float(np.abs(pixels.astype(float) - expected).mean())


class TestHeic:
    @pytest.fixture(autouse=True)
    def extra(self) -> None:
        pytest.importorskip("pi_heif", reason="HEIC needs the extra formats")

    def test_a_turned_photo_with_all_that_belongs_to_it(self) -> None:
        picture = image_io.read(DATA / "turned.heic")
        assert (picture.width, picture.height, picture.kind) == (48, 64, "RGB 8-bit")
        assert difference(picture.pixels, np.rot90(drawn(), -1)) < 4
        assert picture.metadata.icc
        assert picture.metadata.xmp == b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
        exif = Image.Exif()
        exif.load(b"Exif\0\0" + (picture.metadata.exif or b""))
        assert exif[271] == "Maker"
        assert exif[274] == 1, "the pixels are upright already"

    def test_10_bits_become_16_and_stay_hdr(self, tmp_path: Path) -> None:
        pytest.importorskip("imagecodecs", reason="16-bit colour needs the extra formats")
        picture = image_io.read(DATA / "deep.heic")
        assert picture.kind == "RGB 16-bit"
        assert difference(picture.pixels / 257, drawn()) < 2
        assert len(np.unique(picture.pixels)) > 300, "more than 8 bits"
        assert set(np.unique(picture.pixels * 1023.0 / 65535 % 1).round(2)) <= {0, 0.01, 0.99, 1}
        assert image_io.check_writable(picture, "PNG") == []
        again = image_io.read(image_io.encode(picture, picture.pixels, "PNG"))
        assert (again.pixels == picture.pixels).all()
        assert (b"cICP", bytes((12, 16, 0, 1))) in again.metadata.png_chunks
        notes = image_io.check_writable(picture, "JPEG")
        assert any("not sRGB" in note for note in notes)
        assert any("16 bits" in note for note in notes)

    def test_a_folder_of_them_becomes_jpegs(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        album, out = tmp_path / "album", tmp_path / "out"
        album.mkdir()
        for name in ("IMG_1.HEIC", "IMG_2.heic"):
            (album / name).write_bytes((DATA / "turned.heic").read_bytes())
        assert main(["deblur", str(album), "-o", str(out), "--json", "-q", "--always"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert sorted(path.name for path in out.iterdir()) == ["IMG_1.jpg", "IMG_2.jpg"]
        assert {file["format"] for file in report["files"]} == {"JPEG"}
        with Image.open(out / "IMG_1.jpg") as image:
            assert image.size == (48, 64)
            assert image.getexif()[274] == 1
            assert image.info["icc_profile"]
        assert main(["deblur", str(album / "IMG_1.HEIC"), "-q"]) == 0
        assert (album / "IMG_1.deblurred.jpg").is_file()
        assert main(["deblur", str(album / "IMG_1.HEIC"), str(tmp_path / "x.heic"), "-q"]) == 1
        assert ".heic is none of the formats PNG" in capsys.readouterr().err
        assert main(["deblur", str(album / "IMG_1.HEIC"), "-o", str(tmp_path / "x.png"), "-q"]) == 0
        assert image_io.read(tmp_path / "x.png").format == "PNG"

    def test_a_decoder_that_crashes_takes_nobody_with_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        crashing = tmp_path / "python"
        crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
        crashing.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(crashing))
        with pytest.raises(ImageError, match="gave up") as caught:
            image_io.read(DATA / "turned.heic")
        assert caught.value.code == "image.decode"

    def test_in_a_program_without_an_interpreter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        apart = image_io.read(DATA / "turned.heic")
        monkeypatch.setattr(sys, "frozen", True, raising=False)
        monkeypatch.setattr(sys, "executable", "/nothing/there")
        assert (image_io.read(DATA / "turned.heic").pixels == apart.pixels).all()

    def test_what_it_is_called_does_not_matter(self, tmp_path: Path) -> None:
        """Messengers and backups rename them."""
        photo = tmp_path / "photo.jpg"
        photo.write_bytes((DATA / "turned.heic").read_bytes())
        assert main(["deblur", str(photo), "-q"]) == 0
        with Image.open(tmp_path / "photo.deblurred.jpg") as image:
            assert image.format == "JPEG"


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(ImageError, match=r"mimo-rt\[formats\]") as caught:
        image_io.read(DATA / "turned.heic")
    assert caught.value.code == "image.needs_formats"


@AVIF
def test_avif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Maker"
    picture = image_io.read(avif(drawn(), exif=exif))
    assert (picture.format, picture.lossless) == ("AVIF", False)
    assert difference(picture.pixels, np.rot90(drawn(), -1)) < 3
    assert picture.notes == []
    assert b"Maker" in (picture.metadata.exif or b"")
    path = tmp_path / "photo.avif"
    path.write_bytes(avif(drawn()))
    assert main(["deblur", str(path), "-q"]) == 0
    assert image_io.read(tmp_path / "photo.deblurred.jpg").width == 64
    path.write_bytes(avif(np.dstack([drawn(), drawn()[:, :, :1]])))
    assert main(["deblur", str(path), str(tmp_path / "clear.png"), "-q"]) == 0
    assert image_io.read(tmp_path / "clear.png").channels == 4


@AVIF
def test_a_deep_avif_is_told_of() -> None:
    codecs = pytest.importorskip("imagecodecs", reason="writes the test's file")
    deep = codecs.avif_encode(drawn().astype(np.uint16) * 4, bitspersample=10, level=90)
    picture = image_io.read(deep)
    assert picture.notes == ["its 10 or 12 bits were read as 8"]
    assert difference(picture.pixels, drawn()) < 4


def test_an_avif_for_a_pillow_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(ImageError, match="Pillow") as caught:
        image_io.read(b"\0\0\0\x1cftypavif" + bytes(40))
    assert caught.value.code == "image.needs_formats"


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1avif", "HEIF"),  # the box ends before
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42isom", None),
        (b"\0\0\0\x18ftyp", None),
    ],
)
def test_what_a_first_box_says(box: bytes, kind: str | None) -> None:
    assert kind_of_box(box) == kind
