"""Published weights into the user's folder: downloaded, checked against a hash, converted, added.

Where a registry knows no hash, the file that comes first is trusted and its hash is pinned: kept in the
user's folder by the file's address, and asked of every later download from there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from mimo_rt.errors import ModelError, make
from mimo_rt.models import UserModel, folder
from mimo_rt.models.add import add_data, check_free
from mimo_rt.models.download import Progress, clear, download
from mimo_rt.models.lock import locked
from mimo_rt.models.registry import Published
from mimo_rt.temporary import temporary_beside
from mimo_rt.untrusted import is_sha256, json_object, read_limited

_MAX_PIN_BYTES = 1 << 14


def warnings(published: Published) -> list[str]:
    """What somebody should know before they take and use these weights."""
    said = []
    if published.facts.licence is None:
        said.append(
            f"{published.name}: no licence is stated for these weights; what you may do with them is unclear"
        )
    if published.sha256 is None:
        pin = pinned(published)
        said.append(
            f"{published.name}: no hash of this file has been published; "
            + (
                f"the one of the first download is asked for, {pin}"
                if pin
                else "the one of this download is pinned"
            )
        )
    if published.url.startswith("http:") and published.sha256 is None:
        said.append(f"{published.name}: it comes over a connection that anybody on the way can change")
    return said


def installed(published: Published, name: str) -> UserModel | None:
    """The user's model of that name, if it came from just there; None otherwise."""
    model = folder.find(name)
    if model is None or model.source != published.url:
        return None
    wanted = published.sha256 or pinned(published)
    return model if wanted in (None, model.source_sha256) else None


def pinned(published: Published) -> str | None:
    """The hash that the first download from there had; None where there was none.

    ModelError ("model.pin") where the pin is damaged: it would be no pin if that passed for none.
    """
    place = folder.location()
    if place is None:
        return None
    path = _beside(place, published, ".pin")
    try:
        pin = json_object(read_limited(path, _MAX_PIN_BYTES))
        if pin.get("url") != published.url or not is_sha256(pin.get("sha256")):
            raise ValueError("it is of another file")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise make(
            ModelError,
            "model.pin",
            f"the pinned hash of {published.name} in {path} cannot be read ({error}); remove that file to "
            "trust the next download anew",
        ) from error
    return str(pin["sha256"])


def pull(
    published: Published,
    *,
    name: str | None = None,
    replace: bool = False,
    accept: str | None = None,
    progress: Progress | None = None,
) -> UserModel:
    """Download published weights and add them to the user's folder.

    name: by default the registry's. replace: a model of the user's of that name is replaced. accept: a
    SHA-256 to accept in place of the pinned one. progress: called with the fraction loaded.

    Raises ModelError and changes no model: "model.hash" where the file is not the one that the registry
    means, "model.pin" where it is another one than at the first time, and what download and add raise. A
    download that was cut, or ended by Ctrl-C, goes on at the next call.
    """
    name = check_free(name or published.name, replace=replace)
    place = folder.needed()
    partial, state = (_beside(place, published, ending) for ending in (".partial", ".state"))
    try:
        with locked(partial, wait=False) as file, _unless_empty(partial, file):
            wanted = published.sha256 or accept or pinned(published)
            data = _load(published, file, state, progress)
            found = sha256(data).hexdigest()
            if wanted is not None and found != wanted:
                clear(file, state)
                raise _other_file(published, found, wanted, accept)
            try:
                with _pinning(place, published, found):
                    model = add_data(data, name, published.url, facts=published.facts, replace=replace)
            except ModelError as error:
                if error.code not in ("model.exists", "model.folder"):
                    clear(file, state)  # what cannot be built now never will be
                raise
            clear(file, state)
    except BlockingIOError:
        raise make(
            ModelError, "model.busy", f"another program is loading {published.name}; wait until it is done"
        ) from None
    except OSError as error:
        raise folder.unwritable(place, error) from error
    return model


def _load(published: Published, file: BinaryIO, state: Path, progress: Progress | None) -> bytes:
    """All of the published file; ModelError that says what else can be done where it cannot be had."""
    try:
        download(
            published.url,
            file,
            state,
            limit=published.max_bytes,
            size=published.bytes,
            progress=progress,
        )
    except ModelError as error:
        if error.code == "model.too_large":
            clear(file, state)
        resume = (
            "what arrived is kept, and the same command goes on from there; or " if file.seek(0, 2) else ""
        )
        raise make(
            ModelError,
            error.code,
            f"{published.name}: {error}; {resume}open {published.browser} in a browser, save the file, and "
            f"take it in with `mimo-rt models add FILE --name {published.name}`",
        ) from error
    file.seek(0)
    return file.read()


@contextlib.contextmanager
def _unless_empty(partial: Path, file: BinaryIO) -> Iterator[None]:
    """The partial file stays behind only where there is something in it."""
    try:
        yield
    finally:
        if file.seek(0, 2) == 0:
            with contextlib.suppress(OSError):  # Windows removes no open file; an empty one does no harm
                partial.unlink()


def _other_file(published: Published, found: str, wanted: str, accept: str | None) -> ModelError:
    if published.sha256 is not None or accept is not None:
        by = "the registry" if published.sha256 is not None else "--accept"
        return make(
            ModelError,
            "model.hash",
            f"{published.name}: the file that came has the sha256 {found}, {by} says {wanted}; it was not "
            "taken",
        )
    return make(
        ModelError,
        "model.pin",
        f"{published.name}: the file that came is another one than at the first time (sha256 {found}, then "
        f"{wanted}); it was not taken. If you know why it changed: --accept {found}",
    )


@contextlib.contextmanager
def _pinning(place: Path, published: Published, digest: str) -> Iterator[None]:
    """Pins the hash once the model is added. It is on the disk before: no model is there without its pin."""
    if published.sha256 is not None:
        yield
        return
    text = json.dumps({"url": published.url, "sha256": digest, "name": published.name}, indent=2)
    path = _beside(place, published, ".pin")
    with temporary_beside(path, text.encode()) as temporary:
        yield
        temporary.replace(path)


def _beside(place: Path, published: Published, ending: str) -> Path:
    """A file in the user's folder that belongs to an address, not to a name."""
    return place / f"{sha256(published.url.encode()).hexdigest()[:32]}{ending}"
