"""Photo files: every format read and written, quality kept, metadata carried from each format to each."""

from __future__ import annotations

import io
import itertools
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, JpegImagePlugin, PngImagePlugin

from mimo_rt import ImageError, image_io
from mimo_rt.image_io import jpeg, tags

LOSSLESS = ("PNG", "TIFF", "WEBP", "BMP")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>'


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    if format == "WEBP":
        options = {"lossless": True, "exact": True} | options
    image.save(buffer, format, **options)
    return buffer.getvalue()


def exif_block() -> bytes:
    """An EXIF block as Pillow takes it: camera, date, exposure, maker's note, place."""
    exposure = tags.Entry(tags.RATIONAL, struct.pack("<II", 1, 250))
    note = tags.Entry(tags.UNDEFINED, b"maker's own bytes")
    place = tags.Entry(tags.ASCII, b"N\0")
    pointer = b"\0\0\0\0"
    return b"Exif\0\0" + tags.block(
        {
            0x010F: tags.Entry(tags.ASCII, b"Maker\0"),
            0x0132: tags.Entry(tags.ASCII, b"2020:01:02 03:04:05\0"),
            tags.EXIF: tags.Entry(tags.LONG, pointer, {0x829A: exposure, 0x927C: note}),
            tags.GPS: tags.Entry(tags.LONG, pointer, {1: place}),
        }
    )


@pytest.mark.parametrize(
    ("source", "target", "mode"),
    [
        (source, target, mode)
        for source, target, mode in itertools.product(LOSSLESS, LOSSLESS, ("L", "LA", "RGB", "RGBA"))
        if not (mode.endswith("A") and "BMP" in (source, target))
    ],
)
def test_pixels_survive_lossless_formats(
    photo: NDArray[np.uint8], source: str, target: str, mode: str
) -> None:
    image = Image.fromarray(photo).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(photo[:, :, 2]))
    picture = image_io.read(encoded(image, source))
    assert (picture.format, picture.height, picture.width, picture.bits) == (source, 41, 66, 8)
    assert image_io.check_writable(picture, target) == []
    again = image_io.read(image_io.encode(picture, picture.pixels, target))
    assert again.format == target
    if "WEBP" in (source, target):
        image = image.convert("RGBA" if mode.endswith("A") else "RGB")
        with Image.open(io.BytesIO(image_io.encode(picture, picture.pixels, target))) as file:
            assert (np.asarray(file.convert(image.mode)) == np.asarray(image)).all()
    else:
        assert (again.pixels == np.asarray(image)).all()


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_survive(format: str, channels: int) -> None:
    if channels > 1:
        pytest.importorskip("imagecodecs", reason="16-bit colour needs the extra formats")
        pytest.importorskip("tifffile", reason="16-bit colour needs the extra formats")
    shape = (33, 57) if channels == 1 else (33, 57, channels)
    pixels = np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)
    picture = image_io.Picture(pixels, format, image_io.Metadata(icc=PROFILE, dpi=(300.0, 300.0)))
    assert image_io.check_writable(picture, format) == []
    data = image_io.encode(picture, pixels, format)
    again = image_io.read(data)
    assert again.bits == 16
    assert (again.pixels == pixels).all()
    assert again.metadata.icc == PROFILE
    assert again.metadata.dpi == pytest.approx((300.0, 300.0), abs=0.02)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "BMP"])
def test_16_bits_into_8_are_rounded_and_noted(format: str) -> None:
    pixels = np.full((16, 16), 0x7FFF, np.uint16)
    pixels[:, 8:] = 65535
    picture = image_io.Picture(pixels, "PNG", image_io.Metadata())
    assert "8" in image_io.check_writable(picture, format)[0]
    again = image_io.read(image_io.encode(picture, pixels, format))
    assert again.bits == 8
    corner = again.pixels.reshape(16, 16, -1)[:, :, 0]
    assert (corner[0, 0], corner[0, 15]) == (127, 255)


