"""The C++ example, as its users build it: against an installed mimo_rt, outside the tree; the same bits as
Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from cpp_build import ROOT, cpp_build, run
from onnx_models import mimo_unet

import mimo_rt


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example")
    run("cmake", "--install", str(cpp_build()), "--prefix", str(folder / "prefix"))
    build = folder / "build"
    run(
        *("cmake", "-G", "Ninja", "-S", str(ROOT / "examples" / "cpp"), "-B", str(build)),
        f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}",
    )
    run("cmake", "--build", str(build))
    return build / "deblur"


def ppm(pixels: np.ndarray) -> bytes:
    return f"P6\n{pixels.shape[1]} {pixels.shape[0]}\n255\n".encode() + pixels.tobytes()


@pytest.mark.parametrize("shape", [(33, 50), (1, 1)])
def test_same_bits_as_python(
    program: Path, tmp_path: Path, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIMO_RT_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "tiny.onnx"
    model.write_bytes(mimo_unet())
    pixels = np.random.default_rng(3).integers(0, 256, (*shape, 3), np.uint8)
    engine = mimo_rt.build(model, cache=False)
    expected = mimo_rt.Deblurrer(engine).run(pixels)
    assert not np.array_equal(expected, pixels)
    (tmp_path / "in.ppm").write_bytes(ppm(pixels))
    engine.save(tmp_path / "tiny.plan")
    for name in ("tiny.onnx", "tiny.plan"):
        run(str(program), str(tmp_path / name), str(tmp_path / "in.ppm"), str(tmp_path / "out.ppm"))
        assert (tmp_path / "out.ppm").read_bytes() == ppm(expected), name


@pytest.mark.parametrize(
    ("model", "image", "status", "words"),
    [
        (b"no model", ppm(np.zeros((4, 4, 3), np.uint8)), 3, "model."),
        (None, b"P6\n4 4\n255\n", 2, "ends too early"),
        (None, b"P6\n99999999999 4\n255\n", 2, "not an 8-bit binary PPM"),
    ],
)
def test_errors_end_it_with_a_sentence(
    program: Path, tmp_path: Path, model: bytes | None, image: bytes, status: int, words: str
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(mimo_unet() if model is None else model)
    (tmp_path / "in.ppm").write_bytes(image)
    done = subprocess.run(
        [program, path, tmp_path / "in.ppm", tmp_path / "out.ppm"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert words in done.stderr
    assert not (tmp_path / "out.ppm").exists()
