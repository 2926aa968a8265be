"""README.md is true: its examples run, its set-up lines are those that CI runs, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
]


def blocks(mark: str) -> list[tuple[str, str]]:
    """Language and text of every code block that stands right under `<!-- mark -->`."""
    return re.findall(rf"^<!-- {mark} -->\n```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader is: a photo.jpg of theirs (small, so that this is quick), a cache of their own."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("readme")
    with Image.open(ROOT / "examples" / "blurred.jpg") as photo:
        photo.resize((96, 64)).save(folder / "photo.jpg")
    return folder


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "MIMO_RT_CACHE": str(folder / "cache")}


def call(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout.decode(errors='replace')}"


def test_there_are_examples() -> None:
    assert {language for language, _ in blocks("runs")} == {"sh", "python"}


@pytest.mark.parametrize("text", [text for language, text in blocks("runs") if language == "python"])
def test_python_examples_run(text: str, folder: Path, environment: dict[str, str]) -> None:
    (folder / "example.py").write_text(text, encoding="utf-8")
    call([sys.executable, "example.py"], folder, environment)
    assert (folder / "sharp.png").stat().st_size > 0


@pytest.mark.parametrize("text", [text for language, text in blocks("runs") if language == "sh"])
def test_commands_run(text: str, folder: Path, environment: dict[str, str]) -> None:
    for name in ("sharp.png", "my.plan"):
        (folder / name).unlink(missing_ok=True)
    # As typed: one line after another, each of which must succeed.
    call(["bash", "-euo", "pipefail", "-c", text], folder, environment)
    for name in ("photo.deblurred.jpg", "sharp.png", "half.jpg", "piped.jpg", "my.plan"):
        assert (folder / name).stat().st_size > 0, name


@pytest.mark.parametrize("name", ["line one", "line two"])
def test_each_set_up_line_is_one_line_and_ci_takes_it_from_here(name: str) -> None:
    ((language, text),) = blocks(name)
    assert language == "sh"
    assert text.count("\n") == 1
    found = subprocess.run(
        ["bash", "-c", f'{ci_function()}\nROOT=. readme "{name}"'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == text


def ci_function() -> str:
    """The function of .ci/run that takes a line from the README."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    match = re.search(r"^readme\(\) \{.*?^\}", script, re.MULTILINE | re.DOTALL)
    assert match is not None
    for variable in ("SYSTEM_PART", "USER_PART", "LINE_TWO"):
        assert re.search(rf'^\s*check .*bash .* "\${variable}"$', script, re.MULTILINE), variable
    return match[0]


def test_set_up_lines_are_shell() -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    for name in ("line one", "line two"):
        ((_, text),) = blocks(name)
        subprocess.run(["bash", "-n", "-c", text], check=True)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), f"{page} links to {target}"
