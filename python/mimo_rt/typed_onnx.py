"""An ONNX model in the precision that a GPU plan is to have: TensorRT computes in the types that stand in the
file, so fp16 and int8 must stand there, and an fp32 file would silently stay fp32.

Needs the package `onnx`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mimo_rt.errors import BackendError, ModelError, make

if TYPE_CHECKING:
    import onnx

PRECISIONS = ("fp32", "fp16", "int8")


def precision_of(model: onnx.ModelProto) -> str:
    """What a file computes in: "int8" where it quantises, "fp16" where it holds half precision weights."""
    from onnx import TensorProto

    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return "int8"
    halves = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return "fp16" if halves else "fp32"


def typed(source: str | bytes, precision: str) -> tuple[bytes, bytes]:
    """(the model as it is, the model in `precision`), both as whole ONNX files; an fp32 model is made
    fp16 where that is asked for.

    source: path or bytes of an ONNX file. ModelError where it is none, BackendError where `precision` is not
    to be had from it, or `onnx` is missing.
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
    if found == precision:
        return given, given
    if (found, precision) == ("fp32", "fp16"):
        from mimo_rt.half import to_half

        return given, to_half(model).SerializeToString()
    how = (
        "make an int8 export by `python -m train.export --precision int8 --calib IMAGES`"
        if precision == "int8"
        else "give the fp32 export"
    )
    raise make(
        BackendError, "backend.precision", f"the model is {found}, and {precision} is not made of that; {how}"
    )
