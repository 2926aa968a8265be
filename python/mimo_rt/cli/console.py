"""Talking to people on stderr: sentences, and a progress bar where somebody is there to see it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from mimo_rt.untrusted import shown


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing reaches stderr meanwhile: decoders in C print there what they think of a damaged file."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def open_streams() -> None:
    """Puts something in place of streams that were closed before this process began, so that no file gets
    their number: errors are lost then, and to write data is an error."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            setattr(sys, name, os.fdopen(handle, "r" if name == "stdin" else "w"))


class Console:
    """Where a verb's words go. `quiet` leaves only errors."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def say(self, text: str) -> None:
        if not self.quiet:
            print(shown(text), file=sys.stderr, flush=True)

    def fail(self, text: str) -> None:
        print(f"mimo-rt: {shown(text)}", file=sys.stderr, flush=True)


class ProgressBar:
    """A bar on stderr for work that lasts: shown after a second, on a terminal only, wiped at the end.

    Call it with the fraction done; use it as a context manager.
    """

    WIDTH = 30
    PATIENCE = 1.0
    """Seconds before it shows."""
    INTERVAL = 0.1

    def __init__(self, label: str, *, quiet: bool) -> None:
        self._label = shown(label)
        self._start = self._last = time.monotonic()
        self._wanted = not quiet and sys.stderr.isatty()
        self._shown = False

    def __call__(self, done: float) -> bool:
        now = time.monotonic()
        if self._wanted and now - self._start >= self.PATIENCE and now - self._last >= self.INTERVAL:
            filled = int(done * self.WIDTH)
            left = (now - self._start) * (1 - done) / done if done > 0 else 0.0
            bar = "#" * filled + "-" * (self.WIDTH - filled)
            print(
                f"\r{self._label[:40]} [{bar}] {done:4.0%}, {left:.0f} s left \x1b[K",
                end="",
                file=sys.stderr,
                flush=True,
            )
            self._last, self._shown = now, True
        return True

    def wipe(self) -> None:
        """Off the screen until the next call, so that a sentence can be said."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()
