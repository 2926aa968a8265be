"""The benchmark scripts run and say what they should, on a tiny network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
from numpy.typing import NDArray
from PIL import Image

import mimo_rt
from benchmarks import gpu, gpu_acceptance, gpu_device, gpu_plans, gpu_registers, pages
from benchmarks import report as reports
from mimo_rt import array_runner
from mimo_rt.network import PRESETS

SCRIPTS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmarks") / "tiny.onnx"
    path.write_bytes(onnx_models.mimo_unet(4))
    return path


def report(script: str, tiny: Path, folder: Path, *options: str) -> dict[str, Any]:
    path = folder / "report.json"
    command = [sys.executable, str(SCRIPTS / script), "--model", str(tiny), "--json", str(path), *options]
    subprocess.run(command, check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def test_memory_stays_within_what_was_said(tiny: Path, tmp_path: Path) -> None:
    usages = report("memory.py", tiny, tmp_path, "--quick", "-t", "2")["cases"]
    assert len(usages) == 2
    for usage in usages:
        assert 0 < usage["engine"] <= usage["planned"] + (16 << 20)
        assert usage["peak"] > usage["engine"]


def test_scaling_reports_every_size_and_every_number_of_threads(tiny: Path, tmp_path: Path) -> None:
    result = report("scaling.py", tiny, tmp_path, "-t", "2", "--rounds", "1", "--frames", "1")
    assert {point["threads"] for point in result["points"]} == {1, 2}
    assert all(point["minimum"] > 0 for point in result["points"])
    assert all(0 < share <= 1 for count in result["counted"] for share in count["busy"])


def test_models_are_compared_at_every_size_and_scale(tiny: Path, tmp_path: Path) -> None:
    sizes = ["--sizes", "64x96", "1250x1602"]  # the second is large enough for scales
    rows = report("models.py", tiny, tmp_path, "--beside", "mimo-unet-s@1", *sizes, "--rounds", "2")["rows"]
    assert [(Path(row["case"]["model"]).name, row["case"]["scale"]) for row in rows] == [
        (tiny.name, 1),
        ("mimo-unet-s@1", 1),
        (tiny.name, 1),
        ("mimo-unet-s@1", 1),
        (tiny.name, 0.5),
        (tiny.name, 0.25),
        (tiny.name, "auto"),
    ]
    assert all(0 < row["minimum"] <= row["median"] and row["peak"] > 0 for row in rows)
    assert [row["chosen"][:6] for row in rows] == [""] * 6 + ["scale "]


def test_evaluation_tells_the_network_from_the_rest(tiny: Path, tmp_path: Path) -> None:
    result = report("evaluation.py", tiny, tmp_path, "-t", "2", "--size", "48x64", "--images", "3")
    assert result["images"] == 3
    assert 0 < result["beside"] < result["total"] < result["with_report"]
    assert result["alone"] > 0
    assert result["decoding"] > 0
    assert result["metrics"] > 0
    assert 0 < result["alone_processor"] < result["processor"]
    assert result["model"] == tiny.name


def test_loader_compares_the_stores(tmp_path: Path) -> None:
    for half in ("blur", "sharp"):
        (tmp_path / half).mkdir()
        Image.new("RGB", (48, 40)).save(tmp_path / half / "1.png")
    before = sorted(tmp_path.rglob("*"))
    path = tmp_path.parent / "loader.json"
    command = [sys.executable, str(SCRIPTS / "loader.py"), "--data", str(tmp_path), "--json", str(path)]
    options = ["--side", "16", "--seconds", "0.05", "--workers", "1", "--ms-per-step", "50", "--batch", "2"]
    done = subprocess.run([*command, *options], check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads(path.read_text())
    assert result["steps"] == [{"name": "this step", "pairs_per_second": 40.0}]
    rates = {rate["store"]: rate["pairs_per_second"] for rate in result["rates"]}
    assert {"PNG, Pillow", "decoded (--cache)"} <= set(rates)
    assert all(rate > 0 for rate in rates.values())
    assert "consumes: this step: 40" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("page", list(reports.PAGES))
def test_pages_show_what_was_measured(page: str) -> None:
    """What stands between the marks is made from the kept reports, not written by hand."""
    text = (reports.ROOT / page).read_text(encoding="utf-8")
    for part in reports.PAGES[page]:  # every part has its place, measured yet or not
        pages.replace_between_marks(text, f"{part} table", "")
    assert reports.rendered(page) == text


def test_a_page_is_changed_between_its_marks_only() -> None:
    text = "before\n<!-- x -->\nold\n<!-- /x -->\nafter\n"
    assert pages.replace_between_marks(text, "x", "new\n") == text.replace("old", "new")
    for broken in ("none", "<!-- /x --><!-- x -->", "<!-- x --><!-- x --><!-- /x -->"):
        with pytest.raises(ValueError, match="expected one"):
            pages.replace_between_marks(broken, "x", "new")


def test_tables_put_numbers_to_the_right() -> None:
    lines = pages.table(["image", "s", "note"], [["4x4", "1.5", "a"], ["8x8", "20 MB", "3"]]).splitlines()
    assert lines == ["| image | s | note |", "|---|---:|---|", "| 4x4 | 1.5 | a |", "| 8x8 | 20 MB | 3 |"]


def program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name is the first on the PATH."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


linux = pytest.mark.skipif(sys.platform == "win32", reason="stands in for programs by shell scripts")


def accepted(tmp_path: Path, *models: Path) -> tuple[int, dict[str, Any]]:
    """Exit code and report of an acceptance run on the processor."""
    options = ["--models", *map(str, models), "--backend", "cpu", "--out", str(tmp_path / "out")]
    status = gpu_acceptance.main(options)
    return status, json.loads((tmp_path / "out" / "acceptance.json").read_text())


def test_the_checks_for_a_gpu_are_sound_on_the_processor(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_acceptance, "ROUNDS", 1)
    status, report = accepted(tmp_path, tiny)
    assert status == 0, [check for check in report["checks"] if not check["passed"]]
    assert {check["name"] for check in report["checks"]} >= {"1x1", "31x17", "273x335"}
    assert [time["plan"] for time in report["times"]] == ["cpu fp32", "cpu fp32", "cpu fp16"]
    (comparison,) = report["comparisons"]
    assert "mimo_rt cpu fp32, host to host" in [row["name"] for row in comparison["sizes"][0]["rows"]]
    assert report["library"] == mimo_rt.build(tiny, backend="cpu").info.target


class OfARange:
    """A Deblurrer of a plan that takes 64x64 at least, as `mimo_rt.array_runner` feeds it; of the CPU
    otherwise."""

    def __init__(self, engine: Any) -> None:
        self._least = 1 if isinstance(engine, mimo_rt.Engine) else 64
        self._deblurrer = DEBLURRER(engine if isinstance(engine, mimo_rt.Engine) else engine.engine)

    def run(self, image: NDArray[Any]) -> NDArray[Any]:
        height, width = image.shape[:2]
        fed = array_runner._padded(image, (max(height, self._least), max(width, self._least)))
        result: NDArray[Any] = self._deblurrer.run(np.ascontiguousarray(fed))[:height, :width]
        return result


DEBLURRER = mimo_rt.Deblurrer


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_plan_is_held_against_what_sees_the_same_border(
    precision: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mimo_rt, "Deblurrer", OfARange)
    reference = mimo_rt.build(tiny, backend="cpu")
    info = types.SimpleNamespace(backend="tensorrt", stride=4)
    plan: Any = types.SimpleNamespace(info=info, engine=reference)
    photo = np.random.default_rng(3).integers(0, 256, (70, 90, 3), np.uint8)
    assert all(c.passed for c in gpu_acceptance.parity("m", precision, plan, reference, photo))
    monkeypatch.setattr(gpu_acceptance, "grown", lambda image, smallest: image)
    apart = {c.name for c in gpu_acceptance.parity("m", precision, plan, reference, photo) if not c.passed}
    assert apart == {"1x1", "31x17"}


def test_fp32_is_held_against_pytorch_where_it_and_the_weights_are_there(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = np.random.default_rng(3).integers(0, 256, (70, 90, 3), np.uint8)
    file = gpu_acceptance.file_of("mimo-unet-s")
    plan = mimo_rt.build(file, backend="cpu")
    monkeypatch.setattr(gpu_acceptance, "ODD", ((1, 1), (17, 31)))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "torch", None)
        assert gpu_acceptance.pytorch_parity("m", plan, file, photo) == []
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    assert gpu_acceptance.pytorch_parity("m", plan, tiny, photo) == []  # not of train.export
    checks = gpu_acceptance.pytorch_parity("m", plan, file, photo)
    assert [check.name.split(",")[0] for check in checks] == ["90x70", "1x1", "31x17"]
    assert all(check.passed for check in checks)
    off = types.SimpleNamespace(run=lambda image: image + np.float32(1))
    monkeypatch.setattr(mimo_rt, "Deblurrer", lambda engine: off)
    assert not any(check.passed for check in gpu_acceptance.pytorch_parity("m", plan, file, photo))


@pytest.mark.parametrize("size", [(1, 1), (17, 31), (63, 64), (33, 700), (64, 64), (335, 273)])
def test_an_image_is_grown_as_for_the_plan(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((*size, 3), np.float32)
    fed = (max(size[0], 64), max(size[1], 64))
    grown = gpu_acceptance.grown(image, (64, 64))  # type: ignore[arg-type]
    assert (grown == array_runner._padded(image, fed)).all()


@pytest.mark.parametrize("halo", [240, 580, 832])
def test_tiles_for_the_check_of_seams_have_something_left(halo: int) -> None:
    info = types.SimpleNamespace(stride=16, halo=halo)
    frame = gpu_acceptance.largest_frame(np.zeros((680, 988, 3), np.uint8), types.SimpleNamespace(info=info))  # type: ignore[arg-type]
    side = gpu_acceptance.tile_side(halo)
    assert 2 * halo + 16 <= side < min(frame.shape[:2])


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), MemoryError(), KeyboardInterrupt()])
def test_what_was_found_before_an_error_is_kept(
    error: BaseException, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def examine(path: Path, backend: str, data: object, folder: Path, report: gpu_acceptance.Found) -> None:
        del path, backend, data, folder
        report.checks.append(gpu_acceptance.Check("m", "fp32", "before", "good", "good", True))
        raise error

    monkeypatch.setattr(gpu_acceptance, "examine", examine)
    monkeypatch.setattr(gpu_acceptance, "compare", lambda path, backend, report: None)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            accepted(tmp_path, tiny)
    else:
        assert accepted(tmp_path, tiny)[0] == 1
    report = json.loads((tmp_path / "out" / "acceptance.json").read_text())
    assert report["checks"][0]["name"] == "before"
    if not isinstance(error, KeyboardInterrupt):
        assert type(error).__name__ in report["checks"][1]["found"]
    assert "before" in (tmp_path / "out" / "acceptance.md").read_text()


def test_plans_that_do_not_fit_together_are_measured_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(plans: Any, frame: object) -> list[Any]:
        del frame
        if len(plans) > 1 or plans[0][1] == "large":
            raise mimo_rt.MemoryLimitError("no memory")
        return [plans[0][1]]

    monkeypatch.setattr(gpu_acceptance, "measure", measure)
    plans: Any = [("m", name, None, 0.0) for name in ("a", "large", "b", "c")]
    times: list[Any] = []
    failed = gpu_acceptance.measure_all(plans, np.zeros((8, 8, 3), np.uint8), times)
    assert times == ["a", "b", "c"]
    assert [(check.precision, check.passed) for check in failed] == [("large", False)]


@linux
def test_the_driver_tells_device_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (gpu_device.describe(), gpu_device.free_memory()) == ({}, None)
    script = 'case "$2" in *name*) echo "A card, 580.1, 24576";; *) [ "$1" = --id=3 ] && echo 1024;; esac'
    program(tmp_path, "nvidia-smi", script, monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert gpu_device.describe() == {"name": "A card", "driver": "580.1", "MiB": "24576"}
    assert gpu_device.free_memory() == 1 << 30


@linux
def test_trtexec_is_given_what_ours_computes(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    script = f"""
[ "$1" = --help ] && echo "--noTF32 --stronglyTyped" && exit
echo "$@" > {tmp_path}/given
cp "${{1#--onnx=}}" {tmp_path}/seen.onnx
echo "GPU Compute Time: min = 1 ms, max = 3 ms, mean = 2 ms, median = 2 ms"
"""
    program(tmp_path, "trtexec", script, monkeypatch)
    for precision, wanted in (("fp32", onnx.TensorProto.FLOAT), ("fp16", onnx.TensorProto.FLOAT16)):
        assert gpu.trtexec(tiny, precision, 64, 96) == pytest.approx((2e-3, 1e-3))
        options = (tmp_path / "given").read_text().split()
        assert {"--noTF32", "--stronglyTyped", "--optShapes=image:1x3x64x96"} <= set(options)
        assert "--useCudaGraph" not in options  # this one does not know it
        weights = [w for w in onnx.load(str(tmp_path / "seen.onnx")).graph.initializer if len(w.dims) == 4]
        assert {w.data_type for w in weights} == {wanted}
    program(tmp_path, "trtexec", "echo --help", monkeypatch)
    with pytest.raises(LookupError, match="noTF32"):
        gpu.trtexec(tiny, "fp32", 64, 96)


def test_onnx_runtime_computes_fp32_in_fp32(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def session(model: str, providers: list[Any]) -> None:
        del model
        given.extend(providers)
        raise RuntimeError("no GPU here")

    stand_in = types.SimpleNamespace(
        get_available_providers=lambda: ["CUDAExecutionProvider"], InferenceSession=session
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", stand_in)
    with pytest.raises(RuntimeError, match="no GPU here"):
        list(gpu.onnxruntime(tiny, 8, 8, "cuda"))
    assert given == [("CUDAExecutionProvider", {"use_tf32": "0"})]


def test_pytorch_computes_fp32_in_fp32() -> None:
    torch = pytest.importorskip("torch")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    gpu.without_tf32(torch)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_a_run_that_fails_is_left_out_and_the_others_are_timed() -> None:
    calls = {"sound": 0, "broken": 0}

    def run(name: str) -> None:
        calls[name] += 1
        if name == "broken" and calls[name] == 2:
            raise RuntimeError("out of memory\nand so on")

    skipped: dict[str, str] = {}
    runs: dict[str, gpu.Run] = {name: lambda name=name: run(name) for name in calls}  # type: ignore[misc]
    rows = gpu.timed(runs, 4, skipped)
    assert [row["name"] for row in rows] == ["sound"]
    assert skipped == {"broken": "out of memory"}
    assert calls == {"sound": 4, "broken": 2}


PTXAS = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z3oneIfEvi' for 'sm_90'
ptxas info    : Function properties for _Z3oneIfEvi
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 126 registers, used 1 barriers, 2048 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function '_Z3twov' for 'sm_90'
ptxas info    : Function properties for _Z3twov
    8 bytes stack frame, {spilled} bytes spill stores, 4 bytes spill loads
ptxas info    : Used 30 registers
"""


