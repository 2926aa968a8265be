"""Checkpoints of every kind hold the same network, and files that would rather run code get no chance to."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mimo_rt
from mimo_rt import ModelError, checkpoints, network
from mimo_rt.checkpoints.mindspore import read_mindspore
from mimo_rt.checkpoints.torch_files import MAGIC
from mimo_rt.convert import convert

DATA = Path(__file__).parent / "data"
FILES = ("mindspore.ckpt", "mindspore_training.ckpt", "torch.pkl", "torch_legacy.pkl")


def safetensors(tensors: dict[str, np.ndarray], kind: str = "F32") -> bytes:
    """A safetensors file, written as its specification has it."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, array in tensors.items():
        raw = array.astype("<f4").tobytes()
        if kind == "BF16":
            raw = (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.fixture(scope="module")
def outputs() -> dict[str, np.ndarray]:
    with np.load(DATA / "mindspore_output.npz") as file:
        return dict(file)


def run(source: Path | bytes, image: np.ndarray) -> np.ndarray:
    engine = mimo_rt.build(convert(source, resample="nearest").onnx, cache=False)
    return engine.infer(image)


def test_every_format_holds_the_same_network(outputs: dict[str, np.ndarray]) -> None:
    image = outputs["image"]
    weights = checkpoints.read(DATA / "mindspore_training.ckpt").tensors
    wanted = run(DATA / "mindspore_training.ckpt", image)
    assert np.abs(wanted - image).max() > 0.1
    others: list[Path | bytes] = [DATA / "torch.pkl", DATA / "torch_legacy.pkl", safetensors(weights)]
    for source in others:
        assert np.abs(run(source, image) - wanted).max() <= 1e-6
    wide = checkpoints.read(safetensors(weights, "BF16")).tensors
    for name, array in weights.items():
        np.testing.assert_allclose(wide[name], array, rtol=2**-7)


def test_a_checksum_may_follow() -> None:
    content = (DATA / "mindspore.ckpt").read_bytes()
    with_sum = checkpoints.read(content + b"crc_num" + bytes(10)).tensors
    for name, array in checkpoints.read(content).tensors.items():
        assert np.array_equal(with_sum[name], array)


def test_what_was_found_is_told() -> None:
    found = {name: checkpoints.read(DATA / name) for name in FILES}
    assert [c.format for c in found.values()] == ["MindSpore", "MindSpore", "PyTorch", "PyTorch before 1.6"]
    assert [c.prefix for c in found.values()] == ["", "network.", "module.", "module."]
    assert [c.wrapper for c in found.values()] == ["", "", "model", "model"]
    assert found["mindspore_training.ckpt"].ignored == 160  # two moments a parameter, and counters
    for c in found.values():
        assert network.shape_of(c.tensors) == network.Shape(4, (1, 1, 1))
        assert set(c.tensors) == set(network.parameters(network.Shape(4, (1, 1, 1))))
        assert all(a.dtype == np.float32 for a in c.tensors.values())


@pytest.mark.parametrize(
    ("file", "key"), [("mindspore.ckpt", "whole"), ("mindspore_training.ckpt", "halved")]
)
def test_mindspores_own_output(outputs: dict[str, np.ndarray], file: str, key: str) -> None:
    ort = pytest.importorskip("onnxruntime")
    converted = convert(DATA / file)
    assert converted.resample == "bilinear"
    session = ort.InferenceSession(converted.onnx, providers=["CPUExecutionProvider"])
    got = session.run(None, {"image": outputs["image"]})[0]
    assert np.abs(got - outputs[key]).max() <= 2e-6
    engine = mimo_rt.build(DATA / file, cache=False)  # straight from the checkpoint
    assert np.abs(engine.infer(outputs["image"]) - outputs[key]).max() <= 1e-5
    assert np.abs(run(DATA / file, outputs["image"]) - outputs[key]).max() > 0.05  # it does matter


def test_the_onnx_file_is_sound_and_says_what_it_is() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(convert(DATA / "mindspore.ckpt").onnx)
    onnx.checker.check_model(model, full_check=True)
    entries = {p.key: p.value for p in model.metadata_props}
    assert entries["mimo_rt.preset"] == "custom"
    assert (entries["mimo_rt.width"], entries["mimo_rt.num_res"]) == ("4", "1,1,1")
    assert (entries["mimo_rt.resample"], entries["mimo_rt.source"]) == ("bilinear", "MindSpore")
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        3,
        "height",
        "width",
    ]


