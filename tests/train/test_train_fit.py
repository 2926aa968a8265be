"""Training by the clock: it learns, resumes where it stood, ends in time, and refuses odd recipes."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")
pytest.importorskip("yaml", reason="needs PyYAML (extra `train`)")

from train.blur import Shake  # noqa: E402
from train.data import Mix, Source, load_pairs, turn  # noqa: E402
from train.fit import (  # noqa: E402
    Clock,
    Fit,
    Recipe,
    RecipeError,
    load_weights,
    parse_until,
    rate_factor,
)
from train.loss import multi_scale_loss, pyramid  # noqa: E402
from train.model import MIMOUNet, training_init  # noqa: E402
from train.optim import make_optimizer, orthogonalize  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "preset: mimo-unet-s\nwidth: 8\nnum_res: 1\ncrop: 32\nbatch: 2\nrate: 0.01\nema: 0.9\n"


def scene(seed: int, height: int, width: int) -> np.ndarray:
    """Patches of colour with hard edges: something that blurs."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, size=(height // 6 + 1, width // 6 + 1, 3), dtype=np.uint8)
    return np.repeat(np.repeat(small, 6, axis=0), 6, axis=1)[:height, :width]


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


def fit(recipe: Path, out: Path, photos: Path) -> Fit:
    torch.set_num_threads(1)
    return Fit(Recipe.read(recipe), out, Clock(1000.0, None), photos, None, validation_pairs=2)


def test_resumed_run_is_the_run(tmp_path: Path, photos: Path, recipe: Path) -> None:
    whole = fit(recipe, tmp_path / "whole", photos)
    whole.run(every=1e9, max_steps=6)
    first = fit(recipe, tmp_path / "halves", photos)
    first.run(every=1e9, max_steps=3)
    second = fit(recipe, tmp_path / "halves", photos)
    second.resume(tmp_path / "halves" / "last.pt")
    assert second.step == 3
    assert second.clock.active == pytest.approx(first.clock.active)
    second.run(every=1e9, max_steps=6)
    # rates follow the clock, which no two runs share to the bit; after 6 of 1000 minutes they are equal
    for name, value in whole.net.state_dict().items():
        torch.testing.assert_close(second.net.state_dict()[name], value, rtol=1e-4, atol=1e-6)
    assert second.step == whole.step == 6
    with (tmp_path / "halves" / "curve.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["0", "3", "3", "6"]
    assert not list((tmp_path / "halves").glob("*.partial"))


def test_it_learns(tmp_path: Path, photos: Path, recipe: Path) -> None:
    run = fit(recipe, tmp_path / "run", photos)
    losses = [run.train_step(0.0) for _ in range(60)]
    assert np.mean(losses[-15:]) < 0.97 * np.mean(losses[:15])
    assert run.skipped == 0


def test_averaged_weights_load_into_the_network(tmp_path: Path, photos: Path, recipe: Path) -> None:
    run = fit(recipe, tmp_path / "run", photos)
    run.run(every=1e9, max_steps=2)
    MIMOUNet(8, 1).load_state_dict(load_weights(tmp_path / "run" / "ema.pt"))


def test_an_exported_model_starts_a_run(tmp_path: Path, photos: Path, recipe: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx (extra `train`)")
    from train.export import to_onnx
    from train.model import lively_init

    net = lively_init(MIMOUNet(8, 1), 3).eval()
    onnx.save(to_onnx(net), str(tmp_path / "net.onnx"))
    run = fit(recipe, tmp_path / "run", photos)
    run.start_from(tmp_path / "net.onnx")
    x = torch.rand(1, 3, 16, 20)
    with torch.no_grad():
        torch.testing.assert_close(run.net.eval()(x)[-1], net(x)[-1])
        torch.testing.assert_close(run.average.net.eval()(x)[-1], net(x)[-1])


def test_foreign_checkpoints(tmp_path: Path) -> None:
    state = MIMOUNet(8, 1).state_dict()
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "published.pkl")
    loaded = load_weights(tmp_path / "published.pkl")
    assert set(loaded) == set(state)
    torch.save({"epoch": 3}, tmp_path / "odd.pkl")
    with pytest.raises(ValueError, match="state dict"):
        load_weights(tmp_path / "odd.pkl")


def test_checkpoints_execute_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    torch.save({"model": Trap()}, tmp_path / "trap.pkl")
    with pytest.raises(Exception, match=r"weights_only|Weights only|Unsupported"):
        load_weights(tmp_path / "trap.pkl")
    assert not (tmp_path / "trapped").exists()


def test_clock_counts_active_time_and_an_end_by_the_wall() -> None:
    clock = Clock(10.0, None)
    clock.tick(20.0)
    clock.tick(5000.0)  # a pause counts as one long step
    assert clock.progress(0.0) == pytest.approx(50.0 / 600.0)
    clock = Clock(None, 1000.0)
    assert clock.progress(400.0) == 0.0
    clock.tick(20.0)
    assert clock.progress(980.0) == pytest.approx(0.5)
    assert clock.progress(1000.0) == clock.progress(2000.0) == 1.0
    both = Clock(10.0, 100.0)
    both.tick(25.0)
    assert both.progress(75.0) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="minutes"):
        Clock(None, None)


def test_rate_is_constant_and_then_falls_to_zero() -> None:
    assert [rate_factor(p, 0.6) for p in (0.0, 0.6, 0.8, 1.0)] == pytest.approx([1.0, 1.0, 0.5, 0.0])


