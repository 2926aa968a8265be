"""`mimo-rt deblur` in this process: which file becomes which, what is refused, what is said and reported."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import mimo_rt
from mimo_rt import image_io
from mimo_rt.cli import UsageError, main
from mimo_rt.cli.deblur import plan_jobs
from mimo_rt.cli.outcome import Outcome
from mimo_rt.errors import make


@pytest.fixture
def folder(tmp_path: Path, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photo.png, photo.jpg and album/{a.png, sub/b.jpg, notes.txt}."""
    image = Image.fromarray(photo)
    (tmp_path / "album" / "sub").mkdir(parents=True)
    image.save(tmp_path / "photo.png")
    image.save(tmp_path / "photo.jpg", quality=90)
    image.save(tmp_path / "album" / "a.png")
    image.save(tmp_path / "album" / "sub" / "b.jpg")
    (tmp_path / "album" / "notes.txt").write_text("no photo")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def deblur(model_file: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the verb with the test's model; returns exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(["deblur", *arguments, "-m", str(model_file)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return run


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_beside_the_input(folder: Path, deblur: Any, deblurrer: mimo_rt.Deblurrer) -> None:
    before = tree(folder)
    code, out, err = deblur("photo.png")
    assert (code, out) == (0, "")
    assert tree(folder) - before == {"photo.deblurred.png"}
    source = np.asarray(Image.open("photo.png"))
    assert (np.asarray(Image.open("photo.deblurred.png")) == deblurrer.run(source)).all()
    assert "66x41 RGB 8-bit" in err
    assert "MB" in err
    assert "photo.png -> photo.deblurred.png" in err


def test_to_a_named_file_whose_name_chooses_the_format(folder: Path, deblur: Any) -> None:
    for name, kind in (("x.png", "PNG"), ("y.webp", "WEBP"), ("z.TIF", "TIFF"), ("w.jpeg", "JPEG")):
        assert deblur("photo.jpg", name)[0] == 0
        with Image.open(name) as image:
            assert image.format == kind
        assert deblur("photo.jpg", "-o", f"o-{name}")[0] == 0
        assert Path(f"o-{name}").read_bytes() == Path(name).read_bytes()
    assert deblur("photo.jpg", "plain")[0] == 0
    with Image.open("plain") as image:
        assert image.format == "JPEG"


def test_the_format_option(folder: Path, deblur: Any) -> None:
    assert deblur("photo.jpg", "--format", "tiff")[0] == 0
    with Image.open("photo.deblurred.tiff") as image:
        assert image.format == "TIFF"
    code, _, err = deblur("photo.jpg", "out.xyz")
    assert code == 1
    assert "--format" in err


def test_several_into_a_folder(folder: Path, deblur: Any) -> None:
    code, _, err = deblur("photo.png", "photo.jpg", "-o", "new/deep")
    assert code == 0
    assert {"new/deep/photo.png", "new/deep/photo.jpg"} <= tree(folder)
    assert "2 of 2" in err


def test_a_folder_is_mirrored(folder: Path, deblur: Any) -> None:
    assert deblur("album", "-o", "out", "--format", "png")[0] == 0
    assert tree(folder / "out") == {"a.png", "sub/b.png"}
    assert deblur("album", "-o", "album/out")[0] == 0
    assert tree(folder / "album/out") == {"a.png", "sub/b.jpg"}
    code, _, err = deblur("album", "-o", "album/out", "--force", "-q")  # does not eat its own output
    assert (code, err) == (0, "")
    assert tree(folder / "album/out") == {"a.png", "sub/b.jpg"}


def test_one_into_an_existing_folder(folder: Path, deblur: Any) -> None:
    assert deblur("photo.png", "album")[0] == 0
    assert (folder / "album" / "photo.png").exists()
    assert deblur("photo.png", "fresh/")[0] == 0
    assert (folder / "fresh" / "photo.png").exists()


@pytest.mark.parametrize("arguments", [("photo.png", "photo.jpg"), ("photo.png", "photo.png")])
def test_nothing_is_overwritten_without_force(folder: Path, deblur: Any, arguments: tuple[str, str]) -> None:
    before = Path(arguments[1]).read_bytes()
    code, _, err = deblur(*arguments)
    assert code == 1
    assert "--force" in err
    assert err.count("\n") == 1
    assert Path(arguments[1]).read_bytes() == before
    assert deblur(*arguments, "--force")[0] == 0
    assert Path(arguments[1]).read_bytes() != before


def test_a_failing_photo_does_not_stop_the_others(folder: Path, deblur: Any) -> None:
    Path("album/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    Path("album/empty.png").write_bytes(b"")
    code, _, err = deblur("album", "-o", "out")
    assert code == 1
    assert tree(folder / "out") == {"a.png", "sub/b.jpg"}
    assert "2 of 4" in err
    assert "empty.png is empty" in err


@pytest.mark.parametrize("content", [b"", b"text", b"GIF89a", b"\x89PNG\r\n\x1a\n1234567890123"])
def test_wrong_files_get_one_sentence(folder: Path, deblur: Any, content: bytes) -> None:
    Path("bad.jpg").write_bytes(content)
    code, out, err = deblur("bad.jpg")
    assert (code, out) == (1, "")
    assert err.startswith("mimo-rt: ")
    assert err.count("\n") == 1
    assert "bad.jpg" in err
    assert not Path("bad.deblurred.jpg").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("album",),
        ("photo.png", "photo.jpg", "album/a.png"),
        ("photo.png", "album", "-o", "photo.jpg"),
        ("photo.png", "photo.jpg", "-o", "-"),
        ("-", "photo.jpg", "-o", "out"),
        ("-", "-o", "album"),
        ("photo.png", "album/a.png", "album", "-o", "out"),
        ("photo.png", "--strength", "2"),
        ("photo.png", "--strength", "much"),
        ("photo.png", "--threads", "-1"),
        ("photo.png", "--threads", "two"),
        ("photo.png", "--memory", "0"),
        ("photo.png", "--quality", "101"),
        ("photo.png", "--max-pixels", "0"),
        ("photo.png", "--format", "gif"),
        ("photo.png", "--no-such-option"),
        ("photo.png", "-o", "-", "--json"),
    ],
)
def test_usage_errors(folder: Path, deblur: Any, arguments: tuple[str, ...]) -> None:
    before = tree(folder)
    code, out, err = deblur(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("mimo-rt: ")
    assert err.count("\n") == 1
    assert tree(folder) == before


def test_a_missing_input(folder: Path, deblur: Any) -> None:
    code, _, err = deblur("nothing.jpg")
    assert code == 1
    assert err == "mimo-rt: cannot read nothing.jpg: No such file or directory\n"


def test_a_folder_without_photos(folder: Path, deblur: Any) -> None:
    Path("bare").mkdir()
    code, _, err = deblur("bare", "-o", "out")
    assert code == 1
    assert "no photos" in err


def test_exit_codes_of_models_and_memory(
    folder: Path, capsys: pytest.CaptureFixture[str], model_file: Path
) -> None:
    Path("bad.onnx").write_bytes(b"no model")
    assert main(["deblur", "photo.png", "-m", "bad.onnx"]) == 3
    assert main(["deblur", "photo.png", "-m", "no-such-model"]) == 3
    assert main(["deblur", "photo.png", "-m", str(model_file), "--memory", "4096"]) == 4
    err = capsys.readouterr().err
    assert err.count("mimo-rt: ") == 3
    assert not Path("photo.deblurred.png").exists()


def test_memory_of_the_system(folder: Path, deblur: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(mimo_rt.Deblurrer, "run", full)
    code, _, err = deblur("photo.png")
    assert code == 4
    assert "out of memory" in err


def test_json_and_quiet(folder: Path, deblur: Any) -> None:
    Path("album/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    code, out, err = deblur("album", "-o", "out", "--json", "-q", "-t", "2")
    assert code == 1
    report = json.loads(out)
    assert report["threads"] == 2
    by_name = {Path(entry["input"]).name: entry for entry in report["files"]}
    assert by_name["a.png"]["width"] == 66
    assert by_name["a.png"]["memory_bound_bytes"] > 0
    assert by_name["a.png"]["seconds"]["deblur"] > 0
    assert by_name["broken.jpg"]["output"] is None
    assert by_name["broken.jpg"]["code"] == "image.decode"
    assert err.count("\n") == 1


def test_strength_and_quality(folder: Path, deblur: Any) -> None:
    assert deblur("photo.png", "same.png", "--strength", "0")[0] == 0
    assert (np.asarray(Image.open("same.png")) == np.asarray(Image.open("photo.png"))).all()
    assert deblur("photo.jpg", "best.jpg", "--quality", "100")[0] == 0
    assert deblur("photo.jpg", "least.jpg", "--quality", "10")[0] == 0
    assert Path("best.jpg").stat().st_size > 2 * Path("least.jpg").stat().st_size


def test_max_pixels(folder: Path, deblur: Any) -> None:
    code, _, err = deblur("photo.png", "--max-pixels", "2k")
    assert code == 1
    assert "66x41" in err
    assert deblur("photo.png", "--max-pixels", "3k")[0] == 0


def test_alpha_into_jpeg_is_refused_before_the_work(
    folder: Path, deblur: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGBA", (8, 8), (1, 2, 3, 4)).save("alpha.png")
    monkeypatch.setattr(mimo_rt.Deblurrer, "run", lambda *_, **__: pytest.fail("too late"))
    code, _, err = deblur("alpha.png", "out.jpg")
    assert code == 1
    assert "transparency" in err


def test_notes_are_printed(folder: Path, deblur: Any) -> None:
    Image.open("photo.png").quantize(16).save("palette.png")
    code, _, err = deblur("palette.png")
    assert code == 0
    assert "note: a palette image comes back as RGB" in err


def test_orientation_exif_profile_and_resolution(folder: Path, deblur: Any) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    Image.open("photo.png").save("turned.jpg", exif=exif, icc_profile=profile, dpi=(240, 240))
    assert deblur("turned.jpg")[0] == 0
    with Image.open("turned.deblurred.jpg") as image:
        assert image.size == (41, 66)
        assert (image.getexif()[0x0112], image.getexif()[0x010F]) == (1, "Maker")
        assert image.info["icc_profile"] == profile
        assert image.info["dpi"] == (240, 240)


def test_an_unwritable_place(folder: Path, deblur: Any) -> None:
    code, _, err = deblur("photo.png", "/proc/nothing/out.png")
    assert code == 1
    assert "cannot" in err
    assert err.count("mimo-rt: ") == 1


def test_null_device_is_written_to_not_replaced(folder: Path, deblur: Any) -> None:
    assert deblur("photo.png", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()


def test_16_bit_photos(folder: Path, deblur: Any, identity_file: Path) -> None:
    pytest.importorskip("imagecodecs", reason="16-bit colour needs the extra formats")
    pytest.importorskip("tifffile", reason="16-bit colour needs the extra formats")
    pixels = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    for format, name in (("PNG", "deep.png"), ("TIFF", "deep.tif")):
        picture = image_io.Picture(pixels, format, image_io.Metadata())
        Path(name).write_bytes(image_io.encode(picture, pixels, format))
        assert main(["deblur", name, "-m", str(identity_file), "-q"]) == 0
        again = image_io.read(Path(name).with_suffix(f".deblurred{Path(name).suffix}"))
        assert again.pixels.dtype == np.uint16
        assert (again.pixels == pixels).all()
    code, _, err = deblur("deep.png", "shallow.jpg")
    assert code == 0
    assert "16 bits are written as 8" in err


def test_two_inputs_of_one_name(folder: Path) -> None:
    shutil.copy("photo.png", "album/photo.png")
    with pytest.raises(UsageError, match="both become"):
        plan_jobs(["photo.png", "album/photo.png"], "out", None)


def test_plans_of_jobs(folder: Path) -> None:
    def pairs(
        inputs: list[str], output: str | None = None, format: str | None = None
    ) -> list[tuple[str, str]]:
        return [(job.name, job.target_name) for job in plan_jobs(inputs, output, format)]

    assert pairs(["-"]) == [("standard input", "standard output")]
    assert pairs(["-", "x.png"]) == [("standard input", "x.png")]
    assert pairs(["a.jpg", "-"]) == [("a.jpg", "standard output")]
    assert pairs(["a.b.jpg"]) == [("a.b.jpg", "a.b.deblurred.jpg")]
    assert pairs(["x/a.jpg"], format="png") == [("x/a.jpg", "x/a.deblurred.png")]
    assert pairs(["a.jpg"], format="jpg") == [("a.jpg", "a.deblurred.jpg")]
    assert pairs(["noending"]) == [("noending", "noending.deblurred")]


def test_two_photos_are_not_taken_for_in_and_out_in_silence(folder: Path, deblur: Any) -> None:
    before = Path("photo.jpg").read_bytes()
    code, _, err = deblur("photo.png", "photo.jpg")
    assert code == 1
    assert "to deblur both, give -o FOLDER" in err
    assert Path("photo.jpg").read_bytes() == before


def test_names_that_are_too_long(folder: Path, deblur: Any) -> None:
    long = "x" * 250 + ".png"
    shutil.copy("photo.png", long)
    for arguments in ((long,), ("y" * 300 + ".png",), ("photo.png", "z" * 300 + ".png")):
        code, _, err = deblur(*arguments)
        assert code == 1
        assert "File name too long" in err
        assert err.count("mimo-rt: ") == 1


def test_an_unwritable_place_is_found_before_the_work(
    folder: Path, deblur: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mimo_rt.Deblurrer, "run", lambda *_, **__: pytest.fail("too late"))
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "album" not in str(path) and access(path, mode))
    for target, why in (
        ("photo.jpg/out.png", "photo.jpg is not a folder"),
        ("album/new/out.png", "album cannot be written to"),
        ("album/sub/", "album/sub cannot be written to"),
    ):
        code, _, err = deblur("photo.png", target)
        assert code == 1
        assert "cannot write" in err
        assert why in err
    assert not Path("album/new").exists()


def test_a_full_disk_ends_the_batch(folder: Path, deblur: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes, **_: Any) -> None:
        raise make(mimo_rt.ImageError, image_io.NO_SPACE, f"cannot write {path}: No space left on device")

    monkeypatch.setattr(image_io, "write_file", full)
    code, out, err = deblur("album", "-o", "out", "--json", "--always")
    assert code == 1
    assert err.count("No space left") == 1
    assert "0 of 2 photos done" in err
    assert len(json.loads(out)["files"]) == 1


def test_hidden_folders_are_left_alone_and_unreadable_ones_told(
    folder: Path, deblur: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("album/.thumbnails").mkdir()
    shutil.copy("photo.png", "album/.thumbnails/t.png")
    assert [job.name for job in plan_jobs(["album"], "out", None)] == ["album/a.png", "album/sub/b.jpg"]
    scandir = os.scandir

    def closed(path: Any) -> Any:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    code, _, err = deblur("album", "-o", "out")
    assert code == 1
    assert "cannot read the folder album/sub: Permission denied" in err
    assert "1 of 2 photos done" in err
    assert tree(folder / "out") == {"a.png"}


def test_photos_of_one_stem(folder: Path) -> None:
    for name in ("IMG_1.HEIC", "IMG_1.JPG", "IMG_2.heic", "c.jpg", "c.png"):
        (folder / "album" / name).write_bytes(b"")

    def targets(format: str | None) -> set[str]:
        return {
            str(job.target.relative_to("out")) for job in plan_jobs(["album"], "out", format) if job.target
        }

    assert targets(None) == {
        "a.png", "sub/b.jpg", "c.jpg", "c.png", "IMG_1.HEIC.jpg", "IMG_1.JPG", "IMG_2.jpg",
    }  # fmt: skip
    assert targets("webp") == {
        "a.webp", "sub/b.webp", "c.jpg.webp", "c.png.webp", "IMG_1.HEIC.webp", "IMG_1.JPG.webp", "IMG_2.webp",
    }  # fmt: skip


def test_of_a_copied_file_nothing_is_said_that_is_not_true(folder: Path, deblur: Any) -> None:
    Image.open("photo.png").quantize(16).save("palette.png")
    code, out, err = deblur("palette.png", "same.png", "--strength", "0", "--json")
    assert code == 0
    assert Path("same.png").read_bytes() == Path("palette.png").read_bytes()
    assert "note" not in err
    assert "left as it was, the file was copied" in err
    (report,) = json.loads(out)["files"]
    assert report["copied"]
    assert report["notes"] == []


def test_a_report_of_no_photos(folder: Path, deblur: Any) -> None:
    Path("bare").mkdir()
    code, out, _ = deblur("bare", "-o", "out", "--json")
    assert code == 1
    assert json.loads(out)["error"] == "no photos found in bare"


def test_a_model_that_cannot_be_had_is_in_the_report(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deblur", "album", "-o", "out", "--json", "-m", "no-such-model"]) == 3
    said = capsys.readouterr()
    (report,) = json.loads(said.out)["files"]
    assert report["error"] == said.err.splitlines()[0].removeprefix("mimo-rt: ")
    assert report["code"]


def test_comment_and_caption_of_a_jpeg(folder: Path, deblur: Any) -> None:
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x0c\x1c\x02\x78\x00\x07caption"
    segment = b"\xff\xed" + (len(iptc) + 2).to_bytes(2, "big") + iptc
    Image.open("photo.png").save("told.jpg", comment=b"by hand", extra=segment)
    code, _, err = deblur("told.jpg", "--always")
    assert code == 0
    assert "note" not in err
    with Image.open("told.deblurred.jpg") as image:
        assert image.info["comment"] == b"by hand"
        assert [data for marker, data in image.applist if marker == "APP13"] == [iptc]
    code, _, err = deblur("told.jpg", "told.png", "--always")
    assert "caption (IPTC) is not kept" in err


@pytest.mark.parametrize(
    ("model", "strength", "scale", "tip"),
    [
        ("mine", 1.5, 1.0, "try --scale 0.25 for long blur"),
        ("mine", 1.0, 0.25, "try --scale 1 for short blur or --strength 1.5"),
        ("mimo-unet-s", 1.0, 1.0, "long blur, --strength 1.5 or a larger model"),
    ],
)
def test_verdicts_are_sentences(model: str, strength: float, scale: float, tip: str) -> None:
    assert tip in Outcome(0.2, 1.0).verdict(scale, strength, model)
