"""Measuring runs and reporting them in trtexec's words: what `mimo-rt bench` computes, apart from its
options.

A run has three phases: pre-processing (pixels to the network's first tensor), compute (the network) and
post-processing (the last tensor to pixels). A band-by-band run interleaves them; the engine adds each one up,
so phases are durations. Latency is the wall clock of the host around the whole call. Where a GPU tells its
own times, trtexec's stand in the place of the phases: latency is then copies and computation by the GPU's
events, and the host's clock is beside it. All times here are milliseconds unless a name says otherwise.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction

UNSTABLE = 2.5
"""Coefficient of variation of the compute time, in percent, above which a run is called unstable."""


@dataclass(frozen=True)
class DeviceTimes:
    """Milliseconds of one run by the GPU's own events: the copy in, computation of all tiles, the copy out;
    and the host's time to hand the work over."""

    to_device: float
    compute: float
    to_host: float
    enqueue: float

    @property
    def latency(self) -> float:
        """As trtexec has it: without what the host does before and after."""
        return self.to_device + self.compute + self.to_host


@dataclass(frozen=True)
class Phases:
    """Milliseconds that the engine spent in the three phases of one run; on a GPU compute is all of its work,
    copies included, and `device` splits it where the backend tells."""

    preprocessing: float
    compute: float
    postprocessing: float
    device: DeviceTimes | None = None