def test_big_endian_and_white_is_zero_tiff(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="writes the test's files")
    grey = np.arange(35 * 40, dtype=np.uint16).reshape(35, 40) * 40
    for byteorder, photometric in (("<", "minisblack"), (">", "minisblack"), ("<", "miniswhite")):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, grey, byteorder=byteorder, photometric=photometric)
        expected = grey if photometric == "minisblack" else 65535 - grey
        assert (image_io.read(path).pixels == expected).all()


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_16_bit_colour_tiffs_of_others(planar: str, compression: str | None, byteorder: str) -> None:
    tifffile = pytest.importorskip("tifffile", reason="16-bit colour needs the extra formats")
    pytest.importorskip("imagecodecs", reason="16-bit colour needs the extra formats")
    pixels = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    stored = pixels if planar == "contig" else np.moveaxis(pixels, 2, 0)
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, stored, photometric="rgb", planarconfig=planar, compression=compression, byteorder=byteorder
    )
    assert (image_io.read(buffer.getvalue()).pixels == pixels).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_colour_without_the_extra_names_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("imagecodecs", reason="makes the test's files")
    pixels = np.zeros((4, 4, 3), np.uint16)
    picture = image_io.Picture(pixels, kind, image_io.Metadata())
    data = image_io.encode(picture, pixels, kind)
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(ImageError, match=r"mimo-rt\[formats\]") as caught:
        image_io.read(data)
    assert caught.value.code == "image.needs_formats"
    if kind == "PNG":
        with pytest.raises(ImageError, match=r"mimo-rt\[formats\]"):
            image_io.check_writable(picture, "PNG")


def test_a_transparent_colour_in_16_bits() -> None:
    pytest.importorskip("imagecodecs", reason="16-bit colour needs the extra formats")
    from mimo_rt.image_io import deep, png

    pixels = np.full((4, 5, 3), 1000, np.uint16)
    pixels[2, 3] = (1, 2, 3)
    data = deep.write_png(pixels, 4)
    header = len(png.SIGNATURE) + 25
    keyed = data[:header] + png._chunk(b"tRNS", b"\0\1\0\2\0\3") + data[header:]
    result = image_io.read(keyed).pixels
    assert result.shape == (4, 5, 4)
    assert (result[:, :, :3] == pixels).all()
    assert (result[:, :, 3] == np.where((pixels == (1, 2, 3)).all(axis=2), 0, 65535)).all()


