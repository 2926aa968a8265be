"""Photo files: read with all that belongs to the photo, written back with it, never half and never over
another.

PNG, JPEG, WebP, TIFF and BMP; HEIC and AVIF are read. EXIF, ICC profile, XMP and resolution travel along;
the orientation tag is applied once. 16-bit grey works with Pillow alone, HEIC (`heif.py`) and 16-bit colour
through the extra `formats` (imagecodecs for PNG, tifffile for TIFF: one upstream, released several times a
year, wheels for every platform; Pillow has no 16-bit colour, and OpenCV would drop profiles). Without the
extra such a file is an error; Pillow would cut 16 bits to 8 in silence.
"""

from mimo_rt.image_io.formats import FORMATS, format_of, is_image_name
from mimo_rt.image_io.picture import Metadata, Picture
from mimo_rt.image_io.read import DEFAULT_MAX_PIXELS, read, read_bytes
from mimo_rt.image_io.replace import NO_SPACE, check_place, write_file
from mimo_rt.image_io.write import check_writable, encode

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "FORMATS",
    "NO_SPACE",
    "Metadata",
    "Picture",
    "check_place",
    "check_writable",
    "encode",
    "format_of",
    "is_image_name",
    "read",
    "read_bytes",
    "write_file",
]
