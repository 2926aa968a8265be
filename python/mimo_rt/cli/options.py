"""Option types that several verbs share; each raises with a sentence that argparse shows."""

from __future__ import annotations

import argparse
import re

from mimo_rt.sizes import parse_bytes


def count(text: str) -> int:
    """A whole number, 0 or more."""
    if not re.fullmatch(r"\d{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def at_least_one(text: str) -> int:
    """A whole number, 1 or more."""
    value = count(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return value


def pixels(text: str) -> int:
    """A number of pixels: "500000000", "500M" (millions), "1.5G"."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)([kMG]?)", text)
    value = int(float(match[1]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[match[2]]) if match else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels; write, for example, 500M")
    return value


def memory(text: str) -> int:
    """An amount of memory: "512M"."""
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def strength(text: str) -> float:
    """0 to 1.5."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.5:
        raise argparse.ArgumentTypeError(f"{text!r} is not a strength; it goes from 0 to 1.5")
    return value


def scale(text: str) -> float | str:
    """1, 0.5, 0.25 or "auto"."""
    if text == "auto":
        return text
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value not in (1.0, 0.5, 0.25):
        raise argparse.ArgumentTypeError(f"{text!r} is not a scale; it is 1, 0.5, 0.25 or auto")
    return value


def quality(text: str) -> int:
    """1 to 100."""
    value = count(text)
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a quality; it goes from 1 to 100")
    return value


def tile(text: str) -> int | tuple[int, int] | str:
    """A side in pixels, HEIGHTxWIDTH or "auto"."""
    return text if text == "auto" else sides(text)


def sides(text: str) -> int | tuple[int, int]:
    """A side in pixels, or HEIGHTxWIDTH."""
    return size(text) if "x" in text else at_least_one(text)


def size(text: str) -> tuple[int, int]:
    """ "720x1280", "1x3x720x1280" or "image:1x3x720x1280" as (height, width)."""
    match = re.fullmatch(r"(?:[^:]+:)?(?:1x3x)?(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 720x1280")
    height, width = int(match[1]), int(match[2])
    if not (1 <= height < 1 << 20 and 1 <= width < 1 << 20):
        raise argparse.ArgumentTypeError(f"{text!r}: sides must be between 1 and {(1 << 20) - 1}")
    return height, width
