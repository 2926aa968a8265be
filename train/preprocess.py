"""GOPRO_Large as published, made into the tree that training reads.

``python -m train.preprocess --root_src GOPRO_Large --root_dst GOPRO_preprocessed`` makes

    {train,test}/{blur,sharp}/N.png    numbered from 1, by scene, then frame
    origins.csv                        where each came from

of ``{train,test}/GOPR*/{blur,blur_gamma,sharp}/*.png``. Files are hard links where the file system has
them, so that it takes seconds and no space, else copies. Before anything is written all pairs are checked:
that both halves are there, are whole PNG files and of one size, and that there are as many as GOPRO_Large
has. A run that was cut short goes on when it is started again; what stands there and is right stays.
Nothing outside the destination is touched, and nothing in it is overwritten without ``--force``.

Exit codes: 0 done, 1 the data is not what it should be or cannot be written, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import csv
import errno
import filecmp
import io
import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mimo_rt import pairs as pair_files
from mimo_rt.errors import Error, ImageError, make
from mimo_rt.image_io.replace import write_file
from mimo_rt.machine import usable_cores
from mimo_rt.sizes import format_bytes
from train import png_header

SPLITS = ("train", "test")
HALVES = ("blur", "sharp")
COLUMNS = (
    "split",
    "number",
    "scene",
    "frame",
    "blur",
    "sharp",
    "width",
    "height",
    "blur_bytes",
    "sharp_bytes",
)
"""Of origins.csv. ``blur`` and ``sharp`` are paths below the source:
"train/GOPR0372_07_00/blur_gamma/000047.png"."""

SHOWN = 20
"""Bad files that are told of by name."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Placed:
    """One pair with its place in the new tree."""

    split: str
    number: int
    scene: str
    frame: str
    blur: Path
    sharp: Path

    def source(self, half: str) -> Path:
        return self.blur if half == "blur" else self.sharp

    def target(self, root: Path, half: str) -> Path:
        return root / self.split / half / f"{self.number}.png"


@dataclass(frozen=True)
class Checked:
    """A pair whose files are whole: size in pixels, sizes of its files in bytes."""

    placed: Placed
    width: int
    height: int
    blur_bytes: int
    sharp_bytes: int

    def bytes(self, half: str) -> int:
        return self.blur_bytes if half == "blur" else self.sharp_bytes


@dataclass(frozen=True)
class Outcome:
    """What a run did: pairs by split, and files that were linked, copied, or there already."""

    counts: dict[str, int]
    linked: int
    copied: int
    kept: int


class OverlapError(ValueError):
    """One of two folders, of which one is written, lies in the other."""


class StoppedError(Exception):
    """Work that ended because other work failed or was interrupted."""


def collect(root: Path, *, gamma: bool, partial: bool) -> list[Placed]:
    """The pairs of both splits in the order that they are numbered in.

    Raises ImageError: those of `mimo_rt.pairs.find`, "data.nothing" where there is neither split, and
    "data.count" where a split has another number of pairs than GOPRO_Large, unless ``partial``.
    """
    found: list[Placed] = []
    missing = [split for split in SPLITS if not (root / split).is_dir()]
    if len(missing) == len(SPLITS):
        inside = [p for p in sorted(root.iterdir()) if p.is_dir() and (p / SPLITS[0]).is_dir()]
        hint = f"; {inside[0]} has them" if inside else ""
        raise make(ImageError, "data.nothing", f"{root} has neither a folder train nor a folder test{hint}")
    for split in SPLITS:
        pairs: Sequence[pair_files.Pair] = ()
        if split not in missing:
            pairs = pair_files.find(root, split=split, gamma=gamma).pairs
        whole = pair_files.GOPRO_COUNTS[split]
        if len(pairs) != whole and not partial:
            raise make(
                ImageError,
                "data.count",
                f"{root / split} has {len(pairs)} pairs of images and GOPRO_Large has {whole}: something is "
                f"missing or there is too much; --partial takes what is there",
            )
        frames = [(pair.scene, pair.name.removeprefix(f"{pair.scene}/"), pair) for pair in pairs]
        frames.sort(key=lambda f: (pair_files.natural_key(f[0]), f[0], pair_files.natural_key(f[1]), f[1]))
        found += [
            Placed(split, number, scene, frame, pair.blur, pair.sharp)
            for number, (scene, frame, pair) in enumerate(frames, 1)
        ]
    return found


