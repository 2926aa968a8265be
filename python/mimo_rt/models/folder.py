"""The user's own models: a folder with an ONNX file and a small JSON entry for each, beside the bundled ones.

The entry `NAME.json` is what makes a model exist. It says the SHA-256 of the ONNX file, and that file is
called after both, `NAME-<16 digits of the SHA-256>.onnx`. So an entry never says where a file lies, and
whoever reads while another writes sees the old model or the new one. Writers wait for each other.

The folder is `$MIMO_RT_MODELS`, else the system's place for data: `$XDG_DATA_HOME/mimo_rt/models` or
`~/.local/share/mimo_rt/models`; macOS `~/Library/Application Support/mimo_rt/models`; Windows
`%LOCALAPPDATA%\\mimo_rt\\models`. What is read from it is taken for hostile until it has been checked.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from mimo_rt.errors import ModelError, make
from mimo_rt.models.lock import locked
from mimo_rt.temporary import temporary_beside
from mimo_rt.untrusted import is_sha256, json_object, optional_text, read_limited

MAX_MODEL_BYTES = (1 << 31) - 1
"""No ONNX file is larger than protobuf allows."""
MAX_ENTRY_BYTES = 1 << 16

_FORMAT = 1
_LOCK = ".lock"
_NAME = re.compile(r"[a-z0-9][a-z0-9_+-]{0,63}")
# Names that Windows keeps for devices, in every folder.
_DEVICES = re.compile(r"con|prn|aux|nul|com\d|lpt\d")
_DAY = 24 * 3600.0


@dataclass(frozen=True)
class UserModel:
    """One model of the user's folder."""

    folder: Path
    name: str
    sha256: str
    """Of the ONNX file."""
    bytes: int
    """Size of the ONNX file."""
    source: str
    """Where it came from: a file or an address."""
    source_sha256: str
    """Of what lay there, before it was converted."""
    licence: str | None = None
    psnr: str | None = None
    """As somebody has measured it, with the images that it was measured on."""
    summary: str | None = None

    @property
    def id(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return self.folder / f"{self.name}-{self.sha256[:16]}.onnx"

    @property
    def card(self) -> None:
        """The user's models have no model card."""
        return None

    @property
    def repair(self) -> str:
        """What to do where the file is not what was added."""
        return f"remove it with `mimo-rt models remove {self.name}` and add it again"


def location() -> Path | None:
    """The user's folder, there or not; None where there is no home and `MIMO_RT_MODELS` is not set."""
    if own := os.environ.get("MIMO_RT_MODELS"):
        return Path(own).absolute()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) / "mimo_rt" / "models" if local else None
    # A relative path there is to be ignored, says the specification of base directories.
    data = os.environ.get("XDG_DATA_HOME", "")
    if Path(data).is_absolute():
        return Path(data) / "mimo_rt" / "models"
    home = Path(os.environ.get("HOME", ""))
    if not home.is_absolute():
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "mimo_rt" / "models"
    return home / ".local" / "share" / "mimo_rt" / "models"


