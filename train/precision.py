"""Half and 8-bit precision of a finished fp32 export, each checked by a second runtime and with its cost.

`half` and `int8` make a model, `check` lets ONNX Runtime run it, operator by operator, beside `Program`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped,unused-ignore]
import torch
from torch import Tensor

from mimo_rt.errors import ModelError, make
from mimo_rt.half import to_half
from train.calibrate import activation_scales
from train.interpret import Program
from train.quantize import quantizable, to_int8
from train.sensitivity import Cost, Row, table, within_budget
from train.tiles import Tiles, noise

PRECISIONS = ("fp32", "fp16", "int8")

BUDGET = 0.10
"""What an export may cost against fp32 on the pairs it is measured on, in dB, unless told otherwise."""

FLOAT_TOLERANCE = 1e-4
"""Largest difference of two runtimes' fp32 results from the same 8-bit values, of the range [0, 1]."""

HALF_TOLERANCE = 1.0 / 255.0
"""The same for fp16, whose values round at every operator: the mean over an image."""

SIDES = (64, 48)
"""Height and width of the noise that a model is checked on."""


@dataclass(frozen=True)
class Reduced:
    """A model of less precision and what that costs."""

    model: onnx.ModelProto
    drop: float | None
    """Mean PSNR of the fp32 model minus this one's on the pairs at hand, in dB; None where there were
    none."""
    rows: tuple[Row, ...] = ()
    """By layer, for int8."""

    @property
    def in_float(self) -> list[str]:
        """Layers that could have been quantised and were not."""
        return [row.layer for row in self.rows if not row.quantized]


def half(fp32: onnx.ModelProto, tiles: Tiles | None = None) -> Reduced:
    """``fp32`` in half precision, images in and out still fp32. Raises ModelError where it cannot be had."""
    model = to_half(fp32)
    drop = Cost(fp32, tiles.pairs)(model)[0] if tiles is not None else None
    _label(model, "fp16", drop)
    return Reduced(model, drop)


def int8(
    fp32: onnx.ModelProto,
    tiles: Tiles,
    method: str = "mse",
    budget: float = BUDGET,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Reduced:
    """``fp32`` with 8-bit convolutions, as many as the budget (dB) allows.

    tiles: calibrate by their inputs and measure on their pairs. method: see `train.calibrate`. progress:
    told how many layers of how many were measured. Raises ModelError where no layer can be quantised.
    """
    layers = quantizable(fp32)
    if not layers:
        raise make(ModelError, "quantize.none", "the model has no convolution that can be quantised")
    names = {name for layer in layers for name in layer.activations}
    scales = activation_scales(fp32, names, tiles.inputs, method)
    cost = Cost(fp32, tiles.pairs)

    def quantised(chosen: Sequence[str]) -> onnx.ModelProto:
        return to_int8(fp32, [layer for layer in layers if layer.name in chosen], scales)

    rows, drop = within_budget(
        table(fp32, layers, scales, cost, progress), budget, lambda chosen: cost(quantised(chosen))[0]
    )
    model = quantised([row.layer for row in rows if row.quantized])
    made = Reduced(model, drop, tuple(rows))
    _label(model, "int8", drop, method, made.in_float)
    return made


def _label(
    model: onnx.ModelProto,
    precision: str,
    drop: float | None,
    method: str = "",
    in_float: Sequence[str] = (),
) -> None:
    entries = {
        "mimo_rt.precision": precision,
        "mimo_rt.precision_drop_db": "" if drop is None else f"{drop:.4f}",
        "mimo_rt.calibration": method,
        "mimo_rt.layers_in_float": ",".join(in_float),
    }
    kept = [entry for entry in model.metadata_props if entry.key not in entries]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    for key, value in entries.items():
        if value:
            model.metadata_props.add(key=key, value=value)


def unfused(model: onnx.ModelProto) -> ort.InferenceSession:
    """ONNX Runtime on the CPU, told to fuse and rewrite nothing: what the file says is what is computed."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def check(model: onnx.ModelProto, images: Sequence[Tensor] = ()) -> float:
    """How far ONNX Runtime, which may fuse nothing, is from `Program` at most; raises ModelError beyond the
    tolerance.

    images: float32 (3, H, W), sides divisible by 4; noise where there are none. Every 8-bit value is compared
    by itself, with ONNX Runtime's own values before it, and may be one step off, as rounding of sums in
    another order can be; so the result follows from the same 8-bit values in both.
    """
    onnx.checker.check_model(model, full_check=True)
    steps = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    for name in steps:
        shown.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT8, None))
    session = unfused(shown)
    program = Program(model)
    half_precision = any(t.data_type == onnx.TensorProto.FLOAT16 for t in model.graph.initializer)
    worst = 0.0
    for image in images or [noise(*SIDES, seed=0)]:
        given = image[None]
        output, *values = session.run(None, {model.graph.input[0].name: given.numpy()})
        theirs = dict(zip(steps, values, strict=True))

        def observe(name: str, value: Tensor, theirs: dict[str, object] = theirs) -> Tensor | None:
            if name not in theirs:
                return None
            other = torch.from_numpy(np.asarray(theirs[name]))
            apart = int((other.int() - value.int()).abs().max())
            if apart > 1:
                raise make(
                    ModelError,
                    "precision.steps",
                    f"ONNX Runtime's 8-bit values of {name} are up to {apart} steps away: not written",
                )
            return other

        own = program.run(given, observe).numpy()
        apart = np.abs(output.astype(np.float32) - own)
        if not np.isfinite(apart).all():
            raise make(ModelError, "precision.finite", "the model computes numbers that are not finite")
        worst = max(worst, float(apart.mean() if half_precision else apart.max()))
    allowed = HALF_TOLERANCE if half_precision else FLOAT_TOLERANCE
    if worst > allowed:
        raise make(
            ModelError,
            "precision.differs",
            f"ONNX Runtime differs by {worst:.2e}, more than {allowed:.1e}: not written",
        )
    return worst
