"""The command line: `mimo-rt VERB`, one file a verb, each with `add_parser(subparsers)` and `run(args) ->
exit code`.

Data goes to stdout (a picture with `-`, JSON with `--json`), everything said to people to stderr. Exit codes:
0 all done, 1 some files failed, 2 usage, 3 model, plan or backend, 4 memory, 130 interrupted. Nothing heavy
is imported before a verb runs, so that `--help` is instant.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from mimo_rt.untrusted import plain

VERBS = ("deblur", "build", "import", "info", "models", "bench", "eval", "doctor")
_MODULES = {"import": "import_"}
"""Of verbs that no module can be named after."""

OK, SOME_FAILED, USAGE, MODEL, MEMORY, INTERRUPTED = 0, 1, 2, 3, 4, 130


class UsageError(Exception):
    """Options that do not go together, found only after parsing; the text is one sentence."""


class _Parser(argparse.ArgumentParser):
    """One sentence on stderr instead of the whole usage; options are written out, so that new ones break no
    script."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"mimo-rt: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from mimo_rt import __version__

        print(f"mimo-rt {__version__}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; a parsed verb is in `func`."""
    top = _Parser(prog="mimo-rt", description="Remove motion blur from photos, on an ordinary processor.")
    top.add_argument("--version", action=_Version, help="print the version and exit")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name in VERBS:
        import_module(f"mimo_rt.cli.{_MODULES.get(name, name)}").add_parser(verbs)
    return top


def exit_code(error: BaseException) -> int:
    """The documented exit code for an error."""
    if isinstance(error, UsageError):
        return USAGE
    if isinstance(error, MemoryError):
        return MEMORY
    if isinstance(error, (KeyboardInterrupt, BrokenPipeError)):
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else SOME_FAILED
    from mimo_rt.errors import BackendError, MemoryLimitError, ModelError, PlanError

    if isinstance(error, MemoryLimitError):
        return MEMORY
    return MODEL if isinstance(error, (ModelError, PlanError, BackendError)) else SOME_FAILED


def sentence(error: BaseException) -> str:
    """What to tell about an error, in one line."""
    if isinstance(error, MemoryError):
        return "the system is out of memory; --memory 512M bounds what mimo_rt takes"
    if isinstance(error, BrokenPipeError):
        return "whoever read the output has gone"
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return plain(f"{named}{error.strerror or error}")
    return plain(str(error)) or type(error).__name__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own); returns the exit code, raises SystemExit for --help
    and usage."""
    from mimo_rt.cli.console import open_streams

    open_streams()
    try:
        args = parser().parse_args(argv)
        code: int = args.func(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("\rmimo-rt: interrupted; nothing was left half written", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:  # Python would complain once more when it closes stdout
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        print(f"mimo-rt: {sentence(error)}", file=sys.stderr)
        return exit_code(error)
    except (UsageError, MemoryError) as error:
        print(f"mimo-rt: {sentence(error)}", file=sys.stderr)
        return exit_code(error)
    except ImportError as error:
        print(f"mimo-rt: the installation is not complete: {error}; reinstall mimo_rt", file=sys.stderr)
        return MODEL
    except Exception as error:
        from mimo_rt.errors import Error

        if not isinstance(error, Error):
            raise
        print(f"mimo-rt: {sentence(error)}", file=sys.stderr)
        return exit_code(error)
