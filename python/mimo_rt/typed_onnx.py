"""An ONNX model in the precision that a GPU plan is to have: TensorRT computes in the types that stand in the
file, so fp16 and int8 must stand there, and an fp32 file would silently stay fp32.

Needs the package `onnx`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from mimo_rt.errors import BackendError, ModelError, make

if TYPE_CHECKING:
    import onnx

PRECISIONS = ("fp32", "fp16", "int8")
KeptLayers: TypeAlias = Sequence[str] | Literal["auto"]


@dataclass(frozen=True)
class Typed:
    """A model as it was given and as it is to be built, both as whole ONNX files."""

    given: bytes
    onnx: bytes
    kept: tuple[str, ...] = ()
    """Layers in fp32 amid fp16."""
    fused: int = 0
    """ResBlocks in nodes of our plug-in."""
    halved: bool = False
    """Whether fp16 was made of fp32, and layers can be kept."""


def precision_of(model: onnx.ModelProto) -> str:
    """What a file computes in: "int8" where it quantises, "fp16" where it holds half precision weights."""
    from onnx import TensorProto

    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return "int8"
    halves = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return "fp16" if halves else "fp32"


def typed(
    source: str | bytes,
    precision: str,
    keep_fp32: KeptLayers = (),
    fused_blocks: bool = False,
    half_images: bool = False,
) -> Typed:
    """The model in `precision`; an fp32 model is made fp16 where that is asked for.

    source: path or bytes of an ONNX file. keep_fp32: layers that stay in fp32 as it becomes fp16, by name;
    "auto" for those that `mimo_rt.half_range` finds. fused_blocks: runs of ResBlocks become nodes of our
    plug-in. half_images: as it becomes fp16, so do the image in and the image out. ModelError where it is no
    ONNX file, BackendError where `precision` and the options are not to be had from it, or `onnx` is missing.
    """
    try:
        import onnx
    except ImportError:
        raise make(
            BackendError,
            "backend.onnx",
            "plans for a GPU need the package onnx: pip install 'mimo-rt[rtx]' or 'mimo-rt[tensorrt]'",
        ) from None
    if precision not in PRECISIONS:
        raise make(
            BackendError,
            "backend.precision",
            f"a GPU plan has no precision {precision!r}; it has {', '.join(PRECISIONS)}",
        )
    try:
        given = source if isinstance(source, bytes) else Path(source).read_bytes()
        model = onnx.load_from_string(given)
        if any(tensor.external_data for tensor in model.graph.initializer) and isinstance(source, str):
            model = onnx.load(source)  # with its weights
            given = model.SerializeToString()
        onnx.checker.check_model(model)
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise make(ModelError, "model.not_onnx", f"the model is no sound ONNX file: {first}") from None
    found = precision_of(model)
    if keep_fp32 and (found, precision) != ("fp32", "fp16"):
        raise make(
            BackendError,
            "backend.option",
            "layers can stay in fp32 where a plan of precision fp16 is made from an fp32 model",
        )
    if half_images and (found, precision) != ("fp32", "fp16"):
        raise make(
            BackendError,
            "backend.option",
            "images are in half precision where a plan of precision fp16 is made from an fp32 model",
        )
    if fused_blocks and precision != "fp16":
        raise make(BackendError, "backend.option", "fused blocks are for precision fp16")
    if found == precision:
        if not fused_blocks:
            return Typed(given, given)
        model, fused = _fused(model)
        return Typed(given, model.SerializeToString(), fused=fused)
    if (found, precision) == ("fp32", "fp16"):
        from mimo_rt.half import to_half
        from mimo_rt.half_range import wide_layers

        kept = tuple(wide_layers(model) if keep_fp32 == "auto" else keep_fp32)
        half = to_half(model, kept, half_images)
        fused = 0
        if fused_blocks:
            half, fused = _fused(half)
        return Typed(given, half.SerializeToString(), kept, fused, halved=True)
    how = (
        "make an int8 export by `python -m train.export --precision int8 --calib IMAGES`"
        if precision == "int8"
        else "give the fp32 export"
    )
    raise make(
        BackendError, "backend.precision", f"the model is {found}, and {precision} is not made of that; {how}"
    )


def _fused(half: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    from mimo_rt.fused_blocks import CHANNELS, fuse_blocks

    model, count = fuse_blocks(half)
    if not count:
        raise make(
            BackendError, "backend.option", f"the model has no ResBlocks of {CHANNELS} channels to fuse"
        )
    return model, count
