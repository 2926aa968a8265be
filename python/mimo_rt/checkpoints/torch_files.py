"""PyTorch's two checkpoint formats: the zip archive since 1.6, and the run of pickles that came before."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

from mimo_rt.checkpoints.storage import BFLOAT16, Storage
from mimo_rt.checkpoints.unpickler import Global, Unpickler, damaged, unsafe

MAGIC = 0x1950A86A20F9469CFC6C
PICKLE_HEADS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How pickles of protocols 2 to 5 begin."""
ZIP_HEAD = b"PK\x03\x04"
ZIP_ENTRY = b"PK\x01\x02"
"""How an entry of the archive's table of contents begins."""
MOST_ENTRIES = 20_000

_DTYPES = {
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "DoubleStorage": "f8",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "u1",
}


def _dtype(kind: Any) -> str:
    if not isinstance(kind, Global) or kind.name not in _DTYPES:
        raise damaged("a storage has no element type")
    return _DTYPES[kind.name]


def read_zip(data: bytes) -> tuple[Any, dict[str, Storage]]:
    """The object that was saved, whose tensors name their storages, and the storages."""
    # Counted before zipfile makes an object of each.
    if data.count(ZIP_ENTRY) > MOST_ENTRIES:
        raise damaged(f"it is a zip archive of more than {MOST_ENTRIES} entries, which no MIMO-UNet is")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = {entry.filename: entry for entry in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, OverflowError) as error:
        raise damaged(f"its zip archive is broken ({error})") from error
    program = next((name for name in entries if name.endswith("/data.pkl") or name == "data.pkl"), None)
    if program is None:
        raise damaged("it is a zip archive, but not one that PyTorch writes")
    top = program.removesuffix("data.pkl")

    def content(name: str) -> memoryview:
        entry = entries.get(name)
        if entry is None:
            raise damaged(f"{name} is missing from its archive")
        # PyTorch compresses nothing; so what an entry holds lies in the file as it is.
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise damaged(f"{name} is compressed, which PyTorch never does")
        head = data[entry.header_offset : entry.header_offset + 30]
        if len(head) < 30 or entry.header_offset < 0:
            raise damaged("its zip archive breaks off")
        name_length, extra_length = struct.unpack("<HH", head[26:30])
        begin = entry.header_offset + 30 + name_length + extra_length
        if begin + entry.file_size > len(data):
            raise damaged("its zip archive breaks off")
        return memoryview(data)[begin : begin + entry.file_size]

    big = f"{top}byteorder" in entries and bytes(content(f"{top}byteorder")) == b"big"
    storages: dict[str, Storage] = {}

    def persistent(found: Any) -> str:
        if not isinstance(found, tuple) or len(found) < 5 or found[0] != "storage":
            raise unsafe("a reference that is no tensor's storage")
        key = found[2]
        if not isinstance(key, str) or "/" in key:
            raise damaged("a storage has no name")
        dtype = _dtype(found[1])
        storage = Storage(content(f"{top}data/{key}"), dtype, big)
        if storages.setdefault(key, storage).dtype != dtype:
            raise damaged("a storage has two element types")
        return key

    return Unpickler(content(program), persistent).load(), storages


def read_legacy(data: bytes) -> tuple[Any, dict[str, Storage]]:
    """As `read_zip`, for the format before it."""
    types: dict[str, tuple[str, int]] = {}

    def persistent(found: Any) -> str:
        if not isinstance(found, tuple) or len(found) < 5 or found[0] != "storage":
            raise unsafe("a reference that is no tensor's storage")
        key, count = found[2], found[4]
        if not isinstance(key, str) or type(count) is not int or (len(found) > 5 and found[5] is not None):
            raise damaged("a storage is described in a way that no PyTorch has written for years")
        if types.setdefault(key, (_dtype(found[1]), count)) != (_dtype(found[1]), count):
            raise damaged("a storage is described twice")
        return key

    reader = Unpickler(data, persistent)
    if reader.load() != MAGIC or reader.load() != 1001:
        raise damaged("it is a pickle, but not one that PyTorch writes")
    system = reader.load()
    if not isinstance(system, dict):
        raise damaged("it does not say how its numbers are written")
    saved = reader.load()
    keys = reader.load()
    if not isinstance(keys, list):
        raise damaged("its list of storages is missing")
    storages: dict[str, Storage] = {}
    at = reader.position
    for key in keys:
        if not isinstance(key, str) or key not in types or key in storages:
            raise damaged("its list of storages does not match its tensors")
        dtype, count = types[key]
        width = Storage(memoryview(b""), dtype).width
        if at + 8 > len(data) or struct.unpack("<q", data[at : at + 8])[0] != count:
            raise damaged("a storage has another length than its tensors say")
        end = at + 8 + count * width
        if count < 0 or end > len(data):
            raise damaged("it ends too early")
        storages[key] = Storage(memoryview(data)[at + 8 : end], dtype, system.get("little_endian") is False)
        at = end
    if set(types) != set(storages):
        raise damaged("storages are missing")
    return saved, storages
