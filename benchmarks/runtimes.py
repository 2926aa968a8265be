"""The runtimes that benchmarks/peers.py compares, each behind one small interface, one process each.

    python benchmarks/runtimes.py convert NAME MODEL.onnx FOLDER
    python benchmarks/runtimes.py serve NAME MODEL.onnx FOLDER THREADS INPUT.npy

`convert` makes the file that the runtime loads (ours: a plan), in a process of its own, so that a converter's
memory is not counted as the runtime's. `serve` loads it, warms up, prints one JSON line, then answers one
JSON line for each line on standard input: `run` (seconds of one inference), `output FILE` (writes the result
as .npy), `memory`, `quit`.

Every runtime gets the same float32 weights, float32 arithmetic, one static shape, all `THREADS` threads, and
the best settings for latency that its documentation names. What is timed is the inference alone: input and
output buffers exist beforehand, and where a runtime can keep its own layout at the edges, copies into and out
of it are not counted. Ours is timed from a float32 NCHW array to a float32 NCHW array.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

ROOT = Path(__file__).resolve().parent.parent


class Runtime(Protocol):
    """One runtime. `load` may take its time; `run` is what is timed; `output` follows at least one `run`."""

    title: str
    package: str
    """The distribution on PyPI, whose version stands in the table."""
    variant: str
    """How it is set up where it leaves a choice; empty otherwise."""

    def convert(self, model: Path, folder: Path) -> None: ...
    def load(self, model: Path, folder: Path, threads: int, image: Image) -> None: ...
    def run(self) -> None: ...
    def output(self) -> Image: ...


class _Base:
    variant = ""

    def convert(self, model: Path, folder: Path) -> None:
        """Nothing to convert: the runtime reads ONNX."""


class MimoRt(_Base):
    title, package = "mimo_rt", "mimo-rt"

    def convert(self, model: Path, folder: Path) -> None:
        core = importlib.import_module("mimo_rt._core")
        core.Engine.build(str(model), cache=False).save(str(folder / "mimo_rt.plan"))

    def load(self, model: Path, folder: Path, threads: int, image: Image) -> None:
        core = importlib.import_module("mimo_rt._core")
        engine = core.Engine.load(str(folder / "mimo_rt.plan"))
        self._deblurrer = core.Deblurrer(engine, threads=threads)
        self._source = image[0]
        self._destination = np.empty((engine.channels[1], *image.shape[2:]), np.float32)
        self.variant = engine.target

    def run(self) -> None:
        self._deblurrer.infer(self._source, self._destination)

    def output(self) -> Image:
        return self._destination[np.newaxis]


class OnnxRuntime(_Base):
    title, package = "ONNX Runtime", "onnxruntime"

    def load(self, model: Path, folder: Path, threads: int, image: Image) -> None:
        ort = importlib.import_module("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        names = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"]).get_inputs()[0].shape
        for name, size in zip(names, image.shape, strict=True):
            if isinstance(name, str):  # a free dimension; fixing it lets the runtime plan its memory
                options.add_free_dimension_override_by_name(name, size)
        self._session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._binding = self._session.io_binding()
        self._output = np.empty_like(image)
        for bind, node, array in (
            (self._binding.bind_input, self._session.get_inputs()[0], image),
            (self._binding.bind_output, self._session.get_outputs()[0], self._output),
        ):
            bind(node.name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        self._image = image  # the binding holds its address only

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def output(self) -> Image:
        return self._output


class OpenVino(_Base):
    title, package = "OpenVINO", "openvino"

    def load(self, model: Path, folder: Path, threads: int, image: Image) -> None:
        ov = importlib.import_module("openvino")
        core = ov.Core()
        network = core.read_model(str(model))
        network.reshape(list(image.shape))
        compiled = core.compile_model(
            network,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32",
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
            },
        )
        self._request = compiled.create_infer_request()
        self._image = image
        self._request.set_input_tensor(ov.Tensor(image, shared_memory=True))

    def run(self) -> None:
        self._request.infer()

    def output(self) -> Image:
        return np.array(self._request.get_output_tensor(0).data, np.float32)


class Mnn(_Base):
    title, package = "MNN", "MNN"

    def convert(self, model: Path, folder: Path) -> None:
        _call(
            *(_script("mnnconvert"), "-f", "ONNX", "--modelFile", str(model)),
            *("--MNNModel", str(folder / "model.mnn"), "--bizCode", "mimo_rt"),
        )

    def load(self, model: Path, folder: Path, threads: int, image: Image) -> None:
        mnn = self._mnn = importlib.import_module("MNN")
        self._interpreter = mnn.Interpreter(str(folder / "model.mnn"))
        self._interpreter.setSessionMode(1)  # Session_Release: no hooks between operators
        # The default Winograd hint already tries the most sizes.
        self._running = self._interpreter.createSession(
            {"backend": "CPU", "numThread": threads, "precision": "high"}
        )
        node = self._interpreter.getSessionInput(self._running)
        self._interpreter.resizeTensor(node, image.shape)
        self._interpreter.resizeSession(self._running)
        self._image = image
        node.copyFrom(mnn.Tensor(image.shape, mnn.Halide_Type_Float, image, mnn.Tensor_DimensionType_Caffe))

    def run(self) -> None:
        self._interpreter.runSession(self._running)

    def output(self) -> Image:
        mnn = self._mnn
        node = self._interpreter.getSessionOutput(self._running)
        result = np.empty(node.getShape(), np.float32)
        host = mnn.Tensor(node.getShape(), mnn.Halide_Type_Float, result, mnn.Tensor_DimensionType_Caffe)
        node.copyToHostTensor(host)
        image: Image = np.array(host.getNumpyData(), np.float32).reshape(node.getShape())
        return image


class Ncnn(_Base):
    title, package = "ncnn", "ncnn"

    def convert(self, model: Path, folder: Path) -> None:
        copy = folder / "model.onnx"  # the converter writes beside its input
        shutil.copyfile(model, copy)
        # The converter runs the network, which takes 15 GB at 1280x720. What it writes fits every size.
        _call(_script("pnnx"), copy.name, "inputshape=[1,3,64,64]", "fp16=0", folder=folder)

    def load(self, model: Path, folder: Path, threads: int, image: Image) -> None:
        ncnn = importlib.import_module("ncnn")
        self._mat = ncnn.Mat(image[0])
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = threads
        options.lightmode = True
        options.use_vulkan_compute = False
        options.use_packing_layout = True
        options.use_sgemm_convolution = True
        options.use_winograd_convolution = True
        for name in dir(options):  # float32 all through
            if name.startswith(("use_fp16", "use_bf16", "use_int8")):
                setattr(options, name, False)
        parameters, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
        if self._net.load_param(str(parameters)) or self._net.load_model(str(weights)):
            raise RuntimeError("ncnn could not load the converted model")

    def run(self) -> None:
        self._extractor = self._net.create_extractor()  # a new one for every image; it owns the result
        self._extractor.input(self._net.input_names()[0], self._mat)
        status, self._result = self._extractor.extract(self._net.output_names()[0])
        if status:
            raise RuntimeError(f"ncnn failed with status {status}")

    def output(self) -> Image:
        return np.array(self._result, np.float32)[np.newaxis]


class PyTorch(_Base):
    title, package = "PyTorch", "torch"
    variant = "eager"

    def load(self, model: Path, folder: Path, threads: int, image: Image) -> None:
        self._torch = importlib.import_module("torch")
        self._torch.set_num_threads(threads)
        layout = self._layout()
        self._network = pytorch_network(model).eval().to(memory_format=layout)
        self._image = self._torch.from_numpy(image).contiguous(memory_format=layout)

    def _layout(self) -> Any:
        return self._torch.contiguous_format

    def run(self) -> None:
        with self._torch.inference_mode():
            self._result = self._network(self._image)

    def output(self) -> Image:
        return np.ascontiguousarray(self._result.numpy(), np.float32)


class PyTorchChannelsLast(PyTorch):
    variant = "eager, channels last"

    def _layout(self) -> Any:
        return self._torch.channels_last


RUNTIMES: dict[str, Callable[[], Runtime]] = {
    "mimo_rt": MimoRt,
    "mnn": Mnn,
    "ncnn": Ncnn,
    "openvino": OpenVino,
    "onnxruntime": OnnxRuntime,
    "pytorch": PyTorch,
    "pytorch-channels-last": PyTorchChannelsLast,
}
"""By name. Two of one title are one runtime set up in two ways; the table shows the faster one."""


def pytorch_network(model: Path) -> Any:
    """The network of train/model.py with the weights of an ONNX file that train.export wrote."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    definition = importlib.import_module("train.model")
    weights = importlib.import_module("train.weights").load_exported(model)
    return definition.FullResolution(definition.MIMOUNet.from_weights(weights))


