"""`mimo-rt models`: the models that ship with mimo_rt and the user's own; add, pull, show and remove."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimo_rt.cli import OK, SOME_FAILED, sentence
from mimo_rt.cli.console import Console, ProgressBar
from mimo_rt.sizes import format_bytes

if TYPE_CHECKING:
    from mimo_rt.models import BundledModel, UserModel


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "models",
        help="list models, add and pull your own",
        description="List the models that ship with mimo_rt and those in your own folder of models; add, "
        "pull, show and remove yours. Any other MIMO-UNet-like network works from its ONNX file.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, with hashes and paths")
    parser.set_defaults(func=list_models)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")

    verb = verbs.add_parser("list", help="list the bundled models and yours (the default)")
    _json_option(verb)
    verb.set_defaults(func=list_models)

    verb = verbs.add_parser("show", help="print all that is known about a model")
    verb.add_argument("name", metavar="NAME", help="a bundled model or one of yours")
    _json_option(verb)
    verb.set_defaults(func=show)

    verb = verbs.add_parser(
        "add",
        help="bring a model file into your folder",
        description="Copy a model file into your folder of models, once it has been shown that it can be "
        "built; from then on its name works wherever a model's name does.",
    )
    verb.add_argument("file", metavar="FILE", help="ONNX file, or a checkpoint of PyTorch or MindSpore")
    verb.add_argument("--name", help="what to call it (default: made from the file's name)")
    verb.add_argument("--licence", metavar="TEXT", help="the licence of the weights, for `show`")
    verb.add_argument("--psnr", metavar="TEXT", help='measured quality, such as "32.45 dB on GoPro"')
    verb.add_argument("--summary", metavar="TEXT", help="what the model is, in a sentence")
    _writing_options(verb)
    verb.set_defaults(func=add)

    verb = verbs.add_parser(
        "pull",
        help="download published weights into your folder",
        description="Download published weights, check them and add them to your folder. Without NAME: list "
        "what the registry has. A download that was cut goes on where it stopped.",
    )
    verb.add_argument("model", nargs="?", metavar="NAME", help="a model of the registry")
    verb.add_argument("--registry", metavar="FILE_OR_URL", help="another registry than the one that ships")
    verb.add_argument("--name", help="what to call it here (default: as in the registry)")
    verb.add_argument(
        "--accept", metavar="SHA256", type=_sha256, help="accept this file in place of the one pinned before"
    )
    _json_option(verb)
    _writing_options(verb)
    verb.set_defaults(func=pull)

    verb = verbs.add_parser("remove", help="take models out of your folder")
    verb.add_argument("names", nargs="+", metavar="NAME", help="one of yours")
    verb.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    verb.set_defaults(func=remove)


def list_models(args: argparse.Namespace) -> int:
    from mimo_rt.models import bundled, find_bundled, folder

    own, damaged = folder.everything()
    if args.json:
        print(json.dumps([*map(describe, bundled()), *map(describe, own)], indent=2))
    else:
        for shipped in bundled():
            print(f"{shipped.id}  ({format_bytes(shipped.bytes)})\n    {shipped.summary}")
            print(f"    model card: {shipped.card}")
        if not bundled():
            print("this build holds no models; give an ONNX file by its path")
        for model in own:
            hidden = ", hidden by the bundled model of that name" if find_bundled(model.name) else ""
            print(f"{model.id}  ({format_bytes(model.bytes)}, yours{hidden})")
            print(f"    {model.summary or f'from {model.source}'}")
    for error in damaged:
        Console().fail(sentence(error))
    return SOME_FAILED if damaged else OK


def describe(model: BundledModel | UserModel) -> dict[str, Any]:
    """What the list in JSON says about a model; None for what is not known or does not apply."""
    from mimo_rt.models import BundledModel, UserModel

    shipped = model if isinstance(model, BundledModel) else None
    own = model if isinstance(model, UserModel) else None
    return {
        "id": model.id,
        "name": model.name,
        "version": shipped and shipped.version,
        "bundled": shipped is not None,
        "summary": model.summary,
        "bytes": model.bytes,
        "sha256": model.sha256,
        "path": str(model.path),
        "card": None if model.card is None else str(model.card),
        "source": own and own.source,
        "source_sha256": own and own.source_sha256,
        "licence": own and own.licence,
        "psnr": own and own.psnr,
    }


def show(args: argparse.Namespace) -> int:
    from mimo_rt import models
    from mimo_rt.engine import build
    from mimo_rt.errors import ModelError, make
    from mimo_rt.untrusted import plain

    model = models.find(args.name)
    if model is None:
        raise make(
            ModelError, "model.not_found", f"there is no model called {args.name!r} ({models.names()})"
        )
    # Built, so that what is shown is of a file that is what it was.
    info = build(args.name).info
    told = {key.removeprefix("mimo_rt."): plain(value)[:200] for key, value in info.metadata.items()}
    facts = describe(model)
    facts["licence"] = facts["licence"] or told.get("licence")
    facts |= {"preset": told.get("preset"), "width": told.get("width"), "blocks": told.get("num_res")}
    facts |= {"parameters": info.parameters, "macs_per_pixel": info.macs_per_pixel}
    if args.json:
        print(json.dumps(facts, indent=2))
        return OK
    rows = [
        ("model", facts["id"]),
        ("what", facts["summary"]),
        ("source", "ships with mimo_rt" if facts["bundled"] else facts["source"]),
        ("licence", facts["licence"] or "none stated"),
        ("preset", facts["preset"] or "unknown"),
        ("width", facts["width"] or "unknown"),
        ("blocks", facts["blocks"] or "unknown"),
        ("parameters", f"{info.parameters:,}"),
        ("PSNR", facts["psnr"] or ("see the model card" if facts["card"] else "unknown")),
        ("size", format_bytes(facts["bytes"])),
        ("sha256", facts["sha256"]),
        ("file", facts["path"]),
        ("model card", facts["card"]),
    ]
    width = max(len(name) for name, value in rows if value)
    for name, value in rows:
        if value:
            print(f"{name:<{width}}  {value}")
    return OK


def add(args: argparse.Namespace) -> int:
    from mimo_rt.models.add import Facts, add

    facts = Facts(licence=args.licence, psnr=args.psnr, summary=args.summary)
    model = add(Path(args.file), name=args.name, facts=facts, replace=args.force)
    Console(args.quiet).say(f"{args.file} -> {model.path}: use it as -m {model.name}")
    return OK


def pull(args: argparse.Namespace) -> int:
    from mimo_rt.models import pull as pulling
    from mimo_rt.models import registry

    if args.model is None:
        published = registry.load(args.registry)
        if args.json:
            print(json.dumps([dataclasses.asdict(one) for one in published], indent=2))
            return OK
        for one in published:
            print(f"{one.name}\n    {one.facts.summary or one.url}")
            print(f"    licence: {one.facts.licence or 'none stated'}; PSNR: {one.facts.psnr or 'unknown'}")
        return OK
    console = Console(args.quiet)
    one = registry.find(args.model, args.registry)
    name = args.name or one.name
    there = None if args.force else pulling.installed(one, name)
    if there is None:
        for text in (*pulling.warnings(one), *([one.notes] if one.notes else [])):
            console.say(text)
        try:
            with ProgressBar(one.name, quiet=args.quiet) as bar:
                model = pulling.pull(one, name=name, replace=args.force, accept=args.accept, progress=bar)
        except KeyboardInterrupt:
            console.say("\rwhat arrived is kept; the same command goes on from there")
            raise
        console.say(f"{one.url} -> {model.path}: use it as -m {model.name} (sha256 {model.source_sha256})")
    else:
        model = there
        console.say(f"{name} is here already; --force loads it again")
    if args.json:
        print(json.dumps(describe(model), indent=2))
    return OK


def remove(args: argparse.Namespace) -> int:
    from mimo_rt.errors import ModelError, make
    from mimo_rt.models import find_bundled, folder

    for name in args.names:
        if folder.remove(name):
            Console(args.quiet).say(f"{name} is removed")
            continue
        why = (
            f"{name} is a bundled model; only yours can be removed"
            if find_bundled(name)
            else f"there is no model {name!r} of yours ({', '.join(folder.names()) or 'you have none'})"
        )
        raise make(ModelError, "model.not_found", why)
    return OK


def _json_option(verb: argparse.ArgumentParser) -> None:
    # Suppressed, or `models --json list` would lose what the verb before it was given.
    verb.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="as JSON, with hashes and paths"
    )


def _writing_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--force", action="store_true", help="replace a model of yours of that name")
    verb.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")


def _sha256(text: str) -> str:
    from mimo_rt.untrusted import is_sha256

    if not is_sha256(text.lower()):
        raise argparse.ArgumentTypeError(f"{text!r} is no SHA-256 (64 hexadecimal digits)")
    return text.lower()