def check_pair(placed: Placed, *, checksums: bool = False) -> Checked:
    """Both files are whole PNG files of one size, 8-bit RGB; raises ImageError."""
    blur, sharp = (png_header.read(placed.source(half), checksums=checksums) for half in HALVES)
    if (blur.width, blur.height) != (sharp.width, sharp.height):
        raise make(
            ImageError,
            "data.sizes",
            f"{placed.blur} has {blur.width}x{blur.height} pixels and {placed.sharp} has "
            f"{sharp.width}x{sharp.height}",
        )
    for path, header in ((placed.blur, blur), (placed.sharp, sharp)):
        if (header.bits, header.channels) != (8, 3):
            raise make(ImageError, "data.colours", f"{path} is not in RGB of 8 bits, as GOPRO_Large is")
    sizes = (placed.source(half).stat().st_size for half in HALVES)
    return Checked(placed, blur.width, blur.height, *sizes)


def refuse_overlap(source: Path, target: Path) -> None:
    """Raises OverlapError where one of the folders lies in the other, links followed."""

    def inside(inner: Path, outer: Path) -> bool:
        return any(p.exists() and p.samefile(outer) for p in (inner, *inner.parents))

    source, target = source.resolve(), target.resolve()
    if inside(target, source):
        raise OverlapError(f"the destination {target} lies in the source {source}; choose one outside it")
    if target.exists() and inside(source, target):
        raise OverlapError(
            f"the source {source} lies in the destination {target}; choose another destination"
        )


def refuse_strangers(root: Path, placed: Sequence[Placed]) -> None:
    """Raises ImageError, "data.strangers", where the destination's folders hold files that are none of the
    set's: training would take them for pairs. Leftovers of an interrupted run are removed."""
    wanted = {p.target(root, half) for p in placed for half in HALVES}
    for split in SPLITS:
        for half in HALVES:
            folder = root / split / half
            if not folder.is_dir():
                continue
            if not folder.resolve().is_relative_to(root.resolve()):
                raise make(
                    ImageError, "data.strangers", f"{folder} leads out of {root}; nothing is written there"
                )
            for left in folder.glob(".*.png.partial"):
                left.unlink()
            strangers = sorted(p for p in folder.iterdir() if p not in wanted)
            if strangers:
                raise make(
                    ImageError,
                    "data.strangers",
                    f"{folder} holds {len(strangers)} files that are not of this set, such as "
                    f"{strangers[0].name}; choose another destination or remove them",
                )


def is_right(source: Path, target: Path, *, own: bool) -> bool:
    """Whether the target is the source's file or a copy of it. own: a link does not count, only a copy
    does."""
    if not target.exists():
        return False
    if target.samefile(source):
        return not own
    one, other = source.stat(), target.stat()
    if one.st_size != other.st_size:
        return False
    return one.st_mtime_ns == other.st_mtime_ns or filecmp.cmp(source, target, shallow=False)


