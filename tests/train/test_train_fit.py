"""Training runs learn, end in time, resume bit for bit, survive a kill, and refuse what does not fit."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")
pytest.importorskip("yaml", reason="needs PyYAML (extra `train`)")

from gopro_tree import make_gopro_tree  # noqa: E402
from test_train_data import scene  # noqa: E402

from mimo_rt import ModelError  # noqa: E402
from train import checkpoint  # noqa: E402
from train.distributed import join  # noqa: E402
from train.fit import Fit, make, parser  # noqa: E402
from train.frames import Frames  # noqa: E402
from train.model import MIMOUNet  # noqa: E402
from train.recipe import Recipe, RecipeError  # noqa: E402
from train.schedule import Clock  # noqa: E402
from train.sources import gather  # noqa: E402
from train.weights import load_weights  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "preset: mimo-unet-s\nwidth: 8\nnum_res: 1\ncrop: 32\nbatch: 2\nrate: 0.01\nema: 0.9\n"
EPOCHS = ["width=8", "num_res=1", "crop=32", "batch=2", "epochs=4", "validate_every=1", "validation=0.3"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for split, count in (("train", 2), ("holdout", 1)):
        folder = tmp_path / "photos" / split
        folder.mkdir(parents=True)
        for i in range(count):
            Image.fromarray(scene(10 * count + i, 330, 340)).save(folder / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_gopro_tree(tmp_path / "tree")


def by_clock(recipe: Path, out: Path, photos: Path, minutes: float = 1000.0) -> Fit:
    torch.set_num_threads(1)
    made = Recipe.read(recipe)
    material = gather(made, photos, None, Frames())
    return Fit(made, out, material, clock=Clock(minutes, None), validation_pairs=2)


def by_epochs(out: Path, data: Path, *options: str, resume: bool = False) -> Fit:
    """A run of gopro-1gpu in miniature, as the command line makes it."""
    torch.set_num_threads(1)
    words = ["--recipe", "gopro-1gpu", "--data", str(data), "--out", str(out)]
    for change in EPOCHS:
        words += ["--set", change]
    return make(parser().parse_args([*words, *options, *(["--resume"] if resume else [])]), join("cpu"))


def same(one: Path, other: Path) -> bool:
    first, second = load_weights(one), load_weights(other)
    return set(first) == set(second) and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("changes", [[], ["preset=mimo-unet-plus", "ema=0.9", "clip=0.1"]])
def test_two_and_two_epochs_are_four_bit_for_bit(tmp_path: Path, tree: Path, changes: list[str]) -> None:
    options = [word for change in changes for word in ("--set", change)]  # dropout, averaged weights
    whole = by_epochs(tmp_path / "whole", tree, *options)
    whole.run()
    half = by_epochs(tmp_path / "halves", tree, *options)
    assert half.schedule.steps_per_epoch == 3
    half.run(max_steps=7)  # in the middle of an epoch
    again = by_epochs(tmp_path / "halves", tree, *options, resume=True)
    assert again.step == 7
    again.run()
    assert again.step == whole.step == 12
    assert same(tmp_path / "halves" / "final.pt", tmp_path / "whole" / "final.pt")
    assert same(tmp_path / "halves" / "best.pt", tmp_path / "whole" / "best.pt")
    assert again.best == whole.best
    assert not same(tmp_path / "whole" / "final.pt", tmp_path / "whole" / "best.pt") or whole.best[1] == 12
    assert not list((tmp_path / "halves").glob("*.partial"))


def test_the_record_and_the_curve(tmp_path: Path, tree: Path) -> None:
    run = by_epochs(tmp_path / "run", tree)
    run.run()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["recipe"], record["preset"]) == ("gopro-1gpu", "custom")
    assert (record["epochs"], record["steps"], record["steps_per_epoch"]) == (4, 12, 3)
    assert (record["train_pairs"], record["validation_pairs"], record["finished"]) == (6, 3, True)
    assert len(record["validation_scenes"]) == 1
    assert 0 < record["ms_per_step"] < 60_000
    assert record["peak_memory_bytes"] > 10**7
    with (tmp_path / "run" / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert float(rows[-1]["psnr"]) == pytest.approx(record["final_psnr"], abs=1e-3)
    assert max(float(row["psnr"]) for row in rows[1:]) == pytest.approx(record["best_psnr"], abs=1e-3)


def test_a_killed_run_leaves_no_rows_of_lost_steps(tmp_path: Path, tree: Path) -> None:
    run = by_epochs(tmp_path / "run", tree)
    run.run(max_steps=4)
    with (tmp_path / "run" / "curve.csv").open("a") as file:
        file.write("6,2,0.1,0.5\n9,3")  # measured after the last checkpoint, the last row cut short
    by_epochs(tmp_path / "run", tree, resume=True).run()
    with (tmp_path / "run" / "curve.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["0", "3", "4", "6", "9", "12"]


def test_tensorboard_gets_the_curve(tmp_path: Path, tree: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard (extra `train`)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = by_epochs(tmp_path / "run", tree, "--tensorboard")
    run.run()
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    shown = [event.value for event in events.Scalars("psnr")]
    with (tmp_path / "run" / "curve.csv").open() as file:
        assert shown == pytest.approx([float(row["psnr"]) for row in csv.DictReader(file)])


def test_a_run_by_the_clock_resumes_where_it_stood(tmp_path: Path, photos: Path, recipe: Path) -> None:
    whole = by_clock(recipe, tmp_path / "whole", photos)
    whole.run(max_steps=6)
    first = by_clock(recipe, tmp_path / "halves", photos)
    first.run(max_steps=3)
    second = by_clock(recipe, tmp_path / "halves", photos)
    second.resume(tmp_path / "halves" / "last.pt")
    assert second.step == 3
    assert second.clock is not None
    assert second.clock.active == pytest.approx(first.active)
    second.run(max_steps=6)
    # rates follow the clock, which no two runs share to the bit; after 6 of 1000 minutes they are equal
    for name, value in whole.trainer.net.state_dict().items():
        torch.testing.assert_close(second.trainer.net.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_it_learns(tmp_path: Path, photos: Path, recipe: Path) -> None:
    run = by_clock(recipe, tmp_path / "run", photos)
    run.run(max_steps=15)
    run.run(max_steps=60)
    with (tmp_path / "run" / "curve.csv").open() as file:
        first, early, last = list(csv.DictReader(file))
    assert float(first["mild"]) == 0.0
    assert float(last["loss"]) < 0.97 * float(early["loss"])
    assert run.trainer.skipped == 0


def test_half_precision_trains(tmp_path: Path, tree: Path) -> None:
    run = by_epochs(tmp_path / "run", tree, "--set", "precision=fp16", "--set", "rate=0.001")
    run.run()
    assert run.trainer.scaler.is_enabled()
    assert run.trainer.skipped <= 2  # the scale finds its size
    weights = load_weights(tmp_path / "run" / "final.pt")
    assert all(w.dtype == torch.float32 and torch.isfinite(w).all() for w in weights.values())
    again = by_epochs(tmp_path / "run", tree, "--set", "precision=fp16", resume=True)
    assert again.trainer.scaler.get_scale() == run.trainer.scaler.get_scale()


def test_run_ends_with_its_budget(
    tmp_path: Path, photos: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = by_clock(recipe, tmp_path / "run", photos, minutes=1.0 / 60.0)

    def tick(self: Clock, _seconds: float) -> None:
        self.active += 0.125

    monkeypatch.setattr(Clock, "tick", tick)
    run.run(every=1e9)
    assert run.step == 8
    assert run.trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * (8 / 50) * (0.125 / 0.4))
    longer = by_clock(recipe, tmp_path / "longer", photos)
    longer.resume(tmp_path / "run" / "before_decay.pt")
    assert longer.step == 5  # 5/8 of the time: the first moment past 60 %


def test_an_exported_model_starts_a_run(tmp_path: Path, tree: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx (extra `train`)")
    from train.export import to_onnx
    from train.model import lively_init

    net = lively_init(MIMOUNet(8, [1, 2, 1]), 3).eval()
    onnx.save(to_onnx(net), str(tmp_path / "net.onnx"))
    run = by_epochs(
        tmp_path / "run", tree, "--init", str(tmp_path / "net.onnx"), "--set", "preset=from-weights"
    )
    assert run.trainer.net.num_res == (1, 2, 1)
    x = torch.rand(1, 3, 16, 20)
    with torch.no_grad():
        torch.testing.assert_close(run.trainer.net.eval()(x)[-1], net(x)[-1])


def test_a_network_of_fewer_scales_starts_one_of_more(tmp_path: Path, tree: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx (extra `train`)")
    from train.export import to_onnx
    from train.model import lively_init

    def begun(start: Path, scales: int) -> Fit:
        words = ["--init", str(start), "--set", "width=8", "--set", "num_res=1", "--set", f"scales={scales}"]
        return by_epochs(tmp_path / f"{start.stem}{scales}", tree, *words)

    single, double = tmp_path / "single.onnx", tmp_path / "double.onnx"
    onnx.save(to_onnx(lively_init(MIMOUNet(8, 1), 3).eval()), str(single))
    run = begun(single, 2)
    run.run(max_steps=1)
    net = run.trainer.net.eval()
    onnx.save(to_onnx(net), str(double))
    again = begun(double, 2).trainer.net.eval()
    x = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(again(x)[2], net(x)[2])
    assert (again.blend.main[0].weight == net.blend.main[0].weight).all()
    assert (net.blend.main[0].weight != 0).any()
    with pytest.raises(RecipeError, match="2 scales"):
        begun(double, 1)
    triple = begun(double, 3).trainer.net
    assert (triple.blend.main[0].weight == net.blend.main[0].weight).all()
    assert (triple.hint.main[0].weight == 0).all()


def out_of_focus(sharp: np.ndarray) -> np.ndarray:
    """Blurred by a disc of radius 2: nothing that the bundled model was trained on."""
    side = range(-2, 3)
    disc = [(dy, dx) for dy in side for dx in side if dy * dy + dx * dx <= 4]
    padded = np.pad(sharp.astype(np.float64), ((2, 2), (2, 2), (0, 0)), mode="edge")
    height, width = sharp.shape[:2]
    seen = [padded[2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width] for dy, dx in disc]
    return np.round(np.mean(seen, axis=0)).astype(np.uint8)


def test_the_bundled_model_learns_another_kind_of_blur(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    for i in range(8):
        sharp = scene(40 + i, 96, 112)
        for half, pixels in (("blur", out_of_focus(sharp)), ("sharp", sharp)):
            (tmp_path / "pairs" / half).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "pairs" / half / f"{i}.png")
    words = ["--recipe", "finetune", "--init", "mimo-unet-s", "--data", str(tmp_path / "pairs")]
    words += ["--out", str(tmp_path / "run"), "--steps", "200"]
    for change in ("rate=0.001", "crop=32", "batch=2", "validation=0.25"):
        words += ["--set", change]
    run = make(parser().parse_args(words), join("cpu"))
    before = run.validation.measure(run.trainer.result)["psnr"]
    run.run(every=1e9)
    assert run.figures["psnr"] >= before + 0.5
    assert run.step == 200


def test_what_does_not_fit_is_refused(tmp_path: Path, tree: Path) -> None:
    with pytest.raises(RecipeError, match="--init"):
        by_epochs(tmp_path / "a", tree, "--set", "preset=from-weights")
    with pytest.raises(FileNotFoundError, match="mimo-unet-s"):
        by_epochs(tmp_path / "a", tree, "--init", "nothing")
    too_small = by_epochs(tmp_path / "a", tree, "--set", "crop=256")
    with pytest.raises(ValueError, match="smaller than the crop"):
        too_small.run(max_steps=1)
    by_epochs(tmp_path / "b", tree).run(max_steps=1)
    with pytest.raises(RecipeError, match="optimizer"):
        by_epochs(tmp_path / "b", tree, "--set", "optimizer=muon", resume=True)
    with pytest.raises(RecipeError, match="weights alone"):
        by_epochs(tmp_path / "b", tree).resume(tmp_path / "b" / "final.pt")
    with pytest.raises(RecipeError, match="width 16"):
        by_epochs(tmp_path / "e", tree, "--init", "mimo-unet-s")
    with pytest.raises(RecipeError, match="joint batch"):
        by_epochs(tmp_path / "b", tree, "--set", "batch=3", resume=True)
    material = gather(Recipe(), None, tree, Frames())
    with pytest.raises(RecipeError, match="how long"):
        Fit(Recipe.read("small-cpu"), tmp_path / "d", material)


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path, tree: Path) -> None:
    broken = tree / "train" / "GOPR0372_07_00" / "blur" / "000002.png"
    broken.write_bytes(broken.read_bytes()[:200])
    words = ["--recipe", "gopro-1gpu", "--data", str(tree), "--out", str(tmp_path / "run")]
    for change in EPOCHS:
        words += ["--set", change]
    with pytest.raises(ValueError, match=r"000002\.png"):
        make(parser().parse_args(words), join("cpu")).run()


def test_foreign_checkpoints(tmp_path: Path) -> None:
    state = MIMOUNet(8, 1).state_dict()
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "published.pkl")
    loaded = load_weights(tmp_path / "published.pkl")
    assert set(loaded) == set(state)
    net = MIMOUNet.from_weights(loaded)
    assert (net.num_res, net.shape.preset) == ((1, 1, 1), "custom")
    torch.save({"epoch": 3}, tmp_path / "odd.pkl")
    with pytest.raises(ModelError, match="no weights of a MIMO-UNet"):
        load_weights(tmp_path / "odd.pkl")


def test_checkpoints_execute_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    torch.save({"model": Trap()}, tmp_path / "trap.pkl")
    with pytest.raises(ModelError, match="mkdir"):
        load_weights(tmp_path / "trap.pkl")
    with pytest.raises(Exception, match=r"weights_only|Weights only|Unsupported"):
        checkpoint.load(tmp_path / "trap.pkl")
    assert not (tmp_path / "trapped").exists()


def command(recipe: Path, out: Path, photos: Path) -> list[str]:
    words = [sys.executable, "-m", "train.fit", "--recipe", str(recipe), "--out", str(out), "--minutes", "5"]
    return [*words, "--photos", str(photos), "--threads", "1", "--validation-pairs", "1", "--device", "cpu"]


def test_interrupt_saves_and_ends(tmp_path: Path, photos: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(recipe, out, photos),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        # A shell's background job, which this test may be part of, would ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert "step 0" in process.stdout.readline()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert load_weights(out / "final.pt")
    again = subprocess.run(command(recipe, out, photos), cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 2
    assert "--resume" in again.stderr


SAVER = """
import sys, torch
from pathlib import Path
from train import checkpoint
big = torch.zeros(2_000_000)
for step in range(1, 100_000):
    checkpoint.save({"step": step, "big": big.fill_(step)}, Path(sys.argv[1]))
    if step == 1:
        print("saved", flush=True)
"""


def test_a_kill_in_the_middle_of_a_checkpoint_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    process = subprocess.Popen([sys.executable, "-c", SAVER, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"saved\n"
    partial = path.with_name("last.pt.partial")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:  # kill it while it writes
        if partial.exists() and partial.stat().st_size > 1_000_000:
            break
    process.kill()
    process.wait()
    state = checkpoint.load(path)
    assert torch.equal(state["big"], torch.full((2_000_000,), float(state["step"])))


def test_validation_chooses_the_best_and_never_by_a_test_split() -> None:
    from train.validation import score

    assert score({"gopro": 9.0, "sharp": 50.0}) is None
    assert score({"psnr": 30.0, "gopro": 9.0}) == 30.0
    assert score({"mild": 1.0, "heavy": 0.0, "gopro": 9.0}) == 0.5
    assert np.isfinite(score({"reds": 0.25}) or 0.0)
