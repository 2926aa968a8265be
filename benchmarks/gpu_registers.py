"""What nvcc makes of our kernels, without a GPU: registers, shared memory and spills for every architecture.

``python benchmarks/gpu_registers.py`` (the CUDA toolkit on the PATH)

Exit code 1 where a kernel spills: registers that it keeps in memory instead.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import pages  # noqa: E402

ARCHITECTURES = ("80", "86", "89", "90", "100", "120")


@dataclass(frozen=True)
class Usage:
    """What one kernel takes on one architecture, by ptxas; memory in bytes, without the shared memory that is
    asked for at the launch."""

    kernel: str
    architecture: str
    registers: int
    shared: int
    spilled: int


def compiled(nvcc: str, source: Path, architecture: str) -> str:
    """What ptxas says of every kernel of a file."""
    command = [nvcc, "-std=c++20", "-O3", f"-I{ROOT}/cpp/src", f"-I{ROOT}/cpp/include"]
    command += [f"-arch=sm_{architecture}", "-cubin", "-Xptxas", "-v", "-o", "/dev/null", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"nvcc refuses {source.name} for sm_{architecture}: {done.stderr.strip()}")
    return done.stderr


def plain_name(mangled: str) -> str:
    """Of a kernel, as the source has it: c++filt's, without namespaces and arguments; as it is without
    c++filt."""
    program = shutil.which("c++filt")
    if program is None:
        return mangled
    name = subprocess.run([program, mangled], capture_output=True, text=True, check=True).stdout.strip()
    for noise in ("(anonymous namespace)::", "mimo_rt::cuda::"):
        name = name.replace(noise, "")
    return name.removeprefix("void ").partition("(")[0].replace("> >", ">>")


def usages(said: str) -> list[Usage]:
    """Every kernel of ptxas' text; LookupError where it tells of a kernel but not what it takes."""
    found = []
    for part in said.split("Compiling entry function ")[1:]:
        start = re.match(r"'(\w+)' for 'sm_(\w+)'", part)
        spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", part)
        registers = re.search(r"Used (\d+) registers", part)
        if start is None or spills is None or registers is None:
            raise LookupError(f"ptxas tells nothing of {part.splitlines()[0]}")
        shared = re.search(r"(\d+) bytes smem", part)
        found.append(
            Usage(
                kernel=plain_name(start[1]),
                architecture=start[2],
                registers=int(registers[1]),
                shared=int(shared[1]) if shared else 0,
                spilled=int(spills[1]) + int(spills[2]),
            )
        )
    return found


def render(report: pages.Report) -> str:
    """A report of this script as Markdown: registers, by kernel and architecture."""
    by_kernel: dict[str, dict[str, Usage]] = {}
    for row in report["rows"]:
        usage = Usage(**row)
        by_kernel.setdefault(usage.kernel, {})[usage.architecture] = usage
    architectures = list(dict.fromkeys(row["architecture"] for row in report["rows"]))
    rows = [
        [
            f"`{kernel}`",
            *(str(of[a].registers) if a in of else "" for a in architectures),
            str(max(usage.shared for usage in of.values())),
            str(sum(usage.spilled for usage in of.values())),
        ]
        for kernel, of in by_kernel.items()
    ]
    header = ["registers of a thread", *(f"sm_{a}" for a in architectures), "shared, bytes", "spilled, bytes"]
    return f"CUDA {report['nvcc']}.\n\n{pages.table(header, rows)}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nvcc", default="nvcc", help="the compiler (default: that of the PATH)")
    parser.add_argument("--architectures", nargs="+", default=ARCHITECTURES, metavar="N", help="such as 90")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    a = parser.parse_args(arguments)
    nvcc = shutil.which(a.nvcc)
    if nvcc is None:
        parser.error(f"{a.nvcc} is not there: install the CUDA toolkit, or name its compiler with --nvcc")
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"release ([\d.]+)", version)
    found = [
        usage
        for architecture in a.architectures
        for source in sorted((ROOT / "cpp" / "src" / "cuda").glob("*.cu"))
        for usage in usages(compiled(nvcc, source, architecture))
    ]
    report = pages.made_by("kernels", 0)
    report |= {"nvcc": number[1] if number else "unknown", "rows": [asdict(usage) for usage in found]}
    pages.tell(render(report), report, a.json)
    return int(any(usage.spilled for usage in found))


if __name__ == "__main__":
    sys.exit(main())
