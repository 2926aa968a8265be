"""A model into the user's folder, once the engine has shown that it can be built."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mimo_rt import checkpoints
from mimo_rt.convert import convert
from mimo_rt.engine import build
from mimo_rt.errors import ModelError, make
from mimo_rt.models import UserModel, find_bundled, folder
from mimo_rt.untrusted import MAX_TEXT, plain, read_limited


@dataclass(frozen=True)
class Facts:
    """What somebody says about a model; nothing of it can be found out from its file."""

    licence: str | None = None
    psnr: str | None = None
    """With the images that it was measured on: "32.45 dB on GoPro"."""
    summary: str | None = None
    preset: str | None = None
    """The network that it must be; checked where the file itself says what it is."""


def check_free(name: str, *, replace: bool) -> str:
    """The name itself; ModelError where no model of the user's may be called so, or one is (and is not to be
    replaced)."""
    folder.check_name(name)
    if find_bundled(name) is not None:
        raise make(
            ModelError, "model.name", f"{name} is a bundled model; give yours another name with --name"
        )
    if not replace and name in folder.names():
        raise folder.exists(name)
    return name


def add(
    file: Path, *, name: str | None = None, facts: Facts | None = None, replace: bool = False
) -> UserModel:
    """Bring a model file into the user's folder.

    name: by default made from the file's. replace: an existing model of the user's of that name is replaced.
    Raises ModelError, and changes nothing, where the file cannot be read or built, or the name will not do.
    """
    name = check_free(folder.name_from(file) if name is None else name, replace=replace)
    try:
        data = read_limited(file, folder.MAX_MODEL_BYTES)
    except (OSError, ValueError) as error:
        why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise make(ModelError, "model.read", f"cannot read {file}: {why}") from error
    return add_data(data, name, str(file), facts=facts or Facts(), replace=replace)


def add_data(data: bytes, name: str, source: str, *, facts: Facts, replace: bool) -> UserModel:
    """`add` for what lay in a file already read; `source` says where it came from."""
    check_free(name, replace=replace)
    try:
        onnx = convert(data).onnx if checkpoints.is_checkpoint(data) else data
    except ModelError as error:
        raise _of(source, error) from error
    if len(onnx) > folder.MAX_MODEL_BYTES:
        raise make(ModelError, "model.too_large", f"{source} makes a model too large for an ONNX file")
    try:
        preset = build(onnx).info.metadata.get("mimo_rt.preset")
    except ModelError as error:  # which speaks of bytes that it was given, not of where they lay
        raise _of(source, error) from error
    if facts.preset and preset and facts.preset != preset:
        raise make(
            ModelError,
            "model.preset",
            f"{source} should be a {facts.preset}, but it is a {plain(preset)[:80]}",
        )
    model = UserModel(
        folder=folder.needed().absolute(),
        name=name,
        sha256=sha256(onnx).hexdigest(),
        bytes=len(onnx),
        source=_text(source) or "unknown",
        source_sha256=sha256(data).hexdigest(),
        licence=_text(facts.licence),
        psnr=_text(facts.psnr),
        summary=_text(facts.summary),
    )
    folder.put(model, onnx, replace=replace)
    return model


def _of(source: str, error: ModelError) -> ModelError:
    return make(ModelError, error.code, f"{source}: {error}")


def _text(text: str | None) -> str | None:
    return None if text is None else plain(text)[:MAX_TEXT] or None
