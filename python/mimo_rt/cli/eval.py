"""`mimo-rt eval`: PSNR and SSIM of a model on pairs of images, with all that is needed to check them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimo_rt.cli import OK, SOME_FAILED, UsageError, options
from mimo_rt.cli.console import Console, ProgressBar
from mimo_rt.cli.table import table
from mimo_rt.untrusted import shown

if TYPE_CHECKING:
    from mimo_rt.evaluation import Backend, Failure
    from mimo_rt.pairs import PairSet

BACKENDS = ("cpu", "tensorrt", "tensorrt-rtx", "onnxruntime", "torch")
PRECISIONS = ("fp32", "fp16", "int8")

_EPILOG = """\
examples:
  mimo-rt eval --data GOPRO_Large -m mimo-unet.onnx
  mimo-rt eval --data pairs/ -m mimo-unet-s --against onnxruntime
  mimo-rt eval --data HIDE/test --sharp HIDE/GT --save-images sharp/ -o hide-result/
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "eval",
        help="PSNR and SSIM on pairs of blurred and sharp images",
        description="PSNR and SSIM of a model on pairs of blurred and sharp images, by the reference "
        "protocol. Leaves a folder with a table of all images, a summary and a report.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="GOPRO_Large, or any folder with blur and sharp in it, or of blurred images with --sharp",
    )
    data.add_argument(
        "--sharp", metavar="DIR", help="the folder of the sharp images, where it lies elsewhere"
    )
    data.add_argument("--split", choices=("train", "test"), help="(default: test, where the data has splits)")
    data.add_argument("--gamma", action="store_true", help="GOPRO_Large's blur_gamma: another protocol")
    data.add_argument(
        "--every", type=options.at_least_one, default=1, metavar="N", help="each N-th pair only"
    )
    data.add_argument("--limit", type=options.at_least_one, metavar="N", help="at most N pairs")
    model = parser.add_argument_group("model")
    model.add_argument(
        *("-m", "--model"),
        default="mimo-unet-s",
        help="a model's name, an ONNX file, a checkpoint or a plan (%(default)s)",
    )
    model.add_argument("--backend", choices=BACKENDS, default="cpu", help="what runs it (%(default)s)")
    model.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="(%(default)s); int8 of an int8 export, on a GPU",
    )
    model.add_argument(
        "--ensemble",
        type=int,
        choices=(0, 4, 8),
        default=0,
        help="mean over 4 rotations, or 8 with mirror images (MIMO-UNet++ is mimo-unet-plus with 4)",
    )
    model.add_argument(
        "--scale",
        type=options.scale,
        default=1.0,
        help="as of deblur: 1 (default), 0.5, 0.25 or auto; other than 1 is for our own backends",
    )
    model.add_argument(
        "--against",
        choices=(*BACKENDS, *PRECISIONS),
        metavar="B",
        help="also run another backend (in fp32) or precision, and tell how far apart they are",
    )
    model.add_argument(
        "-t", "--threads", type=options.count, default=0, help="threads; 0: all cores (default)"
    )
    model.add_argument(
        "--memory", type=options.memory, help="most that a run may allocate (cpu), such as 512M"
    )
    result = parser.add_argument_group("result")
    result.add_argument("-o", "--output", metavar="DIR", help="folder for it (default: eval-MODEL-DATASET)")
    result.add_argument("--save-images", metavar="DIR", help="write the deblurred images here, as PNG")
    result.add_argument("--resume", action="store_true", help="go on with what an interruption left")
    result.add_argument("--force", action="store_true", help="overwrite existing results")
    result.add_argument("--json", action="store_true", help="the summary on standard output")
    result.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    if args.resume and args.force:
        raise UsageError("--resume goes on with what is there and --force overwrites it: give one of them")
    if args.sharp is not None and (args.split or args.gamma):
        raise UsageError("--sharp names two folders of images, which have no --split and no --gamma")
    second = _second(args)
    if args.memory is not None and "cpu" not in (args.backend, *([second[0]] if second else [])):
        raise UsageError("--memory bounds the cpu backend, which is not used here")

    from mimo_rt import pairs
    from mimo_rt.evaluation import Evaluation, evaluate, select
    from mimo_rt.evaluation.summary import plain

    console = Console(args.quiet)
    found = pairs.find(args.data, sharp=args.sharp, split=args.split, gamma=args.gamma)
    chosen = select(found, args.every, args.limit)
    backend = _open(args, args.backend, args.precision)
    other = _open(args, *second) if second else None
    output = Path(args.output or default_output(backend, chosen))
    count = len(chosen.pairs)
    console.say(f"{count} {'pair' if count == 1 else 'pairs'} of images, {backend.model.name} -> {output}")

    with ProgressBar("evaluating", quiet=args.quiet) as bar:

        def fail(failure: Failure) -> None:
            bar.wipe()
            named = failure.error if failure.name in failure.error else f"{failure.name}: {failure.error}"
            console.fail(named)

        wanted = Evaluation(
            chosen,
            backend,
            other,
            ensemble=args.ensemble,
            scale=args.scale,
            every=args.every,
            limit=args.limit,
            save_images=Path(args.save_images) if args.save_images else None,
        )
        try:
            summary = evaluate(wanted, output, force=args.force, resume=args.resume, progress=bar, fail=fail)
        except KeyboardInterrupt:
            bar.wipe()
            console.say(f"what was finished is kept in {output}; --resume goes on with it")
            raise
    if args.json:
        print(json.dumps(plain(summary), indent=2, allow_nan=False))
    else:
        print(shown("\n".join(lines(summary, output))))
    return SOME_FAILED if summary["failures"] else OK


