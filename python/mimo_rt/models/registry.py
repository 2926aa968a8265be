"""Where published weights lie: a small JSON file, `registry.json` for those that are known to us, or
somebody else's.

    {"format": 1, "models": [{
        "name": "...",       what the model will be called in the user's folder
        "url": "...",        http or https
        "browser": "...",    page to open where the download does not work; absent: url
        "sha256": "...",     of the file, null where nobody has published it
        "bytes": 123,        size of the file, null where it is not known
        "max_bytes": 123,    the most that is taken where the size is not known; absent: MAX_BYTES
        "licence": "...",    null where none is stated
        "preset": "...", "psnr": "...", "summary": "...", "notes": "..."  texts, may be absent
    }]}

It may come from anybody: every field is checked, and no text of it reaches a terminal unfiltered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimo_rt.errors import ModelError, make
from mimo_rt.models import folder
from mimo_rt.models.add import Facts
from mimo_rt.models.download import check_address, download_small
from mimo_rt.untrusted import is_sha256, json_object, optional_text, plain, read_limited

MAX_REGISTRY_BYTES = 1 << 20
MAX_BYTES = 512 << 20
"""The most that is taken from a place that does not say how large the file is."""
_FORMAT = 1
_OURS = Path(__file__).parent / "registry.json"


@dataclass(frozen=True)
class Published:
    """One file of published weights."""

    name: str
    url: str
    browser: str
    sha256: str | None
    bytes: int | None
    max_bytes: int
    facts: Facts
    notes: str | None


def load(source: str | None = None) -> tuple[Published, ...]:
    """The models of a registry: of ours, or of a file or an http(s) address.

    ModelError ("model.registry") where it cannot be read or does not hold together.
    """
    try:
        if source is not None and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source):
            data = download_small(source, MAX_REGISTRY_BYTES)
        else:
            data = read_limited(_OURS if source is None else Path(source), MAX_REGISTRY_BYTES)
        listed = json_object(data)
        if listed.get("format") != _FORMAT or not isinstance(listed.get("models"), list):
            raise ValueError(f'it has no "format": {_FORMAT} and no list "models"')
        found = tuple(_parsed(entry) for entry in listed["models"])
        if len({model.name for model in found}) < len(found):
            raise ValueError("it has a name twice")
    except (OSError, ValueError) as error:
        why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise make(
            ModelError, "model.registry", f"cannot use the registry {plain(source or str(_OURS))}: {why}"
        ) from error
    return found


def find(name: str, source: str | None = None) -> Published:
    """The model of that name in a registry; ModelError, which lists those that there are, otherwise."""
    published = load(source)
    for model in published:
        if model.name == name:
            return model
    there = ", ".join(model.name for model in published[:20]) or "nothing"
    raise make(
        ModelError, "model.not_found", f"the registry has no model {plain(name)[:80]!r}; it has {there}"
    )


def _parsed(entry: Any) -> Published:
    """One model of a registry; ValueError with the reason where it does not hold together."""
    if not isinstance(entry, dict):
        raise ValueError("a model in it is not an object")
    name = entry.get("name")
    if not isinstance(name, str) or not folder.valid(name):
        raise ValueError(f"{plain(str(name))[:80]!r} in it will not do as a model's name")
    url, browser = entry.get("url"), entry.get("browser")
    try:
        url = check_address(url)
        browser = url if browser is None else check_address(browser)
    except ModelError as error:
        raise ValueError(f"{name}: {error}") from None
    digest = entry.get("sha256")
    if digest is not None and not is_sha256(digest):
        raise ValueError(f"{name}: sha256 is no SHA-256")
    size, most = entry.get("bytes"), entry.get("max_bytes", MAX_BYTES)
    for value in (size, most):
        if value is not None and (type(value) is not int or not 0 < value <= folder.MAX_MODEL_BYTES):
            raise ValueError(f"{name}: a size must be between 1 and {folder.MAX_MODEL_BYTES} bytes")
    try:
        texts = {key: optional_text(entry, key) for key in ("licence", "psnr", "summary", "preset", "notes")}
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    notes = texts.pop("notes")
    return Published(name, url, browser, digest, size, size or most or MAX_BYTES, Facts(**texts), notes)
