"""The table of an evaluation, a row an image, as CSV: what is reported, and what `--resume` goes on from."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mimo_rt.errors import ImageError, make


@dataclass(frozen=True)
class Row:
    """One image. PSNR in dB ("inf" where two images are equal); floats are written so that they are read back
    bit for bit."""

    name: str
    scene: str
    frame: str
    width: int
    height: int
    psnr_before: float
    psnr_after: float
    ssim_before: float
    ssim_after: float
    psnr_before_8bit: float
    psnr_after_8bit: float
    ssim_before_8bit: float
    ssim_after_8bit: float
    against_psnr: float | None
    """Of the other backend's result; None where there is no other."""
    against_difference: float | None
    """Largest absolute difference between the two results, on [0, 1]."""
    blur_sha256: str
    sharp_sha256: str
    model_seconds: float
    against_seconds: float | None
    decode_seconds: float
    metrics_seconds: float
    write_seconds: float
    total_seconds: float
    """By the clock, since the image before was done."""

    @property
    def gain(self) -> float:
        """In dB."""
        return 0.0 if self.psnr_after == self.psnr_before else self.psnr_after - self.psnr_before


COLUMNS = tuple(field.name for field in fields(Row))
_TEXTS = ("name", "scene", "frame", "blur_sha256", "sharp_sha256")
_NUMBERS = ("width", "height")
_OPTIONAL = ("against_psnr", "against_difference", "against_seconds")


def to_csv(rows: Iterable[Row]) -> bytes:
    """UTF-8; a file name that is no text keeps its bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = asdict(row).values()
        writer.writerow(["" if v is None else repr(v) if isinstance(v, float) else v for v in values])
    return text.getvalue().encode("utf-8", "surrogateescape")


def read_csv(path: Path) -> list[Row]:
    """The rows of a table that `to_csv` wrote; ImageError where it is anything else."""
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        if not lines or tuple(lines[0]) != COLUMNS:
            raise ValueError("its columns are others")
        return [_row(line) for line in lines[1:]]
    except OSError as error:
        raise make(ImageError, "image.read", f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:
        raise make(
            ImageError,
            "evaluation.table",
            f"{path} is not a table that this version wrote ({error}); --force begins anew",
        ) from error


def _row(cells: list[str]) -> Row:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"a row has {len(cells)} cells instead of {len(COLUMNS)}")
    values: dict[str, str | int | float | None] = {}
    for name, cell in zip(COLUMNS, cells, strict=True):
        if name in _TEXTS:
            values[name] = cell
        elif name in _NUMBERS:
            values[name] = int(cell)
        else:
            values[name] = None if name in _OPTIONAL and not cell else float(cell)
    return Row(**values)  # type: ignore[arg-type]