def needed() -> Path:
    """The user's folder, made if it is not there; ModelError where there can be none."""
    folder = location()
    if folder is None:
        raise make(
            ModelError, "model.folder", "there is no home folder to keep models in; set MIMO_RT_MODELS to one"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder


def valid(name: str) -> bool:
    """Whether a model of the user's may be called so."""
    return _NAME.fullmatch(name) is not None and _DEVICES.fullmatch(name) is None


def check_name(name: str) -> str:
    """The name itself; ModelError, which says what a name looks like, where it will not do."""
    if not valid(name):
        raise make(
            ModelError,
            "model.name",
            f"{name[:80]!r} will not do as a model's name: 1 to 64 of a-z, 0-9, '-', '_' and '+', a letter "
            "or digit first, and no device's name",
        )
    return name


def name_from(file: Path) -> str:
    """A name made from a file's: "MIMO-UNet (1).onnx" gives "mimo-unet-1"."""
    return check_name(re.sub(r"[^a-z0-9_+]+", "-", file.stem.lower()).strip("-_+")[:64].rstrip("-_+"))


def find(name: str) -> UserModel | None:
    """The user's model of that name, None where there is none.

    ModelError ("model.entry") where its entry is damaged.
    """
    folder = location() if valid(name) else None
    if folder is None:
        return None
    try:
        data = read_limited(_entry(folder, name), MAX_ENTRY_BYTES)
        return _parsed(folder, name, data)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _damaged(folder, name, error) from error


def names() -> list[str]:
    """Names of all the user's models, sorted; those with a damaged entry as well."""
    folder = location()
    try:
        found = [] if folder is None else [p.stem for p in folder.iterdir() if p.suffix == ".json"]
    except OSError:
        return []
    return sorted(name for name in found if valid(name))


def everything() -> tuple[list[UserModel], list[ModelError]]:
    """All the user's models by name, and an error for every damaged entry."""
    found: list[UserModel] = []
    damaged: list[ModelError] = []
    for name in names():
        try:
            model = find(name)
        except ModelError as error:
            damaged.append(error)
        else:
            if model is not None:
                found.append(model)
    return found, damaged


def put(model: UserModel, data: bytes, *, replace: bool) -> None:
    """Bring a model into the folder: the ONNX file first, then the entry that makes it exist.

    `data` must be what `model` says. An existing model of that name is replaced only with `replace`
    (ModelError "model.exists" otherwise). Nothing is left behind where it fails.
    """
    assert model.bytes == len(data)
    assert model.sha256 == sha256(data).hexdigest()
    entry = {key: value for key, value in asdict(model).items() if key != "folder" and value is not None}
    text = json.dumps({"format": _FORMAT, **entry}, indent=2).encode()
    target = _entry(model.folder, model.name)
    try:
        with locked(model.folder / _LOCK, wait=True):
            _sweep(model.folder)
            if target.exists() and not replace:
                raise exists(model.name)
            try:
                for path, content in ((model.path, data), (target, text)):
                    with temporary_beside(path, content) as temporary:
                        temporary.replace(path)
            finally:
                _remove_files(model.folder, model.name, keep=_current(model.folder, model.name))
    except OSError as error:
        raise unwritable(model.folder, error) from error


def remove(name: str) -> bool:
    """Take a model out of the folder, one with a damaged entry as well; False where there is none.

    Pins of downloads stay, so that another file under the same address is noticed later too.
    """
    folder = location() if valid(name) else None
    if folder is None:
        return False
    if not folder.is_dir():
        return False
    target = _entry(folder, name)
    try:
        with locked(folder / _LOCK, wait=True):
            there = target.exists() or target.is_symlink()
            target.unlink(missing_ok=True)
            _remove_files(folder, name, keep=None)
    except OSError as error:
        raise unwritable(folder, error) from error
    return there


def _entry(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _parsed(folder: Path, name: str, data: bytes) -> UserModel:
    """An entry's model; ValueError with the reason where the entry does not hold together."""
    entry = json_object(data)
    if entry.get("format") != _FORMAT:
        raise ValueError("it is of another version of mimo_rt")
    if entry.get("name") != name:
        raise ValueError("it names another model")
    size = entry.get("bytes")
    if type(size) is not int or not 0 < size <= MAX_MODEL_BYTES:
        raise ValueError("it gives no size")
    for key in ("sha256", "source_sha256"):
        if not is_sha256(entry.get(key)):
            raise ValueError(f"{key} is no SHA-256")
    return UserModel(
        folder=folder,
        name=name,
        sha256=str(entry["sha256"]),
        bytes=size,
        source=optional_text(entry, "source") or "unknown",
        source_sha256=str(entry["source_sha256"]),
        licence=optional_text(entry, "licence"),
        psnr=optional_text(entry, "psnr"),
        summary=optional_text(entry, "summary"),
    )


def _current(folder: Path, name: str) -> Path | None:
    """The ONNX file that the entry of now names."""
    try:
        return _parsed(folder, name, read_limited(_entry(folder, name), MAX_ENTRY_BYTES)).path
    except (OSError, ValueError):
        return None


def _remove_files(folder: Path, name: str, *, keep: Path | None) -> None:
    """The ONNX files of a name, but for one. Another model's file is never taken for one of them: between
    its name and its ending stand 16 digits as well."""
    pattern = re.compile(re.escape(name) + r"-[0-9a-f]{16}\.onnx")
    for path in folder.iterdir() if folder.is_dir() else ():
        if pattern.fullmatch(path.name) and (keep is None or path.name != keep.name):
            # One that another program has open on Windows goes with the next change.
            with contextlib.suppress(OSError):
                path.unlink()


def _sweep(folder: Path) -> None:
    """Remove temporary files that a killed program left, and beginnings of downloads that nobody went on
    with, once nobody can still be writing them."""
    for pattern, days in ((".*.tmp", 1), ("*.partial", 30), ("*.state", 30)):
        for path in folder.glob(pattern):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - days * _DAY:
                    path.unlink()


def exists(name: str) -> ModelError:
    return make(
        ModelError,
        "model.exists",
        f"there is a model {name} already; --force replaces it, --name gives the new one another name",
    )


def _damaged(folder: Path, name: str, error: Exception) -> ModelError:
    why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return make(
        ModelError,
        "model.entry",
        f"the entry of the model {name} in {folder} is damaged ({why}); `mimo-rt models remove {name}` "
        "takes it away",
    )


def unwritable(folder: Path, error: OSError) -> ModelError:
    return make(
        ModelError,
        "model.folder",
        f"cannot write to the folder of models {folder}: {error.strerror or error}; MIMO_RT_MODELS names "
        "another",
    )