def _second(args: argparse.Namespace) -> tuple[str, str] | None:
    """Backend and precision of --against."""
    if args.against is None:
        return None
    precision = args.against if args.against in PRECISIONS else "fp32"
    second = (args.backend if args.against in PRECISIONS else args.against, precision)
    if second == (args.backend, args.precision):
        raise UsageError(f"--against {args.against} would run the very same twice")
    return second


def _open(args: argparse.Namespace, name: str, precision: str) -> Backend:
    from mimo_rt.evaluation import open_backend

    return open_backend(
        name,
        args.model,
        precision=precision,
        threads=args.threads,
        memory=args.memory if name == "cpu" else None,
        ensemble=args.ensemble,
        scale=args.scale,
    )


def default_output(backend: Backend, chosen: PairSet) -> str:
    """eval-MODEL-DATASET."""
    name = Path(backend.model.name)
    model = name.stem if name.suffix else str(name)
    data = [chosen.root.resolve().name, chosen.split or "", "gamma" if chosen.gamma else ""]
    return "-".join(["eval", model, *filter(None, data)])


def lines(summary: dict[str, Any], output: Path) -> list[str]:
    """What is printed at the end: the means, how far a second backend is, times, and last what the figures
    are worth."""
    results, timing = summary["results"], summary["timing"]
    rows = []
    for label, bits in (("as float", ""), ("as 8-bit pixels", "_8bit")):
        psnr = [float(results[f"psnr_{when}{bits}"]) for when in ("before", "after")]
        ssim = [float(results[f"ssim_{when}{bits}"]) for when in ("before", "after")]
        rows.append([label, *(f"{v:.3f}" for v in psnr), *(f"{v:.4f}" for v in ssim)])
    text = table(rows, ["mean", "PSNR blurred", "deblurred", "SSIM blurred", "deblurred"]).splitlines()
    text.append(
        f"{results['images']} images, {results['gain']:+.3f} dB in the mean, "
        f"{results['worst_gain']:+.3f} dB at worst ({results['worst']})"
    )
    if results["identical"]:
        text.append(f"{results['identical']} of them with an infinite PSNR, left out of the means")
    if (against := summary.get("against")) is not None:
        text += [
            f"against {against['label']}: pixels differ by {against['worst_difference']:.2e} of 1 at most "
            f"({against['worst_image']}),",
            f"PSNR by {against['mean_delta_psnr']:+.2e} dB in the mean and "
            f"{against['worst_delta_psnr']:+.2e} dB at worst ({against['worst_delta_psnr_image']})",
        ]
    text.append(
        f"{timing['total']:.1f} s in all, the model {timing['model']:.1f} s "
        f"({timing['model_median']:.3f} s an image); see {output / 'report.html'}"
    )
    text.append(summary["standing"]["sentence"])
    if summary["input_note"]:
        text.append(summary["input_note"])
    if summary["verdict"] is not None:
        text.append(f"verdict: {summary['verdict']['sentence']}")
    return text
