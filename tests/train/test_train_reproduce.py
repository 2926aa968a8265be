"""Reproduction from the data set to the table: the steps, going on where it stopped, and a whole one in
miniature."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from gopro_tree import make_gopro_tree

pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")
pytest.importorskip("onnxruntime", reason="needs onnxruntime (extra `train`)")
pytest.importorskip("yaml", reason="needs PyYAML (extra `train`)")

from train import reproduce
from train.reproduce import InterruptedStepError, Wanted, main, run_command, steps

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
preset: mimo-unet
width: 8
num_res: 1
crop: 32
batch: 2
real: 1.0
identity: 0.0
optimizer: adam
rate: 0.0001
schedule: halve
halve_every: 1
epochs: 2
warmup: 0
ema: 0.0
clip: 0.0
validation: 0.3
validate_every: 1
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_gopro_tree(tmp_path / "GOPRO_Large")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


MODULES = {
    "train.preprocess": "preprocess",
    "train.fit": "fit",
    "train.export": "export",
    "mimo_rt": "eval",
    "train.report": "report",
}
"""The step that a command is of, by the module that it runs."""


class Fakes:
    """Stands in for the steps' commands: leaves what they leave, and remembers what was run."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.ran: list[str] = []
        self.commands: dict[str, list[str]] = {}
        self.before: dict[str, Callable[[], int]] = {}
        """By step: what happens instead of its work, and its exit code; the work is done where that is 0."""

    def __call__(self, command: Sequence[str], _held: int) -> int:
        name = next(n for m, n in MODULES.items() if m in command)
        self.ran.append(name)
        self.commands[name] = list(command)
        code = self.before.get(name, lambda: 0)()
        if code == 0:
            getattr(self, name)()
        return code

    def preprocess(self) -> None:
        (self.out / "data").mkdir(exist_ok=True)
        (self.out / "data/origins.csv").touch()

    def fit(self, *, finished: bool = True) -> None:
        (self.out / "run").mkdir(exist_ok=True)
        for name in ("last.pt", "final.pt"):
            (self.out / "run" / name).touch()
        (self.out / "run/run.json").write_text(json.dumps({"finished": finished}))

    def export(self) -> None:
        (self.out / "model.onnx").touch()

    def eval(self) -> None:
        (self.out / "eval").mkdir(exist_ok=True)
        (self.out / "eval/summary.json").write_text('{"finished": true}')

    def report(self) -> None:
        (self.out / "report.md").touch()


