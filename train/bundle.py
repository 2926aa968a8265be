"""Puts an exported model where it ships: ``python -m train.bundle X.onnx --summary "..."``.

Reads name and version from the file's metadata, copies it to ``python/mimo_rt/models/NAME@VERSION.onnx``
and lists it in ``index.json`` there (name, version, sha256, bytes, summary). The model card is written by
hand beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import onnx

from mimo_rt.temporary import replace_whole

FOLDER = Path(__file__).resolve().parents[1] / "python" / "mimo_rt" / "models"
LARGEST = 4_000_000
"""Bytes a model may have to ship inside the wheel."""


def bundle(source: Path, summary: str, folder: Path = FOLDER) -> Path:
    """Copy the model, list it, return its new path; raises ValueError if it must not ship."""
    data = source.read_bytes()
    entries = {p.key: p.value for p in onnx.load_from_string(data).metadata_props}
    identity = entries.get("mimo_rt.name", "")
    name, at, version = identity.partition("@")
    if not at or not version.isdecimal():
        raise ValueError(
            f"{source} has no name of the form NAME@VERSION (train.export --name), but {identity!r}"
        )
    if len(data) > LARGEST:
        raise ValueError(f"{source} has {len(data)} bytes; {LARGEST} is the most that ships")
    target = folder / f"{identity}.onnx"
    replace_whole(target, data)
    index = folder / "index.json"
    listed = json.loads(index.read_text(encoding="utf-8")) if index.exists() else []
    listed = [e for e in listed if (e["name"], e["version"]) != (name, int(version))]
    digest = hashlib.sha256(data).hexdigest()
    listed.append(
        {"name": name, "version": int(version), "sha256": digest, "bytes": len(data), "summary": summary}
    )
    listed.sort(key=lambda e: (e["name"], e["version"]))
    replace_whole(index, (json.dumps(listed, indent=2) + "\n").encode())
    return target


def main() -> None:
    """Entry of ``python -m train.bundle``."""
    parser = argparse.ArgumentParser(prog="python -m train.bundle", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--summary", required=True, help="one plain sentence on what the model is")
    a = parser.parse_args()
    try:
        target = bundle(a.model, a.summary)
    except (OSError, ValueError) as e:
        raise SystemExit(f"not bundled: {e}") from None
    print(target, file=sys.stderr)


if __name__ == "__main__":
    main()
