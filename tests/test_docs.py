"""The pages on API and command line are true: their examples run, and no verb's option is left out."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from mimo_rt.cli import parser

ROOT = Path(__file__).resolve().parent.parent


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of every code block right under `<!-- runs -->`."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^<!-- runs -->\n```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Path:
    """Where a reader is: photo.jpg, other.png, album/, pairs/, model.onnx and checkpoint.pkl, all small."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "album" / "deeper").mkdir(parents=True)
    with Image.open(ROOT / "examples" / "blurred.jpg") as photo:
        small = photo.resize((72, 48))
    for name in ("photo.jpg", "other.png", "album/a.png", "album/deeper/b.jpg"):
        small.save(folder / name)
    for half in ("blur", "sharp"):
        (folder / "pairs" / half).mkdir(parents=True)
        for number in (1, 2):
            turned = small.rotate(180 * (number - 1))
            turned.filter(ImageFilter.BoxBlur(1 if half == "blur" else 0)).save(
                folder / "pairs" / half / f"{number}.png"
            )
    shutil.copy(model_file, folder / "model.onnx")
    shutil.copy(ROOT / "tests" / "data" / "torch.pkl", folder / "checkpoint.pkl")
    return folder


@pytest.mark.parametrize("page", ["api.md", "cli.md", "evaluation.md"])
def test_examples_run(page: str, folder: Path) -> None:
    """All examples of a page, one after another, each line of which must succeed."""
    examples = blocks(page)
    assert len(examples) >= 3
    tools = Path(sys.executable).parent
    assert page == "api.md" or (tools / "mimo-rt").exists(), "mimo_rt is not installed in this environment"
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"}
    for language, text in examples:
        command = [sys.executable, "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
        done = subprocess.run(
            [*command, text], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def all_actions(options: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The options of a verb and of its own verbs."""
    for action in options._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from all_actions(verb)


def test_every_option_is_on_the_page() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    (verbs,) = [a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)]
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    for verb, options in verbs.choices.items():
        (section,) = [part for part in sections if re.search(rf"\b{verb}\b", part.partition("\n")[0])]
        if verb == "bench":  # on its own page
            continue
        for action in all_actions(options):
            for option in action.option_strings:
                assert option in ("-h", "--help") or option in section, f"{verb} {option}"
