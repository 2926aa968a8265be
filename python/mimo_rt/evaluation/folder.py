"""The folder that an evaluation leaves: images.csv, summary.json and report.html. It is never overwritten
unasked, and goes on where it stopped only if everything is the same."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mimo_rt.errors import ImageError, make
from mimo_rt.evaluation.summary import plain
from mimo_rt.evaluation.table import Row, read_csv, to_csv
from mimo_rt.image_io import write_file

TABLE, SUMMARY, REPORT = "images.csv", "summary.json", "report.html"


class ResultFolder:
    """One evaluation on disk.

    `identity` is everything that must be the same for two sittings to make one evaluation; it is kept in
    summary.json from the start. Rows are kept in images.csv while the work goes on, every few seconds.
    """

    INTERVAL = 2.0
    """Seconds between two writes of the table; `flush` writes at once."""

    def __init__(self, path: Path, identity: dict[str, Any], order: Sequence[str]) -> None:
        self.path = path
        self._identity: dict[str, Any] = plain(identity)
        self._order = {name: place for place, name in enumerate(order)}
        self._rows: dict[str, Row] = {}
        self._written = time.monotonic()
        self._dirty = False

    @property
    def rows(self) -> list[Row]:
        """All rows so far, in the images' order."""
        return sorted(self._rows.values(), key=lambda row: self._order[row.name])

    def begin(self, *, force: bool) -> None:
        """A new evaluation. ImageError where the folder holds anything already, and not `force`."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not force and any(self.path.iterdir()):
                raise make(
                    ImageError,
                    "evaluation.exists",
                    f"{self.path} is not empty; --force overwrites an evaluation in it, --resume goes on "
                    "with one",
                )
            for name in (REPORT, TABLE):
                with contextlib.suppress(FileNotFoundError):
                    (self.path / name).unlink()
        except OSError as error:
            raise make(
                ImageError, "image.write", f"cannot use the folder {self.path}: {error.strerror or error}"
            ) from error
        self._write(SUMMARY, _json({"finished": False, "identity": self._identity}))
        self._dirty = True
        self.flush()

    def resume(self) -> bool:
        """Takes over the rows of an evaluation that was begun here; False where there is none. ImageError
        where it is another one, or damaged."""
        path = self.path / SUMMARY
        if not path.exists():
            return False
        try:
            found = json.loads(path.read_bytes())["identity"]
            if not isinstance(found, dict):
                raise TypeError("its identity is no table")
        except OSError as error:
            raise make(ImageError, "image.read", f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise make(
                ImageError,
                "evaluation.summary",
                f"{path} is no summary of an evaluation; --force begins anew",
            ) from error
        missing = object()
        keys = {*found, *self._identity}
        other = sorted(k for k in keys if found.get(k, missing) != self._identity.get(k, missing))
        if other:
            raise make(
                ImageError,
                "evaluation.other",
                f"{self.path} holds another evaluation: not the same {', '.join(other)}; give another -o, or "
                "--force",
            )
        rows = read_csv(self.path / TABLE) if (self.path / TABLE).exists() else []
        if unknown := [row.name for row in rows if row.name not in self._order]:
            raise make(
                ImageError, "evaluation.table", f"{self.path / TABLE} has a row of no image: {unknown[0]!r}"
            )
        against = self._identity.get("against") is not None
        if any((row.against_psnr is not None) != against for row in rows):
            raise make(
                ImageError,
                "evaluation.table",
                f"{self.path / TABLE} {'lacks' if against else 'has'} figures of a second backend; --force "
                "begins anew",
            )
        self._rows = {row.name: row for row in rows}
        return True

    def add(self, row: Row) -> None:
        """Keeps a row; it is on disk at most `INTERVAL` seconds later if rows keep coming, or by `flush`."""
        self._rows[row.name] = row
        self._dirty = True
        if time.monotonic() - self._written >= self.INTERVAL:
            self.flush()

    def flush(self) -> None:
        if self._dirty:
            self._write(TABLE, to_csv(self.rows))
            self._written, self._dirty = time.monotonic(), False

    def finish(self, summary: dict[str, Any], report: str | None) -> None:
        """Writes the summary and the report."""
        if report is not None:
            self._write(REPORT, report.encode("utf-8", "backslashreplace"))
        self._write(SUMMARY, _json({**summary, "identity": self._identity}))

    def _write(self, name: str, data: bytes) -> None:
        write_file(self.path / name, data, overwrite=True)


def _json(value: Any) -> bytes:
    return (json.dumps(plain(value), indent=2, allow_nan=False) + "\n").encode()