@dataclass(frozen=True)
class Timing:
    """One run: host clock at its start and end (since measuring began), and its phases."""

    start: float
    end: float
    phases: Phases

    @property
    def latency(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Trace:
    """All runs of one measurement; walltime in milliseconds, from the first timed start to the last end."""

    warm_up_runs: int
    warm_up: float
    timings: tuple[Timing, ...]

    @property
    def walltime(self) -> float:
        return self.timings[-1].end - self.timings[0].start

    @property
    def throughput(self) -> float:
        """Runs a second of wall clock."""
        return 1000 * len(self.timings) / self.walltime


@dataclass(frozen=True)
class Summary:
    """Distribution of one quantity over all runs; `percentiles` maps a percentage to the value there."""

    min: float
    max: float
    mean: float
    median: float
    percentiles: dict[float, float]
    coefficient_of_variation: float
    """Standard deviation over mean, in percent."""


def percentile(ascending: Sequence[float], percentage: float) -> float:
    """The value at trtexec's index max(N - 1 - int((1 - p/100) N), 0) of `ascending`; p in [0, 100].

    The product is taken exactly, so that 90 % of ten runs leaves out one run and not, by rounding, none.
    """
    if not 0 <= percentage <= 100:
        raise ValueError(f"a percentile lies in [0, 100], not {percentage:g}")
    if not ascending:
        raise ValueError("a percentile needs at least one value")
    excluded = int((1 - Fraction(str(percentage)) / 100) * len(ascending))
    return ascending[max(len(ascending) - 1 - excluded, 0)]


def summarize(values: Sequence[float], percentages: Sequence[float]) -> Summary:
    """Distribution of `values` (at least one)."""
    ascending = sorted(values)
    mean = math.fsum(ascending) / len(ascending)
    return Summary(
        min=ascending[0],
        max=ascending[-1],
        mean=mean,
        median=statistics.median(ascending),
        percentiles={p: percentile(ascending, p) for p in percentages},
        coefficient_of_variation=100 * statistics.pstdev(ascending) / mean if mean > 0 else 0.0,
    )


def measure(
    run: Callable[[], Phases],
    *,
    warm_up: float = 200,
    duration: float = 3,
    iterations: int = 10,
    clock: Callable[[], float] = time.perf_counter,
) -> Trace:
    """Calls `run` again and again: unrecorded for `warm_up` milliseconds, then at least `iterations` times
    and for at least `duration` seconds. `warm_up` above zero means at least one unrecorded run. `clock` gives
    seconds.
    """
    begin = clock()
    warm_up_runs = 0
    while 1000 * (clock() - begin) < warm_up:
        run()
        warm_up_runs += 1
    origin = clock()
    timings: list[Timing] = []
    while len(timings) < max(iterations, 1) or clock() - origin < duration:
        start = clock()
        phases = run()
        end = clock()
        timings.append(Timing(1000 * (start - origin), 1000 * (end - origin), phases))
    return Trace(warm_up_runs, 1000 * (origin - begin), tuple(timings))


QUANTITIES: dict[str, Callable[[Timing], float]] = {
    "Latency": lambda t: t.latency,
    "Pre-processing": lambda t: t.phases.preprocessing,
    "Compute Time": lambda t: t.phases.compute,
    "Post-processing": lambda t: t.phases.postprocessing,
}
"""What a performance summary tells about, in its order."""

DEVICE_QUANTITIES: dict[str, Callable[[DeviceTimes], float]] = {
    "Latency": lambda d: d.latency,
    "Enqueue Time": lambda d: d.enqueue,
    "H2D Latency": lambda d: d.to_device,
    "GPU Compute Time": lambda d: d.compute,
    "D2H Latency": lambda d: d.to_host,
}
"""What it tells in their place where a GPU has told its own times, as trtexec has it."""

END_TO_END = "End-to-End Host Latency"
"""The host's clock around the whole call, beside `DEVICE_QUANTITIES`."""

_KEYS = {
    "Latency": "latencyMs",
    "Pre-processing": "preprocessingMs",
    "Compute Time": "computeMs",
    "Post-processing": "postprocessingMs",
    "Enqueue Time": "enqueueMs",
    "H2D Latency": "h2dMs",
    "GPU Compute Time": "computeMs",
    "D2H Latency": "d2hMs",
    END_TO_END: "endToEndMs",
}
"""The quantities in JSON; those of a GPU under trtexec's keys."""


def quantities(timings: Sequence[Timing]) -> dict[str, list[float]]:
    """What is told of these runs, by name: of the GPU where it has told of all of them, of the phases
    otherwise."""
    devices = [t.phases.device for t in timings if t.phases.device is not None]
    if len(devices) < len(timings):
        return {name: [of(t) for t in timings] for name, of in QUANTITIES.items()}
    found = {name: [of(d) for d in devices] for name, of in DEVICE_QUANTITIES.items()}
    return found | {END_TO_END: [t.latency for t in timings]}


def summaries(trace: Trace, percentages: Sequence[float]) -> dict[str, Summary]:
    """The distribution of each of `quantities`."""
    return {name: summarize(values, percentages) for name, values in quantities(trace.timings).items()}


def trace_lines(trace: Trace, average_runs: int) -> list[str]:
    """The section `=== Trace details ===`: one line of means for every full group of `average_runs` runs."""
    lines = ["=== Trace details ===", f"Trace averages of {average_runs} runs:"]
    told = quantities(trace.timings)
    groups = len(trace.timings) // average_runs
    for g in range(groups):
        group = slice(g * average_runs, (g + 1) * average_runs)
        mean = {name: math.fsum(values[group]) / average_runs for name, values in told.items()}
        line = f"Average on {average_runs} runs"
        if END_TO_END in mean:
            line += (
                f" - GPU latency: {mean['GPU Compute Time']:.6g} ms"
                f" - Host latency: {mean['Latency']:.6g} ms (enqueue {mean['Enqueue Time']:.6g} ms)"
            )
        else:
            line += (
                f" - Compute latency: {mean['Compute Time']:.6g} ms"
                f" - Host latency: {mean['Latency']:.6g} ms"
                f" (pre-processing {mean['Pre-processing']:.6g} ms,"
                f" post-processing {mean['Post-processing']:.6g} ms)"
            )
        lines.append(line)
    return lines


def summary_lines(trace: Trace, percentages: Sequence[float]) -> list[str]:
    """The section `=== Performance summary ===`."""
    lines = ["=== Performance summary ===", f"Throughput: {trace.throughput:.6g} qps"]
    for name, s in summaries(trace, percentages).items():
        line = f"{name}: min = {s.min:.6g} ms, max = {s.max:.6g} ms"
        line += f", mean = {s.mean:.6g} ms, median = {s.median:.6g} ms"
        for p, value in s.percentiles.items():
            line += f", percentile({p:g}%) = {value:.6g} ms"
        lines.append(line)
    told = quantities(trace.timings)
    name = "GPU Compute Time" if END_TO_END in told else "Compute Time"
    lines.append(f"Total Host Walltime: {trace.walltime / 1000:.6g} s")
    lines.append(f"Total {name}: {math.fsum(told[name]) / 1000:.6g} s")
    return lines


def warnings(trace: Trace) -> list[str]:
    """What makes the figures of `trace` doubtful, in sentences; empty where nothing does."""
    found = summaries(trace, [])
    on_gpu = END_TO_END in found
    name = "GPU Compute Time" if on_gpu else "Compute Time"
    compute = found[name]
    notes: list[str] = []
    if compute.coefficient_of_variation > UNSTABLE:
        notes.append(
            f"{name} is unstable, with coefficient of variation = {compute.coefficient_of_variation:.3g}%."
            " Stop other work on this machine, fix its clock frequency, or raise --duration."
        )
    if on_gpu:
        return notes + _device_warnings(found)
    for name, cause in (
        ("Pre-processing", "turning pixels into the network's input"),
        ("Post-processing", "turning the network's output into pixels"),
    ):
        if found[name].median >= compute.median:
            notes.append(
                f"{name} is the bottleneck: {cause} takes {found[name].median:.6g} ms,"
                f" the network {compute.median:.6g} ms (medians). The model or the image is very small."
            )
    return notes


def _device_warnings(found: dict[str, Summary]) -> list[str]:
    """trtexec's, of what a GPU told."""
    notes: list[str] = []
    gpu, enqueue = found["GPU Compute Time"].median, found["Enqueue Time"].median
    if enqueue > 0.8 * gpu:
        notes.append(
            f"Throughput may be bound by enqueue time ({enqueue:.6g} ms) rather "
            f"than by GPU compute ({gpu:.6g} ms)."
        )
    for name in ("H2D Latency", "D2H Latency"):
        if found[name].median >= gpu:
            notes.append(
                f"{name} ({found[name].median:.6g} ms) is no less than GPU compute ({gpu:.6g} ms): "
                "copies are the bottleneck."
            )
    return notes


def times_json(trace: Trace) -> list[dict[str, float]]:
    """What `--exportTimes` writes: one entry a run, milliseconds since measuring began by the host's clock,
    and durations. Where a GPU told its times these have trtexec's keys; when each of them began it does not
    tell, so that trtexec's keys of starts and ends are not there."""
    told = quantities(trace.timings)
    return [
        {"startMs": t.start, "endMs": t.end, **{_KEYS[name]: values[i] for name, values in told.items()}}
        for i, t in enumerate(trace.timings)
    ]


def summary_json(trace: Trace, percentages: Sequence[float]) -> dict[str, object]:
    """The performance summary for programs; milliseconds, percentiles keyed by their percentage."""
    result: dict[str, object] = {
        "runs": len(trace.timings),
        "warmUpRuns": trace.warm_up_runs,
        "throughputQps": trace.throughput,
        "hostWalltimeMs": trace.walltime,
    }
    for name, summary in summaries(trace, percentages).items():
        entry: dict[str, object] = asdict(summary)
        entry["percentiles"] = {f"{p:g}": value for p, value in summary.percentiles.items()}
        result[_KEYS[name]] = entry
    return result


def peak_memory() -> int | None:
    """Largest resident size of this process so far in bytes; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
