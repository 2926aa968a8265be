"""A photo as it came out of a file: pixels, and all that must travel with them into the next file."""

from __future__ import annotations

from dataclasses import dataclass, field

from mimo_rt.pixels import Pixels


@dataclass
class Metadata:
    """What describes the pixels but is not pixels. All of it describes upright pixels: orientation is 1."""

    exif: bytes | None = None
    """A TIFF structure, as in JPEG's APP1 after "Exif", with byte order mark first."""
    icc: bytes | None = None
    xmp: bytes | None = None
    comment: bytes | None = None
    """JPEG's own."""
    iptc: list[bytes] = field(default_factory=list)
    """JPEG: segments APP13, where captions, names and rights are (Photoshop's resources, IPTC)."""
    dpi: tuple[float, float] | None = None
    """Pixels an inch, along width and height."""
    png_chunks: list[tuple[bytes, bytes]] = field(default_factory=list)
    """(type, data) of further chunks, for PNG, that hold true of the result: colour space and texts."""


@dataclass
class Picture:
    """pixels: uint8 or uint16, H x W (grey) or H x W x C with C = 2 (grey, alpha), 3 (RGB), 4 (RGB, alpha),
    upright."""

    pixels: Pixels
    format: str
    metadata: Metadata
    quality: int | None = None
    """JPEG: the quality that its quantisation tables speak of."""
    subsampling: int | None = None
    """JPEG: 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0."""
    progressive: bool = False
    lossless: bool = True
    notes: list[str] = field(default_factory=list)
    """What the user should know about how it was read: clauses without a final stop."""

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        return 1 if self.pixels.ndim == 2 else int(self.pixels.shape[2])

    @property
    def bits(self) -> int:
        return int(self.pixels.dtype.itemsize) * 8

    @property
    def kind(self) -> str:
        """For people: "RGB 8-bit"."""
        return f"{('grey', 'grey+alpha', 'RGB', 'RGBA')[self.channels - 1]} {self.bits}-bit"
