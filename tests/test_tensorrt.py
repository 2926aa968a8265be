"""The backend "tensorrt": what it says where something is missing, all of the Python side against a stand-in
compiled from the real header, and our real library, where it was built, against stubs of NVIDIA's."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import importlib
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models
import pytest
from numpy.typing import NDArray
from PIL import Image

import mimo_rt
from benchmarks import gpu_acceptance
from mimo_rt import dlpack, tensorrt
from mimo_rt.cli import main
from mimo_rt.gpu_core import Order
from mimo_rt.gpu_shapes import RANGE, Shapes, shapes_for

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(__file__).resolve().parent / "data"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compiles shared libraries as on Linux")

REAL = sorted(tensorrt._folder_of_ours().glob("libmimo_rt_tensorrt*.so"))
"""Our library, for the tests that need it: built with MIMO_RT_TENSORRT=ON, in the folder that the variable of
that name tells, or in the installed package, as wheels have it."""


def compiled(target: Path, source: Path | str) -> Path:
    """A shared library of C."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    if isinstance(source, str):
        path = target.with_suffix(".c")
        path.write_text(source)
        source = path
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", f"-I{ROOT}/cpp/include", "-o", str(target)]
    subprocess.run([*command, str(source)], check=True)
    return target


@pytest.fixture(scope="module")
def fake_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the stand-in, under our library's name."""
    folder = tmp_path_factory.mktemp("ours")
    compiled(folder / "libmimo_rt_tensorrt10.so", DATA / "fake_tensorrt.c")
    return folder


