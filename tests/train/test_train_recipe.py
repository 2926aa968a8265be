"""Recipes: those that ship are the published trainings, and odd ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `train`)")
pytest.importorskip("yaml", reason="needs PyYAML (extra `train`)")

from train.model import MIMOUNet  # noqa: E402
from train.recipe import Recipe, RecipeError, names  # noqa: E402
from train.schedule import Schedule  # noqa: E402

pytestmark = pytest.mark.torch


def test_those_that_ship() -> None:
    wanted = {"gopro-1gpu", "gopro-8gpu", "gopro-fp16", "gopro-plus", "finetune", "small-cpu"}
    assert wanted <= set(names())
    for name in names():
        recipe = Recipe.read(name)
        recipe.blur()
        assert recipe.name == name
        assert all("gopro" not in entry["folder"] for entry in recipe.pairs)


def test_the_papers_training() -> None:
    recipe = Recipe.read("gopro-1gpu")
    assert (recipe.preset, recipe.epochs, recipe.batch, recipe.crop) == ("mimo-unet", 3000, 4, 256)
    assert (recipe.optimizer, recipe.rate, recipe.loss, recipe.start) == ("adam", 1e-4, "paper", "torch")
    assert (recipe.clip, recipe.ema, recipe.flips, recipe.precision) == (0.0, 0.0, "horizontal", "fp32")
    schedule = Schedule(recipe, steps_per_epoch=526, total=3000 * 526)
    for epoch, factor in ((0, 1.0), (499, 1.0), (500, 0.5), (1000, 0.25), (2999, 2.0**-5)):
        assert schedule.factor(epoch * 526, epoch / 3000) == factor
        assert schedule.factor(epoch * 526 + 525, epoch / 3000) == factor


def test_the_others_differ_from_it_in_what_they_are_named_for() -> None:
    base = vars(Recipe.read("gopro-1gpu"))
    for name, wanted in {
        "gopro-8gpu": {"rate": 5e-4},
        "gopro-fp16": {"precision": "fp16"},
        "gopro-plus": {"preset": "mimo-unet-plus"},
    }.items():
        other = vars(Recipe.read(name))
        assert {k: v for k, v in other.items() if v != base[k]} == wanted | {"name": name}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("preset: nope\n", "nope"),
        ("speed: 3\n", "speed"),
        ("name: x\n", "name"),
        ("crop: 33\n", "multiple of 4"),
        ("crop: 36\nscales: 2\n", "multiple of 8"),
        ("crop: 36\npreset: mimo-unet-s2\n", "multiple of 8"),
        ("crop: 40\nscales: 3\n", "multiple of 16"),
        ("scales: 4\n", "1, 2 or 3"),
        ("crop: [1]\n", "wrong kind"),
        ("- 1\n", "table"),
        ("a: [1\n", "not YAML"),
        ("epochs: 1\nsteps: 1\n", "not both"),
        ("schedule: halve\nsteps: 3\n", "needs epochs"),
        ("epochs: 2\nidentity: 0.1\n", "identity"),
        ("epochs: 0\nidentity: 0\n", "at least 1"),
        ("precision: fp8\n", "fp8"),
        ("stages: [{until: 0.5}, {until: 0.2}]\n", "rising"),
    ],
)
def test_odd_recipes_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        Recipe.read(path)


def test_a_name_that_is_none_lists_those_that_are() -> None:
    with pytest.raises(RecipeError, match="gopro-1gpu"):
        Recipe.read("gopro-2gpu")


def test_changes_on_top_of_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("preset: mimo-unet-s\nwidth: 8\n")
    assert Recipe.read(path, ["batch=5", "num_res=[1, 2, 3]"]).network().num_res == (1, 2, 3)
    assert Recipe.read(path, ["rate=1e-5"]).rate == 1e-5
    with pytest.raises(RecipeError, match="key=value"):
        Recipe.read(path, ["batch"])


def test_a_network_starts_as_the_identity_or_as_pytorch_has_it() -> None:
    x = torch.rand(1, 3, 16, 16)
    small = ["width=8", "num_res=1"]
    with torch.no_grad():
        assert torch.equal(Recipe.read("small-cpu", small).network()(x)[2], x)
    torch.manual_seed(5)
    paper = Recipe.read("gopro-1gpu", small).network()
    torch.manual_seed(5)
    for own, plain in zip(paper.parameters(), MIMOUNet(8, 1).parameters(), strict=True):
        assert torch.equal(own, plain)
