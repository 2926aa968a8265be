"""`mimo-rt deblur`: photos in, sharper photos out."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimo_rt.cli import MODEL, OK, SOME_FAILED, UsageError, exit_code, options, sentence
from mimo_rt.cli.console import Console, ProgressBar, silence
from mimo_rt.sizes import format_bytes
from mimo_rt.standing import is_file, is_folder, is_special

if TYPE_CHECKING:
    from mimo_rt.deblurrer import Deblurrer
    from mimo_rt.image_io import Picture

_FORMATS = {
    "png": "PNG",
    "jpeg": "JPEG",
    "jpg": "JPEG",
    "webp": "WEBP",
    "tiff": "TIFF",
    "tif": "TIFF",
    "bmp": "BMP",
}
_EPILOG = """\
examples:
  mimo-rt deblur photo.jpg                 writes photo.deblurred.jpg beside it
  mimo-rt deblur photo.jpg sharp.png       the output's name chooses the format
  mimo-rt deblur a.jpg b.jpg -o sharp/     several photos into a folder, under their names
  mimo-rt deblur photos/ -o sharp/         a folder with all folders in it
  cat photo.jpg | mimo-rt deblur - > sharp.jpg
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "deblur",
        help="remove motion blur from photos",
        description="Remove motion blur from photos (PNG, JPEG, WebP, TIFF, BMP; HEIC and AVIF become JPEG). "
        "EXIF, colour profile, resolution, alpha and 16 bits are kept; --force overwrites files.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="IN", help="a photo, a folder, or - for standard input; IN OUT"
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="file, folder, or - for standard output")
    parser.add_argument(
        "-m",
        "--model",
        default="mimo-unet-s",
        help="a model's name, ONNX file, checkpoint or plan (%(default)s)",
    )
    parser.add_argument(
        "-t", "--threads", type=options.count, default=0, help="threads; 0: all cores (default)"
    )
    parser.add_argument("--memory", type=options.memory, help="most that a run may allocate, such as 512M")
    parser.add_argument(
        "--ensemble",
        type=int,
        choices=(0, 4, 8),
        default=0,
        help="mean over 4 rotations, or 8 with mirror images: a little better, 4 or 8 times as slow",
    )
    parser.add_argument(
        "--strength",
        type=options.strength,
        default=1.0,
        help="0 (nothing) to 1.5; 1 is the model's own (default)",
    )
    parser.add_argument(
        "--scale",
        type=options.scale,
        default="auto",
        help="1, 0.5 or 0.25: run the network on the shrunk photo, for long blur; auto chooses (default)",
    )
    parser.add_argument(
        "--tile",
        type=options.tile,
        help="run in tiles of so many pixels (or HEIGHTxWIDTH, or auto: as --memory allows), for very wide "
        "photos in little memory",
    )
    parser.add_argument(
        "--halo",
        type=options.count,
        help="pixels beside a tile that are computed twice; less than exact (default) shows in the seams",
    )
    parser.add_argument("--backend", default="auto", help="auto (default), cpu, tensorrt or tensorrt-rtx")
    parser.add_argument(
        "--always",
        action="store_true",
        help="write the result even where it differs so little that the photo would be left as it was",
    )
    parser.add_argument(
        "--quality", type=options.quality, help="of JPEG and WebP, 1 to 100 (input's, at least 92)"
    )
    parser.add_argument(
        "--format", choices=sorted(_FORMATS), help="output format; else by name, else the input's"
    )
    parser.add_argument(
        "--max-pixels", type=options.pixels, default=500_000_000, help="refuse larger photos (default 500M)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.add_argument("--json", action="store_true", help="a report on standard output")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    parser.set_defaults(func=run)


@dataclass
class Job:
    """One photo to do. None stands for standard input and output. hint: what to say where the target exists.
    error: why it cannot be done at all."""

    source: Path | None
    target: Path | None
    hint: str = ""
    error: OSError | None = None

    @property
    def name(self) -> str:
        return str(self.source) if self.source is not None else "standard input"

    @property
    def target_name(self) -> str:
        return str(self.target) if self.target is not None else "standard output"


def run(args: argparse.Namespace) -> int:
    console = Console(args.quiet)
    if args.halo is not None and args.tile is None:
        raise UsageError("--halo is for tiles; give --tile as well")
    jobs = plan_jobs(args.inputs, args.output, args.format)
    if args.json and any(job.target is None for job in jobs):
        raise UsageError("--json and a picture on standard output cannot both be had; give an output file")
    if any(job.target is None for job in jobs) and sys.stdout.isatty():
        raise UsageError("a picture is not written to a terminal; redirect the output or give -o FILE")
    if not jobs:
        text = f"no photos found in {', '.join(args.inputs)}"
        console.fail(text)
        if args.json:
            print(json.dumps({"model": args.model, "files": [], "error": text}, indent=2))
        return SOME_FAILED

    with _pillow_unbounded():
        return _do_all(jobs, args, console)


@contextlib.contextmanager
def _pillow_unbounded() -> Iterator[None]:
    """--max-pixels, asked before anything is decoded, in place of Pillow's own limit; and no warnings of what
    it thinks of tags: what matters to the photo is said as a note."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _do_all(jobs: list[Job], args: argparse.Namespace, console: Console) -> int:
    from mimo_rt.errors import Error
    from mimo_rt.image_io import NO_SPACE

    work = _Work(args, console)
    reports: list[dict[str, Any]] = []
    codes: list[int] = []
    for job in jobs:
        try:
            reports.append(work.do(job))
        except (Error, MemoryError) as error:
            code, text = exit_code(error), sentence(error)
            short = getattr(error, "code", None)
            named = code == MODEL or job.source is None or job.source.name in text
            console.fail(text if named else f"{job.name}: {text}")
            codes.append(code)
            reports.append({"input": job.name, "output": None, "error": text, "code": short})
            if code == MODEL or short == NO_SPACE:
                break  # which no other photo will find otherwise
    if args.json:
        print(json.dumps({"model": args.model, **work.facts(), "files": reports}, indent=2))
    if len(jobs) > 1:
        console.say(f"{len(reports) - len(codes)} of {len(jobs)} photos done")
    if not codes:
        return OK
    if codes[-1] == MODEL:
        return MODEL
    return codes[0] if len(set(codes)) == 1 and len(codes) == len(jobs) else SOME_FAILED


def plan_jobs(inputs: list[str], output: str | None, format: str | None) -> list[Job]:
    """Which file becomes which. UsageError where that is not clear."""
    hint = ""
    if output is None and len(inputs) == 2:
        inputs, output = inputs[:1], inputs[1]
        hint = "; to deblur both, give -o FOLDER"
    sources = [None if text == "-" else Path(text) for text in inputs]
    suffix = f".{format}" if format else None
    folders = [source for source in sources if source is not None and is_folder(source)]
    if len(sources) == 1 and not folders:
        return [Job(sources[0], _single_target(sources[0], output, suffix), hint)]
    if output is None:
        what = "a folder" if len(sources) == 1 else "several photos"
        raise UsageError(f"{what} as input needs -o FOLDER for the output")
    root = Path(output)
    if output == "-" or None in sources:
        raise UsageError("standard input and output take one photo only")
    if is_file(root) or is_special(root):
        raise UsageError(f"several photos need a folder for the output, and {output} is a file")
    jobs = []
    for source in sources:
        assert source is not None
        if source in folders:
            found, unread = _photos_in(source, root)
            jobs += [Job(photo, _renamed(root / photo.relative_to(source), suffix)) for photo in found]
            jobs += [Job(Path(str(error.filename)), root, error=error) for error in unread]
        else:
            jobs.append(Job(source, _renamed(root / source.name, suffix)))
    return _told_apart(jobs)


def _told_apart(jobs: list[Job]) -> list[Job]:
    """Of photos that would become one file, as IMG_1.HEIC and IMG_1.jpg would, those that change their ending
    keep the old one before it: IMG_1.HEIC.jpg. Names that differ in case alone are one on many disks."""

    def claims() -> dict[str, list[Job]]:
        found: dict[str, list[Job]] = {}
        for job in jobs:
            if job.error is None:
                found.setdefault(job.target_name.casefold(), []).append(job)
        return found

    for sharing in claims().values():
        for job in sharing if len(sharing) > 1 else []:
            assert job.source is not None
            assert job.target is not None
            if job.target.suffix != job.source.suffix:
                job.target = job.target.with_name(job.source.name + job.target.suffix)
    for first, *others in claims().values():
        if others:
            raise UsageError(
                f"{first.name} and {others[0].name} would both become {first.target_name}; give them to runs "
                "of their own"
            )
    return jobs


def _single_target(source: Path | None, output: str | None, suffix: str | None) -> Path | None:
    if output == "-" or (output is None and source is None):
        return None
    if output is None:
        assert source is not None
        return _renamed(source.with_name(f"{source.stem}.deblurred{source.suffix}"), suffix)
    target = Path(output)
    if is_folder(target) or output.endswith(("/", os.sep)):
        if source is None:
            raise UsageError(f"standard input has no name to use in the folder {output}; give a file")
        return _renamed(target / source.name, suffix)
    return target


def _renamed(path: Path, suffix: str | None) -> Path:
    from mimo_rt.image_io.formats import SUCCESSOR, format_of, is_only_read

    if suffix is None and is_only_read(path):
        return path.with_suffix(SUCCESSOR)
    if suffix is None or format_of(path) == _FORMATS[suffix[1:]]:
        return path
    return path.with_suffix(suffix)


def _photos_in(folder: Path, output: Path) -> tuple[list[Path], list[OSError]]:
    """Every photo below a folder, by name, but not what lies in the output folder or is hidden, and which
    folders could not be read; links to folders are not followed."""
    from mimo_rt.image_io.formats import is_image_name

    found: list[Path] = []
    unread: list[OSError] = []
    inside = os.path.realpath(output)
    for path, folders, names in os.walk(folder, onerror=unread.append):
        shown = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in shown if os.path.realpath(Path(path, name)) != inside]
        found += [Path(path, name) for name in sorted(names) if is_image_name(name) and name[0] != "."]
    return found, unread


class _Work:
    """Does jobs one after another with one Deblurrer, made when the first sound photo is there."""

    def __init__(self, args: argparse.Namespace, console: Console) -> None:
        self._args = args
        self._console = console
        self._deblurrer: Deblurrer | None = None

    def facts(self) -> dict[str, Any]:
        """For the report: what the photos were done with."""
        if self._deblurrer is None:
            return {}
        return {"target": self._deblurrer.engine.info.target, "threads": self._deblurrer.threads}

    def _deblurrer_for_all(self) -> Deblurrer:
        if self._deblurrer is None:
            from mimo_rt.deblurrer import Deblurrer
            from mimo_rt.engine import open_engine

            start = time.perf_counter()
            args = self._args
            engine = open_engine(args.model, backend=args.backend)
            if engine.backend_reason:
                self._console.say(f"note: {engine.backend_reason}")
            self._deblurrer = Deblurrer(
                engine,
                threads=args.threads,
                memory=args.memory,
                ensemble=args.ensemble,
                tile=args.tile,
                halo=args.halo,
            )
            origin = self._deblurrer.engine.info.origin
            if origin.startswith("built"):
                self._console.say(f"plan {origin} ({time.perf_counter() - start:.1f} s)")
        return self._deblurrer

    def _say_tiles(self, job: Job, picture: Picture, scale: float) -> None:
        if self._args.tile is None or self._deblurrer is None or self._args.quiet:
            return
        from mimo_rt.seams import seam_error

        tiles = self._deblurrer.tiles_for(round(picture.height * scale), round(picture.width * scale))
        if tiles.count == 1:
            self._console.say(f"{job.name}: one tile, the whole picture")
            return
        text = f"{tiles.count} tiles of {tiles.width}x{tiles.height}, halo {tiles.halo}"
        exact = self._deblurrer.engine.info.halo
        if tiles.halo < exact:
            error = 255 * seam_error(self._deblurrer.engine, picture.pixels, tiles.halo)
            text += f" ({exact} is exact; seams of up to {error:.2g} levels where there is most detail)"
        self._console.say(f"{job.name}: {text}")

    def do(self, job: Job) -> dict[str, Any]:
        """One photo from file to file; returns its part of the report."""
        from mimo_rt import image_io
        from mimo_rt.cli.outcome import compare
        from mimo_rt.errors import ImageError, make

        args, console = self._args, self._console
        begin = time.perf_counter()
        if job.error is not None:
            text = f"cannot read the folder {job.name}: {job.error.strerror or job.error}"
            raise make(ImageError, "image.read", text)
        if job.target is not None:
            if not args.force and is_file(job.target):
                text = f"{job.target} exists already; --force overwrites it{job.hint}"
                raise make(ImageError, "image.exists", text)
            image_io.check_place(job.target)
        # The file is read once, so that a copy of it is of the very photo that was looked at.
        original = image_io.read_bytes(job.source, job.name) if job.source else sys.stdin.buffer.read()
        with silence():
            picture = image_io.read(original, name=job.name, max_pixels=args.max_pixels)
        format = _format(job, picture, args.format)
        notes = picture.notes + image_io.check_writable(picture, format)
        reading = time.perf_counter() - begin
        deblurrer = self._deblurrer_for_all()
        begin = time.perf_counter()
        scale, choice = args.scale, None
        if scale == "auto":
            choice = deblurrer.choose_scale(picture.pixels)
            scale = choice.scale
        bound = deblurrer.memory_for(*(math.ceil(side * scale) for side in (picture.height, picture.width)))
        pictures = _bytes_beside_the_network(picture, len(original), scale, format)
        console.say(
            f"{job.name}: {picture.width}x{picture.height} {picture.kind}; "
            f"up to {format_bytes(bound)} for the network and about {format_bytes(pictures)} for the picture"
        )
        if choice is not None:
            console.say(f"{job.name}: {choice.sentence}")
        self._say_tiles(job, picture, scale)
        with ProgressBar(job.name, quiet=args.quiet) as bar:
            sharp = deblurrer.run(picture.pixels, strength=args.strength, scale=scale, progress=bar)
        running = time.perf_counter() - begin
        begin = time.perf_counter()
        outcome = compare(picture.pixels, sharp)
        left = outcome.slight and not args.always
        copied = left and format == picture.format and args.quality is None
        if copied:
            data = original
        else:
            data = image_io.encode(picture, picture.pixels if left else sharp, format, quality=args.quality)
        if copied:
            notes = []  # of what a new file would have lost
        for note in notes:
            console.say(f"{job.name}: note: {note}")
        if job.target is None:
            _to_stdout(data)
        else:
            _make_folder(job.target.parent)
            image_io.write_file(job.target, data, overwrite=args.force)
        writing = time.perf_counter() - begin
        console.say(
            f"{job.name} -> {job.target_name}: {reading + running + writing:.2f} s "
            f"(read {reading:.2f}, deblur {running:.2f}, write {writing:.2f})"
        )
        verdict = outcome.verdict(scale, args.strength, args.model)
        if left:
            what = "the file was copied" if copied else "its pixels were written unchanged"
            verdict = f"left as it was, {what} (--always writes the result): {verdict}"
        console.say(f"{job.name}: {verdict}")
        return {
            "input": job.name,
            "output": job.target_name,
            "format": format,
            "scale": scale,
            "scale_choice": None if choice is None else {"changes": choice.changes, "lacks": choice.lacks},
            "mean_change": outcome.mean,
            "share_within_4_levels": outcome.within,
            "left_as_it_was": left,
            "copied": copied,
            "verdict": verdict,
            "width": picture.width,
            "height": picture.height,
            "channels": picture.channels,
            "bits": picture.bits,
            "seconds": {"read": reading, "deblur": running, "write": writing},
            "memory_bound_bytes": bound,
            "picture_bytes": pictures,
            "notes": notes,
        }


def _bytes_beside_the_network(picture: Picture, file: int, scale: float, format: str) -> int:
    """About what a run takes for the picture itself: the file, its pixels before and after, four bytes a
    pixel for decoder and encoder, the shrunk picture before and after, and the new file."""
    values = picture.pixels.size
    small = 0 if scale == 1 else 2 * 4 * math.ceil(values * scale * scale)
    new = (2 if format == "TIFF" else 1) * picture.pixels.nbytes
    return file + 2 * picture.pixels.nbytes + 4 * picture.height * picture.width + small + new


def _to_stdout(data: bytes) -> None:
    from mimo_rt.errors import ImageError, make

    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        text = f"cannot write to standard output: {error.strerror or error}"
        raise make(ImageError, "image.write", text) from error


def _format(job: Job, picture: Picture, wanted: str | None) -> str:
    """The format to write: as asked, else as the output's name says, else the input's."""
    from mimo_rt.errors import ImageError, make
    from mimo_rt.image_io.formats import SPOKEN, format_of, written_as

    if wanted is not None:
        return _FORMATS[wanted]
    if job.target is None:
        return written_as(picture.format)
    named = format_of(job.target)
    if named is not None:
        return named
    if not job.target.suffix or is_special(job.target):
        return written_as(picture.format)
    raise make(
        ImageError,
        "image.format",
        f"cannot write {job.target}: {job.target.suffix} is none of the formats {SPOKEN}; --format chooses "
        "one",
    )


def _make_folder(folder: Path) -> None:
    from mimo_rt.errors import ImageError, make

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise make(
            ImageError, "image.write", f"cannot make the folder {folder}: {error.strerror or error}"
        ) from error
