"""What an evaluation comes to: means, times and hashes over its rows, as plain values for JSON and for the
report."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from mimo_rt.evaluation.table import Row

PROTOCOL = {
    "version": 1,
    "result": "the network's output, clipped to [0, 1], as float32, not rounded",
    "psnr": "10 log10(1 / mean squared difference) over all pixels and channels, RGB",
    "ssim": "Gaussian window of sigma 1.5 and 11 x 11 pixels, K1 0.01, K2 0.03, population covariance, "
    "windows inside the image only, mean over windows, then over R, G and B (scikit-image's "
    "structural_similarity with gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, "
    "channel_axis=-1)",
    "8bit": "the same on floor(255 y + 0.5), against the sharp file's 8-bit pixels",
    "mean": "mean of the figures of single images; an image with an infinite PSNR is counted as identical "
    "and left out of every mean",
}
"""What the figures are. `version` rises when one of them would come out otherwise."""

MEANS = (
    "psnr_before",
    "psnr_after",
    "ssim_before",
    "ssim_after",
    "psnr_before_8bit",
    "psnr_after_8bit",
    "ssim_before_8bit",
    "ssim_after_8bit",
)


def results(rows: Sequence[Row]) -> dict[str, Any]:
    """Means over the rows (at least one), and the names of the images that gain most, in the middle and
    least. Where all images are identical, the means are those of all."""
    counted = [row for row in rows if _is_finite(row)] or list(rows)
    found: dict[str, Any] = {"images": len(rows), "identical": sum(not _is_finite(row) for row in rows)}
    found |= {name: statistics.fmean(getattr(row, name) for row in counted) for name in MEANS}
    gains = [row.gain for row in counted if math.isfinite(row.gain)]
    found["gain"] = statistics.fmean(gains) if gains else counted[0].gain
    ordered = by_gain(counted)
    found |= {"best": ordered[0].name, "median": ordered[len(ordered) // 2].name, "worst": ordered[-1].name}
    found["worst_gain"] = ordered[-1].gain
    return found


def by_gain(rows: Sequence[Row]) -> list[Row]:
    """The largest gain first; equal gains in the rows' order."""
    return sorted(rows, key=lambda row: -row.gain)


def scenes(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """`results` of every scene, in the rows' order; empty where no scene is known."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.scene, []).append(row)
    return {scene: results(group) for scene, group in groups.items()} if set(groups) - {""} else {}


def against(rows: Sequence[Row]) -> dict[str, Any]:
    """How far a second backend's results are from the first's. PSNR differences are second minus first."""

    def delta(row: Row) -> float:
        assert row.against_psnr is not None
        return 0.0 if row.against_psnr == row.psnr_after else row.against_psnr - row.psnr_after

    farthest = max(rows, key=lambda row: row.against_difference or 0.0)
    most = max(rows, key=lambda row: abs(delta(row)))
    return {
        "worst_difference": farthest.against_difference,
        "worst_image": farthest.name,
        "mean_delta_psnr": statistics.fmean(delta(row) for row in rows),
        "worst_delta_psnr": delta(most),
        "worst_delta_psnr_image": most.name,
        "seconds": statistics.fmean(row.against_seconds or 0.0 for row in rows),
    }


def timing(rows: Sequence[Row]) -> dict[str, float]:
    """Seconds. Decoding, metrics and writing run in threads beside the model: what they took adds up to more
    than the clock's total, which is that of all sittings of a resumed evaluation."""

    def total(part: Callable[[Row], float | None]) -> float:
        return math.fsum(part(row) or 0.0 for row in rows)

    clock, model = total(lambda row: row.total_seconds), total(lambda row: row.model_seconds)
    return {
        "total": clock,
        "model": model,
        "model_mean": model / len(rows),
        "model_median": statistics.median(row.model_seconds for row in rows),
        "against": total(lambda row: row.against_seconds),
        "decoding": total(lambda row: row.decode_seconds),
        "metrics": total(lambda row: row.metrics_seconds),
        "writing": total(lambda row: row.write_seconds),
        "model_share": model / clock if clock > 0 else 1.0,
    }


def data_sha256(rows: Sequence[Row]) -> str:
    """Over one line an image, in order of the names' bytes: name, SHA-256 of the blurred file, SHA-256 of the
    sharp one, with tabs between and a line feed at the end."""
    lines = [
        b"\t".join([row.name.encode("utf-8", "surrogateescape"), *hashes]) + b"\n"
        for row in rows
        for hashes in [(row.blur_sha256.encode(), row.sharp_sha256.encode())]
    ]
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


def names_sha256(names: Sequence[str]) -> str:
    """Over the names in order, a line each."""
    text = "".join(f"{name}\n" for name in names)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def plain(value: Any) -> Any:
    """`value` for JSON, which has no infinity: "inf", and null for what is no number."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def _is_finite(row: Row) -> bool:
    return all(math.isfinite(getattr(row, name)) for name in MEANS)
