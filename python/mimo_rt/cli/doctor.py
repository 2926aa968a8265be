"""`mimo-rt doctor`: what this installation and this machine have, and what is missing, for people and for bug
reports."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from importlib import metadata, util
from pathlib import Path
from typing import Any

from mimo_rt import machine
from mimo_rt.cli import MODEL, OK

_EXTRAS = {
    "16-bit colour, HEIC (formats)": ("imagecodecs", "tifffile", "pi-heif"),
    "training (train)": ("torch", "onnx", "onnxruntime"),
}


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="check the installation and this machine",
        description="Print versions, processor, instruction sets, cache folder, models and extras, for "
        "people and for "
        "bug reports. Exit code 3 where mimo_rt cannot run here.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, on standard output")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    report = examine()
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        for topic, facts in report.items():
            if isinstance(facts, dict):
                print(topic)
                for name, value in facts.items():
                    print(f"  {name:<24}  {value}")
            else:
                for fact in facts or ["none: all is well"]:
                    print(f"{topic}: {fact}")
    return MODEL if report["problems"] else OK


def examine() -> dict[str, Any]:
    """All findings; `problems` is a list of sentences, empty where all is well."""
    problems: list[str] = []
    versions = {"python": f"{platform.python_version()} ({sys.executable})"}
    engine: dict[str, str] = {}
    try:
        from mimo_rt import _core

        versions["mimo_rt"] = _core.__version__
        engine["runs here"] = ", ".join(_core.targets())
        engine["compiled in"] = ", ".join(_core.compiled_targets())
        if not _core.targets():
            problems.append("no instruction set of this build runs on this processor")
    except ImportError as error:
        problems.append(f"the compiled module cannot be loaded: {error}")
    for name in ("numpy", "Pillow"):
        versions[name] = version_of(name) or "missing"
        if versions[name] == "missing":
            problems.append(f"{name} is missing; reinstall mimo_rt")
    versions["system"] = f"{platform.system()} {platform.release()}, {platform.machine()}"
    folder, usable = cache_folder()
    models = {}
    from mimo_rt.models import bundled
    from mimo_rt.models import folder as models_folder

    for model in bundled():
        sound = model.path.is_file() and model.path.stat().st_size == model.bytes
        models[model.id] = "there" if sound else "damaged or missing; reinstall mimo_rt"
        if not sound:
            problems.append(f"the bundled model {model.id} is {models[model.id]}")
    own, damaged = models_folder.everything()
    for yours in own:
        sound = yours.path.is_file() and yours.path.stat().st_size == yours.bytes
        models[yours.id] = "yours" if sound else f"yours, damaged or missing; {yours.repair}"
        if not sound:
            problems.append(f"the model {yours.id} is {models[yours.id]}")
    problems += map(str, damaged)
    extras = {}
    for what, packages in _EXTRAS.items():
        found = {name: version_of(name) for name in packages}
        missing = [name for name, version in found.items() if version is None]
        there = ", ".join(f"{name} {version}" for name, version in found.items() if version)
        lacking = f" (missing: {', '.join(missing)})" if there and missing else ""
        extras[what] = (there or "not installed") + lacking
    extras["TensorRT (tensorrt)"] = tensorrt()
    extras["TensorRT for RTX (rtx)"] = version_of("tensorrt_rtx_cu13_bindings") or "not installed"
    extras["NVIDIA GPU"] = gpu()
    return {
        "versions": versions,
        "processor": {"model": machine.cpu_name(), "cores usable": str(machine.usable_cores())},
        "instruction sets": engine,
        "plan cache": {"folder": str(folder), "state": usable},
        "models": {"your folder": str(models_folder.location()), **models},
        "extras": extras,
        "problems": problems,
    }


def tensorrt() -> str:
    """Whether the backend tensorrt can be had, and what is missing."""
    from mimo_rt.errors import Error
    from mimo_rt.tensorrt import TensorRtLibrary

    try:
        conditions = TensorRtLibrary().conditions
    except Error as error:
        return f"not usable: {error}"
    return ", ".join(conditions.values())


def gpu() -> str:
    """Whether plans for a GPU can be run here, and what is missing."""
    from mimo_rt.cuda_driver import Device, gpu_present
    from mimo_rt.errors import Error

    if not gpu_present():
        return "none seen; everything runs on the processor"
    try:
        Device()
    except Error as error:
        return f"seen, and not usable: {error}"
    return "usable"


def version_of(package: str) -> str | None:
    """The installed version of a package, None where it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "present" if util.find_spec(package) else None


def cache_folder() -> tuple[Path | None, str]:
    """Where plans are kept, and whether that works."""
    try:
        from mimo_rt import _core
    except ImportError:
        return None, "not known without the compiled module"
    if not _core.cache_folder():
        return None, "no home folder: plans live in memory only"
    folder = Path(_core.cache_folder())
    existing = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return folder, f"not writable ({error.strerror}): plans live in memory only"
    plans = len(list(folder.glob("*.plan"))) if folder.is_dir() else 0
    return folder, f"writable, {plans} plans"