@pytest.fixture
def fake(
    fake_library: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> ctypes.CDLL:
    """TensorRT 10 seems to be there, and a GPU."""
    packages = tmp_path_factory.mktemp("packages")
    for name in ("libnvinfer.so.10", "libnvonnxparser.so.10"):
        (packages / name).touch()
    monkeypatch.setenv("MIMO_RT_TENSORRT", str(fake_library))
    monkeypatch.setenv("MIMO_RT_CONFIG", str(tmp_path_factory.mktemp("config")))
    monkeypatch.setenv("MIMO_RT_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(tensorrt, "_folder_of_nvidias", lambda: packages)
    return ctypes.CDLL(str(fake_library / "libmimo_rt_tensorrt10.so"))


def refusal(model: Path) -> tuple[str, str]:
    with pytest.raises(mimo_rt.Error) as caught:
        mimo_rt.Deblurrer(mimo_rt.build(model, backend="tensorrt")).run(np.zeros((64, 64, 3), np.uint8))
    return caught.value.code, str(caught.value)


def test_built_without_it(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIMO_RT_TENSORRT", str(tmp_path))
    code, text = refusal(model_file)
    assert code == "backend.not_built"
    assert "MIMO_RT_TENSORRT=ON" in text
    plan = tmp_path / "x.plan"
    assert main(["build", str(model_file), "-o", str(plan), "--backend", "tensorrt"]) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "built without its TensorRT part" in said
    assert not plan.exists()


def test_without_nvidias_library(
    fake: ctypes.CDLL, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt, "_folder_of_nvidias", lambda: None)
    code, text = refusal(model_file)
    assert code == "backend.no_library"
    assert "mimo-rt[tensorrt]" in text


def test_another_interface(fake: ctypes.CDLL, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_TENSORRT_INTERFACE", "99")
    code, text = refusal(model_file)
    assert code == "backend.not_built"
    assert "another version of mimo_rt" in text


@pytest.mark.parametrize(
    ("fails", "code"),
    [
        ("open", "backend.tensorrt"),
        ("device", "backend.tensorrt"),
        ("build", "model.refused"),
        ("load", "plan.refused"),
        ("run", "memory.device"),
    ],
)
def test_what_the_library_says_is_said(
    fake: ctypes.CDLL, model_file: Path, monkeypatch: pytest.MonkeyPatch, fails: str, code: str
) -> None:
    monkeypatch.setenv("FAKE_TENSORRT_FAILS", fails)
    assert refusal(model_file) == (code, f"{fails} fails as it was told to")


def test_a_plan_is_built_cached_saved_and_run(fake: ctypes.CDLL, model_file: Path, tmp_path: Path) -> None:
    engine = mimo_rt.build(model_file, backend="tensorrt", precision="fp16")
    info = engine.info
    assert (info.backend, info.target, info.precision) == ("tensorrt", "TensorRT 10.16.2", "fp16")
    assert info.key["GPU"] == "Fake GPU, 9.0, 1000"
    assert info.origin == "built: no cached plan"
    assert mimo_rt.build(model_file, backend="tensorrt", precision="fp16").info.origin == "cache hit"
    plan = tmp_path / "trt.plan"
    engine.save(plan)
    image = np.random.default_rng(1).integers(0, 256, (130, 91, 3), np.uint8)
    gc.collect()  # what other tests left
    before = fake.fake_engines()
    deblurrer = mimo_rt.Deblurrer(plan)
    assert (deblurrer.run(image) == 255 - image).all()
    assert fake.fake_engines() == before + 1
    x = np.random.default_rng(2).random((3, 3, 64, 68), np.float32)
    assert np.abs(mimo_rt.Engine.load(plan).infer(x) - (1 - x)).max() < 1e-6
    del deblurrer
    assert fake.fake_engines() == before


def test_a_plan_of_another_version_or_gpu_is_built_again(
    fake: ctypes.CDLL, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tmp_path / "trt.plan"
    mimo_rt.build(model_file, backend="tensorrt").save(plan)
    monkeypatch.setenv("FAKE_TENSORRT_VERSION", "100802")
    origin = mimo_rt.build(model_file, backend="tensorrt").info.origin
    assert origin == "built: TensorRT 10.16.2, not 10.8.2"
    with pytest.raises(mimo_rt.PlanError, match=r"10\.16\.2, and here it is 10\.8\.2") as caught:
        mimo_rt.Engine.load(plan)
    assert caught.value.code == "plan.other_conditions"


def test_builds_and_cuda_are_conditions(
    fake: ctypes.CDLL, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mimo_rt.build(model_file, backend="tensorrt").info.key["CUDA"] == "13.0"
    monkeypatch.setenv("FAKE_TENSORRT_BUILD", "11")
    info = mimo_rt.build(model_file, backend="tensorrt").info
    assert info.origin == "built: TensorRT 10.16.2, not 10.16.2.11"
    assert info.target == "TensorRT 10.16.2.11"


def test_a_cached_plan_that_is_refused_is_built_again_once(
    fake: ctypes.CDLL, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (70, 80, 3), np.uint8)
    monkeypatch.setenv("FAKE_TENSORRT_OLD", "1")
    mimo_rt.build(model_file, backend="tensorrt").save(tmp_path / "old.plan")
    monkeypatch.delenv("FAKE_TENSORRT_OLD")
    with pytest.raises(mimo_rt.PlanError, match="older library"):
        mimo_rt.Deblurrer(tmp_path / "old.plan")  # a file is nothing to build from
    engine = mimo_rt.build(model_file, backend="tensorrt")
    assert engine.info.origin == "cache hit"
    assert (mimo_rt.Deblurrer(engine).run(image) == 255 - image).all()
    assert engine.info.origin == "built: the cached plan was refused: the plan is of an older library"
    fresh = mimo_rt.build(model_file, backend="tensorrt")
    assert (mimo_rt.Deblurrer(fresh).run(image) == 255 - image).all()
    assert fresh.info.origin == "cache hit"  # what was built anew was kept
    monkeypatch.setenv("FAKE_TENSORRT_FAILS", "load")
    broken = mimo_rt.build(model_file, backend="tensorrt")
    for _ in range(2):
        with pytest.raises(mimo_rt.PlanError, match="load fails"):
            mimo_rt.Deblurrer(broken)


def test_progress_of_a_build_and_its_end(fake: ctypes.CDLL, model_file: Path) -> None:
    told: list[tuple[str, int, int]] = []
    options: dict[str, Any] = {"backend": "tensorrt", "cache": False}
    mimo_rt.build(model_file, progress=lambda *step: told.append(step), **options)
    assert told == [("Building engine", step, 3) for step in range(3)]
    with pytest.raises(mimo_rt.BackendError, match="ended") as caught:
        mimo_rt.build(model_file, progress=lambda phase, step, steps: step < 1, **options)
    assert caught.value.code == "backend.cancelled"

    def interrupted(phase: str, step: int, steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mimo_rt.build(model_file, progress=interrupted, **options)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_ctypes_loses_ends_the_build(
    fake: ctypes.CDLL, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_given: object) -> int:
        raise KeyboardInterrupt

    made = tensorrt._Progress
    monkeypatch.setattr(tensorrt, "_Progress", lambda _tell: made(interrupted))
    with pytest.raises(KeyboardInterrupt):
        mimo_rt.build(model_file, backend="tensorrt")


def test_infer_hands_over_batches(fake: ctypes.CDLL, model_file: Path) -> None:
    x = np.random.default_rng(2).random((19, 3, 64, 64), np.float32)
    for batch, at_once in ((1, 4), (4, 8)):
        engine = mimo_rt.build(model_file, backend="tensorrt", tile=64, batch=batch)
        fake.fake_most_at_once()
        assert np.abs(engine.infer(x) - (1 - x)).max() < 1e-6
        assert fake.fake_most_at_once() == at_once


def test_a_range_holds_two_halos_and_something_between(fake: ctypes.CDLL, model_file: Path) -> None:
    for stride, halo in ((4, 76), (4, 580), (8, 832), (32, 300)):
        shapes = shapes_for(None, stride, halo)
        assert all(side % stride == 0 for size in dataclasses.astuple(shapes) for side in size)
        assert min(shapes.largest) >= 2 * halo + 512
        assert shapes.largest >= RANGE.largest
        assert shapes.smallest <= shapes.best <= shapes.largest
    assert shapes_for(None, 4, 76) == RANGE
    assert mimo_rt.build(model_file, backend="tensorrt").info.key["sizes"] == RANGE.text


def test_a_network_that_looks_far_runs_large_images(fake: ctypes.CDLL) -> None:
    engine = mimo_rt.build(onnx_models.mimo_unet(8, 20), backend="tensorrt")
    assert 2 * engine.info.halo > RANGE.largest[0]
    image = np.random.default_rng(6).integers(0, 256, (2 * engine.info.halo + 600, 70, 1), np.uint8)
    deblurrer = mimo_rt.Deblurrer(engine)
    assert deblurrer.tiles_for(*image.shape[:2]).count > 1
    assert (deblurrer.run(image) == 255 - image).all()
    small = mimo_rt.Deblurrer(mimo_rt.build(onnx_models.mimo_unet(8, 20), backend="tensorrt", tile=512))
    with pytest.raises(mimo_rt.ImageError, match="build it with a tile of"):
        small.run(image)


def test_tiles_shrink_where_the_gpu_has_too_little_memory(
    fake: ctypes.CDLL, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = mimo_rt.build(model_file, backend="tensorrt")
    image = np.random.default_rng(7).integers(0, 256, (1200, 1300, 3), np.uint8)
    monkeypatch.setenv("FAKE_TENSORRT_ROOM", str(600 * 700))
    deblurrer = mimo_rt.Deblurrer(engine)
    before = deblurrer.tiles_for(1200, 1300)
    assert (before.height, before.width) == (1088, 1300)
    assert (deblurrer.run(image) == 255 - image).all()
    after = deblurrer.tiles_for(1200, 1300)
    assert after.height * after.width <= 600 * 700
    result = np.zeros_like(image)
    on_gpu = mimo_rt.Deblurrer(engine)
    on_gpu.run(OnDevice(image), out=OnDevice(result))  # type: ignore[call-overload]
    assert (result == 255 - image).all()
    for fixed in (
        mimo_rt.Deblurrer(engine, tile=1024),  # as the caller said
        mimo_rt.Deblurrer(mimo_rt.build(model_file, backend="tensorrt", tile=1024)),
    ):
        with pytest.raises(mimo_rt.MemoryLimitError) as caught:
            fixed.run(image)
        assert caught.value.code == "memory.device"


def test_what_is_not_finite_on_the_gpu_is_an_error(
    fake: ctypes.CDLL, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TENSORRT_NON_FINITE", "1")
    deblurrer = mimo_rt.Deblurrer(mimo_rt.build(model_file, backend="tensorrt"))
    for dtype, besides in (("uint8", False), ("float32", True)):
        image: NDArray[Any] = np.zeros((64, 64, 3), dtype)
        with pytest.raises(mimo_rt.BackendError, match="not finite: the model itself") as caught:
            deblurrer.run(OnDevice(image), out=OnDevice(image.copy()))  # type: ignore[call-overload]
        assert caught.value.code == "backend.non_finite"
        assert ("the image holds NaN" in str(caught.value)) == besides


def test_what_a_build_is_given(fake: ctypes.CDLL) -> None:
    library = tensorrt.TensorRtLibrary()
    sizes = Shapes((64, 68), (72, 76), (80, 84))
    first = library.make_plan(Order(b"x" * 1234, sizes, None))
    assert first == b"fake plan of 1234: 64x68 72x76 80x84, batch 1, level -1, tf32 0, 0 bytes of timings"
    again = library.make_plan(Order(b"x" * 5, sizes, 3, 4))
    assert again == b"fake plan of 5: 64x68 72x76 80x84, batch 4, level 3, tf32 0, 8 bytes of timings"
    network = library.network(again, {"stride": 4, "halo": 8}, sizes)
    network(np.zeros((5, 3, 64, 68), np.float32))
    slot = 2 * 2 * 4 * 3 * 4
    assert network.memory_for(64, 68) == len(again) + (1 << 16) + slot * 64 * 68
    assert network.memory_for(80, 84) == len(again) + (1 << 20) + slot * 80 * 84
    between = network.memory_for(64, 84) - len(again) - slot * 64 * 84
    assert 1 << 16 < between < 1 << 20
    assert network.device_times == {"to_device": 1, "compute": 2, "to_host": 3, "enqueue": 4}
    assert network.layers() == '{"Layers": [{"Name": "first + relu"}]}'


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pixels_are_handed_over_as_they_are(
    fake: ctypes.CDLL, model_file: Path, dtype: type, channels: int
) -> None:
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    image = (np.random.default_rng(3).random((190, 171, channels)) * top).astype(dtype)
    deblurrer = mimo_rt.Deblurrer(mimo_rt.build(model_file, backend="tensorrt"), tile=190)
    assert deblurrer.tiles_for(190, 171).count == 1
    for given in (image, image[::-1, ::2], np.asfortranarray(image)):
        result = deblurrer.run(given)
        colours = 1 if channels < 3 else 3
        assert (result[:, :, :colours] == top - given[:, :, :colours]).all()
        assert (result[:, :, colours:] == given[:, :, colours:]).all()
    assert fake.fake_on_device() == 0
    told: list[float] = []
    tiled = mimo_rt.Deblurrer(deblurrer.engine, tile=2 * deblurrer.engine.info.halo + 8)
    assert (tiled.run(image, progress=told.append)[:, :, :1] == top - image[:, :, :1]).all()
    assert told == sorted(told)
    assert told[-1] == 1.0
    with pytest.raises(mimo_rt.ImageError) as caught:
        tiled.run(image, progress=lambda done: done < 0.4)
    assert caught.value.code == "image.cancelled"


def test_memory_is_that_of_tiles_and_the_whole_image(fake: ctypes.CDLL, model_file: Path) -> None:
    engine = mimo_rt.build(model_file, backend="tensorrt", tile=128)
    deblurrer = mimo_rt.Deblurrer(engine)
    one, big = deblurrer.memory_for(128, 128), deblurrer.memory_for(1280, 1280)
    assert big - one == 2 * 3 * (1280**2 - 128**2)
    bounded = mimo_rt.Deblurrer(engine, memory=deblurrer.memory_for(300, 300))
    bounded.run(np.zeros((300, 300, 3), np.uint8))
    with pytest.raises(mimo_rt.MemoryLimitError, match="bound"):
        bounded.run(np.zeros((300, 300, 3), np.uint16))
    shown = OnDevice(np.zeros((300, 300, 3), np.uint16))  # lies there already
    bounded.run(shown, out=OnDevice(np.zeros((300, 300, 3), np.uint16)))  # type: ignore[call-overload]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_ctypes_loses_ends_the_run(
    fake: ctypes.CDLL, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the way into the callback, before anything of ours could catch it."""
    deblurrer = mimo_rt.Deblurrer(mimo_rt.build(model_file, backend="tensorrt"))

    def interrupted(*_given: object) -> int:
        raise KeyboardInterrupt

    made = tensorrt._Progress
    monkeypatch.setattr(tensorrt, "_Progress", lambda _tell: made(interrupted))
    with pytest.raises(KeyboardInterrupt):
        deblurrer.run(np.zeros((64, 64, 3), np.uint8))


def test_nvidias_package_loads_what_its_libraries_open_by_name(
    fake: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(importlib, "import_module", loaded.append)
    tensorrt.TensorRtLibrary()
    assert loaded == ["tensorrt_libs"]

    def broken(name: str) -> None:
        raise OSError(f"{name}: no such library")

    monkeypatch.setattr(importlib, "import_module", broken)
    assert tensorrt.TensorRtLibrary().conditions["TensorRT"] == "10.16.2"


class OnDevice:
    """Shows a NumPy array as one on a GPU; the stand-in reads the host's memory."""

    def __init__(self, array: NDArray[Any], *, read_only: bool = False, **more: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, read_only),
            "strides": None if array.flags.c_contiguous else array.strides,
            "version": 3,
            **more,
        }


def test_arrays_on_the_gpu_stay_there(fake: ctypes.CDLL, model_file: Path) -> None:
    deblurrer = mimo_rt.Deblurrer(mimo_rt.build(model_file, backend="tensorrt"))
    image = np.random.default_rng(4).integers(0, 256, (90, 80, 3), np.uint8)
    for given in (image, image[:, ::-1], image[::2], image[:, :, 0], image.transpose(1, 0, 2)):
        result = np.zeros_like(given, order="C")
        out = OnDevice(result)
        assert deblurrer.run(OnDevice(given, stream=77), out=out) is out  # type: ignore[call-overload]
        assert (result == 255 - given).all()
        assert fake.fake_on_device() == 1
        assert fake.fake_stream() == 77
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))  # (C, H, W) shown as (H, W, C)
    result = np.zeros_like(image)
    deblurrer.run(OnDevice(planes.transpose(1, 2, 0)), out=OnDevice(result))  # type: ignore[call-overload]
    assert (result == 255 - image).all()
    assert not fake.fake_stream()


class ByDlpack:
    """Shows a NumPy array as one on a GPU, by DLPack alone."""

    def __init__(self, array: NDArray[Any], device: int = 2) -> None:
        self.array = array
        self.device = device
        self.streams: list[int] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0

    def __dlpack__(self, stream: int) -> Any:
        self.streams.append(stream)
        capsule = self.array.__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
        tensor = dlpack._Tensor.from_address(pointer(capsule, b"dltensor"))
        assert tensor.device_type == 1  # the maker's own struct is read rightly
        tensor.device_type = self.device
        return capsule


def test_arrays_shown_by_dlpack(fake: ctypes.CDLL, model_file: Path) -> None:
    deblurrer = mimo_rt.Deblurrer(mimo_rt.build(model_file, backend="tensorrt"))
    image = np.random.default_rng(4).integers(0, 65536, (90, 80, 3), np.uint16)
    for given in (image, image[::2, 10:], image.transpose(1, 0, 2), image[:, :, 1]):
        result = np.zeros(given.shape, np.uint16)
        shown = ByDlpack(given)
        deblurrer.run(shown, out=ByDlpack(result))  # type: ignore[call-overload]
        assert (result == 65535 - given).all()
        assert shown.streams == [1]
    with pytest.raises(mimo_rt.ImageError, match="not"):
        deblurrer.run(ByDlpack(image, device=1))  # type: ignore[call-overload]
    for wrong in (image.astype(np.float64), image.astype(np.complex64)):
        with pytest.raises(mimo_rt.ImageError) as caught:
            deblurrer.run(ByDlpack(wrong), out=ByDlpack(image.copy()))  # type: ignore[call-overload]
        assert caught.value.code == "image.dtype"


def test_arrays_of_subclasses_are_of_their_package(
    fake: ctypes.CDLL, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tensor(OnDevice):
        __module__ = "torch"
        device = "cuda:0"

        @property
        def shape(self) -> tuple[int, ...]:
            return self.array.shape

        @property
        def dtype(self) -> Any:
            return self.array.dtype

    class Photo(Tensor):
        """Of a user's module."""

    class Refuses(Photo):
        """As a tensor that requires grad."""

        error: Exception = RuntimeError("requires grad")

        def __getattribute__(self, name: str) -> Any:
            if name == "__cuda_array_interface__":
                raise self.error
            return super().__getattribute__(name)

        def __init__(self, array: NDArray[Any]) -> None:
            self.array = array

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

    stream = types.SimpleNamespace(cuda_stream=55)
    module = types.ModuleType("torch")
    module.cuda = types.SimpleNamespace(current_stream=lambda device: stream)  # type: ignore[attr-defined]
    module.empty = lambda shape, dtype, device: Tensor(np.empty(shape, dtype))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", module)
    image = np.random.default_rng(4).integers(0, 256, (64, 70, 3), np.uint8)
    deblurrer = mimo_rt.Deblurrer(mimo_rt.build(model_file, backend="tensorrt"))
    result: Any = deblurrer.run(Photo(image))  # type: ignore[call-overload]
    assert (result.array == 255 - image).all()
    assert fake.fake_stream() == 55
    for error in (RuntimeError("requires grad"), TypeError("no such type"), KeyError("bfloat16")):
        monkeypatch.setattr(Refuses, "error", error)
        with pytest.raises(mimo_rt.ImageError, match="detach") as caught:
            deblurrer.run(Refuses(image))  # type: ignore[call-overload]
        assert caught.value.code == "image.device"


def test_new_arrays_are_of_the_givers_kind(
    fake: ctypes.CDLL, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class GPUArray(OnDevice):
        __module__ = "pycuda.gpuarray"

        @property
        def shape(self) -> tuple[int, ...]:
            return self.array.shape

        @property
        def dtype(self) -> Any:
            return self.array.dtype

    module = types.ModuleType("pycuda.gpuarray")
    module.empty = lambda shape, dtype: GPUArray(np.empty(shape, dtype))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", types.ModuleType("pycuda"))
    monkeypatch.setitem(sys.modules, "pycuda.gpuarray", module)
    image = np.random.default_rng(4).integers(0, 256, (64, 70, 4), np.uint8)
    deblurrer = mimo_rt.Deblurrer(mimo_rt.build(model_file, backend="tensorrt"))
    result: Any = deblurrer.run(GPUArray(image))  # type: ignore[call-overload]
    assert isinstance(result, GPUArray)
    assert (result.array[:, :, :3] == 255 - image[:, :, :3]).all()
    assert (result.array[:, :, 3] == image[:, :, 3]).all()


def test_arrays_on_the_gpu_that_cannot_be_run(
    fake: ctypes.CDLL, model_file: Path, deblurrer: mimo_rt.Deblurrer
) -> None:
    on_gpu = mimo_rt.Deblurrer(mimo_rt.build(model_file, backend="tensorrt"))
    image = np.zeros((64, 64, 3), np.uint8)
    out = OnDevice(np.zeros_like(image))
    room = bytearray(4 * image.size + 64 * 3)
    odd = np.frombuffer(room, np.float32, image.size, offset=1).reshape(image.shape)
    uneven = np.ndarray(image.shape, np.uint16, room, strides=(64 * 6 + 1, 6, 2))
    for made, given, options, code in [
        (deblurrer, OnDevice(image), {"out": out}, "image.device"),
        (on_gpu, OnDevice(image), {}, "image.out"),
        (on_gpu, OnDevice(image), {"out": image.copy()}, "image.out"),
        (on_gpu, OnDevice(image), {"out": OnDevice(image)}, "image.out"),
        (on_gpu, OnDevice(image), {"out": OnDevice(image[::-1])}, "image.out"),
        (on_gpu, OnDevice(image), {"out": OnDevice(image.copy(), read_only=True)}, "image.out"),
        (on_gpu, OnDevice(image), {"out": OnDevice(np.zeros((64, 60, 3), np.uint8))}, "image.out"),
        (on_gpu, OnDevice(image), {"out": out, "scale": 0.5}, "image.scale"),
        (on_gpu, OnDevice(image, mask=OnDevice(image)), {"out": out}, "image.dtype"),
        (on_gpu, OnDevice(image.astype(np.int32)), {"out": out}, "image.dtype"),
        (on_gpu, OnDevice(image.astype(">u2")), {"out": out}, "image.dtype"),
        (on_gpu, OnDevice(odd), {"out": OnDevice(np.zeros((64, 64, 3), np.float32))}, "image.dtype"),
        (on_gpu, OnDevice(uneven), {"out": OnDevice(np.zeros((64, 64, 3), np.uint16))}, "image.dtype"),
        (on_gpu, OnDevice(image[:, :, :2]), {"out": out}, "image.shape"),
        (on_gpu, OnDevice(image[0, 0]), {"out": out}, "image.shape"),
        (on_gpu, OnDevice(image[:0]), {"out": out}, "image.empty"),
        (mimo_rt.Deblurrer(on_gpu.engine, ensemble=4), OnDevice(image), {"out": out}, "image.device"),
    ]:
        with pytest.raises(mimo_rt.ImageError) as caught:
            made.run(given, **options)  # type: ignore[call-overload]
        assert caught.value.code == code


def test_bench_tells_the_gpus_own_times(
    fake: ctypes.CDLL, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = tmp_path / "times.json"
    options = ["--backend", "tensorrt", "--shapes", "64x64", "--duration", "0", "--warmUp", "0", "--verbose"]
    options += ["--exportTimes", str(times), "--fp16"]
    assert main(["bench", "--onnx", str(model_file), *options]) == 0
    said = capsys.readouterr().out
    for line in ("Enqueue Time: min = 4 ms", "H2D Latency: min = 1 ms", "GPU Compute Time: min = 2 ms"):
        assert line in said
    assert "D2H Latency (3 ms) is no less than GPU compute (2 ms)" in said
    assert "bound by enqueue time (4 ms)" in said
    assert "Backend: tensorrt" in said
    found = json.loads(times.read_text())
    assert len(found) == 10
    assert (found[0]["h2dMs"], found[0]["computeMs"], found[0]["d2hMs"]) == (1, 2, 3)


def test_acceptance_goes_through_all_of_it(
    fake: ctypes.CDLL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the stand-in, which inverts pixels: what is compared with the CPU fails, what with another plan does
    not, and each is reported."""
    model, tools = tmp_path / "wide.onnx", tmp_path / "tools"
    model.write_bytes(onnx_models.mimo_unet(32, 1))
    tools.mkdir()
    sanitizer = tools / "compute-sanitizer"
    sanitizer.write_text('#!/bin/sh\necho "========= ERROR SUMMARY: 0 errors"\n[ "$2" != racecheck ]\n')
    sanitizer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(gpu_acceptance, "ROUNDS", 1)
    options = ["--models", str(model), "--backend", "tensorrt", "--out", str(tmp_path / "out")]
    assert gpu_acceptance.main(options) == 1
    report = json.loads((tmp_path / "out" / "acceptance.json").read_text())
    passed = {(check["precision"], check["name"]): check["passed"] for check in report["checks"]}
    assert passed["fp32", "tiles against whole"]
    assert not passed["fp32", "1x1"]
    assert passed["fp16, fused blocks", "memcheck"]
    assert not passed["fp16, fused blocks", "racecheck"]
    options = ["images in fp16", "single tiles", "batches of 4 tiles", "fused blocks"]
    assert all(passed["fp16", f"{title} against plain"] for title in options)
    plans = [time["plan"] for time in report["times"]]
    by_option = [f"tensorrt fp16, {title}" for title in options]
    assert plans == ["cpu fp32", "tensorrt fp32", "tensorrt fp16", *by_option]
    assert "ERROR SUMMARY: 0 errors" in (tmp_path / "out" / "acceptance.md").read_text()


def test_eval_runs_on_it(
    fake: ctypes.CDLL, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sharp = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    for folder, pixels in (("blur", 255 - sharp), ("sharp", sharp)):  # the stand-in inverts pixels
        (tmp_path / "set" / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "set" / folder / "1.png")
    options = ["--backend", "tensorrt", "--precision", "fp16", "-o", str(tmp_path / "out"), "--json", "-q"]
    assert main(["eval", "--data", str(tmp_path / "set"), "-m", str(model_file), *options]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["backend"]["name"] == "tensorrt"
    assert summary["backend"]["precision"] == "fp16"
    assert summary["results"]["psnr_after"] > 90


def test_bench_tells_what_layers_take(
    fake: ctypes.CDLL, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile, layers = tmp_path / "profile.json", tmp_path / "layers.json"
    options = ["--backend", "tensorrt", "--shapes", "64x64", "--duration", "0", "--warmUp", "0"]
    exports = ["--exportProfile", str(profile), "--exportLayerInfo", str(layers)]
    assert main(["bench", "--onnx", str(model_file), *options, "--dumpProfile", *exports]) == 0
    said = capsys.readouterr().out
    assert "=== Profile (10 iterations ) ===" in said
    rows = json.loads(profile.read_text())
    assert rows[0] == {"count": 10}
    assert [row["name"] for row in rows[1:]] == ["first + relu", "second"]
    assert rows[1]["timeMs"] == pytest.approx(55)
    assert rows[1]["averageMs"] == rows[1]["medianMs"] == pytest.approx(5.5)
    assert sum(row["percentage"] for row in rows[1:]) == pytest.approx(100)
    assert json.loads(layers.read_text()) == {"Layers": [{"Name": "first + relu"}]}
    layers.unlink()
    assert main(["bench", "--onnx", str(model_file), *options, *exports, "--skipInference"]) == 0
    assert json.loads(layers.read_text()) == {"Layers": [{"Name": "first + relu"}]}


def test_what_is_not_finite_names_the_layers(
    fake: ctypes.CDLL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TENSORRT_NON_FINITE", "1")
    model = onnx.load_from_string(onnx_models.mimo_unet(8, 1))
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    inner, outer = convolutions[1:3]
    for tensor in model.graph.initializer:
        factor = 1e5 if tensor.name in inner.input else 1 / 1e5 if tensor.name == outer.input[1] else 1
        array = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(onnx_type(tensor)), tensor.name))
    image = np.zeros((64, 64, 3), np.uint8)

    def said(engine: mimo_rt.Engine) -> str:
        with pytest.raises(mimo_rt.BackendError, match="not finite") as caught:
            mimo_rt.Deblurrer(engine).run(image)
        assert caught.value.code == "backend.non_finite"
        return str(caught.value)

    data = model.SerializeToString()
    half = mimo_rt.build(data, backend="tensorrt", precision="fp16")
    assert f"keep_fp32 of {inner.name}, " in said(half)
    half.save(tmp_path / "half.plan")
    assert "keep_fp32 auto" in said(mimo_rt.Engine.load(tmp_path / "half.plan"))
    assert "model itself" in said(mimo_rt.build(data, backend="tensorrt"))
    kept = mimo_rt.build(data, backend="tensorrt", precision="fp16", keep_fp32="auto")
    assert kept.info.origin.startswith("built")
    assert kept.info.key["kept in fp32"].split()[0] == inner.name


def onnx_type(tensor: onnx.TensorProto) -> Any:
    return onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)


def test_fused_blocks_make_another_plan(fake: ctypes.CDLL, tmp_path: Path) -> None:
    model, plan = tmp_path / "wide.onnx", tmp_path / "fused.plan"
    model.write_bytes(onnx_models.mimo_unet(32, 1))
    options = ["--backend", "tensorrt", "--precision", "fp16", "--fused-blocks"]
    plain = mimo_rt.build(model, backend="tensorrt", precision="fp16")
    assert main(["build", str(model), "-o", str(plan), *options, "-q"]) == 0
    fused = mimo_rt.Engine.load(plan)
    assert fused.info.key["fused blocks"] == "2"
    assert fused.info.key.keys() - plain.info.key.keys() == {"fused blocks"}
    assert mimo_rt.build(model, backend="tensorrt", precision="fp16", fused_blocks=True).info.origin == (
        "cache hit"
    )


def test_batches_of_tiles(fake: ctypes.CDLL, model_file: Path, tmp_path: Path) -> None:
    single = mimo_rt.build(model_file, backend="tensorrt", tile=128)
    plan = tmp_path / "four.plan"
    options = ["--backend", "tensorrt", "--tile", "128", "--batch", "4", "-q"]
    assert main(["build", str(model_file), "-o", str(plan), *options]) == 0
    four = mimo_rt.Engine.load(plan)
    assert four.info.key["batch"] == "4"
    assert four.info.key.keys() - single.info.key.keys() == {"batch"}
    image = np.random.default_rng(5).integers(0, 256, (200, 300, 3), np.uint8)
    assert (mimo_rt.Deblurrer(four).run(image) == 255 - image).all()
    for wrong in ({"batch": 4}, {"batch": 0, "tile": 64}, {"batch": 65, "tile": 64}):
        with pytest.raises(mimo_rt.BackendError, match="batch") as caught:
            mimo_rt.build(model_file, backend="tensorrt", **wrong)
        assert caught.value.code == "backend.option"


def test_images_in_half_precision_make_another_plan(fake: ctypes.CDLL, model_file: Path) -> None:
    plain = mimo_rt.build(model_file, backend="tensorrt", precision="fp16")
    half = mimo_rt.build(model_file, backend="tensorrt", precision="fp16", half_images=True)
    assert half.info.origin.startswith("built")
    assert half.info.key["images"] == "fp16"
    assert half.info.key.keys() - plain.info.key.keys() == {"images"}


NULL_STUB = """
#include <stddef.h>
#include <stdint.h>
int32_t getInferLibVersion(void) { return VERSION; }
void* getPluginRegistry(void) { return NULL; }
void* createInferBuilder_INTERNAL(void* l, int32_t v) { (void)l; (void)v; return NULL; }
void* createInferRuntime_INTERNAL(void* l, int32_t v) { (void)l; (void)v; return NULL; }
"""
PARSER_STUB = "void* createNvOnnxParser_INTERNAL(void* n, void* l, int v) { return n == l && v ? n : 0; }\n"


@pytest.mark.skipif(not REAL, reason="mimo_rt was built without its TensorRT part")
@pytest.mark.parametrize("library", REAL, ids=lambda path: path.stem)
class TestOurLibrary:
    """In processes of their own: a process opens one TensorRT."""

    def call(self, library: Path, folder: Path, version: int, parser: str = PARSER_STUB) -> str:
        nvinfer = compiled(folder / "libnvinfer.so", NULL_STUB.replace("VERSION", str(version)))
        onnx = compiled(folder / "libnvonnxparser.so", parser)
        script = """
import ctypes, sys
class Error(ctypes.Structure): _fields_ = (("text", ctypes.c_char * 1024),)
from mimo_rt.tensorrt import _Versions
ours, error, versions = ctypes.CDLL(sys.argv[1]), Error(), _Versions()
nvidias = sys.argv[2].encode(), sys.argv[3].encode()
status = ours.mimo_rt_trt_open(*nvidias, ctypes.byref(versions), ctypes.byref(error))
print(status, versions.tensorrt, versions.build, error.text.decode())
if not status:
    from mimo_rt.tensorrt import _BuildOptions, _PlanInfo
    options = _BuildOptions(onnx_size=0)
    print(ours.mimo_rt_trt_build(ctypes.byref(options), ctypes.byref(error)), error.text.decode())
    engine, info = ctypes.c_void_p(), _PlanInfo()
    print(ours.mimo_rt_trt_load(b"x", ctypes.c_size_t(1), ctypes.byref(engine), ctypes.byref(info),
          ctypes.byref(error)), error.text.decode())
    text = ctypes.create_string_buffer(256)
    print(ours.mimo_rt_trt_device(text, ctypes.c_size_t(256), ctypes.byref(error)), error.text.decode())
"""
        command = [sys.executable, "-c", script, str(library), str(nvinfer), str(onnx)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def major(self, library: Path) -> int:
        return int(library.stem.removeprefix("libmimo_rt_tensorrt"))

    def test_no_library_of_nvidias_is_named_in_it(self, library: Path) -> None:
        if shutil.which("readelf") is None:
            pytest.skip("no readelf")
        text = subprocess.run(
            ["readelf", "--dynamic", "--wide", str(library)], check=True, capture_output=True, text=True
        ).stdout
        needed = [line.split("[")[1].rstrip("]") for line in text.splitlines() if "(NEEDED)" in line]
        assert needed
        assert not [
            name for name in needed if any(word in name for word in ("nv", "cuda", "cudart", "nvinfer"))
        ]

    def test_null_objects_are_errors(self, library: Path, tmp_path: Path) -> None:
        major = self.major(library)
        lines = self.call(library, tmp_path, major * 10000 + 1602).splitlines()
        assert lines[0].startswith(f"0 {major}1602 0")
        assert lines[1].startswith("3 TensorRT cannot make a builder")
        assert lines[2].startswith("3 TensorRT cannot make a runtime")
        assert lines[3].startswith(("0 ", "3 there is no NVIDIA driver", "3 the NVIDIA driver is too old"))

    @pytest.mark.parametrize("version", [8060, 100799, 90000, 120000])
    def test_other_versions_are_refused(self, library: Path, tmp_path: Path, version: int) -> None:
        assert self.call(library, tmp_path, version).startswith("3 0 ")

    def test_what_is_no_tensorrt(self, library: Path, tmp_path: Path) -> None:
        said = self.call(library, tmp_path, self.major(library) * 10000 + 900, "int other;\n")
        assert "no function createNvOnnxParser_INTERNAL" in said
