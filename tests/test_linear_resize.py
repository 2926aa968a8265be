"""Features upsampled x2 by interpolation, as some trained networks do: 0 1 2 becomes 0 .5 1 1.5 2 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models
import pytest
from numpy.typing import NDArray
from oracle import Oracle
from test_parity import SIZES, check, picture
from test_same_bits import least_memory

import mimo_rt
from mimo_rt import _core
from mimo_rt.cli import main

MODEL = onnx_models.mimo_unet(8, 1, upsampling="linear")


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def engine(request: pytest.FixtureRequest) -> mimo_rt.Engine:
    return mimo_rt.build(MODEL, precision=request.param)


def enlarging_alone(times: int) -> bytes:
    """A network that shrinks the image and enlarges it again, `times` times each."""
    g, x = onnx_models.GraphMaker(0), "image"
    for _ in range(times):
        x = g.resize(x, 0.5)
    for _ in range(times):
        x = g.resize(x, 2.0, "linear")
    return g.model(x).SerializeToString()


def enlarged(a: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    a = np.moveaxis(a, axis, 0)
    after = np.concatenate([a[1:], a[-1:]])
    return np.moveaxis(np.stack([a, (a + after) / 2], axis=1).reshape(-1, *a.shape[1:]), 0, axis)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("size", [(4, 4), (4, 52), (60, 8), (64, 100)])
def test_the_last_row_and_column_stand_for_what_follows(times: int, size: tuple[int, int]) -> None:
    image = picture(*size)
    expected = image[:: 2**times, :: 2**times]
    for _ in range(times):
        expected = enlarged(enlarged(expected, 0), 1)
    engine = mimo_rt.build(enlarging_alone(times))
    for threads in (1, 3):
        for memory in (None, least_memory(engine, *size, threads)):
            result = mimo_rt.Deblurrer(engine, threads=threads, memory=memory).run(image)
            assert np.abs(result - expected).max() <= 3e-7


def test_networks_agree_with_onnx_runtime() -> None:
    check(MODEL, SIZES)


@pytest.mark.parametrize(("width", "num_res", "opset"), [(13, 1, 17), (20, 1, 13), (4, 3, 11), (16, 2, 18)])
def test_other_widths_and_opsets(width: int, num_res: int, opset: int) -> None:
    check(onnx_models.mimo_unet(width, num_res, seed=width, opset=opset, upsampling="linear"), [(18, 35)])


def test_every_small_size() -> None:
    check(
        onnx_models.mimo_unet(4, 1, upsampling="linear"), [(h, w) for h in range(1, 10) for w in range(1, 10)]
    )


@pytest.mark.parametrize("target", _core.targets())
def test_every_instruction_set(target: str) -> None:
    image = picture(21, 34)
    result = mimo_rt.Deblurrer(mimo_rt.build(MODEL, target=target)).run(image)
    assert np.abs(result - Oracle(MODEL).deblur(image)).max() <= 5e-5


def test_nearest_is_something_else() -> None:
    """So the tests above would see it if one were taken for the other."""
    image = picture(40, 40)
    results = [mimo_rt.Deblurrer(m).run(image) for m in (MODEL, onnx_models.mimo_unet(8, 1))]
    assert np.abs(results[0] - results[1]).max() > 1e-3


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (90, 7), (1, 40), (61, 130), (113, 64)])
def test_threads_and_bands_change_nothing(engine: mimo_rt.Engine, size: tuple[int, int]) -> None:
    image = (picture(*size) * 65535).astype(np.uint16)
    expected = mimo_rt.Deblurrer(engine, threads=1).run(image).tobytes()
    for threads in (1, 2, 3, 8):
        for memory in (None, least_memory(engine, *size, threads)):
            deblurrer = mimo_rt.Deblurrer(engine, threads=threads, memory=memory)
            assert deblurrer.run(image).tobytes() == expected, (threads, memory)


@pytest.mark.parametrize("ensemble", [4, 8])
def test_the_ensemble_is_the_mean_over_all_turns(ensemble: int) -> None:
    image = picture(18, 33)
    result = mimo_rt.Deblurrer(MODEL, ensemble=ensemble).run(image)
    assert np.abs(result - Oracle(MODEL).deblur(image, ensemble=ensemble)).max() <= 5e-5


def test_a_saved_plan_interpolates_too(engine: mimo_rt.Engine, tmp_path: Path) -> None:
    engine.save(tmp_path / "a.plan")
    image = picture(30, 22)
    again = mimo_rt.Deblurrer(mimo_rt.Engine.load(tmp_path / "a.plan")).run(image)
    assert np.array_equal(again, mimo_rt.Deblurrer(engine).run(image))


@pytest.mark.parametrize("times", [1, 2])
def test_it_looks_at_the_rows_on_both_sides(times: int) -> None:
    reach = 2**times - 1
    assert mimo_rt.build(enlarging_alone(times)).info.receptive_field == (reach, reach)


def test_layers_say_how_they_resample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The 1x1 convolutions of both fusions run at each level; nothing is enlarged beside them."""
    layers = mimo_rt.build(MODEL).layers()
    steps = [step for layer in layers for step in layer["epilogue"]]
    assert steps.count("add linear x2") == 3
    assert {layer["resampling"] for layer in layers if layer["op"] == "copy"} == {
        "nearest x1/2",
        "nearest x1/4",
    }
    assert mimo_rt.build(enlarging_alone(2)).layers()[-1]["resampling"] == "linear x4"
    (tmp_path / "linear.onnx").write_bytes(MODEL)
    assert main(["info", str(tmp_path / "linear.onnx"), "--layers", "--size", "16x16"]) == 0
    assert "add linear x2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("factor", "coordinates", "named"),
    [(2.0, "half_pixel", "half_pixel"), (2.0, "align_corners", "align_corners"), (0.5, "asymmetric", "1/2")],
)
def test_other_interpolations_are_refused(factor: float, coordinates: str, named: str) -> None:
    g = onnx_models.GraphMaker(0)
    x = g.resize("image", 0.5) if factor > 1 else "image"
    y = g.resize(x, factor, "linear")
    for attribute in g.nodes[-1].attribute:
        if attribute.name == "coordinate_transformation_mode":
            attribute.s = coordinates.encode()
    model = g.model(y if factor > 1 else g.resize(y, 2.0)).SerializeToString()
    with pytest.raises(mimo_rt.ModelError, match=named) as caught:
        mimo_rt.build(model)
    assert caught.value.code == "model.unsupported_resize"