def _script(name: str) -> str:
    """A console script of this interpreter's environment, whether or not that is on the PATH."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return str(beside)
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed")
    return found


def _call(*command: str, folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        tail = done.stdout.decode(errors="replace").strip().splitlines()[-3:]
        raise RuntimeError(
            f"{Path(command[0]).name} failed with status {done.returncode}: {' / '.join(tail)}"
        )


def resident_peak() -> int:
    """VmHWM of this process in bytes: the largest resident size so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/self/status holds no VmHWM; peak memory is measured on Linux only")


def version_of(package: str) -> str:
    """The installed version of a distribution; LookupError where it is absent."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise LookupError(f"{package} is not installed") from None


def serve(name: str, model: Path, folder: Path, threads: int, image: Image) -> None:
    """Answers lines on standard input until `quit` or its end; see the head of this file."""
    # Whatever a library prints goes to standard error: standard output belongs to the protocol.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**values: object) -> None:
        print(json.dumps(values), file=answers, flush=True)

    try:
        runtime = RUNTIMES[name]()
        version = version_of(runtime.package)
        runtime.load(model, folder, threads, image)
        runtime.run()
    except Exception as error:  # reported to the parent, which lists the runtime as skipped
        answer(error=f"{type(error).__name__}: {error}")
        return
    answer(title=runtime.title, version=version, variant=runtime.variant)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "run":
            start = time.perf_counter()
            runtime.run()
            answer(seconds=time.perf_counter() - start)
        elif command == "output":
            np.save(argument, runtime.output())
            answer(saved=argument)
        elif command == "memory":
            answer(peak=resident_peak())
        elif command == "quit":
            break
        else:
            answer(error=f"unknown command {command!r}")


def main(arguments: list[str]) -> int:
    verb, name, model, folder, *rest = arguments
    if verb == "convert":
        RUNTIMES[name]().convert(Path(model), Path(folder))
    else:
        threads, source = rest
        image = np.ascontiguousarray(np.load(source), np.float32)
        with contextlib.suppress(BrokenPipeError):
            serve(name, Path(model), Path(folder), int(threads), image)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
