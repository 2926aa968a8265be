"""The command line as a process: pipes, Ctrl-C, homes that cannot be written, exit codes, a fast start."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
from numpy.typing import NDArray
from PIL import Image

COMMAND = [sys.executable, "-m", "mimo_rt"]


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, check=False, timeout=120, **options)


def png(pixels: NDArray[np.uint8], format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_pipes(photo: NDArray[np.uint8], model_file: Path, format: str) -> None:
    done = run("deblur", "-", "-m", str(model_file), "-q", input=png(photo, format))
    assert (done.returncode, done.stderr) == (0, b"")
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert (image.format, image.size) == (format, (66, 41))
    done = run("deblur", "-", "-", "-m", str(model_file), "--format", "webp", input=png(photo, format))
    assert done.returncode == 0
    assert b"standard input -> standard output" in done.stderr
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.format == "WEBP"


def test_decoders_do_not_talk(photo: NDArray[np.uint8], model_file: Path) -> None:
    """libtiff prints to stderr by itself; there must be our one sentence only, and it must get there."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "TIFF", compression="tiff_lzw")
    damaged = bytearray(buffer.getvalue())
    damaged[300:340] = b"\xff" * 40
    done = run("deblur", "-", "-o", "-", "-m", str(model_file), input=bytes(damaged))
    assert done.returncode == 1
    assert done.stderr.startswith(b"mimo-rt: ")
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_goes_away(photo: NDArray[np.uint8], model_file: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    source.write_bytes(png(noise))
    process = subprocess.Popen(
        [*COMMAND, "deblur", str(source), "-", "-m", str(model_file), "-q"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) == 1
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_pipes_by_name(photo: NDArray[np.uint8], model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(photo))
    done = run("deblur", "a.png", "/dev/stdout", "-m", str(model_file), "-q", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.size == (66, 41)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("deblur a.png b.png -m MODEL 2>&-", 0, b""),
        ("deblur a.png - -m MODEL -q >&-", 1, b"mimo-rt: a.png: cannot write to standard output"),
        ("deblur a.png - -m MODEL -q > /dev/full", 1, b"mimo-rt: a.png: cannot write to standard output: No"),
        ("models > /dev/full", 1, b"mimo-rt: No space left on device"),
        ("models >&-", 1, b"mimo-rt: Bad file descriptor"),
    ],
)
def test_streams_that_are_closed_or_full(
    words: str, code: int, said: bytes, photo: NDArray[np.uint8], model_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(png(photo))
    line = f"{' '.join(COMMAND)} {words}".replace("MODEL", str(model_file))
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(said)
    assert done.stderr.count(b"\n") == (1 if said else 0)
    assert done.stdout == b""
    assert (tmp_path / "b.png").exists() == (code == 0)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["no-such-verb"], 2),
        (["deblur"], 2),
        (["deblur", "missing.png"], 1),
        (["deblur", "here.png", "-m", "no-such-model"], 3),
        (["info", "no-such-model"], 3),
        (["build", "here.png", "-o", "a.plan"], 3),
        (["deblur", "here.png", "-m", "MODEL", "--memory", "1000"], 4),
        (["--version"], 0),
        (["--help"], 0),
        (["models"], 0),
    ],
)
def test_exit_codes(
    arguments: list[str], code: int, photo: NDArray[np.uint8], model_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "here.png").write_bytes(png(photo))
    done = run(*[str(model_file) if a == "MODEL" else a for a in arguments], cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    if code:
        assert done.stdout == b""
        assert done.stderr.startswith(b"mimo-rt: ") or code == 4
    else:
        assert done.stderr == b""


def test_ctrl_c_leaves_nothing_half_done(tmp_path: Path) -> None:
    """The interrupt arrives while the network runs, and the process ends soon after, with one line and no
    file."""
    model = tmp_path / "slow.onnx"
    model.write_bytes(onnx_models.mimo_unet(32, 4))
    noise = np.random.default_rng(0).integers(0, 256, (2400, 2400, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "big.png", compress_level=1)
    process = subprocess.Popen(
        [*COMMAND, "deblur", "big.png", "-m", "slow.onnx", "--scale", "1"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job, which this test may be part of, would ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "2400x2400" in line:  # said just before the network starts
            break
    time.sleep(0.7)
    assert process.poll() is None
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(60) == 130
    assert time.monotonic() - start < 10
    assert said.strip() == "mimo-rt: interrupted; nothing was left half written"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big.png", "slow.onnx"]
    process.stderr.close()


@pytest.mark.slow
def test_kill_leaves_whole_files_only(tmp_path: Path, model_file: Path, photo: NDArray[np.uint8]) -> None:
    """Killed at any moment of a batch: what is there is whole, and a second go gives the same as one."""
    (tmp_path / "in").mkdir()
    for i in range(12):
        Image.fromarray(np.roll(np.tile(photo, (8, 8, 1)), i, axis=1)).save(tmp_path / "in" / f"{i}.png")
    command = [*COMMAND, "deblur", "in", "-o", "out", "-m", str(model_file), "-q"]
    assert (
        subprocess.run([*command[:-5], "-o", "whole", *command[-3:]], cwd=tmp_path, check=True).returncode
        == 0
    )
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert len(whole) == 12
    rng = np.random.default_rng(0)
    for _ in range(20):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.2, 1.5))
        process.kill()
        process.wait()
        for path in (tmp_path / "out").glob("[0-9]*.png"):
            assert path.read_bytes() == whole[path.name]
    subprocess.run(command, cwd=tmp_path, stderr=subprocess.DEVNULL, check=False)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("[0-9]*.png")} == whole


@pytest.mark.parametrize("home", ["/proc/no-such-home", "/dev/null", ""])
def test_homes_that_cannot_be_written(
    home: str, photo: NDArray[np.uint8], model_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(png(photo))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MIMO_RT_"))
    }
    environment["HOME"] = home
    done = run("deblur", "a.png", "-m", str(model_file), cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.deblurred.png").exists()


def test_help_loads_neither_numpy_nor_the_core() -> None:
    code = (
        "import sys\n"
        "from mimo_rt.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('numpy', 'PIL', 'mimo_rt._core') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "deblur" in done.stdout


def test_memory_stays_within_what_was_printed(tmp_path: Path, model_file: Path) -> None:
    """Peak memory beyond that of a run of one pixel is within both printed amounts and some slack."""
    code = """
import resource, sys
from mimo_rt.cli import main
source, model = sys.argv[1:]
main(["deblur", source, "-o", source + ".out.png", "-m", model, "--json", "-q"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    reports = []
    for side in (1, 1200):
        path = tmp_path / f"{side}.png"
        Image.new("RGB", (side, side), (10, 200, 30)).save(path)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), str(model_file)],
            capture_output=True,
            text=True,
            check=True,
        )
        text, peak = done.stdout.strip().rsplit("\n", 1)
        reports.append((json.loads(text)["files"][0], int(peak)))
    (_, small), (report, large) = reports
    assert large - small <= report["memory_bound_bytes"] + report["picture_bytes"] + (16 << 20)