def test_a_checkpoint_is_a_model_wherever_one_is_asked_for(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
    wanted = mimo_rt.Deblurrer(mimo_rt.build(convert(DATA / "torch.pkl").onnx)).run(image)
    assert np.array_equal(mimo_rt.Deblurrer(str(DATA / "torch.pkl")).run(image), wanted)
    assert np.array_equal(
        mimo_rt.Deblurrer(mimo_rt.build((DATA / "torch.pkl").read_bytes())).run(image), wanted
    )
    anything = tmp_path / "weights"  # told by content, not by name
    anything.write_bytes((DATA / "torch_legacy.pkl").read_bytes())
    assert np.array_equal(mimo_rt.Deblurrer(str(anything)).run(image), wanted)


def test_what_does_not_fit_is_listed() -> None:
    weights = checkpoints.read(DATA / "torch.pkl").tensors
    wrong = {k: v for k, v in weights.items() if not k.startswith("FAM1.")}
    wrong["AFFs.0.conv.0.main.0.weight"] = wrong["AFFs.0.conv.0.main.0.weight"][:, 1:]
    wrong["extra.weight"] = np.zeros(3, np.float32)
    with pytest.raises(ModelError) as error:
        convert(safetensors(wrong))
    assert error.value.code == "checkpoint.weights"
    for part in ("FAM1.merge.main.0.weight is missing", "extra.weight is unknown", "4x27x1x1, not 4x28x1x1"):
        assert part in str(error.value)
    few = {k: v for k, v in weights.items() if not k.startswith(("FAM", "SCM"))}
    with pytest.raises(ModelError, match=r"and \d+ more"):
        convert(safetensors(few))
    nan = dict(weights) | {"feat_extract.0.main.0.bias": np.full(4, np.nan, np.float32)}
    with pytest.raises(ModelError, match="not finite"):
        convert(safetensors(nan))
    with pytest.raises(ModelError, match="no weights of a MIMO-UNet"):
        checkpoints.read(safetensors({"conv.weight": np.zeros((2, 2), np.float32)}))
    assert set(checkpoints.read(safetensors(weights)).tensors) == set(weights)


def test_other_files_are_no_checkpoints(tmp_path: Path, model_file: Path) -> None:
    assert not checkpoints.is_checkpoint(model_file)
    assert not checkpoints.is_checkpoint(model_file.read_bytes())
    assert not checkpoints.is_checkpoint(tmp_path)
    for content in (b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(100), b"\x80"):
        (tmp_path / "x").write_bytes(content)
        assert not checkpoints.is_checkpoint(tmp_path / "x")
        with pytest.raises(ModelError) as error:
            checkpoints.read(tmp_path / "x")
        assert error.value.code == "checkpoint.format"
    with pytest.raises(ModelError) as error:
        checkpoints.read(tmp_path / "nothing")
    assert error.value.code == "checkpoint.read"


# --- hostile files


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def as_zip(program: bytes, **more: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        for name, content in more.items():
            archive.writestr(f"archive/data/{name}", content)
    return out.getvalue()


def as_legacy(program: bytes) -> bytes:
    return b"".join(pickle.dumps(x, 2) for x in (MAGIC, 1001, {"little_endian": True})) + program


def programs(canary: Path) -> dict[str, bytes]:
    """Pickles that do harm where they are run."""
    import os

    shell = Call(os.system, f"touch {canary}")
    path = str(canary).encode()
    touch = b"(X" + struct.pack("<I", len(path)) + path + b"X\x01\x00\x00\x00wtR."
    name = b"X\x08\x00\x00\x00builtins\x8c\x04open"
    return {
        "os.system": pickle.dumps({"model": shell}, 2),
        "protocol 4": pickle.dumps({"model": shell}, 4),
        "protocol 0": pickle.dumps({"model": shell}, 0),
        "nested": pickle.dumps({"model": Call(getattr, Call(__import__, "os"), "system")}, 2),
        "eval": pickle.dumps(Call(eval, f"open({str(canary)!r}, 'w')"), 3),
        "in a state": pickle.dumps({"model": {}, "optimizer": [shell]}, 2),
        "inst": b"\x80\x02(X" + struct.pack("<I", len(path)) + path + b"X\x01\x00\x00\x00wibuiltins\nopen\n.",
        "obj": b"\x80\x02(cbuiltins\nopen\nX" + struct.pack("<I", len(path)) + path + b"X\x01\x00\x00\x00wo.",
        "stack global": b"\x80\x04" + name + b"\x93" + touch,
        "extension": b"\x80\x02\x82\x01" + touch,
        "newobj": b"\x80\x02cbuiltins\nopen\n(X" + struct.pack("<I", len(path)) + path + b"t\x81.",
        "known name, other module": b"\x80\x02cos\nFloatStorage\n)R.",
    }


@pytest.mark.parametrize("wrap", [as_zip, as_legacy, bytes])
def test_hostile_pickles_are_refused_and_run_nothing(tmp_path: Path, wrap: Any) -> None:
    canary = tmp_path / "canary"
    for name, program in programs(canary).items():
        source = tmp_path / "model.pkl"
        source.write_bytes(wrap(program))
        with pytest.raises(ModelError) as error:
            mimo_rt.build(source, cache=False)
        assert not canary.exists(), name
        if wrap is as_zip:
            assert error.value.code in ("checkpoint.unsafe", "checkpoint.damaged"), name
    with pytest.raises(ModelError, match=r"system"):  # what it wanted is named
        checkpoints.read(as_zip(programs(canary)["os.system"]))


def tensor_program(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, count: int = 4
) -> bytes:
    """A state dict with one tensor, as instructions."""

    def number(value: int) -> bytes:
        raw = value.to_bytes(8, "little", signed=True)
        return b"\x8a\x08" + raw

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    storage = (
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(count) + b"tQ"
    )
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + numbers(shape) + numbers(strides)
    )
    return b"\x80\x02}" + text("feat_extract.0.main.0.weight") + tensor + b"\x89)tRs."


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((1 << 40,), (0,), 0),  # a terabyte out of one number
        ((5,), (1,), 0),
        ((2,), (4,), 0),
        ((4,), (1,), 1),
        ((1,), (1,), 1 << 62),
        ((1 << 31, 1 << 31), (0, 0), 0),
        ((2,), (-1,), 1),
        ((1,), (1 << 62,), 0),  # beyond what NumPy counts in
        ((0, 1 << 62), (1, 1), 0),
    ],
)
def test_tensors_that_reach_past_their_numbers(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> None:
    with pytest.raises(ModelError) as error:
        checkpoints.read(as_zip(tensor_program(shape, strides, offset), **{"0": bytes(16)}))
    assert error.value.code == "checkpoint.damaged"


def test_a_tensor_whose_numbers_are_a_text() -> None:
    program = tensor_program((1,), (1,))
    at = program.index(b"(X" + struct.pack("<I", 7) + b"storage")
    program = program[:at] + b"X" + struct.pack("<I", 5) + b"nokey" + program[program.index(b"tQ") + 2 :]
    for file in (as_zip(program, **{"0": bytes(16)}), as_legacy(program)):
        with pytest.raises(ModelError) as error:
            checkpoints.read(file)
        assert error.value.code == "checkpoint.damaged"


def test_long_tables_are_refused_before_they_become_objects() -> None:
    header = b'{"a":"' + bytes(2_000_000).replace(b"\0", b" ") + b'"}'
    entries = b"PK\x01\x02" * 20_001
    for file in (struct.pack("<Q", len(header)) + header, as_zip(b"\x80\x02N.", **{"0": entries})):
        tracemalloc.start()
        with pytest.raises(ModelError, match="no MIMO-UNet") as error:
            checkpoints.read(file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()
        assert error.value.code == "checkpoint.damaged"


def test_keys_that_all_have_one_hash_are_refused() -> None:
    keys = b"".join(b"\x8a\x0c" + ((2**61 - 1) * n).to_bytes(12, "little") + b"N" for n in range(1, 50_000))
    with pytest.raises(ModelError) as error:
        checkpoints.read(as_zip(b"\x80\x02}(" + keys + b"u."))
    assert error.value.code == "checkpoint.damaged"


def test_mindspore_files_of_countless_values() -> None:
    with pytest.raises(ModelError) as error:
        read_mindspore(b"\x0a\x03\x0a\x01a" * 200_000)
    assert error.value.code == "checkpoint.damaged"


def test_pipes_are_no_checkpoints(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no pipes here")
    os.mkfifo(tmp_path / "pipe")
    assert not checkpoints.is_checkpoint(tmp_path / "pipe")
    with pytest.raises(ModelError, match="regular file"):
        checkpoints.read(tmp_path / "pipe")


def test_small_files_do_not_become_large_ones_in_memory() -> None:
    import tracemalloc

    count = 20_000
    items = b"".join(b"M" + struct.pack("<H", i) + b"N" for i in range(count))
    many = b"\x80\x02}(" + items + b"u\x940" + b"ccollections\nCounter\n\x940"  # a large table, memorised
    copies = b"".join(b"h\x01h\x00\x85R" for _ in range(count)) + b"."
    deep = b"\x80\x02})" + b"\x85" * 1_000_000 + b"Ns."  # a tuple in a tuple in a tuple..., as a key
    tracemalloc.start()
    try:
        for program in (many + copies, deep):
            with pytest.raises(ModelError):
                checkpoints.read(as_zip(program))
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()


def test_views_are_read_as_pytorch_reads_them() -> None:
    data = np.arange(4, dtype="<f4").tobytes()
    read = checkpoints.read(as_zip(tensor_program((2, 2), (1, 2)), **{"0": data}))
    assert read.tensors["feat_extract.0.main.0.weight"].tolist() == [[0, 2], [1, 3]]


def test_compressed_archives_are_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    with pytest.raises(ModelError, match="compressed"):
        checkpoints.read(out.getvalue())


@pytest.mark.parametrize("file", FILES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_raise_a_model_error_or_load(file: str, data: st.DataObject) -> None:
    content = bytearray((DATA / file).read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            at = data.draw(st.integers(0, len(content) - 1) | st.integers(0, min(3000, len(content) - 1)))
            content[at] = data.draw(st.integers(0, 255))
    code, size = "checkpoint.", 0
    try:
        size = sum(a.nbytes for a in checkpoints.read(bytes(content)).tensors.values())
    except ModelError as error:
        code = error.code
    assert code.startswith("checkpoint.")
    assert size <= 4 * len(content) + 1024


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_after_a_true_beginning(tail: bytes) -> None:
    weights = {"feat_extract.0.main.0.weight": np.zeros((4, 3, 3, 3), np.float32)}
    for head in (
        b"\x80\x02",
        b"PK\x03\x04",
        b"\x0a\x30\x0a\x05abcde",
        safetensors(weights)[:20],
        as_legacy(b""),
    ):
        with pytest.raises(ModelError) as error:
            checkpoints.read(head + tail)
        assert error.value.code.startswith("checkpoint.")
