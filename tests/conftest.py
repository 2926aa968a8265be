"""What many tests share: small models on disk, a Deblurrer of one, a synthetic photo, and a plan cache and a
folder of models of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_models
import pytest
from numpy.typing import NDArray

import mimo_rt


@pytest.fixture(scope="session", autouse=True)
def plan_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tests neither use nor fill the user's plan cache."""
    folder = tmp_path_factory.mktemp("plan-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIMO_RT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def no_models_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither see nor fill the user's folder of models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIMO_RT_MODELS", str(tmp_path_factory.mktemp("user-models") / "none"))
        yield


@pytest.fixture
def models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models of this test's own, not there yet."""
    path = tmp_path / "models"
    monkeypatch.setenv("MIMO_RT_MODELS", str(path))
    return path


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lively MIMO-UNet of width 8 as an ONNX file."""
    path = tmp_path_factory.mktemp("models") / "lively.onnx"
    path.write_bytes(onnx_models.mimo_unet(8, 1))
    return path


@pytest.fixture(scope="session")
def identity_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that gives its input back, as an ONNX file: what comes out of it shows what everything else
    does."""
    path = tmp_path_factory.mktemp("models") / "identity.onnx"
    path.write_bytes(onnx_models.identity())
    return path


@pytest.fixture(scope="session")
def engine(model_file: Path) -> mimo_rt.Engine:
    return mimo_rt.build(model_file)


@pytest.fixture(scope="session")
def deblurrer(engine: mimo_rt.Engine) -> mimo_rt.Deblurrer:
    return mimo_rt.Deblurrer(engine)


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """41 x 66 RGB pixels with gradients, edges and grain."""
    y, x = np.mgrid[0:41, 0:66]
    ramps = np.stack([x * 255 // 65, y * 255 // 40, (x + y) * 255 // 105], axis=2)
    ramps[10:25, 20:44] = (200, 40, 90)
    grain = np.random.default_rng(3).integers(-12, 13, ramps.shape)
    return np.clip(ramps + grain, 0, 255).astype(np.uint8)
