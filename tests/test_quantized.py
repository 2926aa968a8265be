"""Networks with 8-bit values (explicit QuantizeLinear and DequantizeLinear): the engine computes what they
mean, so that the cost of 8 bits can be measured where no 8-bit hardware is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_models
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from PIL import Image
from test_parity import picture
from test_same_bits import least_memory

import mimo_rt
import mimo_rt.models

QUANTUM = 0.02
ROOT = Path(__file__).resolve().parent.parent


class QuantisedMaker(onnx_models.GraphMaker):
    """A graph maker whose 3x3 and 1x1 convolutions read 8-bit values and weights."""

    def quantised(self, x: str, quantum: float) -> str:
        scale = self.constant(np.array(quantum, np.float32), "scale")
        zero = self.constant(np.array(0, np.int8), "zero")
        return self.op("DequantizeLinear", [self.op("QuantizeLinear", [x, scale, zero]), scale, zero])

    def weight8(self, weight: NDArray[np.floating]) -> str:
        """Weights (out, in, kh, kw) in 8 bits, a scale for each output, and back."""
        scales = (np.abs(weight).max((1, 2, 3)) / 127).astype(np.float32)
        steps = np.rint(weight / scales.reshape(-1, 1, 1, 1)).astype(np.int8)
        inputs = [
            self.constant(steps, "weight8"),
            self.constant(scales, "scale8"),
            self.constant(np.zeros(len(scales), np.int8), "zero8"),
        ]
        return self.op("DequantizeLinear", inputs, axis=0)

    def conv8(self, x: str, c_in: int, c_out: int, kernel: int = 3, *, relu: bool = True) -> str:
        weight = self.rng.normal(0.0, np.sqrt(2.0 / (c_in * kernel**2)), (c_out, c_in, kernel, kernel))
        bias = self.constant(self.rng.uniform(-0.05, 0.05, c_out).astype(np.float32), "bias")
        inputs = [self.quantised(x, QUANTUM), self.weight8(weight), bias]
        y = self.op("Conv", inputs, kernel_shape=[kernel, kernel], pads=[kernel // 2] * 4)
        return self.op("Relu", [y]) if relu else y


def in_eight_bits(model: bytes, images: list[NDArray[np.float32]]) -> bytes:
    """A network of `onnx_models` with the inner convolutions, and what is added to them, in 8 bits: scales by
    the largest magnitudes on these images (1, 3, H, W)."""
    source = onnx.load_from_string(model)
    weights = {t.name: numpy_helper.to_array(t) for t in source.graph.initializer}
    convs = [n for n in source.graph.node if n.op_type == "Conv" and weights[n.input[1]].shape[1] > 3]
    convs = [n for n in convs if weights[n.input[1]].shape[0] > 3]
    made = {n.output[0] for n in convs}
    sums = [n for n in source.graph.node if n.op_type == "Add" and made & set(n.input)]
    sites = [(n.output[0], 0) for n in convs]
    sites += [(n.output[0], int(n.input[0] in made)) for n in sums]
    by_output = {n.output[0]: n for n in source.graph.node}
    shown = onnx.load_from_string(model)
    values = sorted({by_output[output].input[place] for output, place in sites})
    for name in values:
        shown.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    runs = [session.run(values, {"image": image}) for image in images]
    scales = {n: max(float(np.abs(r[i]).max()) for r in runs) / 127 or 1.0 for i, n in enumerate(values)}

    g = QuantisedMaker(0)
    g.weights = list(source.graph.initializer)
    read: dict[str, str] = {}
    for node in source.graph.node:
        for output, place in sites:
            if output != node.output[0]:
                continue
            name = node.input[place]
            if name not in read:
                read[name] = g.quantised(name, scales[name])
            node.input[place] = read[name]
            if node.op_type == "Conv":
                node.input[1] = g.weight8(weights[node.input[1]])
        g.nodes.append(node)
    names = {name for node in g.nodes for name in node.input}
    g.weights = [tensor for tensor in g.weights if tensor.name in names]
    graph = helper.make_graph(
        g.nodes, "network", list(source.graph.input), list(source.graph.output), g.weights
    )
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(result)
    return result.SerializeToString()


def reference(model: bytes, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """ONNX Runtime, which may fuse nothing, on (1, 3, H, W)."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": image})[0])