def test_ptxas_is_read_by_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_registers, "plain_name", lambda mangled: mangled)
    one, two = gpu_registers.usages(PTXAS.format(spilled=12))
    assert one == gpu_registers.Usage("_Z3oneIfEvi", "90", registers=126, shared=2048, spilled=0)
    assert two == gpu_registers.Usage("_Z3twov", "90", registers=30, shared=0, spilled=16)
    with pytest.raises(LookupError, match="_Z3twov"):
        gpu_registers.usages(PTXAS.replace("Used 30", ""))


@linux
@pytest.mark.parametrize(("loads", "status"), [(0, 0), (4, 1)])
def test_a_kernel_that_spills_is_an_error(
    loads: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "said").write_text(PTXAS.format(spilled=0).replace("4 bytes spill", f"{loads} bytes spill"))
    script = f'[ "$1" = --version ] && echo "release 13.0, V13" || cat {tmp_path}/said >&2'
    program(tmp_path, "nvcc", script, monkeypatch)
    path = tmp_path / "report.json"
    assert gpu_registers.main(["--architectures", "90", "--json", str(path)]) == status
    report = json.loads(path.read_text())
    assert report["nvcc"] == "13.0"
    assert "| 126 | 2048 | 0 |" in gpu_registers.render(report)


def test_the_table_of_gpu_plans_tells_of_every_preset() -> None:
    (report,) = reports.load("gpu_plans")
    told = gpu_plans.render(report)
    assert all(f"| {preset} |" in told or preset in told.split("Not measured yet")[1] for preset in PRESETS)
    rows = [{**report["rows"][0], "preset": preset} for preset in PRESETS]
    assert "Not measured yet: " not in gpu_plans.render({**report, "rows": rows})
    assert f"Not measured yet: {rows[-1]['preset']}." in gpu_plans.render({**report, "rows": rows[:-1]})
