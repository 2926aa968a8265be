"""`mimo-rt bench`: percentiles, loop and layout on canned times, then the verb itself on a tiny network."""

from __future__ import annotations

import io
import json
import re
import types
from pathlib import Path

import numpy as np
import pytest
from onnx_models import mimo_unet

from mimo_rt import benchmarking
from mimo_rt.benchmarking import DeviceTimes, Phases, Timing, Trace
from mimo_rt.cli import bench, main


def trace_of(computes: list[float]) -> Trace:
    """Runs back to back, each 1 ms of pre-processing and 2 ms of post-processing around its compute time."""
    timings = []
    now = 0.0
    for compute in computes:
        timings.append(Timing(now, now + compute + 3, Phases(1, compute, 2)))
        now += compute + 3
    return Trace(warm_up_runs=2, warm_up=200.0, timings=tuple(timings))


@pytest.mark.parametrize(
    ("count", "percentage", "index"),
    [
        (1, 99, 0),
        (10, 0, 0),
        (10, 50, 4),
        (10, 90, 8),  # int((1 - 0.9) * 10) in doubles is 0; exactly it is 1
        (10, 95, 9),
        (10, 100, 9),
        (100, 99, 98),
        (337, 90, 303),
        (337, 99, 333),
        (1000, 99.9, 998),
    ],
)
def test_percentile_takes_trtexecs_index(count: int, percentage: float, index: int) -> None:
    assert benchmarking.percentile([float(i) for i in range(count)], percentage) == index


