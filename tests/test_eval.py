"""`mimo-rt eval`: its figures are right, its folder is whole, it goes on where it stopped, and it never
takes a subset for the benchmark."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

import mimo_rt
from mimo_rt.cli import main
from mimo_rt.evaluation import completeness, run, summary, verdict
from mimo_rt.evaluation.ahead import ahead
from mimo_rt.evaluation.backends import ModelFacts
from mimo_rt.evaluation.crops import largest_change
from mimo_rt.evaluation.scatter import scatter
from mimo_rt.evaluation.table import COLUMNS, Row, read_csv, to_csv

HEIGHT, WIDTH = 48, 64
SECONDS = [name for name in COLUMNS if name.endswith("seconds")]


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.float64)
    for axis in (0, 1):
        image = (image + np.roll(image, 1, axis) + np.roll(image, -1, axis)) / 3
    return image.astype(np.uint8)


def write_pair(blur: Path, sharp: Path, seed: int) -> None:
    for path in (blur, sharp):
        path.parent.mkdir(parents=True, exist_ok=True)
    image = picture(seed)
    Image.fromarray(image).save(sharp)
    Image.fromarray(((image.astype(int) + np.roll(image, 2, 1)) // 2).astype(np.uint8)).save(blur)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five pairs of 64x48 in blur/ and sharp/."""
    for n in range(1, 6):
        write_pair(tmp_path / "set" / "blur" / f"{n}.png", tmp_path / "set" / "sharp" / f"{n}.png", n)
    return tmp_path / "set"


def evaluate(data: Path, model: Path | str, out: Path, *options: str) -> int:
    return main(["eval", "--data", str(data), "-m", str(model), "-o", str(out), "-t", "2", *options])


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "images.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def timeless(out: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k not in SECONDS} for row in rows_of(out)]


def summary_of(out: Path) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    found: dict[str, Any] = json.loads((out / "summary.json").read_text(), parse_constant=refuse)
    return found


