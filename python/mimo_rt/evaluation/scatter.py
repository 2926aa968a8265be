"""A scatter plot as inline SVG: PSNR after over PSNR before, a dot an image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from mimo_rt.evaluation.table import Row

WIDTH, HEIGHT = 560, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 42


def scatter(rows: Sequence[Row], marked: Mapping[str, str]) -> str:
    """An <svg> element. Images with an infinite PSNR have no place in it. marked: labels of some images, by
    name, which get a ring and are written beside it."""
    shown = [row for row in rows if math.isfinite(row.psnr_before) and math.isfinite(row.psnr_after)]
    if not shown:
        return ""
    x_low, x_high, x_ticks = _axis([row.psnr_before for row in shown])
    y_low, y_high, y_ticks = _axis([row.psnr_after for row in shown])
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM

    def x_of(value: float) -> float:
        return _LEFT + (value - x_low) / (x_high - x_low) * (right - _LEFT)

    def y_of(value: float) -> float:
        return bottom - (value - y_low) / (y_high - y_low) * (bottom - _TOP)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        'aria-label="PSNR after over PSNR before">',
        f'<clipPath id="plot"><rect x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" '
        f'height="{bottom - _TOP}"/></clipPath>',
    ]
    for tick in x_ticks:
        x = f"{x_of(tick):.1f}"
        parts.append(f'<line class="grid" x1="{x}" y1="{_TOP}" x2="{x}" y2="{bottom}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    for tick in y_ticks:
        y = f"{y_of(tick):.1f}"
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y}" x2="{right}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y}" dy="4" text-anchor="end">{tick:g}</text>')
    middle_x, middle_y = (_LEFT + right) / 2, (_TOP + bottom) / 2
    parts.append(
        f'<text x="{middle_x:g}" y="{HEIGHT - 6}" text-anchor="middle">blurred, dB</text>'
        f'<text transform="translate(14 {middle_y:g}) rotate(-90)" text-anchor="middle">deblurred, dB</text>'
    )
    low, high = min(x_low, y_low), max(x_high, y_high)
    parts.append(
        f'<line class="same" clip-path="url(#plot)" x1="{x_of(low):.1f}" y1="{y_of(low):.1f}" '
        f'x2="{x_of(high):.1f}" y2="{y_of(high):.1f}"><title>no change</title></line>'
    )
    for row in shown:
        at = f'cx="{x_of(row.psnr_before):.1f}" cy="{y_of(row.psnr_after):.1f}"'
        title = f"{row.name}: {row.psnr_before:.2f} to {row.psnr_after:.2f} dB"
        parts.append(f'<circle class="dot" {at} r="3.5"><title>{escape(title)}</title></circle>')
        if row.name in marked:
            parts.append(f'<circle class="ring" {at} r="7"/>')
            left_side = x_of(row.psnr_before) > middle_x
            shift, anchor = (-11, "end") if left_side else (11, "start")
            parts.append(
                f'<text class="label" x="{x_of(row.psnr_before) + shift:.1f}" '
                f'y="{y_of(row.psnr_after):.1f}" dy="4" text-anchor="{anchor}">'
                f"{escape(marked[row.name])}</text>"
            )
    parts.append("</svg>")
    return "\n".join(parts)


def _axis(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Lowest and highest value of an axis that holds all values, and where its lines are."""
    low, high = min(values), max(values)
    span = max(high - low, 0.5)
    raw = span / 5
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw)
    first, last = math.floor((low - 0.03 * span) / step), math.ceil((high + 0.03 * span) / step)
    return first * step, last * step, [round(i * step, 6) for i in range(first, last + 1)]
