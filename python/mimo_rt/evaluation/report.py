"""The report of an evaluation as one HTML file that needs nothing else: figures, plot, crops, table."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mimo_rt.evaluation.crops import Crop
from mimo_rt.evaluation.scatter import scatter
from mimo_rt.evaluation.table import Row

_OPEN_ROWS = 60
"""A table of more images is folded."""

_STYLE = """\
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; background: #fff; max-width: 1240px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #d9dee5; padding-bottom: .2rem; }
p { margin: .4rem 0; }
.notice { border-left: 4px solid #c98a00; background: #fdf6e3; padding: .5rem .9rem; margin: .8rem 0; }
.notice.good { border-color: #1b7f3b; background: #eaf6ee; }
.notice.bad { border-color: #b3261e; background: #fbebea; }
.beside { display: flex; flex-wrap: wrap; gap: 1.5rem 3rem; align-items: flex-start; }
table { border-collapse: collapse; }
th, td { padding: .18rem .7rem; text-align: right; border-bottom: 1px solid #e8ebf0;
  font-variant-numeric: tabular-nums; }
th { font-weight: 600; color: #4a5666; border-bottom-color: #b9c2ce; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; overflow-wrap: anywhere; }
.text { text-align: left; overflow-wrap: anywhere; }
td.name { white-space: nowrap; vertical-align: top; }
.up { color: #1b7f3b; } .down { color: #b3261e; }
svg { max-width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: #4a5666; }
svg .label { fill: #1c2430; font-weight: 600; paint-order: stroke; stroke: #fff; stroke-width: 3px; }
svg .grid { stroke: #e3e7ed; } svg .same { stroke: #8a96a6; stroke-dasharray: 5 4; }
svg .dot { fill: #2367b5; fill-opacity: .55; } svg .ring { fill: none; stroke: #1c2430; stroke-width: 1.5; }
.crops { display: flex; flex-wrap: wrap; gap: 8px; margin: .3rem 0 1.2rem; }
.crops figure { margin: 0; max-width: 100%; }
.crops img { display: block; image-rendering: pixelated; max-width: 100%; height: auto; }
figcaption, .small { color: #4a5666; font-size: .86rem; }
summary { cursor: pointer; }
code { font-size: .86em; overflow-wrap: anywhere; }
"""


def page(summary: Mapping[str, Any], rows: Sequence[Row], crops: Sequence[Crop]) -> str:
    """The whole file. summary: what summary.json holds; rows: at least one."""
    title = f"{summary['model']['name']} on {summary['data']['name']}"
    marked: dict[str, str] = {}
    for crop in crops:
        marked[crop.row.name] = ", ".join(filter(None, [marked.get(crop.row.name), crop.label]))
    body = [
        f"<h1>{escape(title)}</h1>",
        _head(summary),
        _notices(summary),
        "<h2>Figures</h2>",
        '<div class="beside">',
        _figures(summary["results"]),
        _against(summary.get("against")),
        "</div>",
        "<h2>Before and after</h2>",
        '<div class="beside">',
        f"<div>{scatter(rows, marked)}"
        '<p class="small">A dot an image; on the dashed line nothing would have changed.</p></div>',
        _scenes(summary["scenes"]),
        "</div>",
        "<h2>Where the network changed most</h2>",
        *(_crop(crop) for crop in crops),
        "<h2>Time</h2>",
        _times(summary["timing"]),
        "<h2>Images</h2>",
        _rows(rows),
        "<h2>How this was measured</h2>",
        _facts(summary),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _head(summary: Mapping[str, Any]) -> str:
    backend, results = summary["backend"], summary["results"]
    ensemble = summary["options"]["ensemble"]
    parts = [
        f"{results['images']} {'image' if results['images'] == 1 else 'images'}",
        f"{backend['name']} backend, {backend['precision']}",
        *([f"mean over {ensemble} turns and mirror images"] if ensemble else []),
        f"mimo_rt {summary['versions']['mimo_rt']}",
    ]
    return f'<p class="small">{escape(", ".join(parts))}</p>'


def _notices(summary: Mapping[str, Any]) -> str:
    verdict, standing = summary["verdict"], summary["standing"]
    complete = standing["kind"] == "complete" and not summary["data"]["gamma"]
    found = [("good" if complete else "", standing["sentence"])]
    if summary["input_note"]:
        found.append(("bad", summary["input_note"]))
    if verdict is not None:
        found.append(("good" if verdict["reproduced"] else "bad", f"Verdict: {verdict['sentence']}."))
    if summary["failures"]:
        names = "; ".join(f"{f['name']}: {f['error']}" for f in summary["failures"])
        found.append(("bad", f"Not evaluated: {names}"))
    if summary["results"]["identical"]:
        count = summary["results"]["identical"]
        found.append(("", f"{count} of the images with an infinite PSNR: left out of the means."))
    return "\n".join(f'<p class="notice {kind}">{escape(text)}</p>' for kind, text in found)


def _figures(results: Mapping[str, Any]) -> str:
    lines = []
    for label, key, digits in (
        ("PSNR, dB", "psnr", 3),
        ("SSIM", "ssim", 4),
        ("PSNR of 8-bit pixels, dB", "psnr_8bit", 3),
        ("SSIM of 8-bit pixels", "ssim_8bit", 4),
    ):
        measure, _, bits = key.partition("_")
        names = [f"{measure}_{when}" + (f"_{bits}" if bits else "") for when in ("before", "after")]
        before, after = results[names[0]], results[names[1]]
        lines.append(
            f"<tr><td>{label}</td><td>{before:.{digits}f}</td><td><b>{after:.{digits}f}</b></td>"
            f"{_signed(0.0 if after == before else after - before, digits)}</tr>"
        )
    return (
        "<table><tr><th>mean over images</th><th>blurred</th><th>deblurred</th><th>gain</th></tr>"
        f"{''.join(lines)}</table>"
    )


def _against(against: Mapping[str, Any] | None) -> str:
    if against is None:
        return ""
    rows = [
        ("largest pixel difference, of 1", f"{against['worst_difference']:.2e}", against["worst_image"]),
        ("PSNR, mean difference, dB", f"{against['mean_delta_psnr']:+.2e}", ""),
        (
            "PSNR, worst difference, dB",
            f"{against['worst_delta_psnr']:+.2e}",
            against["worst_delta_psnr_image"],
        ),
    ]
    cells = "".join(
        f'<tr><td>{name}</td><td>{value}</td><td class="text">{escape(image)}</td></tr>'
        for name, value, image in rows
    )
    head = f'<th>against {escape(against["label"])}</th><th></th><th class="text">image</th>'
    return f"<table><tr>{head}</tr>{cells}</table>"


def _scenes(scenes: Mapping[str, Mapping[str, Any]]) -> str:
    if not scenes:
        return ""
    lines = "".join(
        f"<tr><td>{escape(name or 'not known')}</td><td>{means['images']}</td>"
        f"<td>{means['psnr_before']:.2f}</td><td>{means['psnr_after']:.2f}</td>{_signed(means['gain'], 2)}"
        f"<td>{means['ssim_after']:.4f}</td></tr>"
        for name, means in scenes.items()
    )
    return (
        "<table><tr><th>scene</th><th>images</th><th>blurred, dB</th><th>deblurred, dB</th><th>gain, dB</th>"
        f"<th>SSIM</th></tr>{lines}</table>"
    )


def _crop(crop: Crop) -> str:
    row = crop.row
    figures = "".join(
        f'<figure><img width="{2 * crop.width}" height="{2 * crop.height}" alt="{what}" '
        f'src="data:image/png;base64,{base64.b64encode(data).decode()}"><figcaption>{what}{psnr}</figcaption>'
        "</figure>"
        for what, psnr, data in zip(
            ("blurred", "deblurred", "sharp"),
            (f", {row.psnr_before:.2f} dB", f", {row.psnr_after:.2f} dB", ""),
            crop.pictures,
            strict=True,
        )
    )
    return (
        f"<p><b>{escape(crop.label)}</b> {escape(row.name)} <span class='small'>({row.gain:+.2f} dB; "
        f"{crop.width}x{crop.height} pixels at {crop.left}, {crop.top}, drawn twice as large; the figures "
        f"are the whole image's)</span></p><div class='crops'>{figures}</div>"
    )


def _times(timing: Mapping[str, float]) -> str:
    lines = [
        ("the model", timing["model"]),
        *([("the model beside it", timing["against"])] if timing["against"] else []),
        ("reading files", timing["decoding"]),
        ("PSNR and SSIM", timing["metrics"]),
        *([("writing images", timing["writing"])] if timing["writing"] >= 0.01 else []),
        ("by the clock, in all", timing["total"]),
    ]
    cells = "".join(f"<tr><td>{name}</td><td>{seconds:.2f}</td></tr>" for name, seconds in lines)
    return (
        f"<table><tr><th></th><th>seconds</th></tr>{cells}</table>"
        f'<p class="small">The model took {timing["model_median"]:.3f} s an image (median) and '
        f"{timing['model_share']:.0%} of the clock's time. Reading, measuring and writing go on in threads "
        "beside it, so the parts add up to more than the whole.</p>"
    )


def _rows(rows: Sequence[Row]) -> str:
    lines = "\n".join(
        f"<tr><td>{escape(row.name)}</td><td>{row.psnr_before:.2f}</td><td>{row.psnr_after:.2f}</td>"
        f"{_signed(row.gain, 2)}<td>{row.ssim_before:.4f}</td><td>{row.ssim_after:.4f}</td>"
        f"<td>{row.psnr_after_8bit:.2f}</td><td>{row.model_seconds:.2f}</td></tr>"
        for row in rows
    )
    return (
        f"<details{' open' if len(rows) <= _OPEN_ROWS else ''}><summary>{len(rows)} of them</summary>"
        "<table><tr><th>image</th><th>PSNR<br>blurred</th><th>PSNR<br>deblurred</th><th>gain</th>"
        "<th>SSIM<br>blurred</th><th>SSIM<br>deblurred</th><th>PSNR<br>8-bit</th><th>seconds</th></tr>\n"
        f"{lines}</table></details>"
    )


def _facts(summary: Mapping[str, Any]) -> str:
    """Everything else, as it stands in the summary."""
    sections = (
        "model",
        "backend",
        "against_backend",
        "data",
        "options",
        "protocol",
        "machine",
        "versions",
    )
    lines = []
    for section in sections:
        for key, value in (summary.get(section) or {}).items():
            if value in ("", None, False, {}, []) or key == "metadata":
                continue
            text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
            name = f"{section}: {key}".replace("_", " ")
            cells = f'<td class="name">{escape(name)}</td><td class="text"><code>{escape(text)}</code></td>'
            lines.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    kind = "" if not text.strip("+-0.") else "up" if value > 0 else "down"
    return f'<td class="{kind}">{text}</td>'