def test_the_folder_holds_what_was_measured(
    data: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, images = tmp_path / "out", tmp_path / "images"
    options = ["--save-images", str(images), "--against", "onnxruntime", "--json", "-q"]
    assert evaluate(data, model_file, out, *options) == 0
    said = capsys.readouterr()
    assert said.err == ""
    found = summary_of(out)
    assert {**json.loads(said.out), "identity": found["identity"]} == found
    assert sorted(p.name for p in out.iterdir()) == ["images.csv", "report.html", "summary.json"]

    deblurrer = mimo_rt.Deblurrer(model_file)
    after = []
    for row, n in zip(rows_of(out), range(1, 6), strict=True):
        blurred, sharp = (
            np.asarray(Image.open(data / half / f"{n}.png"), np.float32) / np.float32(255)
            for half in ("blur", "sharp")
        )
        result = deblurrer.run(blurred)
        pixels = np.floor(result * 255.0 + 0.5).astype(np.uint8)

        def psnr(image: NDArray[Any], wanted: NDArray[Any], top: float) -> float:
            return -10 * math.log10(np.mean((image.astype(np.float64) - wanted) ** 2) / top**2)

        assert (row["name"], row["width"], row["height"]) == (str(n), "64", "48")
        assert float(row["psnr_before"]) == pytest.approx(psnr(blurred, sharp, 1.0), abs=1e-9)
        assert float(row["psnr_after"]) == pytest.approx(psnr(result, sharp, 1.0), abs=1e-9)
        assert float(row["psnr_after_8bit"]) == pytest.approx(
            psnr(pixels, np.round(255 * sharp), 255.0), abs=1e-9
        )
        assert row["psnr_before_8bit"] == row["psnr_before"]
        assert 0 < float(row["ssim_after"]) < 1
        assert 0 < float(row["against_difference"]) < 1e-4
        assert float(row["against_psnr"]) == pytest.approx(float(row["psnr_after"]), abs=1e-3)
        np.testing.assert_array_equal(np.asarray(Image.open(images / f"{n}.png")), pixels)
        after.append(float(row["psnr_after"]))
    assert found["results"]["psnr_after"] == pytest.approx(np.mean(after), abs=1e-12)
    assert found["results"]["images"] == 5
    assert found["against"]["worst_difference"] == max(float(r["against_difference"]) for r in rows_of(out))
    assert found["against_backend"]["runtime"].startswith("onnxruntime")
    assert found["model"]["sha256"] == mimo_rt.build(model_file).info.key["model_sha256"]
    assert found["timing"]["total"] > 0
    assert found["verdict"] is None
    assert found["protocol"]["ssim"].startswith("Gaussian")
    assert {"mimo_rt", "numpy", "Pillow"} <= found["versions"].keys()


def test_the_report_needs_nothing_else(data: Path, model_file: Path, tmp_path: Path) -> None:
    assert evaluate(data, model_file, tmp_path / "out") == 0
    text = (tmp_path / "out" / "report.html").read_text()
    assert not re.search(r"https?://|<script|<link|@import|url\((?!#)", text)
    sources = re.findall(r'src="([^"]{20})', text)
    assert sources == ["data:image/png;base6"] * 9
    assert text.count('class="dot"') == 5
    assert "This is not the GoPro benchmark" in text
    for name in ("best", "median", "worst"):
        assert f">{name}</text>" in text


def test_names_are_escaped(data: Path, model_file: Path, tmp_path: Path) -> None:
    """File names are as hostile as anything else in a file."""
    hostile = ["<b>&", 'comma, "quote"\nline', "'=1+1"]
    if os.fsencode(os.fsdecode(b"\xff")) == b"\xff":
        hostile.append(os.fsdecode(b"\xff"))  # no text at all
    for n, name in enumerate(hostile, 1):
        for half in ("blur", "sharp"):
            (data / half / f"{n}.png").rename(data / half / f"{name}.png")
    assert evaluate(data, model_file, tmp_path / "out") == 0
    text = (tmp_path / "out" / "report.html").read_text()
    assert "<b>&<" not in text
    assert "&lt;b&gt;&amp;" in text
    assert {row.name for row in read_csv(tmp_path / "out" / "images.csv")} == {*hostile, "5"}
    assert evaluate(data, model_file, tmp_path / "out", "--resume") == 0


def test_names_do_not_reach_the_terminal_as_they_are(
    data: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b]0;gotcha\x07\x1b[2J" + os.fsdecode(b"\xff")
    for half in ("blur", "sharp"):
        (data / half / "1.png").rename(data / half / f"{hostile}.png")
        (data / half / "2.png").rename(data / half / f"2{hostile}.png")
    (data / "blur" / f"{hostile}.png").write_bytes(b"no image")
    assert evaluate(data, model_file, tmp_path / "out\x1b") == 1
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "\\x1b]0;gotcha\\x07" in said.err
    (said.out + said.err).encode()


def interrupt_at(patch: pytest.MonkeyPatch, number: int) -> list[str]:
    """The network is interrupted in its `number`-th run, as by Ctrl-C; returns the list of its runs."""
    whole, calls = run.timed, []

    def timed(backend: Any, image: Any) -> Any:
        calls.append(backend.name)
        if len(calls) == number:
            raise KeyboardInterrupt
        return whole(backend, image)

    patch.setattr(run, "timed", timed)
    return calls


def test_resuming_equals_no_interruption(
    data: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert evaluate(data, model_file, whole) == 0
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, 4)
        capsys.readouterr()
        assert evaluate(data, model_file, parts, "--resume") == 130  # begins where there is nothing
        assert "--resume" in capsys.readouterr().err
    assert [row["name"] for row in rows_of(parts)] == ["1", "2", "3"]
    assert not summary_of(parts)["finished"]
    assert not (parts / "report.html").exists()
    with pytest.MonkeyPatch.context() as patch:
        calls = interrupt_at(patch, 99)
        assert evaluate(data, model_file, parts, "--resume") == 0
        assert len(calls) == 2
    assert timeless(parts) == timeless(whole)
    one, other = summary_of(whole), summary_of(parts)
    assert {**one, "timing": 0} == {**other, "timing": 0}
    assert (parts / "report.html").exists()


def test_only_the_same_evaluation_goes_on(
    data: Path, model_file: Path, identity_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert evaluate(data, model_file, out) == 0
    before = (out / "images.csv").read_bytes()
    for model, options, word in (
        (identity_file, [], "model"),
        (model_file, ["--ensemble", "4"], "ensemble"),
        (model_file, ["--limit", "3"], "limit"),
        (model_file, ["--precision", "fp16"], "backend"),
        (model_file, ["--against", "fp16"], "against"),
    ):
        capsys.readouterr()
        assert evaluate(data, model, out, "--resume", *options) == 1
        assert word in capsys.readouterr().err
    write_pair(data / "blur" / "2.png", tmp_path / "x.png", 77)
    assert evaluate(data, model_file, out, "--resume") == 1
    assert "files of 2 have changed" in capsys.readouterr().err
    assert (out / "images.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary.json", b"{"),
        ("summary.json", b"[]"),
        ("summary.json", b'{"identity": 3}'),
        ("images.csv", b"name\n1\n"),
        ("images.csv", b"\x00\xff"),
        ("images.csv", (",".join(COLUMNS) + "\n1,2\n").encode()),
        ("images.csv", (",".join(COLUMNS) + "\n" + ",".join("x" for _ in COLUMNS) + "\n").encode()),
    ],
)
def test_a_damaged_folder_does_not_go_on(
    name: str,
    content: bytes,
    data: Path,
    model_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert evaluate(data, model_file, out, "--limit", "1") == 0
    (out / name).write_bytes(content)
    capsys.readouterr()
    assert evaluate(data, model_file, out, "--limit", "1", "--resume") == 1
    assert "--force" in capsys.readouterr().err
    assert evaluate(data, model_file, out, "--limit", "1", "--force") == 0


def test_nothing_is_overwritten_unasked(data: Path, model_file: Path, tmp_path: Path) -> None:
    out, images = tmp_path / "out", tmp_path / "images"
    images.mkdir()
    (images / "3.png").write_text("mine")
    assert evaluate(data, model_file, out, "--save-images", str(images)) == 1
    assert evaluate(data, model_file, out, "--save-images", str(images), "--resume") == 1
    assert not out.exists()
    assert (images / "3.png").read_text() == "mine"
    assert evaluate(data, model_file, out, "--limit", "2") == 0
    before = (out / "images.csv").read_bytes()
    assert evaluate(data, model_file, out) == 1
    assert (out / "images.csv").read_bytes() == before
    assert evaluate(data, model_file, out, "--force", "--save-images", str(images)) == 0
    assert len(rows_of(out)) == 5
    assert (images / "3.png").read_bytes().startswith(b"\x89PNG")


def test_broken_and_unequal_images_fail_alone(
    data: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    kept = (data / "blur" / "2.png").read_bytes()
    (data / "blur" / "2.png").write_bytes(kept[: len(kept) // 2])
    Image.fromarray(picture(4, 48, 60)).save(data / "sharp" / "4.png")
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 4), np.uint8)).save(data / "sharp" / "5.png")
    assert evaluate(data, model_file, out) == 1
    said = capsys.readouterr()
    assert said.err.count("mimo-rt: ") == 3
    assert "64x48 and the sharp one 60x48" in said.err
    assert [row["name"] for row in rows_of(out)] == ["1", "3"]
    found = summary_of(out)
    assert {f["name"] for f in found["failures"]} == {"2", "4", "5"}
    assert {f["code"] for f in found["failures"]} == {"image.decode", "evaluation.size", "evaluation.alpha"}
    assert "3 more could not be evaluated" in found["standing"]["sentence"]
    assert "Not evaluated" in (out / "report.html").read_text()
    (data / "blur" / "2.png").write_bytes(kept)  # repaired: the failed are tried again
    assert evaluate(data, model_file, out, "--resume") == 1
    assert [row["name"] for row in rows_of(out)] == ["1", "2", "3"]


def test_a_table_without_the_second_backends_figures(
    data: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table = tmp_path / "out", tmp_path / "out" / "images.csv"
    assert evaluate(data, model_file, out, "--against", "fp16") == 0
    rows = rows_of(out)
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "against_psnr": ""} for row in rows)
    capsys.readouterr()
    assert evaluate(data, model_file, out, "--against", "fp16", "--resume") == 1
    assert "lacks figures of a second backend" in capsys.readouterr().err


def test_not_one_image(
    data: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(1, 6):
        (data / "sharp" / f"{n}.png").write_bytes(b"no image")
    assert evaluate(data, model_file, tmp_path / "out") == 1
    assert "not one of 5 images" in capsys.readouterr().err
    assert not summary_of(tmp_path / "out")["finished"]
    shutil.rmtree(tmp_path / "out")
    for n in range(1, 6):
        write_pair(data / "blur" / f"{n}.png", data / "sharp" / f"{n}.png", n)
    assert evaluate(data, model_file, tmp_path / "out", "--memory", "100K") == 4


def test_equal_images_are_infinitely_good(
    data: Path, identity_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(data / "sharp" / "2.png", data / "blur" / "2.png")
    assert evaluate(data, identity_file, tmp_path / "out") == 0
    rows = rows_of(tmp_path / "out")
    assert rows[1]["psnr_before"] == rows[1]["psnr_after"] == rows[1]["psnr_after_8bit"] == "inf"
    results = summary_of(tmp_path / "out")["results"]
    assert results["identical"] == 1
    others = [float(row["psnr_after"]) for row in rows if row["name"] != "2"]
    assert results["psnr_after"] == pytest.approx(np.mean(others))
    assert "1 of them with an infinite PSNR" in capsys.readouterr().out
    shutil.rmtree(data / "blur")
    shutil.copytree(data / "sharp", data / "blur")
    assert evaluate(data, identity_file, tmp_path / "all") == 0
    assert summary_of(tmp_path / "all")["results"]["psnr_after"] == "inf"


def test_deep_images_have_other_figures_in_8_bits(model_file: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for half in ("blur", "sharp"):
        (tmp_path / "set" / half).mkdir(parents=True)
        grey = rng.integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16)
        Image.fromarray(grey).save(tmp_path / "set" / half / "a.png")
    assert evaluate(tmp_path / "set", model_file, tmp_path / "out") == 0
    (row,) = rows_of(tmp_path / "out")
    assert row["psnr_before"] != row["psnr_before_8bit"]
    assert float(row["psnr_before"]) == pytest.approx(float(row["psnr_before_8bit"]), abs=0.05)


def test_precision_and_selection(data: Path, model_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert evaluate(data, model_file, out, "--against", "fp16", "--every", "2", "--limit", "2") == 0
    assert [row["name"] for row in rows_of(out)] == ["1", "3"]
    found = summary_of(out)
    assert found["against"]["label"] == "cpu, fp16"
    assert 0 < found["against"]["worst_difference"] < 1e-2


def test_default_folder(
    data: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["eval", "--data", "set", "-m", str(model_file), "-q", "--limit", "1"]) == 0
    assert (tmp_path / f"eval-{model_file.stem}-set" / "report.html").is_file()


def test_two_folders(data: Path, model_file: Path, tmp_path: Path) -> None:
    assert evaluate(data / "blur", model_file, tmp_path / "out", "--sharp", str(data / "sharp")) == 0
    assert len(rows_of(tmp_path / "out")) == 5


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--resume", "--force"], 2),
        (["--against", "cpu"], 2),
        (["--backend", "onnxruntime", "--against", "fp32"], 2),
        (["--sharp", ".", "--gamma"], 2),
        (["--sharp", ".", "--split", "test"], 2),
        (["--backend", "onnxruntime", "--memory", "1G"], 2),
        (["--backend", "tensorrt"], 3),
        (["--against", "tensorrt"], 3),
        (["--backend", "onnxruntime", "--precision", "fp16"], 3),
        (["--split", "train"], 1),
    ],
)
def test_options_that_cannot_be(
    options: list[str],
    code: int,
    data: Path,
    model_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert evaluate(data, model_file, tmp_path / "out", *options) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"mimo-rt: .+\n", said.err)
    assert not (tmp_path / "out").exists()


def test_models_that_a_backend_does_not_take(
    data: Path, engine: mimo_rt.Engine, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "a.plan"
    engine.save(plan)
    assert evaluate(data, plan, tmp_path / "out", "--limit", "1") == 0
    assert summary_of(tmp_path / "out")["model"]["sha256"] == engine.info.key["model_sha256"]
    for model, options, word in (
        (plan, ["--precision", "fp16"], "built in fp32"),
        (plan, ["--backend", "onnxruntime"], "takes an ONNX file"),
        (data / "blur" / "1.png", ["--backend", "onnxruntime"], "takes an ONNX file"),
        (tmp_path / "gone", ["--backend", "onnxruntime"], "neither a file"),
        (data / "blur" / "1.png", [], ""),
    ):
        capsys.readouterr()
        assert evaluate(data, model, tmp_path / "no", *options) == 3
        assert word in capsys.readouterr().err
        assert not (tmp_path / "no").exists()


@pytest.mark.torch
def test_torch_runs_exports_and_checkpoints(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")
    from train.export import Labels, export
    from train.model import MIMOUNet, lively_init

    net = lively_init(MIMOUNet(8, (1, 2, 1))).eval()
    export(net, tmp_path / "net.onnx", Labels())
    torch.save({"model": net.state_dict()}, tmp_path / "net.pkl")
    both = [tmp_path / "onnx", tmp_path / "pkl"]
    options = ["--backend", "torch", "--limit", "2"]
    assert evaluate(data, tmp_path / "net.onnx", both[0], *options, "--against", "cpu") == 0
    found = summary_of(both[0])
    assert 0 < found["against"]["worst_difference"] < 5e-5
    assert evaluate(data, tmp_path / "net.pkl", both[1], *options) == 0
    assert [r["psnr_after"] for r in rows_of(both[0])] == [r["psnr_after"] for r in rows_of(both[1])]
    (tmp_path / "bad.pkl").write_bytes(b"cposix\nsystem\n(S'touch canary'\ntR.")
    assert evaluate(data, tmp_path / "bad.pkl", tmp_path / "no", *options) == 3
    assert not Path("canary").exists()
    capsys.readouterr()
    torch.save({"model": {"x": torch.zeros(1)}}, tmp_path / "other.pkl")
    assert evaluate(data, tmp_path / "other.pkl", tmp_path / "no", *options) == 3
    assert "no weights of a MIMO-UNet" in capsys.readouterr().err


def test_a_result_that_is_not_finite_is_an_error() -> None:
    class Broken:
        name, precision, facts = "cpu", "fp16", {"runtime": "none"}
        model = ModelFacts("m", "", "", {})

        def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
            return image * np.float32("nan")

    with pytest.raises(mimo_rt.ImageError, match="fp16 is not finite"):
        run.timed(Broken(), np.zeros((4, 4, 3), np.float32))


# The benchmark and its subsets


def items(scenes: dict[str, tuple[int, int]], size: tuple[int, int] = completeness.SIZE) -> list[Any]:
    return [
        completeness.Item(scene, f"{n:06d}", *size)
        for scene, (first, last) in scenes.items()
        for n in range(first, last + 1)
    ]


def test_completeness() -> None:
    whole = items(completeness.FRAMES)
    assert completeness.total() == len(whole) == 1111
    assert len(completeness.FRAMES) == 11
    full = completeness.standing(whole)
    assert full.complete
    assert full.sentence == "This is GOPRO_Large's test split, complete: 1111 pairs of 11 scenes."
    assert "another protocol" in completeness.standing(whole, gamma=True).sentence
    flat = [completeness.Item("", f"{i.scene}-{i.frame}", i.height, i.width) for i in whole]
    assert completeness.standing(flat).complete
    for part, kind, words in (
        (whole[:-1], "part", "1110 of the 1111 pairs"),
        (whole[:1], "part", "1 of the 1111 pairs"),
        ([*whole, whole[0]], "other", "another set, of 1112 pairs, 1111 of which bear names"),
        ([*whole[1:], whole[1]], "other", "1110 of which"),
        (items(completeness.FRAMES, (256, 256)), "other", "(1111 of another size than 1280x720)"),
        ([*whole[:-1], completeness.Item("x", "000001", 720, 1280)], "other", "1110 of which"),
        (items({"GOPR0384_11_00": (101, 120)}), "other", "another set, of 20 pairs."),
        ([], "other", "another set, of 0 pairs."),
    ):
        found = completeness.standing(part)
        assert found.kind == kind
        assert found.sentence.startswith("This is not the GoPro benchmark")
        assert words in found.sentence


def test_the_names_are_the_official_ones() -> None:
    data = Path(os.environ.get("MIMO_RT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    names = data / "gopro_test_blur_list.txt"
    if not names.is_file():
        pytest.skip("needs the official list of names")
    listed = {tuple(line.split("/")[1::2]) for line in names.read_text().split()}
    assert listed == {(i.scene, f"{i.frame}.png") for i in items(completeness.FRAMES)}


@pytest.mark.parametrize(
    ("preset", "ensemble", "psnr", "words"),
    [
        ("mimo-unet", 0, 31.7251, "31.725 dB beside the 31.73 dB published for the authors' weights"),
        ("mimo-unet", 0, 31.7251, "reproduced (+-0.02 dB)"),
        ("mimo-unet", 0, 31.50, "not reproduced, 0.230 dB below; among the 31.36 to 31.60 dB"),
        ("mimo-unet", 0, 30.0, "below the 31.36"),
        ("mimo-unet", 0, 31.9, "not reproduced, 0.170 dB above; above the 31.36"),
        ("mimo-unet-plus", 0, 32.46, "MIMO-UNet+: reproduced"),
        ("mimo-unet-plus", 4, 32.68, "MIMO-UNet++: reproduced"),
        ("mimo-unet-plus", 4, 32.45, "not reproduced, 0.230 dB below"),
        ("mimo-unet-plus", 8, 32.7, None),
        ("mimo-unet-s", 0, 27.0, None),
        ("", 0, 31.73, None),
    ],
)
def test_verdicts(preset: str, ensemble: int, psnr: float, words: str | None) -> None:
    whole = completeness.standing(items(completeness.FRAMES))
    found = verdict.verdict(whole, preset, ensemble, psnr, gamma=False)
    assert (found is None) == (words is None)
    if found is not None:
        assert words is not None
        assert words in found.sentence
        assert found.reproduced == ("not reproduced" not in found.sentence)
    assert verdict.verdict(whole, preset, ensemble, psnr, gamma=True) is None
    part = completeness.standing(items(completeness.FRAMES)[1:])
    assert verdict.verdict(part, preset, ensemble, psnr, gamma=False) is None
    assert verdict.input_sentence(whole, 25.64, gamma=False) is None
    assert "may not be the original files" in str(verdict.input_sentence(whole, 26.1, gamma=False))
    assert verdict.input_sentence(part, 26.1, gamma=False) is None


@pytest.fixture
def small_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A GOPRO_Large of four pairs of 64x48 in two scenes, which is taken for the whole."""
    scenes = {"A": (1, 2), "B": (5, 6)}
    monkeypatch.setattr(completeness, "FRAMES", scenes)
    monkeypatch.setattr(completeness, "SIZE", (HEIGHT, WIDTH))
    for item in items(scenes):
        folder = tmp_path / "GOPRO_Large" / "test" / item.scene
        name = f"{item.frame}.png"
        write_pair(folder / "blur" / name, folder / "sharp" / name, int(item.frame))
        write_pair(folder / "blur_gamma" / name, tmp_path / "x.png", int(item.frame))
    return tmp_path / "GOPRO_Large"


def test_the_whole_set_gets_a_verdict(
    small_benchmark: Path,
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = onnx.load(model_file)
    onnx.helper.set_model_props(model, {"mimo_rt.preset": "mimo-unet"})
    labelled = tmp_path / "labelled.onnx"
    onnx.save(model, labelled)
    outs = [tmp_path / name for name in ("full", "again", "part", "gamma")]

    assert evaluate(small_benchmark, labelled, outs[0]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith("verdict: ")
    assert "not reproduced" in said[-1]
    found = summary_of(outs[0])
    assert found["standing"]["kind"] == "complete"
    assert list(found["scenes"]) == ["A", "B"]
    assert "may not be the original" in found["input_note"]
    assert "Verdict: " in (outs[0] / "report.html").read_text()

    measured = found["results"]["psnr_after"]
    monkeypatch.setitem(verdict.PUBLISHED, ("mimo-unet", 0), ("MIMO-UNet", measured + 0.015))
    assert evaluate(small_benchmark, labelled, outs[1]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("reproduced (+-0.02 dB)")
    assert summary_of(outs[1])["verdict"]["reproduced"]

    assert evaluate(small_benchmark, labelled, outs[2], "--every", "2") == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "This is not the GoPro benchmark: 2 of the 4 pairs of GOPRO_Large's test split."
    )
    assert evaluate(small_benchmark, labelled, outs[3], "--gamma") == 0
    assert "another protocol" in capsys.readouterr().out.splitlines()[-1]
    for out in outs[2:]:
        assert summary_of(out)["verdict"] is None
        assert "Verdict" not in (out / "report.html").read_text()


# Parts


def test_ahead_keeps_order_bounds_and_errors() -> None:
    lock, running, most, started = threading.Lock(), 0, 0, 0

    def work(n: int) -> int:
        nonlocal running, most, started
        with lock:
            running += 1
            started += 1
            most = max(most, running)
        time.sleep(0.002 * (n % 3))
        with lock:
            running -= 1
        if n == 5:
            raise ValueError("five")
        return n * n

    found: list[object] = []
    for future in ahead(work, range(20), threads=3, depth=4):
        assert started <= len(found) + 4
        found.append(str(future.exception()) if future.exception() else future.result())
    assert found == [n * n if n != 5 else "five" for n in range(20)]
    assert most <= 3
    started = 0
    for _ in ahead(work, range(1000), threads=2, depth=3):
        break
    assert started <= 4


def row(name: str, before: float, after: float, **other: Any) -> Row:
    texts = {"name": name, "scene": "", "frame": name, "blur_sha256": "b", "sharp_sha256": "s"}
    figures = {n: before if "before" in n else after for n in summary.MEANS}
    rest = {n: 1.0 for n in COLUMNS if n not in texts and n not in figures}
    return Row(**{**texts, **figures, **rest, "width": 1, "height": 1, **other})


def test_the_table_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    rows = [
        row("a", math.pi, math.inf, against_psnr=None),
        row('b,"\n', 1 / 3, 1e-300, against_psnr=-math.inf),
    ]
    (tmp_path / "t.csv").write_bytes(to_csv(rows))
    assert read_csv(tmp_path / "t.csv") == rows


def test_best_median_worst_and_hashes() -> None:
    rows = [row("a", 20, 21), row("b", 20, 23), row("c", 20, 19), row("d", math.inf, math.inf)]
    found = summary.results(rows)
    assert [found[k] for k in ("best", "median", "worst")] == ["b", "a", "c"]
    assert (found["images"], found["identical"], found["gain"], found["worst_gain"]) == (4, 1, 1.0, -1.0)
    assert summary.data_sha256(rows) == summary.data_sha256(rows[::-1])
    assert summary.data_sha256(rows) != summary.data_sha256(rows[:-1])
    assert summary.plain({"x": [math.inf, -math.inf, math.nan, 1.5]}) == {"x": ["inf", "-inf", None, 1.5]}


def test_crops_lie_where_the_change_is() -> None:
    before = np.zeros((40, 60, 3), np.float32)
    after = before.copy()
    after[20:26, 33:41] = 0.5
    top, left = largest_change(before, after, 10, 12)
    assert top <= 20 <= 26 <= top + 10
    assert left <= 33 <= 41 <= left + 12
    assert largest_change(before, after, 100, 100) == (0, 0)


def test_a_plot_takes_whatever_comes() -> None:
    assert scatter([row("a", math.inf, math.inf)], {}) == ""
    for rows in ([row("a", 20, 20)], [row("a", -3, 1e6), row("b", 0, 0)]):
        assert scatter(rows, {"a": "<best>"}).count("&lt;best&gt;") == 1