def test_until_is_the_next_such_time() -> None:
    now = datetime(2026, 3, 4, 17, 30)
    assert datetime.fromtimestamp(parse_until("19:15", now)) == datetime(2026, 3, 4, 19, 15)
    assert datetime.fromtimestamp(parse_until("06:00", now)) == datetime(2026, 3, 5, 6, 0)


def test_run_ends_with_its_budget(
    tmp_path: Path, photos: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fit(recipe, tmp_path / "run", photos)
    run.clock = Clock(1.0 / 60.0, None)

    def tick(self: Clock, _seconds: float) -> None:
        self.active += 0.125

    monkeypatch.setattr(Clock, "tick", tick)
    run.run(every=1e9)
    assert run.step == 8
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * (8 / 50) * (0.125 / 0.4))
    longer = fit(recipe, tmp_path / "longer", photos)
    longer.resume(tmp_path / "run" / "before_decay.pt")
    assert longer.step == 5  # 5/8 of the time: the first moment past 60 %


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("preset: nope\n", "nope"),
        ("speed: 3\n", "speed"),
        ("crop: 33\n", "multiple of 4"),
        ("- 1\n", "table"),
    ],
)
def test_odd_recipes_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        Recipe.read(path)


def test_shipped_recipes_are_sound_and_never_train_on_gopro() -> None:
    recipes = sorted((ROOT / "train" / "recipes").glob("*.yaml"))
    assert recipes
    for path in recipes:
        recipe = Recipe.read(path)
        recipe.blur()
        assert all("gopro" not in e["folder"] for e in recipe.pairs)


def test_changes_on_top_of_a_recipe(recipe: Path) -> None:
    assert Recipe.read(recipe, ["batch=5", "num_res=[1, 2, 3]"]).network().num_res == (1, 2, 3)
    with pytest.raises(RecipeError, match="key=value"):
        Recipe.read(recipe, ["batch"])


def test_interrupt_saves_and_ends(tmp_path: Path, photos: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "train.fit",
        "--recipe",
        str(recipe),
        "--out",
        str(out),
        "--minutes",
        "5",
    ]
    command += ["--photos", str(photos), "--threads", "1", "--validation-pairs", "1"]
    process = subprocess.Popen(
        command,
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
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert load_weights(out / "ema.pt")
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 2
    assert "--resume" in again.stderr


def test_batches_hold_identity_and_real_pairs(tmp_path: Path) -> None:
    images = [scene(1, 120, 120)]
    real = [(np.full((40, 40, 3), 10, np.uint8), np.full((40, 40, 3), 200, np.uint8))]
    shares = {"identity": 0, "real": 0, "made": 0}
    source = Source(images, [real], Mix(crop=16, batch=300, real=0.3, identity=0.2), Shake(), seed=0)
    for given, wanted in zip(*source.batch(), strict=True):
        if torch.equal(given, wanted):
            shares["identity"] += 1
        elif float(wanted.mean()) == pytest.approx(200 / 255) and float(given.mean()) == pytest.approx(
            10 / 255
        ):
            shares["real"] += 1
        else:
            shares["made"] += 1
    assert shares["identity"] / 300 == pytest.approx(0.2, abs=0.07)
    assert shares["real"] / 300 == pytest.approx(0.3, abs=0.08)
    with pytest.raises(ValueError, match="no photograph"):
        Source([images[0][:50]], [], Mix(crop=16), Shake(), seed=0)


def test_turns_are_eight_different_ones() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert len({turn(image, k).tobytes() for k in range(8)}) == 8


def test_pairs_must_match(tmp_path: Path) -> None:
    for kind, size in (("blur", 8), ("sharp", 9)):
        (tmp_path / kind).mkdir()
        Image.new("RGB", (size, 8)).save(tmp_path / kind / "a.png")
    with pytest.raises(ValueError, match="differ"):
        load_pairs(tmp_path)
    (tmp_path / "sharp" / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match="no sharp picture"):
        load_pairs(tmp_path)


def test_loss_is_zero_on_target_and_weighs_every_level() -> None:
    target = torch.rand(1, 3, 16, 16)
    levels = pyramid(target)
    assert [tuple(x.shape[2:]) for x in levels] == [(4, 4), (8, 8), (16, 16)]
    assert float(multi_scale_loss(levels, target)) == 0.0
    for i in range(3):
        off = [x + 0.1 if j == i else x for j, x in enumerate(levels)]
        side = levels[i].shape[-1]
        # a constant error is one frequency, 0.1 * side^2 high, among side * (side/2 + 1) complex ones
        spectrum = 0.1 * side**2 / (2 * side * (side // 2 + 1))
        assert float(multi_scale_loss(off, target)) == pytest.approx(0.1 + 0.1 * spectrum, rel=1e-3)


def test_orthogonalized_matrices_have_singular_values_about_one() -> None:
    for shape in ((16, 144), (64, 16), (8, 8)):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        values = torch.linalg.svdvals(orthogonalize(matrix))
        assert float(values.min()) > 0.4
        assert float(values.max()) < 1.3


def test_optimizers_lower_a_loss_and_refuse_odd_names() -> None:
    for kind, rate in (("muon", 0.01), ("adam", 0.002)):
        torch.manual_seed(0)
        net = training_init(MIMOUNet(8, 1))
        optimizer = make_optimizer(net, kind, rate, 0.002)
        x, y = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
        losses = []
        for _ in range(15):
            loss = multi_scale_loss(net(x), y)
            net.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.9 * losses[0]
    with pytest.raises(ValueError, match="sgd"):
        make_optimizer(MIMOUNet(8, 1), "sgd", 0.1, 0.1)
