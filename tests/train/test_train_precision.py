"""Half and 8-bit exports: two runtimes agree on them, the budget is kept, and nothing else is written."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx import TensorProto, numpy_helper  # noqa: E402
from PIL import Image  # noqa: E402

import train.export as export_module  # noqa: E402
from mimo_rt.errors import ImageError, ModelError  # noqa: E402
from mimo_rt.half import to_half  # noqa: E402
from train.calibrate import activation_scales, least_error_range  # noqa: E402
from train.export import to_onnx  # noqa: E402
from train.interpret import Program  # noqa: E402
from train.model import MIMOUNet, lively_init  # noqa: E402
from train.precision import check, half, int8  # noqa: E402
from train.quantize import SIZES, Layer, quantizable, quantized_weights, to_int8  # noqa: E402
from train.sensitivity import Row, as_csv, as_markdown, as_text, within_budget  # noqa: E402
from train.tiles import Tiles, read_tiles  # noqa: E402
from train.weights import load_weights  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def fp32() -> onnx.ModelProto:
    return to_onnx(lively_init(MIMOUNet(8, 1), seed=3).eval())


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of 64 x 48 in folders blur and sharp."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for half_name in ("blur", "sharp"):
        (folder / half_name).mkdir()
    for i in range(2):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        coarse.resize((64, 48), Image.Resampling.BILINEAR).save(folder / "blur" / f"{i}.png")
        coarse.resize((64, 48), Image.Resampling.NEAREST).save(folder / "sharp" / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def tiles(pairs: Path) -> Tiles:
    return read_tiles(pairs, 2, 48)


@pytest.mark.parametrize("scales", [2, 3])
def test_every_scale_ends_in_float(scales: int) -> None:
    """What reads an image, and what is added to one, at any scale."""
    model = to_onnx(lively_init(MIMOUNet(8, 1, scales=scales), seed=3).eval())
    names = [layer.name for layer in quantizable(model)]
    assert len(names) == len(set(names))
    single = {layer.name for layer in quantizable(to_onnx(MIMOUNet(8, 1).eval()))}
    assert set(names) == {f"{name}{size}" for name in single for size in SIZES[:scales]}


def runtime(model: onnx.ModelProto, image: torch.Tensor) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": image[None].numpy()})[0])


def test_the_interpreter_is_onnx(fp32: onnx.ModelProto, tiles: Tiles) -> None:
    image = tiles.inputs[0]
    np.testing.assert_allclose(Program(fp32).run(image[None]).numpy(), runtime(fp32, image), atol=1e-5)
    assert check(fp32, tiles.inputs) <= 1e-5


def test_half_precision(fp32: onnx.ModelProto, tiles: Tiles) -> None:
    made = half(fp32, tiles)
    types = {t.data_type for t in made.model.graph.initializer if t.name.startswith("net.")}
    assert types == {TensorProto.FLOAT16}
    assert made.model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert made.drop is not None
    assert abs(made.drop) < 0.01
    check(made.model, tiles.inputs)
    image = tiles.inputs[0]
    apart = np.abs(runtime(made.model, image) - runtime(fp32, image))
    assert 0.0 < apart.max() < 0.01


def test_weights_beyond_half_precision_are_refused(fp32: onnx.ModelProto) -> None:
    wide = onnx.ModelProto()
    wide.CopyFrom(fp32)
    tensor = next(t for t in wide.graph.initializer if t.name.endswith(".weight"))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e6), tensor.name))
    with pytest.raises(ModelError, match="beyond 65504"):
        to_half(wide)


@pytest.mark.parametrize("method", ["mse", "minmax"])
def test_eight_bits(fp32: onnx.ModelProto, tiles: Tiles, method: str) -> None:
    made = int8(fp32, tiles, method, budget=1.0)
    assert made.drop is not None
    assert made.drop <= 1.0
    check(made.model, tiles.inputs)
    image = tiles.inputs[0]
    plain, eight = runtime(fp32, image), runtime(made.model, image)
    error = float(np.sqrt(np.mean((plain - eight) ** 2)))
    assert 0.0 < error < 0.02
    for node in made.model.graph.node:
        if node.op_type == "ConvTranspose":
            assert not node.input[0].endswith("_dequantized")
            assert not node.input[1].endswith("_dequantized")


def test_what_is_quantised(fp32: onnx.ModelProto) -> None:
    layers = quantizable(fp32)
    names = [layer.name for layer in layers]
    assert "Encoder.0.layers.0.main.0.main.0" in names
    for left in (
        "feat_extract.0.main.0",
        "feat_extract.5.main.0",
        "feat_extract.3.main.0",
        "SCM1.main.0.main.0",
    ):
        assert left not in names
    second = next(layer for layer in layers if layer.name == "Encoder.0.layers.0.main.1.main.0")
    assert second.residual is not None, "the residual's other operand is quantised as well"
    scales = {name: 0.01 for layer in layers for name in layer.activations}
    model = to_int8(fp32, [second], scales)
    read = [node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert sorted(read) == sorted(second.activations)
    weights = [t for t in model.graph.initializer if t.data_type == TensorProto.INT8 and t.dims]
    assert [tuple(t.dims) for t in weights if len(t.dims) == 4] == [(8, 8, 3, 3)]
    with pytest.raises(ModelError, match="no positive number"):
        to_int8(fp32, [second], scales | {second.activation: float("nan")})


def test_weights_keep_their_channels_ranges() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    weight[2] = 0.0
    weight[3] *= 1e-3
    steps, scales = quantized_weights(weight)
    assert steps.dtype == np.int8
    assert scales.shape == (4,)
    assert scales[2] == 1.0
    assert [int(np.abs(s).max()) for s in steps] == [127, 127, 0, 127]
    assert float(np.abs(steps * scales.reshape(-1, 1, 1, 1) - weight).max()) <= float(scales.max()) / 2 + 1e-7
    assert np.array_equal(np.rint(weight / scales.reshape(-1, 1, 1, 1)), steps)


def test_the_least_error_gives_up_outliers() -> None:
    counts = np.zeros(2048)
    counts[:200] = 1e5
    assert least_error_range(counts, 1.0) == 1.0 or least_error_range(counts, 1.0) < 0.2
    counts[-1] = 1.0
    assert least_error_range(counts, 1.0) < 0.2
    even = np.ones(2048)
    assert least_error_range(even, 1.0) > 0.9


def test_a_value_that_is_always_zero_has_a_scale(fp32: onnx.ModelProto) -> None:
    name = quantizable(fp32)[0].activation
    black = [torch.zeros(3, 16, 16)]
    for method in ("mse", "minmax"):
        scales = activation_scales(fp32, [name], black, method)
        assert np.isfinite(scales[name])
        assert scales[name] > 0.0
    with pytest.raises(ValueError, match="percentile"):
        activation_scales(fp32, [name], black, "percentile")


def test_the_costliest_layers_stay_in_float() -> None:
    rows = [Row("a", 0.02, 50.0), Row("b", 0.30, 40.0), Row("c", 0.01, 55.0)]
    costs = {"a": 0.02, "b": 0.30, "c": 0.01}
    kept, drop = within_budget(rows, 0.05, lambda names: sum(costs[n] for n in names))
    assert [row.layer for row in kept if not row.quantized] == ["b"]
    assert drop == pytest.approx(0.03)
    kept, drop = within_budget(rows, -1.0, lambda names: sum(costs[n] for n in names))
    assert [row.layer for row in kept if row.quantized] == ["c"]
    assert drop == pytest.approx(0.01)
    assert as_text(kept).splitlines()[1].endswith("stays in float")
    assert "| `b` | 0.3000 | 40.00 | stays in float |" in as_markdown(kept)
    assert as_csv(kept).splitlines()[2] == "b,0.300000,40.0000,False"


def test_the_checker_sees_a_wrong_value(
    fp32: onnx.ModelProto, tiles: Tiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    import train.interpret as interpret

    layer: Layer = quantizable(fp32)[3]
    scales = dict.fromkeys(layer.activations, 0.02)
    model = to_int8(fp32, [layer], scales)
    check(model, tiles.inputs)
    wrong = dict(interpret._OPERATORS)
    wrong["QuantizeLinear"] = lambda _, x: (x[0] / x[1] * 1.1).to(torch.int8)
    monkeypatch.setattr(interpret, "_OPERATORS", wrong)
    with pytest.raises(ModelError, match="steps away"):
        check(model, tiles.inputs)


def call(monkeypatch: pytest.MonkeyPatch, *options: object) -> None:
    monkeypatch.setattr(sys, "argv", ["train.export", *map(str, options)])
    export_module.main()


def test_command_line(
    tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "w.pt"
    torch.save(lively_init(MIMOUNet(8, 1), seed=1).state_dict(), weights)
    given = ("--weights", weights)
    call(monkeypatch, *given, "-o", tmp_path / "f.onnx", "--precision", "fp16")
    calib = ("--calib", pairs, "--tiles", 2)
    table = tmp_path / "table.md"
    call(
        monkeypatch,
        *given,
        "-o",
        tmp_path / "i.onnx",
        "--precision",
        "int8",
        *calib,
        "--budget",
        2,
        "--table",
        table,
    )
    assert "int8 costs" in capsys.readouterr().err
    assert table.read_text().startswith("| layer |")
    sizes = [(tmp_path / name).stat().st_size for name in ("f.onnx", "i.onnx")]
    call(monkeypatch, *given, "-o", tmp_path / "p.onnx")
    whole = (tmp_path / "p.onnx").stat().st_size
    assert sizes[0] < 0.65 * whole
    assert sizes[1] < 0.65 * whole
    entries = {p.key: p.value for p in onnx.load(tmp_path / "i.onnx").metadata_props}
    assert entries["mimo_rt.precision"] == "int8"
    assert entries["mimo_rt.calibration"] == "mse"
    assert entries["mimo_rt.preset"] == "custom"
    load_weights(tmp_path / "p.onnx")
    for name in ("f.onnx", "i.onnx"):
        with pytest.raises(ModelError, match="has lost digits"):
            load_weights(tmp_path / name)


def test_what_cannot_be_had_is_not_written(
    tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, target = tmp_path / "w.pt", tmp_path / "out.onnx"
    torch.save(lively_init(MIMOUNet(8, 1), seed=1).state_dict(), weights)
    start = ("--weights", weights, "-o", target, "--precision", "int8")
    with pytest.raises(SystemExit, match="needs --calib"):
        call(monkeypatch, *start)
    with pytest.raises(SystemExit, match="not a folder"):
        call(monkeypatch, *start, "--calib", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="neither pairs nor images"):
        call(monkeypatch, *start, "--calib", tmp_path / "empty")
    with pytest.raises(SystemExit, match="more than the budget"):
        call(monkeypatch, *start, "--calib", pairs, "--tiles", 2, "--budget", -90)
    assert not target.exists()
    call(monkeypatch, *start, "--calib", pairs, "--tiles", 2, "--budget", -90, "--force")
    assert target.exists()


def test_tiles_come_from_pairs_and_from_photographs(tmp_path: Path, pairs: Path) -> None:
    found = read_tiles(pairs, 3, 50)
    assert len(found.pairs) == 3
    assert all(x.shape == (3, 48, 48) for x in found.inputs), "multiples of every network's stride"
    again = read_tiles(pairs, 3, 50)
    assert all(torch.equal(a, b) for a, b in zip(found.inputs, again.inputs, strict=True))
    photo = tmp_path / "photos"
    photo.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (90, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photo / "one.png")
    blurred = read_tiles(photo, 1, 32)
    assert float((blurred.pairs[0][0] - blurred.pairs[0][1]).abs().mean()) > 0.01
    (photo / "one.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="cannot read"):
        read_tiles(photo, 1, 32)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_engine_runs_what_is_exported(fp32: onnx.ModelProto, tiles: Tiles, precision: str) -> None:
    import mimo_rt

    made = half(fp32, tiles) if precision == "fp16" else int8(fp32, tiles, budget=1.0)
    image = tiles.inputs[0][None].numpy()
    result = mimo_rt.build(made.model.SerializeToString()).infer(image)
    apart = np.abs(result - runtime(made.model, tiles.inputs[0]))
    assert float(np.mean(apart)) < 1e-3
    assert float(np.mean(apart * 255 <= 1.0)) >= 0.99
