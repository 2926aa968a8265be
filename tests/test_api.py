"""The facade: what the package exports, building, loading, saving and asking engines, and the errors of all
that."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_models
import pytest

import mimo_rt
from mimo_rt import engine as engine_module
from mimo_rt import models


def test_public_names_exist_and_say_what_they_are() -> None:
    for name in ("Deblurrer", "Engine", "build", "deblur"):
        assert len(getattr(mimo_rt, name).__doc__) > 50, name
    assert set(mimo_rt.__all__) <= set(dir(mimo_rt))
    assert mimo_rt.__version__.count(".") >= 1
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mimo_rt.nothing  # type: ignore[attr-defined]


def test_errors_are_one_hierarchy() -> None:
    for name in ("ModelError", "PlanError", "ImageError", "BackendError", "MemoryLimitError"):
        assert issubclass(getattr(mimo_rt, name), mimo_rt.Error)
    assert issubclass(mimo_rt.Error, Exception)


@pytest.mark.parametrize("absent", ["PIL", "importlib.metadata", "onnx", "torch"])
def test_import_and_first_use_leave_heavy_modules_alone(absent: str) -> None:
    code = f"import sys, mimo_rt; mimo_rt.Deblurrer, mimo_rt.__version__; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_build_from_path_bytes_and_pathlike_agree(model_file: Path) -> None:
    x = np.random.default_rng(0).random((1, 3, 8, 12), np.float32)
    results = [
        mimo_rt.build(model).infer(x) for model in (model_file, str(model_file), model_file.read_bytes())
    ]
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()


def test_a_saved_plan_gives_the_same_bits(engine: mimo_rt.Engine, tmp_path: Path) -> None:
    plan = tmp_path / "deep" / "a.plan"
    plan.parent.mkdir()
    engine.save(plan)
    x = np.random.default_rng(0).random((1, 3, 16, 20), np.float32)
    expected = engine.infer(x).tobytes()
    assert mimo_rt.Engine.load(plan).infer(x).tobytes() == expected
    assert mimo_rt.Engine.load(plan.read_bytes()).infer(x).tobytes() == expected
    assert [path.name for path in plan.parent.iterdir()] == ["a.plan"]


def test_plans_and_models_are_told_apart_by_content(
    engine: mimo_rt.Engine, model_file: Path, tmp_path: Path
) -> None:
    plan, model = tmp_path / "looks-like.onnx", tmp_path / "looks-like.plan"
    engine.save(plan)
    shutil.copy(model_file, model)
    assert engine_module.open_engine(plan).info.origin == "plan file"
    assert engine_module.open_engine(model).info.origin != "plan file"


def test_info_tells_of_the_network(engine: mimo_rt.Engine) -> None:
    info = engine.info
    assert info.channels == (3, 3)
    assert info.stride == 4
    assert info.precision == "fp32"
    assert info.parameters > 10_000
    assert info.macs_per_pixel > 10_000
    assert info.packed_bytes > 4 * 10_000
    assert min(info.receptive_field) > 10
    assert info.metadata["preset"] == "test"
    assert info.target in repr(engine)
    layers = engine.layers()
    assert sum(layer["macs_per_pixel"] for layer in layers) == pytest.approx(info.macs_per_pixel, rel=1e-3)
    assert {"name", "op", "kernel", "block", "level", "in_channels", "out_channels"} <= set(layers[1])


def test_every_target_can_be_forced_and_agrees(model_file: Path) -> None:
    from mimo_rt import _core

    x = np.random.default_rng(0).random((1, 3, 20, 24), np.float32)
    results = []
    for target in _core.targets():
        engine = mimo_rt.build(model_file, target=target, cache=False)
        assert engine.info.target == target
        results.append(engine.infer(x))
    assert results
    assert max(np.abs(result - results[0]).max() for result in results) <= 5e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "cuda"}, "auto, cpu"),
        ({"precision": "int4"}, "fp32, fp16"),
        ({"target": "PDP11"}, "PDP11"),
        ({"tactics": "lucky"}, "lucky"),
    ],
)
def test_unavailable_options_are_backend_errors(
    model_file: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(mimo_rt.BackendError, match=message) as caught:
        mimo_rt.build(model_file, **options)  # type: ignore[arg-type]
    assert caught.value.code.startswith("backend.")


@pytest.mark.parametrize("model", ["no-such-model", "mimo-unet-s@999", "no/such/file.onnx", ""])
def test_a_model_that_is_not_there(model: str) -> None:
    for opener in (mimo_rt.build, mimo_rt.Deblurrer):
        with pytest.raises(mimo_rt.ModelError, match="bundled"):
            opener(model)


def test_a_folder_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(mimo_rt.ModelError, match="folder"):
        mimo_rt.build(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0", b"not a model at all", b"\x08\x09" + bytes(1000)])
def test_files_that_are_no_models(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    for model in (path, content):
        with pytest.raises(mimo_rt.ModelError):
            mimo_rt.Deblurrer(model)


def test_an_unsupported_operator_is_named() -> None:
    with pytest.raises(mimo_rt.ModelError, match="Softmax"):
        mimo_rt.build(onnx_models.with_operator("Softmax"))


def test_a_damaged_plan_is_a_plan_error(engine: mimo_rt.Engine, tmp_path: Path) -> None:
    path = tmp_path / "a.plan"
    engine.save(path)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], whole[:20], whole[:-9] + b"\xff" + whole[-8:]):
        with pytest.raises(mimo_rt.PlanError):
            mimo_rt.Engine.load(damaged)
        path.write_bytes(damaged)
        with pytest.raises(mimo_rt.PlanError):
            mimo_rt.Deblurrer(path)


def test_infer_takes_batches(engine: mimo_rt.Engine) -> None:
    x = np.random.default_rng(0).random((3, 3, 8, 8), np.float32)
    whole = engine.infer(x)
    assert whole.shape == x.shape
    for i in range(3):
        assert whole[i].tobytes() == engine.infer(x[i : i + 1])[0].tobytes()
    flipped = engine.infer(x[::-1, :, ::-1, :])
    assert flipped.tobytes() == engine.infer(np.ascontiguousarray(x[::-1, :, ::-1, :])).tobytes()


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((1, 3, 8, 8)),
        np.zeros((1, 3, 8, 8), ">f4"),
        np.zeros((3, 8, 8), np.float32),
        np.zeros((1, 4, 8, 8), np.float32),
        np.zeros((0, 3, 8, 8), np.float32),
        np.zeros((1, 3, 0, 8), np.float32),
        np.zeros((1, 3, 8, 9), np.float32),
        np.zeros((1, 3, 6, 8), np.float32),
        [[1.0]],
    ],
    ids=lambda x: f"{getattr(x, 'dtype', type(x))}-{getattr(x, 'shape', '')}",
)
def test_infer_refuses_what_it_cannot_take(engine: mimo_rt.Engine, x: object) -> None:
    with pytest.raises(mimo_rt.ImageError, match="infer takes") as caught:
        engine.infer(x)  # type: ignore[arg-type]
    assert caught.value.code.startswith("image.")


def test_errors_carry_their_code_through_pickle() -> None:
    with pytest.raises(mimo_rt.ModelError) as caught:
        mimo_rt.build("no-such-model")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.code) == (str(caught.value), "model.not_found")


def test_engines_work_without_a_home(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIMO_RT_CACHE", raising=False)
    for home in ("/proc/no-such-home", "/dev/null"):
        monkeypatch.setenv("HOME", home)
        monkeypatch.setenv("XDG_CACHE_HOME", f"{home}/cache")
        assert mimo_rt.build(model_file).info.origin.startswith("built")


def test_the_cache_is_used(model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMO_RT_CACHE", str(tmp_path / "cache"))
    assert mimo_rt.build(model_file, cache=False).info.origin.startswith("built")
    assert not (tmp_path / "cache").exists()
    assert mimo_rt.build(model_file).info.origin.startswith("built")
    assert mimo_rt.build(model_file).info.origin == "cache hit"


def test_deblur_keeps_deblurrers(model_file: Path, tmp_path: Path) -> None:
    from mimo_rt import deblurrer as module

    image = np.zeros((4, 4, 3), np.uint8)
    path = tmp_path / "model.onnx"
    shutil.copy(model_file, path)
    module._kept.clear()
    mimo_rt.deblur(image, path)
    mimo_rt.deblur(image, path, strength=0.5)
    assert len(module._kept) == 1
    path.write_bytes(onnx_models.mimo_unet(8, 1, seed=9))
    mimo_rt.deblur(image, path)
    assert len(module._kept) == 2
    for threads in range(1, 7):
        mimo_rt.deblur(image, path, threads=threads)
    assert len(module._kept) == module._KEPT


def test_bundled_models_are_what_the_index_says() -> None:
    import hashlib

    for model in models.bundled():
        data = model.path.read_bytes()
        assert hashlib.sha256(data).hexdigest() == model.sha256, model.id
        assert len(data) == model.bytes, model.id
        assert model.card.read_text().startswith(f"# {model.id}\n"), model.id
        assert models.find(model.id) == model
        newest = models.find(model.name)
        assert newest is not None
        assert newest.version >= model.version
        image = np.random.default_rng(0).integers(0, 256, (17, 31, 3)).astype(np.uint8)
        assert mimo_rt.deblur(image, model.id).shape == image.shape


def test_every_model_file_is_in_the_index() -> None:
    folder = Path(models.__file__).parent
    assert {path.stem for path in folder.glob("*.onnx")} == {model.id for model in models.bundled()}


def test_a_bundled_model_that_was_altered_is_refused(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = models.BundledModel("fake", 3, "0" * 64, model_file.stat().st_size, "of the tests")
    shutil.copy(model_file, tmp_path / "fake@3.onnx")
    monkeypatch.setattr(models, "_FOLDER", tmp_path)
    monkeypatch.setattr(models, "bundled", lambda: (fake,))
    for name in ("fake", "fake@3"):
        with pytest.raises(mimo_rt.ModelError, match="reinstall"):
            mimo_rt.build(name)