@pytest.mark.parametrize("quality", [30, 75, 85, 92, 95, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_keeps_quality_and_subsampling(photo: NDArray[np.uint8], quality: int, subsampling: int) -> None:
    picture = image_io.read(
        encoded(Image.fromarray(photo), "JPEG", quality=quality, subsampling=subsampling, progressive=True)
    )
    assert (picture.quality, picture.subsampling, picture.progressive) == (quality, subsampling, True)
    with Image.open(io.BytesIO(image_io.encode(picture, picture.pixels, "JPEG"))) as again:
        assert jpeg.quality_of(again.quantization) == max(92, quality)
        assert JpegImagePlugin.get_sampling(again) == subsampling
        assert again.info["progressive"]
    with Image.open(io.BytesIO(image_io.encode(picture, picture.pixels, "JPEG", quality=50))) as again:
        assert jpeg.quality_of(again.quantization) == 50


def test_grey_jpeg_stays_grey(photo: NDArray[np.uint8]) -> None:
    picture = image_io.read(encoded(Image.fromarray(photo[:, :, 0]), "JPEG", quality=97))
    assert picture.subsampling is None
    with Image.open(io.BytesIO(image_io.encode(picture, picture.pixels, "JPEG"))) as again:
        assert again.mode == "L"
        assert jpeg.quality_of(again.quantization) == 97


def test_webp_stays_lossless_or_lossy(photo: NDArray[np.uint8]) -> None:
    for lossless in (True, False):
        picture = image_io.read(encoded(Image.fromarray(photo), "WEBP", lossless=lossless))
        assert picture.lossless is lossless
        again = image_io.encode(picture, picture.pixels, "WEBP")
        assert (b"VP8L" in again) is lossless
        assert b"VP8L" not in image_io.encode(picture, picture.pixels, "WEBP", quality=80)


@pytest.mark.parametrize("target", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("source", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_metadata_goes_from_every_format_to_every_other(
    photo: NDArray[np.uint8], source: str, target: str
) -> None:
    if source == "TIFF":
        made = image_io.Picture(
            photo,
            "PNG",
            image_io.Metadata(exif=exif_block().removeprefix(b"Exif\0\0"), icc=PROFILE, dpi=(300, 200)),
        )
        data = image_io.encode(made, photo, "TIFF")
    else:
        data = encoded(Image.fromarray(photo), source, exif=exif_block(), icc_profile=PROFILE, dpi=(300, 200))
    picture = image_io.read(data)
    assert image_io.check_writable(picture, target) == []
    data = image_io.encode(picture, picture.pixels, target)
    with Image.open(io.BytesIO(data)) as again, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again.load()
        assert again.info["icc_profile"] == PROFILE
        exif = again.getexif()
        assert exif[0x010F] == "Maker"
        assert exif[0x0132] == "2020:01:02 03:04:05"
        assert float(exif.get_ifd(tags.EXIF)[0x829A]) == pytest.approx(1 / 250)
        assert exif.get_ifd(tags.EXIF)[0x927C] == b"maker's own bytes"
        assert exif.get_ifd(tags.GPS)[1].rstrip("\0") == "N"
        if "WEBP" not in (source, target):
            assert tuple(map(float, again.info["dpi"])) == pytest.approx((300, 200), abs=0.02)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_exif_is_kept_byte_for_byte(photo: NDArray[np.uint8], format: str) -> None:
    block = exif_block() + b"something behind that nothing points to"
    picture = image_io.read(encoded(Image.fromarray(photo), format, exif=block))
    again = image_io.read(image_io.encode(picture, picture.pixels, format))
    assert again.metadata.exif == block.removeprefix(b"Exif\0\0")


def test_a_turned_photo_has_no_thumbnail_of_the_old_one(photo: NDArray[np.uint8]) -> None:
    entry = tags.Entry(tags.SHORT, b"\x06\x00")
    first = bytearray(tags.block({tags.ORIENTATION: entry}))
    second = tags.serialise({tags.ORIENTATION: entry}, len(first))
    first[22:26] = len(first).to_bytes(4, "little")
    block = bytes(first) + second
    assert tags.has_more_pages(block)
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", exif=b"Exif\0\0" + block)
    kept = image_io.read(buffer.getvalue()).metadata.exif
    assert kept is not None
    assert len(kept) == len(block)
    assert not tags.has_more_pages(kept)
    assert tags.orientation(kept) == 1


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_xmp_is_kept_and_its_orientation_applied(photo: NDArray[np.uint8], format: str) -> None:
    picture = image_io.Picture(photo, "PNG", image_io.Metadata(xmp=XMP))
    again = image_io.read(image_io.encode(picture, photo, format))
    if format in ("PNG", "JPEG", "WEBP"):  # for TIFF the tag of the file itself counts
        assert again.metadata.xmp == XMP.replace(b">6<", b">1<")
        assert (again.height, again.width) == (66, 41)
    else:
        assert again.metadata.xmp is not None


def test_png_keeps_texts_and_colour_chunks(photo: NDArray[np.uint8]) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "somebody")
    info.add_itxt("Title", "ä title", zip=True)
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    info.add(b"tIME", b"\x07\xe4\1\2\3\4\5")
    picture = image_io.read(encoded(Image.fromarray(photo), "PNG", pnginfo=info, dpi=(72, 72)))
    with Image.open(io.BytesIO(image_io.encode(picture, picture.pixels, "PNG"))) as again:
        again.load()
        assert again.text == {"Author": "somebody", "Title": "ä title"}
        assert again.info["gamma"] == pytest.approx(0.45455)
        assert again.info["dpi"] == pytest.approx((72, 72), abs=0.02)


def oriented(orientation: int, order: str) -> bytes:
    """An EXIF block of either byte order with camera, orientation and a thumbnail's directory behind."""
    number = "big" if order == "MM" else "little"

    def short(tag: int, value: int) -> bytes:
        packed = tag.to_bytes(2, number) + (3).to_bytes(2, number) + (1).to_bytes(4, number)  # type: ignore[arg-type]
        return packed + value.to_bytes(2, number) + b"\0\0"  # type: ignore[arg-type]

    head = order.encode() + (42).to_bytes(2, number) + (8).to_bytes(4, number)  # type: ignore[arg-type]
    first = (2).to_bytes(2, number) + short(0x0112, orientation) + short(0x0128, 2)  # type: ignore[arg-type]
    second = (1).to_bytes(2, number) + short(0x0112, orientation) + bytes(4)  # type: ignore[arg-type]
    return head + first + (8 + len(first) + 4).to_bytes(4, number) + second  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("order", ["II", "MM"])
def test_orientation_is_applied_once(
    photo: NDArray[np.uint8], orientation: int, format: str, order: str
) -> None:
    block = b"Exif\0\0" + oriented(orientation, order)
    data = encoded(Image.fromarray(photo), format, exif=block)
    picture = image_io.read(data)
    with Image.open(io.BytesIO(data)) as image:
        turned = image.transpose(method) if (method := _METHODS.get(orientation)) is not None else image
        expected = np.asarray(turned)
    assert (picture.pixels == expected).all()
    written = image_io.encode(picture, picture.pixels, format)
    again = image_io.read(written)
    assert again.pixels.shape == picture.pixels.shape
    kept = bytearray(block[6:])
    kept[10:22] = oriented(1, order)[10:22]
    kept[34:38] = bytes(4)  # no way to the thumbnail
    assert again.metadata.exif == bytes(kept)
    with Image.open(io.BytesIO(written)) as file:
        assert file.size == (picture.width, picture.height)
        assert file.getexif()[0x0112] == 1


_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_orientation_of_tiffs(photo: NDArray[np.uint8], orientation: int, deep: bool) -> None:
    tifffile = pytest.importorskip("tifffile", reason="writes the test's files")
    pytest.importorskip("imagecodecs", reason="16-bit colour needs the extra formats")
    pixels = photo.astype(np.uint16) * 257 if deep else photo
    buffer = io.BytesIO()
    tag = (274, 3, 1, orientation, True)
    tifffile.imwrite(
        buffer, pixels, photometric="rgb", extratags=[tag], resolution=(300, 200), resolutionunit=2
    )
    picture = image_io.read(buffer.getvalue())
    method = _METHODS.get(orientation)
    turned = Image.fromarray(photo) if method is None else Image.fromarray(photo).transpose(method)
    assert (picture.pixels == np.asarray(turned).astype(pixels.dtype) * (257 if deep else 1)).all()
    assert picture.metadata.dpi == ((200, 300) if orientation >= 5 else (300, 200))
    again = image_io.read(image_io.encode(picture, picture.pixels, "TIFF"))
    assert (again.pixels == picture.pixels).all()
    assert again.metadata.dpi == picture.metadata.dpi


@pytest.mark.parametrize(("mode", "note"), [("P", "palette"), ("1", "1-bit"), ("CMYK", "CMYK")])
def test_other_modes_are_noted(photo: NDArray[np.uint8], mode: str, note: str) -> None:
    format = "TIFF" if mode == "CMYK" else "PNG"
    picture = image_io.read(encoded(Image.fromarray(photo).convert(mode), format, icc_profile=PROFILE))
    assert picture.channels == 3
    assert note in picture.notes[0]
    assert (picture.metadata.icc is None) == (mode != "P")


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_only_the_first_of_several_pictures_and_a_note(photo: NDArray[np.uint8], format: str) -> None:
    frames = [Image.fromarray(np.roll(photo, 5 * i, axis=1)) for i in range(3)]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    picture = image_io.read(data)
    assert (picture.pixels[:, :, :3] == photo).all()
    assert "only the first" in picture.notes[0]


@pytest.mark.parametrize("format", ["JPEG", "BMP"])
def test_alpha_into_formats_without_is_refused(format: str) -> None:
    for channels in (2, 4):
        picture = image_io.Picture(np.zeros((4, 4, channels), np.uint8), "PNG", image_io.Metadata())
        with pytest.raises(ImageError, match="transparency"):
            image_io.check_writable(picture, format)


def test_sides_that_a_format_cannot_hold() -> None:
    for format, side in (("WEBP", 16384), ("JPEG", 65501)):
        picture = image_io.Picture(np.zeros((1, side), np.uint8), "PNG", image_io.Metadata())
        with pytest.raises(ImageError, match="pixels a side"):
            image_io.check_writable(picture, format)
        assert image_io.check_writable(picture, "PNG") == []


def test_metadata_too_long_for_jpeg_is_left_out_with_a_note(photo: NDArray[np.uint8]) -> None:
    metadata = image_io.Metadata(exif=exif_block()[6:] + bytes(70000), xmp=bytes(b"x" * 70000))
    picture = image_io.Picture(photo, "PNG", metadata)
    assert len(image_io.check_writable(picture, "JPEG")) == 2
    again = image_io.read(image_io.encode(picture, photo, "JPEG"))
    assert again.metadata.exif is None
    assert again.metadata.xmp is None


def test_names_of_formats() -> None:
    assert image_io.format_of("a.JPG") == "JPEG"
    assert image_io.format_of(Path("x/a.b.tif")) == "TIFF"
    assert image_io.format_of("jpg") is None
    assert image_io.is_image_name("a.webp")
    assert not image_io.is_image_name("a.webp.part")