def place(source: Path, target: Path, *, link: bool) -> None:
    """Puts the file at the target, whole or not at all; what stood there is replaced."""
    temporary = target.with_name(f".{target.name}.partial")
    try:
        temporary.unlink(missing_ok=True)
        if link:
            os.link(source.resolve(), temporary)
        else:
            shutil.copyfile(source, temporary)
            shutil.copystat(source, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        # os.replace does nothing where both names are one file, so a link leaves its temporary name.
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def can_link(source: Path, folder: Path) -> OSError | None:
    """None where a hard link of the source can be made in the folder, else why not."""
    probe = folder / ".probe.png.partial"
    try:
        probe.unlink(missing_ok=True)
        os.link(source.resolve(), probe)
    except OSError as error:
        return error
    finally:
        probe.unlink(missing_ok=True)
    return None


def origins(checked: Iterable[Checked], source: Path) -> str:
    """The text of origins.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for c in checked:
        p = c.placed
        paths = (p.source(half).relative_to(source).as_posix() for half in HALVES)
        writer.writerow(
            [p.split, p.number, p.scene, p.frame, *paths, c.width, c.height, c.blur_bytes, c.sharp_bytes]
        )
    return text.getvalue()


def each(work: Callable[[T], R], items: Sequence[T], jobs: int, label: str, show: bool) -> list[R]:
    """``work`` on every item, in ``jobs`` threads, with a progress bar on a terminal. The first exception,
    Ctrl-C among them, ends it all: what is under way is brought to its end, nothing else is begun."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    stop = threading.Event()

    def one(item: T) -> R:
        if stop.is_set():
            raise StoppedError
        return work(item)

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(
            *columns, console=console, transient=True, disable=not (show and console.is_terminal)
        ) as bar,
        ThreadPoolExecutor(jobs) as pool,
    ):
        task = bar.add_task(label, total=len(items))
        try:
            futures = [pool.submit(one, item) for item in items]
            for future in futures:
                future.add_done_callback(lambda _: bar.advance(task))
            waited = wait(futures, return_when=FIRST_EXCEPTION)
            failed = [f for f in waited.done if f.exception() is not None]
        except BaseException:
            stop.set()
            raise
        if failed:
            stop.set()
            errors = [f.exception() for f in failed]
            raise next(
                (e for e in errors if e is not None and not isinstance(e, StoppedError)), StoppedError()
            )
        return [future.result() for future in futures]


