"""The runtimes that a model can be evaluated with, each behind one small interface: our engine on the
processor or on a GPU, ONNX Runtime and PyTorch. All of them get the same padded values, and their results are
neither rounded nor scaled."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mimo_rt import checkpoints, models
from mimo_rt.convert import convert
from mimo_rt.deblurrer import Deblurrer
from mimo_rt.engine import GPU_BACKENDS, existing_file, open_engine
from mimo_rt.errors import BackendError, ModelError, make
from mimo_rt.network import STRIDES
from mimo_rt.padding import Float, run_padded

OURS = ("cpu", *GPU_BACKENDS)
NAMES = (*OURS, "onnxruntime", "torch")
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model's file."""

    name: str
    sha256: str
    """Of the ONNX file or checkpoint; for a plan that of the ONNX file that it was built from."""
    preset: str
    """Such as "mimo-unet"; "" where it is not known."""
    metadata: dict[str, str]


class Backend(Protocol):
    """A model made ready in one runtime."""

    name: str
    precision: str
    model: ModelFacts
    facts: dict[str, Any]
    """What a report says of the runtime: version, threads, instruction set."""

    def run(self, image: Float) -> Float:
        """The network's result for H x W x 3 in [0, 1], of the same shape, perhaps beyond [0, 1]."""
        ...


def open_backend(
    name: str,
    model: str | os.PathLike[str],
    *,
    precision: str = "fp32",
    threads: int = 0,
    memory: int | None = None,
    ensemble: int = 0,
    scale: float | str = 1.0,
) -> Backend:
    """The backend `name` with a model: a bundled model's name or a path. The other options are those of a
    Deblurrer; `memory` bounds the cpu backend alone, and a `scale` other than 1 is for our own backends.

    Raises BackendError where this backend or precision is not to be had here, ModelError for the model.
    """
    if name in OURS:
        return _Ours(name, model, precision, threads, memory, ensemble, scale)
    if name not in NAMES:
        raise make(
            BackendError, "backend.unknown", f"there is no backend {name!r}; there are {', '.join(NAMES)}"
        )
    if scale != 1.0:
        raise make(
            BackendError,
            "backend.scale",
            f"the {name} backend runs at scale 1 only; {', '.join(OURS)} at others",
        )
    if precision != "fp32":
        raise make(
            BackendError, "backend.precision", f"the {name} backend computes in fp32, not in {precision}"
        )
    kind = _OnnxRuntime if name == "onnxruntime" else _Torch
    return kind(model, threads, ensemble)


class _Ours:
    """Our engine, with a Deblurrer's padding, threads, memory, tiles and ensemble."""

    def __init__(
        self,
        name: str,
        model: str | os.PathLike[str],
        precision: str,
        threads: int,
        memory: int | None,
        ensemble: int,
        scale: float | str,
    ) -> None:
        from mimo_rt import __version__

        self.name = name
        engine = open_engine(model, precision=precision, backend=name)
        self._deblurrer = Deblurrer(engine, threads=threads, memory=memory, ensemble=ensemble)
        self._scale = scale
        info = engine.info
        self.precision = info.precision
        self.model = ModelFacts(
            _name(model),
            info.key.get("model_sha256") or info.key["model"],
            info.metadata.get("mimo_rt.preset", ""),
            info.metadata,
        )
        self.facts = {
            "runtime": f"mimo_rt {__version__}",
            "instruction_set": info.target,
            "threads": self._deblurrer.threads,
        }
        if "model_sha256" not in info.key:  # a GPU's plan: the GPU and options of the plan too
            self.facts["plan"] = ", ".join(f"{key} {value}" for key, value in info.key.items())

    def run(self, image: Float) -> Float:
        return self._deblurrer.run(image, scale=self._scale)


class _OnnxRuntime:
    """ONNX Runtime on the processor."""

    name, precision = "onnxruntime", "fp32"

    def __init__(self, model: str | os.PathLike[str], threads: int, ensemble: int) -> None:
        ort = _optional("onnxruntime", "pip install onnxruntime")
        path = _path(model)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what it has to say comes as an exception
        try:
            source = convert(path).onnx if checkpoints.is_checkpoint(path) else str(path)
            self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except ModelError:
            raise
        except Exception as error:  # its own kinds, which derive from nothing more
            raise make(
                ModelError,
                "backend.model",
                f"ONNX Runtime does not read {path.name} (this backend takes an ONNX file or a checkpoint): "
                f"{error}",
            ) from error
        self._input = self._session.get_inputs()[0].name
        self._ensemble = ensemble
        metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        told = metadata.get("mimo_rt.stride")
        self._stride = next((stride for stride in STRIDES.values() if str(stride) == told), STRIDES[1])
        self.model = ModelFacts(_name(model), _sha256(path), metadata.get("mimo_rt.preset", ""), metadata)
        self.facts = {"runtime": f"onnxruntime {ort.__version__}", "threads": threads or "all"}

    def run(self, image: Float) -> Float:
        def network(planes: Float) -> Float:
            result: Float = self._session.run(None, {self._input: planes})[0]
            return result

        return _guarded("ONNX Runtime", network, image, self._stride, self._ensemble)


class _Torch:
    """PyTorch on the processor, with the network of `train.model`, which a clone of the project has."""

    name, precision = "torch", "fp32"

    def __init__(self, model: str | os.PathLike[str], threads: int, ensemble: int) -> None:
        self._torch = torch = _optional("torch", "pip install 'mimo-rt[train]'")
        need = "in a clone of the project, run from its root (python -m mimo_rt eval ...)"
        definition = _optional("train.model", need)
        weights = _optional("train.weights", need)
        path = _path(model)
        try:
            self._network = definition.MIMOUNet.from_weights(weights.load_weights(path))
        except ModelError:
            raise
        except Exception as error:  # a hostile file may make a reader raise anything
            raise make(
                ModelError,
                "backend.model",
                f"{path.name} is neither a checkpoint nor an ONNX file of ours, which the torch backend "
                f"takes: {error}",
            ) from error
        if threads:
            torch.set_num_threads(threads)
        self._ensemble = ensemble
        preset = self._network.shape.preset
        self.model = ModelFacts(_name(model), _sha256(path), "" if preset == "custom" else preset, {})
        self.facts = {"runtime": f"torch {torch.__version__}", "threads": torch.get_num_threads()}

    def run(self, image: Float) -> Float:
        def network(planes: Float) -> Float:
            with self._torch.inference_mode():
                result: Float = self._network(self._torch.from_numpy(planes))[2].numpy()
                return result

        return _guarded("PyTorch", network, image, self._network.shape.stride, self._ensemble)


def _guarded(
    runtime: str, network: Callable[[Float], Float], image: Float, stride: int, ensemble: int
) -> Float:
    try:
        return run_padded(network, image, stride, ensemble)
    except MemoryError:
        raise
    except Exception as error:
        raise make(BackendError, "backend.run", f"{runtime} failed on an image: {error}") from error


def _optional(module: str, need: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise make(
            BackendError, "backend.missing", f"this backend needs {module}: {need} ({error})"
        ) from error


def _path(model: str | os.PathLike[str]) -> Path:
    shipped = models.find(model) if isinstance(model, str) else None
    return existing_file(model) if shipped is None else shipped.path


def _name(model: str | os.PathLike[str]) -> str:
    shipped = models.find(model) if isinstance(model, str) else None
    return Path(model).name if shipped is None else shipped.id


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise make(ModelError, "model.read", f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def largest_difference(one: Float, other: Float) -> float:
    """The largest absolute difference of two results."""
    return float(np.abs(one - other).max())