@pytest.fixture
def fakes(out: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    fakes = Fakes(out)
    monkeypatch.setattr(reproduce, "run_command", fakes)
    return fakes


ALL = ["preprocess", "fit", "export", "eval", "report"]


def run(recipe: Path, source: Path, out: Path, *options: str) -> int:
    return main([str(recipe), "--data", str(source), "--out", str(out), *options])


def test_a_run_is_five_steps_and_a_second_one_none(
    recipe: Path, source: Path, out: Path, fakes: Fakes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(recipe, source, out) == 0
    said = capsys.readouterr()
    assert fakes.ran == ALL
    assert said.out == f"{out / 'report.md'}\n"
    for name in ALL:  # each is printed as it ran
        assert shlex.join(fakes.commands[name]) in said.err
    assert (out / "commands.sh").read_text().splitlines() == [shlex.join(fakes.commands[n]) for n in ALL]
    assert run(recipe, source, out) == 0
    assert fakes.ran == ALL
    assert capsys.readouterr().err.count("done already") == 5


def test_options_reach_the_steps(recipe: Path, source: Path, out: Path, fakes: Fakes) -> None:
    more = ["--gamma", "--partial", "--epochs", "3", "--set", "rate=0.001", "--", "--workers", "2"]
    assert run(recipe, source, out, *more) == 0
    assert fakes.commands["preprocess"][-2:] == ["--gamma", "--partial"]
    fit = shlex.join(fakes.commands["fit"])
    assert fit.endswith("--epochs 3 --set rate=0.001 --workers 2")
    assert fakes.commands["export"][-4:-2] == ["--weights", str(out / "run" / "final.pt")]


def test_eight_gpus_are_eight_processes(source: Path, out: Path) -> None:
    def fit(*given: object, **more: object) -> str:
        return next(s for s in steps(Wanted(*given, **more)) if s.name == "fit").line  # type: ignore[arg-type]

    assert "torch.distributed.run --standalone --nproc_per_node=8 -m train.fit" in fit(
        "gopro-8gpu", source, out
    )
    assert "--nproc_per_node=2" in fit("gopro-8gpu", source, out, processes=2)
    assert "torch.distributed" not in fit("gopro-1gpu", source, out)
    assert "torch.distributed" not in fit("gopro-plus", source, out)


def test_a_preprocessed_tree_is_taken_as_it_is(
    recipe: Path, source: Path, out: Path, fakes: Fakes, capsys: pytest.CaptureFixture[str]
) -> None:
    for half in ("blur", "sharp"):
        (source / "train" / half).mkdir()
    assert run(recipe, source, out) == 0
    assert fakes.ran == ALL[1:]
    assert str(source) in fakes.commands["fit"]
    with pytest.raises(SystemExit):
        run(recipe, source, out, "--gamma")
    assert "decided then" in capsys.readouterr().err


@pytest.mark.parametrize("failing", ALL)
def test_it_goes_on_with_the_step_that_failed(
    recipe: Path, source: Path, out: Path, fakes: Fakes, failing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes.before[failing] = lambda: 3
    assert run(recipe, source, out) == 1
    said = capsys.readouterr().err
    assert f"{failing} failed with exit code 3" in said
    assert "the step alone is" in said
    done = ALL[: ALL.index(failing)]
    assert fakes.ran == [*done, failing]
    fakes.ran.clear()
    fakes.before.clear()
    assert run(recipe, source, out) == 0
    assert fakes.ran == ALL[len(done) :]


def test_a_training_that_was_cut_short_resumes(
    recipe: Path, source: Path, out: Path, fakes: Fakes, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = fakes.fit

    def half() -> None:
        Fakes.fit(fakes, finished=False)

    fakes.fit = half  # type: ignore[method-assign]
    assert run(recipe, source, out) == 1
    assert "before its work was done" in capsys.readouterr().err
    assert "--resume" not in fakes.commands["fit"]
    assert "export" not in fakes.ran
    fakes.fit = whole  # type: ignore[method-assign]
    assert run(recipe, source, out) == 0
    assert "--resume" in fakes.commands["fit"]
    assert fakes.ran == ["preprocess", "fit", "fit", "export", "eval", "report"]
    assert "--resume" not in (out / "commands.sh").read_text().splitlines()[1]


def test_what_was_deleted_is_made_again_with_all_that_follows(
    recipe: Path, source: Path, out: Path, fakes: Fakes
) -> None:
    run(recipe, source, out)
    (out / "model.onnx").unlink()
    fakes.ran.clear()
    assert run(recipe, source, out) == 0
    assert fakes.ran == ["export", "eval", "report"]


def test_an_interrupt_is_told_of(
    recipe: Path, source: Path, out: Path, fakes: Fakes, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> int:
        raise InterruptedStepError(signal.SIGINT)

    fakes.before["eval"] = interrupted
    assert run(recipe, source, out) == 130
    assert "goes on from here" in capsys.readouterr().err
    fakes.before.clear()
    assert run(recipe, source, out) == 0
    assert fakes.ran == [*ALL[:4], "eval", "report"]


def test_another_reproduction_does_not_go_on_with_it(
    recipe: Path, source: Path, out: Path, fakes: Fakes, capsys: pytest.CaptureFixture[str]
) -> None:
    run(recipe, source, out)
    for options in (["--epochs", "5"], ["--gamma"], ["--processes", "2"], ["--set", "batch=1"]):
        assert run(recipe, source, out, *options) == 1
        assert "was begun with another" in capsys.readouterr().err
    recipe.write_text(RECIPE.replace("0.0001", "0.0002"))
    assert run(recipe, source, out) == 1
    assert "another recipe" in capsys.readouterr().err
    assert fakes.ran == ALL


def test_folders_of_others_are_left_alone(
    recipe: Path, source: Path, out: Path, fakes: Fakes, capsys: pytest.CaptureFixture[str]
) -> None:
    out.mkdir()
    (out / "holiday.png").write_bytes(b"mine")
    assert run(recipe, source, out) == 1
    assert "not empty" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == ["holiday.png"]
    for inside in (source / "out", source, source.parent):
        with pytest.raises(SystemExit) as stopped:
            run(recipe, source, inside)
        assert stopped.value.code == 2
    assert not fakes.ran
    assert not (source / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-recipe", "--data", "SOURCE", "--out", "OUT"],
        ["RECIPE", "--data", "nowhere", "--out", "OUT"],
        ["RECIPE", "--data", "SOURCE", "--out", "OUT", "--epochs", "0"],
        ["RECIPE", "--data", "SOURCE", "--out", "OUT", "--set", "speed=3"],
        ["finetune", "--data", "SOURCE", "--out", "OUT"],
    ],
)
def test_usage(arguments: list[str], recipe: Path, source: Path, out: Path) -> None:
    names = {"RECIPE": str(recipe), "SOURCE": str(source), "OUT": str(out)}
    with pytest.raises(SystemExit) as stopped:
        main([names.get(a, a) for a in arguments])
    assert stopped.value.code == 2
    assert not out.exists()


@pytest.mark.parametrize("damage", ["[]", "{", '{"identity": 3}'])
def test_a_damaged_record_is_one_sentence(
    recipe: Path, source: Path, out: Path, fakes: Fakes, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(recipe, source, out)
    (out / "reproduce.json").write_text(damage)
    assert run(recipe, source, out) == 1
    assert "not reproduced" in capsys.readouterr().err


def test_two_at_once_are_refused(
    recipe: Path, source: Path, out: Path, fakes: Fakes, capsys: pytest.CaptureFixture[str]
) -> None:
    out.mkdir()
    held = reproduce.lock(out)
    assert run(recipe, source, out) == 1
    assert "at work already" in capsys.readouterr().err
    os.close(held)
    assert run(recipe, source, out) == 0


def test_a_signal_reaches_the_command_once_and_is_waited_for(tmp_path: Path) -> None:
    child = (
        "import signal, sys, time\n"
        "from pathlib import Path\n"
        "heard = []\n"
        "signal.signal(signal.SIGINT, lambda *_: heard.append(1))\n"
        f"Path({str(tmp_path / 'ready')!r}).touch()\n"
        "while not heard: time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
        f"Path({str(tmp_path / 'saved')!r}).write_text(str(len(heard)))\n"
    )
    parent = (
        "import os, sys\n"
        "from train.reproduce import InterruptedStepError, lock, run_command\n"
        f"held = lock({str(tmp_path)!r})\n"
        "try: run_command([sys.executable, '-c', sys.argv[1]], held)\n"
        "except InterruptedStepError as stop: sys.exit(128 + stop.number)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", parent, child], cwd=ROOT, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C does
    assert process.wait(timeout=30) == 130
    assert (tmp_path / "saved").read_text() == "1"


def test_exit_codes_come_back(tmp_path: Path) -> None:
    held = reproduce.lock(tmp_path)
    assert run_command([sys.executable, "-c", "raise SystemExit(7)"], held) == 7
    os.close(held)


def test_dry_run_plans_from_a_measured_step(
    recipe: Path, source: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(recipe, source, out, "--dry-run", "--partial") == 0
    plan = capsys.readouterr().out
    assert not out.exists()
    for place, name in enumerate(ALL, 1):
        assert f"{place}. {name}\n   $ " in plan
    # 9 pairs, 3 of them held out: 3 steps of 2 pairs, twice
    assert "6 pairs, about 3 more held out: 6 steps of" in plan
    assert "memory:" in plan
    assert "hard links" in plan
    assert "6 images of 64x48" in plan


def test_dry_run_without_data_assumes_the_whole_set(
    recipe: Path, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(recipe, tmp_path / "later", out, "--dry-run", "--epochs", "3000", "--processes", "8") == 0
    plan = capsys.readouterr().out
    assert "3214 pairs are assumed" in plan
    assert "8 processes" in plan
    trained = 2103 - round(0.3 * 2103)
    assert f"{3000 * -(-trained // 16)} steps" in plan
    assert "1111 images of 1280x720" in plan


def test_from_the_data_set_to_the_table(
    recipe: Path, source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole of it, with nothing replaced: a tiny network, two epochs."""
    pytest.importorskip("mimo_rt.evaluation")
    command = [sys.executable, "-m", "train.reproduce", str(recipe), "--data", str(source), "--out", str(out)]
    options = ["--partial", "--", "--threads", "1", "--device", "cpu"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(out / "report.md")
    report = (out / "report.md").read_text()
    assert "6 pairs trained on, 3 held out" in report
    assert "not the GoPro benchmark: 6 pairs" in report
    assert "| PSNR metric | " in report
    assert report.count("not measured") == 0
    record = json.loads((out / "run/run.json").read_text())
    assert (record["epochs"], record["steps"], record["train_pairs"]) == (2, 6, 6)
    import onnx

    entries = {p.key: p.value for p in onnx.load(out / "model.onnx").metadata_props}
    assert (entries["mimo_rt.preset"], entries["mimo_rt.width"]) == ("custom", "8")
    monkeypatch.setattr(reproduce, "run_command", None)
    assert main([*command[3:], *options]) == 0  # nothing is left to run
