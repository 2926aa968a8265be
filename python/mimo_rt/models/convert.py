"""What a model file of any kind becomes before it goes into the user's folder: the bytes of an ONNX file."""

from __future__ import annotations

from mimo_rt.errors import ModelError, make

# How files of PyTorch begin: a zip archive, or a bare pickle of protocol 2 to 5.
_CHECKPOINTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def as_onnx(data: bytes, file: str) -> bytes:
    """`data`, the contents of `file` (for messages), as an ONNX file.

    ModelError where they are something that mimo_rt cannot turn into one.
    """
    if data.startswith(_CHECKPOINTS):
        raise make(
            ModelError,
            "model.checkpoint",
            f"{file} is a PyTorch checkpoint; make an ONNX file of it with `python -m train.export` first",
        )
    return data
