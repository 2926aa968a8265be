"""The drawing of a training curve."""

from __future__ import annotations

from pathlib import Path

from train.curve import draw, read


def test_curve_is_drawn_from_what_fit_writes(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(
        "step,minutes,progress,loss,mild,heavy,gopro,reds,sharp\n"
        "0,0.0,0.0,nan,0.0,0.0,,0.0,100.0\n"
        "90,5.0,0.5,0.3,0.1,0.2,,-0.1,50.0\n"
    )
    rows = read(path)
    assert rows[0].keys() == {"step", "minutes", "progress", "mild", "heavy", "reds", "sharp"}
    picture = draw(rows)
    colours = {colour for _, colour in picture.getcolors(1 << 20) or []}
    assert (0x1B, 0x7F, 0x3B) in colours  # mild
    assert (0x24, 0x56, 0xA6) not in colours  # no figures for the GoPro subset
    assert draw(rows[:1]).size == picture.size