def check_all(placed: Sequence[Placed], jobs: int, *, checksums: bool, show: bool) -> list[Checked]:
    """All pairs checked; raises ImageError that tells of every bad one, "data.bad"."""

    def check(one: Placed) -> Checked | Error:
        try:
            return check_pair(one, checksums=checksums)
        except Error as error:
            return error

    results = each(check, placed, jobs, "checking", show)
    bad = [str(r) for r in results if isinstance(r, Error)]
    if bad:
        more = [f"and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
        listed = "\n  ".join([*bad[:SHOWN], *more])
        pairs = "1 pair is" if len(bad) == 1 else f"{len(bad)} pairs are"
        raise make(ImageError, "data.bad", f"{pairs} not fit for use; nothing was written:\n  {listed}")
    return [r for r in results if isinstance(r, Checked)]


def preprocess(
    source: Path,
    target: Path,
    *,
    gamma: bool = False,
    mode: str = "auto",
    partial: bool = False,
    checksums: bool = False,
    force: bool = False,
    jobs: int = 0,
    show: bool = False,
) -> Outcome:
    """Makes the tree at ``target``. mode: "link" for hard links, "copy" for copies, "auto" for links where
    they can be made. force: replace files that stand there and are others. jobs: threads, 0 for one a core.
    show: a progress bar.

    Raises ImageError with the codes of `collect` and "data.bad", "data.strangers", "data.exists",
    "data.space", "data.link", "data.file"; OverlapError where one folder lies in the other."""
    jobs = jobs or usable_cores()
    if not source.is_dir():
        raise make(ImageError, "pairs.folder", f"{source} is not a folder")
    refuse_overlap(source, target)
    try:
        placed = collect(source, gamma=gamma, partial=partial)
        checked = check_all(placed, jobs, checksums=checksums, show=show)
        return _write(checked, source, target, mode=mode, force=force, jobs=jobs, show=show)
    except OSError as error:
        where = error.filename2 or error.filename or target
        raise make(ImageError, "data.file", f"{where}: {error.strerror or error}") from error


def _write(
    checked: Sequence[Checked], source: Path, target: Path, *, mode: str, force: bool, jobs: int, show: bool
) -> Outcome:
    placed = [c.placed for c in checked]
    refuse_strangers(target, placed)
    files = [(c, half) for c in checked for half in HALVES]

    def state(file: tuple[Checked, str]) -> str:
        one, half = file
        new = one.placed.target(target, half)
        if is_right(one.placed.source(half), new, own=mode == "copy"):
            return "right"
        linked = new.exists() and new.samefile(one.placed.source(half))
        return "other" if new.exists() and not linked else "absent"

    states = each(state, files, jobs, "comparing", show)
    others = [file for file, known in zip(files, states, strict=True) if known == "other"]
    if others and not force:
        first = others[0][0].placed.target(target, others[0][1])
        raise make(
            ImageError,
            "data.exists",
            f"{target} holds {len(others)} files that differ from what belongs there, {first} the first; "
            "choose another destination, or replace them with --force",
        )
    todo = [file for file, known in zip(files, states, strict=True) if known != "right"]
    for split in {p.split for p in placed}:
        for half in HALVES:
            (target / split / half).mkdir(parents=True, exist_ok=True)
    link = mode != "copy"
    if todo and link:
        refused = can_link(todo[0][0].placed.blur, todo[0][0].placed.target(target, "blur").parent)
        if refused is not None and mode == "link":
            raise make(
                ImageError,
                "data.link",
                f"{target} takes no hard links from {source} ({refused.strerror}); --copy",
            )
        link = refused is None
    if todo and not link:
        needed, free = sum(c.bytes(half) for c, half in todo), shutil.disk_usage(target).free
        if needed > free:
            raise make(
                ImageError,
                "data.space",
                f"{format_bytes(needed)} are to be copied and {target} has {format_bytes(free)} free",
            )

    def put(file: tuple[Checked, str]) -> bool:
        """Whether it could be linked."""
        one, half = file
        old, new = one.placed.source(half), one.placed.target(target, half)
        try:
            place(old, new, link=link)
        except OSError as error:  # a file has as many links as its file system allows
            if not link or mode == "link" or error.errno not in (errno.EMLINK, errno.EXDEV, errno.EPERM):
                raise
            place(old, new, link=False)
            return False
        return link

    linked = Counter(each(put, todo, jobs, "linking" if link else "copying", show))
    write_file(target / pair_files.ORIGINS, origins(checked, source).encode(), overwrite=True)
    counts = Counter(p.split for p in placed)
    return Outcome(dict(counts), linked[True], linked[False], len(files) - len(todo))


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of jobs; it goes from 1 to 256")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(
        prog="python -m train.preprocess",
        description=(__doc__ or "").split("\n", 1)[0],
        allow_abbrev=False,
    )
    options.add_argument(
        "--root-src",
        "--root_src",
        type=Path,
        required=True,
        help="GOPRO_Large, the folder with train/ and test/",
    )
    options.add_argument("--root-dst", "--root_dst", type=Path, required=True, help="folder to make")
    options.add_argument(
        "--gamma",
        action="store_true",
        help="take blur_gamma, the blur averaged without undoing the camera's curve",
    )
    how = options.add_mutually_exclusive_group()
    how.add_argument("--copy", action="store_true", help="copies, also where hard links could be made")
    how.add_argument("--link", action="store_true", help="hard links or nothing")
    options.add_argument(
        "--partial",
        action="store_true",
        help="accept another number of pairs than GOPRO_Large has (2103 and 1111)",
    )
    options.add_argument(
        "--checksums", action="store_true", help="read all the data and compare the PNG files' checksums"
    )
    options.add_argument(
        "--force", action="store_true", help="replace files in the destination that are others"
    )
    options.add_argument("--jobs", type=_jobs, default=0, help="threads (default: one a core)")
    options.add_argument("-q", "--quiet", action="store_true", help="errors only")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m train.preprocess``; returns the exit code."""
    options = parser()
    a = options.parse_args(arguments)
    mode = "copy" if a.copy else "link" if a.link else "auto"
    try:
        done = preprocess(
            a.root_src,
            a.root_dst,
            gamma=a.gamma,
            mode=mode,
            partial=a.partial,
            checksums=a.checksums,
            force=a.force,
            jobs=a.jobs,
            show=not a.quiet,
        )
    except OverlapError as error:
        options.error(str(error))
    except Error as error:
        print(f"not preprocessed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    if not a.quiet:
        for split, whole in pair_files.GOPRO_COUNTS.items():
            if done.counts.get(split, 0) != whole:
                count = done.counts.get(split, 0)
                print(f"warning: {split} has {count} pairs, GOPRO_Large has {whole}", file=sys.stderr)
        counts = " and ".join(f"{n} {split}" for split, n in done.counts.items())
        files = f"{done.linked} files linked, {done.copied} copied, {done.kept} there already"
        print(f"{a.root_dst}: {counts} pairs; {files}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
