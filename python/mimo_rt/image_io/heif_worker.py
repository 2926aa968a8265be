"""The process that decodes one HEIC file: the decoder is C++ that damaged files have made crash, so it works
apart and has nothing to take with it.

    python -I heif_worker.py MAX_PIXELS SYS_PATH... < photo.heic > decoded

`decoded` is a line of JSON and what it announces: EXIF, XMP, ICC profile, rows of pixels, of the lengths that
stand there. Nothing of mimo_rt is imported, which would cost more than the work.
"""

import io
import json
import sys
from importlib import import_module
from typing import Any


def main() -> None:
    sys.path[:] = sys.argv[2:]
    out = sys.stdout.buffer
    try:
        head, parts = decoded(sys.stdin.buffer.read(), int(sys.argv[1]))
    except MemoryError:
        head, parts = {"error": "it takes more memory than there is"}, []
    except Exception as error:  # the library raises nearly everything there is
        head, parts = {"error": str(error) or type(error).__name__}, []
    out.write(json.dumps({**head, "lengths": [len(part) for part in parts]}).encode() + b"\n")
    for part in parts:
        out.write(part)
    out.flush()


def decoded(data: bytes, max_pixels: int) -> tuple[dict[str, Any], list[bytes]]:
    """What there is to say about the main picture, and its parts; no pixels where it has more than
    `max_pixels`."""
    library = import_module("pi_heif")
    for unused in ("THUMBNAILS", "DEPTH_IMAGES", "AUX_IMAGES"):
        setattr(library.options, unused, False)
    file = library.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    image = file[file.primary_index]
    info = image.info
    colours = info.get("nclx_profile") or {}
    pixels = b"" if image.size[0] * image.size[1] > max_pixels else bytes(image.data)
    head = {
        "size": image.size,  # as decoded, which is what counts
        "mode": image.mode,
        "stride": image.stride if pixels else 0,
        "pictures": len(file),
        "bits": info.get("bit_depth"),
        "colours": [colours.get("color_primaries", 2), colours.get("transfer_characteristics", 2)],
    }
    return head, [bytes(info.get(key) or b"") for key in ("exif", "xmp", "icc_profile")] + [pixels]


if __name__ == "__main__":
    main()