@pytest.mark.parametrize("percentage", [-0.1, 100.1, float("nan")])
def test_percentile_refuses_what_is_none(percentage: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        benchmarking.percentile([1.0], percentage)


def test_percentile_needs_values() -> None:
    with pytest.raises(ValueError, match="at least one"):
        benchmarking.percentile([], 90)


def test_summary_of_unsorted_values() -> None:
    summary = benchmarking.summarize([4.0, 1.0, 3.0, 2.0], [90])
    assert (summary.min, summary.max, summary.mean, summary.median) == (1, 4, 2.5, 2.5)
    assert summary.percentiles == {90: 4.0}
    assert summary.coefficient_of_variation == pytest.approx(100 * np.std([1, 2, 3, 4]) / 2.5)


class FakeClock:
    """Advances by a fixed time a reading and by what runs take."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "warm_up", "duration", "iterations", "warm_up_runs", "runs"),
    [
        (0.0625, 200, 3, 10, 4, 48),  # the duration decides
        (1.0, 200, 3, 10, 1, 10),  # the number decides
        (1.0, 0, 0, 0, 0, 1),  # never nothing
        (0.5, 1, 2.0, 1, 1, 4),
    ],
)
def test_measure_stops_when_both_time_and_number_are_reached(
    seconds: float, warm_up: float, duration: float, iterations: int, warm_up_runs: int, runs: int
) -> None:
    clock = FakeClock()
    calls = 0

    def run() -> Phases:
        nonlocal calls
        calls += 1
        clock.now += seconds
        return Phases(1, 1000 * seconds - 2, 1)

    trace = benchmarking.measure(run, warm_up=warm_up, duration=duration, iterations=iterations, clock=clock)
    assert trace.warm_up_runs == warm_up_runs
    assert len(trace.timings) == runs
    assert calls == warm_up_runs + runs
    assert trace.timings[0].start == pytest.approx(0)
    assert all(t.latency == pytest.approx(1000 * seconds) for t in trace.timings)
    assert trace.throughput == pytest.approx(1 / seconds)


def test_trace_section() -> None:
    lines = benchmarking.trace_lines(trace_of([10, 20, 30, 40, 50]), 2)
    assert lines == [
        "=== Trace details ===",
        "Trace averages of 2 runs:",
        "Average on 2 runs - Compute latency: 15 ms - Host latency: 18 ms"
        " (pre-processing 1 ms, post-processing 2 ms)",
        "Average on 2 runs - Compute latency: 35 ms - Host latency: 38 ms"
        " (pre-processing 1 ms, post-processing 2 ms)",
    ]


def test_summary_section() -> None:
    lines = benchmarking.summary_lines(trace_of([10, 20, 30, 40]), [50, 99])
    tail = "median = 1 ms, percentile(50%) = 1 ms, percentile(99%) = 1 ms"
    assert lines == [
        "=== Performance summary ===",
        f"Throughput: {4000 / 112:.6g} qps",
        "Latency: min = 13 ms, max = 43 ms, mean = 28 ms, median = 28 ms,"
        " percentile(50%) = 23 ms, percentile(99%) = 43 ms",
        f"Pre-processing: min = 1 ms, max = 1 ms, mean = 1 ms, {tail}",
        "Compute Time: min = 10 ms, max = 40 ms, mean = 25 ms, median = 25 ms,"
        " percentile(50%) = 20 ms, percentile(99%) = 40 ms",
        f"Post-processing: min = 2 ms, max = 2 ms, mean = 2 ms, {tail.replace('1 ms', '2 ms')}",
        "Total Host Walltime: 0.112 s",
        "Total Compute Time: 0.1 s",
    ]


def on_gpu(compute: float, enqueue: float = 0.5) -> Timing:
    """A run of 3 ms of copies around its compute time, and of 4 ms that the host adds."""
    phases = Phases(0, compute + 6, 0, DeviceTimes(1, compute, 2, enqueue))
    return Timing(100.0, 107.0 + compute, phases)


def test_a_gpus_times_are_told_in_trtexecs_lines() -> None:
    trace = Trace(warm_up_runs=2, warm_up=200.0, timings=(on_gpu(10), on_gpu(20)))
    assert benchmarking.trace_lines(trace, 2)[2:] == [
        "Average on 2 runs - GPU latency: 15 ms - Host latency: 18 ms (enqueue 0.5 ms)"
    ]
    lines = benchmarking.summary_lines(trace, [99])
    assert [line.split(":")[0] for line in lines[2:]] == [
        "Latency",
        "Enqueue Time",
        "H2D Latency",
        "GPU Compute Time",
        "D2H Latency",
        "End-to-End Host Latency",
        "Total Host Walltime",
        "Total GPU Compute Time",
    ]
    assert lines[2].startswith("Latency: min = 13 ms, max = 23 ms, mean = 18 ms, median = 18 ms")
    assert lines[7].startswith("End-to-End Host Latency: min = 17 ms, max = 27 ms")
    assert lines[-1] == "Total GPU Compute Time: 0.03 s"


def test_a_gpus_times_are_exported_under_trtexecs_keys() -> None:
    trace = Trace(warm_up_runs=0, warm_up=0.0, timings=(on_gpu(10),))
    assert benchmarking.times_json(trace) == [
        {
            "startMs": 100,
            "endMs": 117,
            "latencyMs": 13,
            "enqueueMs": 0.5,
            "h2dMs": 1,
            "computeMs": 10,
            "d2hMs": 2,
            "endToEndMs": 17,
        }
    ]
    found = benchmarking.summary_json(trace, [99])
    assert (found["computeMs"]["mean"], found["endToEndMs"]["mean"]) == (10, 17)  # type: ignore[index]


def test_times_of_some_runs_only_are_not_told() -> None:
    trace = Trace(warm_up_runs=0, warm_up=0.0, timings=(on_gpu(10), Timing(0, 13, Phases(1, 10, 2))))
    assert "Compute latency: 13 ms" in benchmarking.trace_lines(trace, 2)[2]
    assert "computeMs" in benchmarking.times_json(trace)[0]
    assert "h2dMs" not in benchmarking.times_json(trace)[0]


def test_warnings_of_a_gpu_are_by_its_own_times() -> None:
    def warnings(*timings: Timing) -> list[str]:
        return benchmarking.warnings(Trace(warm_up_runs=0, warm_up=0.0, timings=timings))

    assert warnings(on_gpu(10), on_gpu(10)) == []
    assert "GPU Compute Time is unstable" in warnings(on_gpu(10), on_gpu(12))[0]
    assert "bound by enqueue time (9 ms)" in warnings(on_gpu(10, enqueue=9))[0]
    assert [note.split(" (")[0] for note in warnings(on_gpu(1.5))] == ["D2H Latency"]


@pytest.mark.parametrize(
    ("backend", "key", "lines"),
    [
        ("cpu", {}, ["Selected Device: a processor", "Instruction set: name"]),
        (
            "tensorrt",
            {"GPU": "a card, 9.0, 1000"},
            ["Selected Device: a card, 9.0, 1000", "Data transfers: Enabled, 8-bit pixels in and out"],
        ),
        (
            "tensorrt-rtx",
            {},
            ["Selected Device: a GPU; this", "Data transfers: Enabled, float32 arrays in and out"],
        ),
    ],
)
def test_the_device_is_the_one_that_computes(backend: str, key: dict[str, str], lines: list[str]) -> None:
    said = io.StringIO()
    facts = {"cpu": "a processor", "cores": 2, "caches": {}, "memory": None, "system": "here"}
    info = types.SimpleNamespace(backend=backend, target="name", key=key)
    bench._log_machine(bench._Log(said), facts, info)  # type: ignore[arg-type]
    for line in lines:
        assert f"[I] {line}" in said.getvalue()
    assert ("CUDA Graph: Tried" in said.getvalue()) == (backend == "tensorrt")


def test_warnings_name_what_is_doubtful() -> None:
    assert benchmarking.warnings(trace_of([100, 100, 101, 100])) == []
    (unstable,) = benchmarking.warnings(trace_of([100, 100, 120, 100]))
    assert "unstable" in unstable
    assert "8.25%" in unstable
    notes = benchmarking.warnings(trace_of([1.5, 1.5, 1.5]))
    assert [note.split(" is ")[0] for note in notes] == ["Post-processing"]


def test_peak_memory_grows_with_what_is_touched() -> None:
    before = benchmarking.peak_memory()
    if before is None:
        pytest.skip("this system does not tell")
    block = np.ones(before + (64 << 20), np.uint8)
    after = benchmarking.peak_memory()
    assert after is not None
    assert after >= before + (48 << 20), block.size


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "tiny.onnx"
    path.write_bytes(mimo_unet(4))
    return path


@pytest.fixture
def short() -> list[str]:
    """Options that keep a run short."""
    return ["--shapes=20x36", "--warmUp=5", "--duration=0.05", "--iterations=4", "--avgRuns=2", "--noCache"]


def test_report_has_trtexecs_sections_in_order(
    tiny: Path, short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times, output, layers = tmp_path / "times.json", tmp_path / "output.json", tmp_path / "layers.json"
    exports = [f"--exportTimes={times}", f"--exportOutput={output}", f"--exportLayerInfo={layers}"]
    assert main(["bench", f"--onnx={tiny}", *short, *exports, "--percentile=50,99", "--threads=1"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("&&&& RUNNING mimo_rt.bench")
    assert text.rstrip().splitlines()[-1].startswith("&&&& PASSED mimo_rt.bench")
    assert re.findall(r"\[I\] (=== .* ===)", text) == [
        f"=== {name} ==="
        for name in (
            "Model Options",
            "Build Options",
            "System Options",
            "Inference Options",
            "Reporting Options",
            "Device Information",
            "Trace details",
            "Performance summary",
        )
    ]
    number = r"[\d.e+-]+"
    for name in ("Latency", "Pre-processing", "Compute Time", "Post-processing"):
        assert re.search(
            rf"\[I\] {name}: min = {number} ms, max = {number} ms, mean = {number} ms, median = {number} ms,"
            rf" percentile\(50%\) = {number} ms, percentile\(99%\) = {number} ms$",
            text,
            re.MULTILINE,
        ), name
    assert re.search(r"Average on 2 runs - Compute latency: ", text)

    entries = json.loads(times.read_text())
    assert len(entries) >= 4
    for entry in entries:
        phases = entry["preprocessingMs"] + entry["computeMs"] + entry["postprocessingMs"]
        assert 0 < entry["computeMs"] <= phases <= entry["latencyMs"] + 0.5
        assert entry["latencyMs"] == pytest.approx(entry["endMs"] - entry["startMs"])
    (result,) = json.loads(output.read_text())
    assert result["dimensions"] == "20x36x3"
    assert len(result["values"]) == 20 * 36 * 3
    rows = json.loads(layers.read_text())
    assert len(rows) > 20
    assert all(row["name"] and row["kernel"] for row in rows)


def test_the_profile_accounts_for_the_whole_compute_time(
    tiny: Path, short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "profile.json"
    arguments = [*short, "--threads=1", "--dumpProfile", f"--exportProfile={path}", "--json"]
    assert main(["bench", f"--onnx={tiny}", *arguments]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    costs = json.loads(path.read_text())
    assert costs == report["profile"]
    assert sum(cost["share"] for cost in costs) == pytest.approx(1)
    assert all(cost["seconds"] > 0 and cost["gigabytes"] > 0 for cost in costs)
    assert any(cost["gflops"] > 0 for cost in costs)
    seconds = sum(cost["seconds"] for cost in costs)
    phases = (report["performance"][key]["mean"] for key in ("preprocessingMs", "computeMs"))
    # The profile takes in the warm-up as well.
    assert 1000 * seconds == pytest.approx(sum(phases), rel=0.7)
    section = captured.err.split("=== Profile ===")[1]
    assert all(cost["name"] in section for cost in costs)
    assert "GFLOP/s" in section


def test_json_stands_alone_on_standard_output(
    tiny: Path, short: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", f"--onnx={tiny}", *short, "--threads=2", "--json"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert "=== Performance summary ===" in captured.err
    assert report["image"] == {"height": 20, "width": 36, "dtype": "uint8"}
    assert report["threads"] == 2
    assert report["performance"]["runs"] >= 4
    latency = report["performance"]["latencyMs"]
    assert set(latency["percentiles"]) == {"90", "95", "99"}
    assert latency["min"] <= latency["median"] <= latency["max"]
    assert report["instructionSet"]
    assert report["memory"]["peak"] is None or report["memory"]["peak"] >= report["memory"]["peakBefore"]


def test_a_saved_engine_is_loaded_and_gives_the_same_pixels(
    tiny: Path, short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, first, second = tmp_path / "tiny.plan", tmp_path / "1.json", tmp_path / "2.json"
    assert main(["bench", f"--onnx={tiny}", "--noCache", f"--saveEngine={plan}", "--skipInference"]) == 0
    text = capsys.readouterr().out
    assert f"Saved engine with {plan.stat().st_size} bytes" in text
    assert "=== Performance summary ===" not in text
    assert main(["bench", f"--onnx={tiny}", *short, f"--exportOutput={first}"]) == 0
    assert main(["bench", f"--loadEngine={plan}", *short, f"--exportOutput={second}"]) == 0
    assert json.loads(first.read_text()) == json.loads(second.read_text())


@pytest.mark.parametrize(
    "options",
    [
        ["--fp8"],
        ["--warmup=3"],
        ["--dur=3"],  # no abbreviations
        ["--shapes=720"],
        ["--shapes=0x8"],
        ["--percentile=101"],
        ["--iterations=0"],
        ["--threads=-1"],
        ["--duration=x"],
        ["--onnx=a", "--loadEngine=b"],
    ],
)
def test_what_it_does_not_know_is_a_usage_error(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        raise SystemExit(main(["bench", *options]))
    assert exit_.value.code == 2
    assert re.fullmatch(r"mimo-rt: .* \(see mimo-rt( bench)? --help\)\n", capsys.readouterr().err)


@pytest.mark.parametrize("option", ["--fp16", "--tactics=f4", "--target=AVX2"])
def test_options_of_the_build_do_not_go_with_a_built_plan(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--loadEngine=x.plan", option]) == 2
    assert "--loadEngine reads one" in capsys.readouterr().err


def test_every_option_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    options = set(re.findall(r"--\w+", capsys.readouterr().out)) - {"--help"}
    page = (Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert len(options) >= 20
    assert options <= set(re.findall(r"--\w+", page))


def test_a_missing_model_is_announced_as_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", f"--onnx={tmp_path / 'none.onnx'}"]) == 3
    captured = capsys.readouterr()
    assert captured.out.rstrip().splitlines()[-1].startswith("&&&& FAILED mimo_rt.bench")
    assert "none.onnx" in captured.err
