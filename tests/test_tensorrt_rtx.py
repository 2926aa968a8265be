"""The backend "tensorrt-rtx": what it does without NVIDIA's packages and without a GPU, plans by NVIDIA's
own builder where its packages are installed, and the calls of a run on a stand-in for GPU and library."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models
import pytest

import mimo_rt
from mimo_rt import cuda_driver, tensorrt_rtx, typed_onnx
from mimo_rt.cli import main
from mimo_rt.gpu_shapes import RANGE, Shapes

installed = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="needs the extra rtx"
)


@pytest.fixture(autouse=True)
def own_secret(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setenv("MIMO_RT_CONFIG", str(folder))
    return folder


class FakeBuilder:
    """A library that builds plans of a few bytes and runs them: image in, 1 - image out."""

    __version__ = "1.0-fake"
    fails = ""

    class ILogger:
        class Severity:
            WARNING = 2

    class TensorIOMode:
        INPUT, OUTPUT = 0, 1

    class Builder:
        def __init__(self, log: Any) -> None:
            self.log = log

        def create_network(self, flags: int) -> Any:
            return types.SimpleNamespace(get_input=lambda i: types.SimpleNamespace(name="image"))

        def create_builder_config(self) -> Any:
            return types.SimpleNamespace(add_optimization_profile=lambda profile: 0)

        def create_optimization_profile(self) -> Any:
            return types.SimpleNamespace(set_shape=lambda *sizes: None)

        def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
            if FakeBuilder.fails == "build":
                self.log.log(1, "no kernel for it")
                return None
            return b"a plan of the fake"

    class OnnxParser:
        def __init__(self, network: Any, log: Any) -> None:
            self.num_errors = 1

        def parse(self, data: bytes) -> bool:
            return FakeBuilder.fails != "parse"

        def get_error(self, i: int) -> Any:
            return types.SimpleNamespace(node_name=lambda: "conv_3", desc=lambda: "what a strange kernel")

    class Runtime:
        def __init__(self, log: Any) -> None:
            self.log = log

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            assert plan == b"a plan of the fake"
            if FakeBuilder.fails == "load":
                self.log.log(1, "wrong GPU")
                return None
            return FakeEngine()


class FakeEngine:
    num_io_tensors = 2
    device_memory_size_v2 = 1 << 20

    def get_tensor_name(self, i: int) -> str:
        return ("deblurred", "image")[i]

    def get_tensor_mode(self, name: str) -> int:
        return 0 if name == "image" else 1

    def create_execution_context(self) -> Any:
        return FakeContext()


class FakeContext:
    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "image"
        self.shape = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == FakeCuda.STREAM
        count = int(np.prod(self.shape))
        source, target = (
            np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.addresses[name]))
            for name in ("image", "deblurred")
        )
        target[:] = 1 - source
        return FakeBuilder.fails != "run"


class FakeCuda:
    """The driver's calls, on the host's memory."""

    STREAM = 77

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.refuse = ""
        self.contexts = ["the caller's"]
        self.streams = 0

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any) -> int:
            if name == self.refuse:
                return 2
            if name.startswith(("cuMem", "cuStream")):
                assert self.contexts[-1] == "primary"
            done = getattr(FakeCuda, f"do_{name}", None)
            return 0 if done is None else int(done(self, *given) or 0)

        return call

    def do_cuStreamCreate(self, stream: Any, flags: int) -> None:  # noqa: N802
        assert flags == 1  # it does not wait for the default stream
        stream._obj.value = self.STREAM
        self.streams += 1

    def do_cuStreamDestroy_v2(self, stream: Any) -> None:  # noqa: N802
        assert stream.value == self.STREAM
        self.streams -= 1

    def do_cuCtxPushCurrent_v2(self, context: Any) -> None:  # noqa: N802
        self.contexts.append("primary")

    def do_cuCtxPopCurrent_v2(self, context: Any) -> None:  # noqa: N802
        self.contexts.pop()

    def do_cuMemAlloc_v2(self, address: Any, size: Any) -> None:  # noqa: N802
        room = ctypes.create_string_buffer(size.value)
        address._obj.value = ctypes.addressof(room)
        self.memory[address._obj.value] = room

    def do_cuMemFree_v2(self, address: Any) -> None:  # noqa: N802
        del self.memory[address.value]

    def do_cuMemcpyHtoDAsync_v2(self, to: Any, source: Any, size: Any, stream: Any) -> None:  # noqa: N802
        assert stream.value == self.STREAM
        ctypes.memmove(to.value, source.value, size.value)

    def do_cuMemcpyDtoHAsync_v2(self, to: Any, source: Any, size: Any, stream: Any) -> None:  # noqa: N802
        ctypes.memmove(to.value, source.value, size.value)

    def do_cuGetErrorName(self, status: int, name: Any) -> None:  # noqa: N802
        name._obj.value = b"CUDA_ERROR_OUT_OF_MEMORY"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    """Library and GPU are stand-ins."""
    cuda = FakeCuda()
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", FakeBuilder)  # type: ignore[arg-type]
    monkeypatch.setattr(cuda_driver, "_library", lambda: cuda)
    FakeBuilder.fails = ""
    yield cuda
    FakeBuilder.fails = ""


def code_of(action: Any) -> tuple[str, str]:
    with pytest.raises(mimo_rt.Error) as caught:
        action()
    return caught.value.code, str(caught.value)


def test_without_the_packages(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", None)  # type: ignore[arg-type]
    code, text = code_of(lambda: mimo_rt.build(model_file, backend="tensorrt-rtx"))
    assert code == "backend.no_library"
    assert "mimo-rt[rtx]" in text


def test_the_verb_ends_with_3(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", None)  # type: ignore[arg-type]
    plan = tmp_path / "x.plan"
    assert main(["build", str(model_file), "-o", str(plan), "--backend", "tensorrt-rtx"]) == 3
    assert not plan.exists()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "mimo-rt[rtx]" in said


def test_a_plan_is_built_cached_saved_and_run(fake: FakeCuda, model_file: Path, tmp_path: Path) -> None:
    engine = mimo_rt.build(model_file, backend="tensorrt-rtx")
    assert engine.info.backend == "tensorrt-rtx"
    assert engine.info.origin == "built: no cached plan"
    assert mimo_rt.build(model_file, backend="tensorrt-rtx").info.origin == "cache hit"
    assert mimo_rt.build(model_file, backend="tensorrt-rtx", tile=90).info.origin == "built: no cached plan"
    on_cpu = mimo_rt.build(model_file).info
    assert engine.info.halo == on_cpu.halo
    assert engine.info.macs_per_pixel == on_cpu.macs_per_pixel
    plan = tmp_path / "rtx.plan"
    engine.save(plan)
    loaded = mimo_rt.Engine.load(plan)
    assert loaded.info.origin == "plan file"
    assert loaded.info.key == engine.info.key
    assert loaded.info.receptive_field == on_cpu.receptive_field
    image = np.random.default_rng(1).integers(0, 256, (70, 91, 4), np.uint8)
    wanted = np.concatenate([255 - image[:, :, :3], image[:, :, 3:]], axis=2)
    with_engine = mimo_rt.Deblurrer(loaded)
    assert (with_engine.run(image) == wanted).all()
    assert (with_engine.run(image[:66]) == wanted[:66]).all()  # another size in the same context
    assert (mimo_rt.Deblurrer(plan).run(image) == wanted).all()
    x = np.random.default_rng(2).random((2, 3, 64, 68), np.float32)
    assert np.abs(loaded.infer(x) - (1 - x)).max() < 1e-6


def test_memory_on_the_device_is_given_back(fake: FakeCuda, model_file: Path) -> None:
    deblurrer = mimo_rt.Deblurrer(mimo_rt.build(model_file, backend="tensorrt-rtx", tile=128))
    image = np.zeros((64, 64, 3), np.uint8)
    fake.refuse = "cuMemAlloc_v2"
    with pytest.raises(mimo_rt.MemoryLimitError, match="smaller tiles"):
        deblurrer.run(image)
    fake.refuse = ""
    deblurrer.run(image)
    assert len(fake.memory) == 2
    assert fake.streams == 1
    del deblurrer
    assert not fake.memory
    assert not fake.streams
    assert fake.contexts == ["the caller's"]
    FakeBuilder.fails = "load"
    with pytest.raises(mimo_rt.PlanError):
        mimo_rt.Deblurrer(mimo_rt.build(model_file, backend="tensorrt-rtx", tile=128, cache=False))
    assert not fake.streams
    assert fake.contexts == ["the caller's"]


@pytest.mark.parametrize(
    ("fails", "code", "words"),
    [
        ("parse", "model.refused", "conv_3: what a strange kernel"),
        ("build", "model.refused", "no kernel for it"),
        ("load", "plan.refused", "wrong GPU"),
        ("run", "backend.run", "could not run"),
    ],
)
def test_failures_of_the_library(fake: FakeCuda, model_file: Path, fails: str, code: str, words: str) -> None:
    def work() -> None:
        engine = mimo_rt.build(model_file, backend="tensorrt-rtx", cache=False)
        mimo_rt.Deblurrer(engine).run(np.zeros((64, 64, 3), np.uint8))

    FakeBuilder.fails = fails
    found, text = code_of(work)
    assert found == code
    assert words in text


def test_a_changed_or_foreign_plan_is_not_opened(
    fake: FakeCuda, model_file: Path, tmp_path: Path, own_secret: Path
) -> None:
    path = tmp_path / "x.plan"
    mimo_rt.build(model_file, backend="tensorrt-rtx").save(path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    assert code_of(lambda: mimo_rt.Engine.load(bytes(data)))[0] == "plan.seal"
    (own_secret / "plan.key").unlink()  # another user's
    assert code_of(lambda: mimo_rt.Deblurrer(path))[0] == "plan.seal"
    assert "of another user" in mimo_rt.build(model_file, backend="tensorrt-rtx").info.origin


def test_without_a_driver_there_is_one_sentence(
    fake: FakeCuda, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = mimo_rt.build(model_file, backend="tensorrt-rtx")
    monkeypatch.undo()
    if cuda_driver.gpu_present():
        pytest.skip("there is a GPU")
    code, text = code_of(lambda: mimo_rt.Deblurrer(engine))
    assert code == "backend.no_driver"
    assert "can be built and saved here" in text


@pytest.mark.parametrize(
    "options",
    [
        {"backend": "tensorrt-rtx", "precision": "int4"},
        {"backend": "tensorrt-rtx", "precision": "int8"},
        {"backend": "tensorrt-rtx", "tile": 0},
        {"backend": "tensorrt-rtx", "tile": 1 << 20},
        {"backend": "tensorrt-rtx", "optimization_level": 6},
        {"backend": "tensorrt-rtx", "tactics": "direct"},
        {"backend": "tensorrt-rtx", "target": "AVX2"},
        {"backend": "cpu", "tile": 64},
        {"backend": "cpu", "optimization_level": 3},
        {"backend": "cuda"},
    ],
)
def test_options_that_cannot_be_had(fake: FakeCuda, model_file: Path, options: dict[str, Any]) -> None:
    assert code_of(lambda: mimo_rt.build(model_file, **options))[0].startswith("backend.")


def test_precisions_of_files(model_file: Path) -> None:
    made = typed_onnx.typed(str(model_file), "fp16")
    given, half = made.given, made.onnx
    assert typed_onnx.precision_of(onnx.load_from_string(given)) == "fp32"
    assert typed_onnx.precision_of(onnx.load_from_string(half)) == "fp16"
    assert typed_onnx.typed(half, "fp16") == typed_onnx.Typed(half, half)
    assert code_of(lambda: typed_onnx.typed(half, "fp32"))[0] == "backend.precision"
    for broken in (b"", b"not onnx", given[: len(given) // 2]):
        assert code_of(lambda broken=broken: typed_onnx.typed(broken, "fp32"))[0].startswith("model.")


def test_auto_says_where_a_gpu_is_not_used(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "gpu_present", lambda: True)
    assert "tensorrt-rtx" in mimo_rt.build(model_file).backend_reason
    assert mimo_rt.build(model_file, backend="cpu").backend_reason == ""
    monkeypatch.setattr(cuda_driver, "gpu_present", lambda: False)
    assert mimo_rt.build(model_file).backend_reason == ""


@installed
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("tile", [None, 512])
def test_nvidias_builder_takes_our_models(model_file: Path, precision: str, tile: int | None) -> None:
    engine = mimo_rt.build(model_file, backend="tensorrt-rtx", precision=precision, tile=tile)
    assert engine.info.packed_bytes > 100_000
    assert (
        mimo_rt.build(model_file, backend="tensorrt-rtx", precision=precision, tile=tile).info.origin
        == "cache hit"
    )


@installed
def test_nvidias_builder_takes_layers_kept_in_fp32(model_file: Path) -> None:
    names = [node.name for node in onnx.load(model_file).graph.node if node.op_type == "Conv"]
    model = typed_onnx.typed(str(model_file), "fp16", names[1:4])
    assert tensorrt_rtx.build_plan(model.onnx, Shapes((64, 64), (64, 64), (64, 64)))


@installed
def test_nvidias_builder_takes_images_in_half_precision(model_file: Path) -> None:
    model = typed_onnx.typed(str(model_file), "fp16", half_images=True)
    assert tensorrt_rtx.build_plan(model.onnx, Shapes((64, 64), (64, 64), (64, 64)))


@pytest.mark.parametrize("option", ["fused_blocks", "half_images", "batch"])
def test_options_of_another_backend(fake: FakeCuda, model_file: Path, option: str) -> None:
    given: dict[str, Any] = {option: 2 if option == "batch" else True}
    code, text = code_of(lambda: mimo_rt.build(model_file, backend="tensorrt-rtx", precision="fp16", **given))
    assert code == "backend.option"
    assert "backend tensorrt" in text


@installed
def test_nvidias_builder_takes_the_bundled_model() -> None:
    plan = mimo_rt.build("mimo-unet-s", backend="tensorrt-rtx", precision="fp16")
    whole = mimo_rt.build("mimo-unet-s", backend="tensorrt-rtx")
    assert plan.info.packed_bytes < 0.8 * whole.info.packed_bytes  # half precision took hold


@installed
def test_what_nvidia_refuses_is_said() -> None:
    model = onnx.load_from_string(onnx_models.identity())
    model.graph.node[-1].op_type = "Erf"
    model.graph.node.append(onnx.helper.make_node("NonZero", [model.graph.node[-1].output[0]], ["nothing"]))
    model.graph.output[0].name = "nothing"
    code, text = code_of(
        lambda: tensorrt_rtx.build_plan(model.SerializeToString(), Shapes((64, 64), (64, 64), (64, 64)))
    )
    assert code == "model.refused"
    assert "TensorRT for RTX" in text
    assert RANGE.text == "64x64 1280x720 1920x1088"


def test_weights_beside_the_file(fake: FakeCuda, model_file: Path, tmp_path: Path) -> None:
    model = onnx.load(model_file)
    path = tmp_path / "external.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    given = typed_onnx.typed(str(path), "fp32").given
    assert len(given) > 0.9 * model_file.stat().st_size
    assert mimo_rt.build(path, backend="tensorrt-rtx").info.parameters == mimo_rt.build(path).info.parameters


def test_a_sealed_cache_is_no_plan(fake: FakeCuda) -> None:
    from mimo_rt import _core

    assert code_of(lambda: mimo_rt.Engine.load(_core.seal({"timings of": "tensorrt"}, b"x")))[0] == (
        "plan.not_a_plan"
    )