def planes(height: int, width: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(picture(height, width).transpose(2, 0, 1)[None])


@pytest.fixture(scope="module")
def plain() -> bytes:
    return onnx_models.mimo_unet(8, 1, seed=4)


@pytest.fixture(scope="module")
def network(plain: bytes) -> bytes:
    return in_eight_bits(plain, [planes(64, 80), planes(48, 48)])


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("channels", [3, 8, 21])
def test_a_layer_is_within_one_quantum(kernel: int, channels: int) -> None:
    g = QuantisedMaker(kernel * 100 + channels)
    x = g.conv("image", 3, channels, relu=False)
    y = g.conv8(x, channels, channels, kernel, relu=False)
    y = g.quantised(g.op("Add", [y, g.quantised(x, QUANTUM)]), QUANTUM)
    # The image goes through a last layer that picks a channel each, so that steps come out as they are.
    pick = np.zeros((3, channels, 1, 1), np.float32)
    pick[[0, 1, 2], [0, 1, 2]] = 1.0
    out = g.op("Conv", [y, g.constant(pick, "pick")], kernel_shape=[1, 1])
    model = g.model(out).SerializeToString()
    engine = mimo_rt.build(model)
    for height, width in ((4, 4), (16, 52), (36, 40)):
        image = planes(height, width)
        expected = reference(model, image)
        steps = np.abs(engine.infer(image) - expected) / QUANTUM
        # Beside the edge of a step the value before may fall on either side, and so may what follows from it.
        assert steps.max() <= 1.001
        assert (steps > 0.5).mean() <= 0.01
        np.testing.assert_allclose(np.rint(expected / QUANTUM) * QUANTUM, expected, atol=1e-6)


def test_quantising_alone_is_exact() -> None:
    g = QuantisedMaker(0)
    model = g.model(g.quantised("image", 1 / 64)).SerializeToString()
    image = np.random.default_rng(0).uniform(-4, 4, (1, 3, 20, 28)).astype(np.float32)
    image[0, 0, 0, :6] = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 127.5], np.float32) / 64
    result = mimo_rt.build(model).infer(image)
    np.testing.assert_array_equal(result, reference(model, image))
    assert result[0, 0, 0, :6].tolist() == [0.0, 2 / 64, 2 / 64, 0.0, -2 / 64, 127 / 64]
    assert result.min() == -2.0


def agreement(model: bytes, image: NDArray[np.float32], sharp: NDArray[np.float32]) -> tuple[float, float]:
    """Share of 8-bit pixels of the engine's result within one step of ONNX Runtime's, and how far the two are
    apart in dB when held against `sharp`, on (1, 3, H, W)."""
    expected, result = reference(model, image).clip(0, 1), mimo_rt.build(model).infer(image).clip(0, 1)
    steps = np.abs(np.rint(expected * 255) - np.rint(result * 255))
    before, after = (float(np.mean((r - sharp) ** 2)) for r in (expected, result))
    return float((steps <= 1).mean()), abs(float(10 * np.log10(before / after)))


@pytest.mark.parametrize("size", [(4, 4), (12, 8), (96, 132)])
def test_random_networks_agree_with_onnx_runtime(plain: bytes, network: bytes, size: tuple[int, int]) -> None:
    """Random weights carry a value that fell on the other side of a step's edge on undamped, so a few pixels
    may be further away; whichever way sums are added up, as many are."""
    image = planes(*size)
    alike, decibels = agreement(network, image, image)
    assert alike >= 0.99
    assert decibels <= 0.02
    cost = np.abs(reference(network, image) - reference(plain, image)).mean()
    assert cost > 1e-4, "8 bits must cost something"


def test_the_bundled_network_agrees_with_onnx_runtime() -> None:
    """Pixels on the photo as it is; decibels, which want a sharp picture, on the photo blurred once more."""
    with Image.open(ROOT / "examples" / "blurred.jpg") as photo:
        pixels = np.asarray(photo.convert("RGB"), np.float32)[:320, :448] / 255
    sharp = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
    image = np.mean([np.roll(sharp, shift, axis=3) for shift in range(-2, 3)], axis=0, dtype=np.float32)
    bundled = mimo_rt.models.find("mimo-unet-s")
    assert bundled is not None
    network = in_eight_bits(bundled.path.read_bytes(), [sharp])
    assert agreement(network, sharp, sharp)[0] >= 0.999
    assert agreement(network, image, sharp)[1] <= 0.02


def test_bands_and_threads_change_no_bit(network: bytes) -> None:
    engine = mimo_rt.build(network)
    for height, width in ((97, 61), (180, 44)):
        image = picture(height, width)
        expected = mimo_rt.Deblurrer(engine, threads=1).run(image)
        for threads in (1, 3):
            least = least_memory(engine, height, width, threads)
            for memory in (None, least):
                result = mimo_rt.Deblurrer(engine, threads=threads, memory=memory).run(image)
                np.testing.assert_array_equal(result, expected)


def test_what_is_quantised_can_be_read_off_the_engine(plain: bytes, network: bytes) -> None:
    steps = [step for layer in mimo_rt.build(network).layers() for step in layer["epilogue"]]
    assert steps.count("quantise") >= 20
    assert "quantise" not in [step for layer in mimo_rt.build(plain).layers() for step in layer["epilogue"]]


def test_half_precision_is_refused(network: bytes) -> None:
    with pytest.raises(mimo_rt.BackendError, match="quantises its values to 8 bits"):
        mimo_rt.build(network, precision="fp16")


def test_a_plan_keeps_the_scales(network: bytes, tmp_path: Path) -> None:
    file = tmp_path / "network.plan"
    engine = mimo_rt.build(network)
    engine.save(file)
    image = picture(20, 32)
    np.testing.assert_array_equal(
        mimo_rt.Deblurrer(mimo_rt.Engine.load(file)).run(image), mimo_rt.Deblurrer(engine).run(image)
    )


def test_bytes_without_a_sign_are_refused() -> None:
    g = QuantisedMaker(0)
    scale, zero = g.constant(np.array(0.1, np.float32), "s"), g.constant(np.array(0, np.uint8), "z")
    x = g.op("DequantizeLinear", [g.op("QuantizeLinear", ["image", scale, zero]), scale, zero])
    with pytest.raises(mimo_rt.ModelError, match="symmetric int8"):
        mimo_rt.build(g.model(x).SerializeToString())
