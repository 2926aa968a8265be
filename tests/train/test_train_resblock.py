"""The ResBlock kernel of the TensorRT plug-in, run on the processor, against PyTorch in half precision."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from train.model import ResBlock  # noqa: E402

pytestmark = pytest.mark.torch
ROOT = Path(__file__).resolve().parents[2]
STEP = 2.0**-10
"""Of half precision, relative: from one number to the next is between half of this and this."""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    library = tmp_path_factory.mktemp("kernel") / "libresblock.so"
    include = [f"-I{ROOT / folder}" for folder in ("cpp/src", "cpp/include", "cpp/tests")]
    source = str(ROOT / "tests" / "data" / "resblock_host.cpp")
    command = [compiler, "-std=c++20", "-O2", "-shared", "-fPIC", *include, source, "-o", str(library)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def ours(
    kernel: ctypes.CDLL, x: NDArray[np.float16], weights: NDArray[np.float16], bias: NDArray[np.float32]
) -> NDArray[np.float16]:
    """x: (N, 32, H, W)."""
    given = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    made = np.empty_like(given)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (given, made, weights, bias)]
    sides = [ctypes.c_int64(given.shape[axis]) for axis in (0, 1, 2)]
    kernel.resblock(*pointers, *sides)
    return made.transpose(0, 3, 1, 2)


@pytest.mark.parametrize(
    "size",
    [
        (1, 1),
        (1, 40),
        (17, 1),
        (2, 3),
        (15, 31),
        (16, 32),
        (17, 33),
        (18, 66),
        (50, 70),
        (130, 70),
        (70, 130),
    ],
)
def test_it_is_pytorchs_within_the_steps_of_half_precision(
    kernel: ctypes.CDLL, size: tuple[int, int], record_property: pytest.RecordProperty
) -> None:
    torch.manual_seed(sum(size))
    block = ResBlock(32).half().eval()
    convolutions = [block.main[i].main[0] for i in (0, 1)]
    with torch.inference_mode():
        for convolution in convolutions:
            torch.nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            convolution.bias.normal_(0.0, 0.3)
        x = torch.randn(2, 32, *size).half()
        theirs = block(x).numpy().astype(np.float64)
        single = block.float()(x.float()).numpy().astype(np.float64)
    weights = np.stack([c.weight.detach().numpy() for c in convolutions]).astype(np.float16)
    bias = np.stack([c.bias.detach().numpy() for c in convolutions]).astype(np.float32)
    found = ours(kernel, x.numpy(), weights, bias).astype(np.float64)
    assert np.abs(single - x.numpy()).mean() > 0.2  # the branch matters
    scale = np.abs(single).max()
    error, error_of_theirs = np.abs(found - single), np.abs(theirs - single)
    record_property("largest", float(np.abs(found - theirs).max()))
    assert np.abs(found - theirs).max() <= 3 * STEP * scale
    # One rounding less than PyTorch, which rounds the second convolution and the sum.
    assert error.max() <= 2 * STEP * scale
    assert np.sqrt((error**2).mean()) <= 1.02 * np.sqrt((error_of_theirs**2).mean())
