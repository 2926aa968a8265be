"""Downloads that go on where they were cut, never exceed their bound and never leave http and https.

A server is taken for hostile: redirects are counted and may not lead away from https, nothing is taken that
is longer than announced or allowed, and a web page in place of a file is told from one. What was loaded is
kept with what the server said about it (its ETag or date); the rest is asked for on the condition that this
has not changed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from io import BytesIO
from pathlib import Path
from typing import IO, BinaryIO
from urllib.parse import urlsplit

from mimo_rt.errors import ModelError, make
from mimo_rt.temporary import temporary_beside
from mimo_rt.untrusted import json_object, plain, read_limited

TIMEOUT = 30.0
"""Seconds without a byte after which a server is given up."""
ATTEMPTS = 4
PAUSE = 1.0
"""Seconds before a second attempt, doubled for each further one."""
MAX_REDIRECTS = 5
_CHUNK = 1 << 18
_MAX_STATE_BYTES = 1 << 14
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{1,200}")

Progress = Callable[[float], object]
"""Called with the fraction done."""


def check_address(url: object) -> str:
    """The address itself; ModelError ("model.address") where it is no http or https address."""
    if isinstance(url, str) and len(url) <= 2000 and re.fullmatch(r"https?://[\x21-\x7e]+", url):
        with contextlib.suppress(ValueError):
            parts = urlsplit(url)
            _ = parts.port  # ValueError where it is no number
            if parts.hostname and "@" not in parts.netloc:
                return url
    raise make(
        ModelError, "model.address", f"{plain(str(url))[:200]!r} is no address that begins with http or https"
    )


def download(
    url: str,
    file: BinaryIO,
    state: Path,
    *,
    limit: int,
    size: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Bring what lies at `url` into `file`, open to read and write and maybe holding the beginning of it.

    state: where it is kept what the server said about that beginning. limit: the most bytes that are taken.
    size: how many there must be, where that is known.

    Raises ModelError: "model.download" (whatever arrived stays in `file` for the next time), "model.page"
    where a web page came, "model.too_large", "model.address".
    """
    check_address(url)
    for attempt in range(ATTEMPTS):
        try:
            _attempt(url, file, state, limit, size, progress)
            return
        except _CutError as cut:
            if attempt + 1 == ATTEMPTS:
                raise make(ModelError, "model.download", f"{_host(url)} broke off: {cut}") from None
        time.sleep(PAUSE * 2**attempt)


def download_small(url: str, limit: int) -> bytes:
    """What lies at `url`, at most `limit` bytes; ModelError otherwise."""
    check_address(url)
    buffer = BytesIO()
    try:
        with _open(url, {}) as response:
            _check_size(url, _length(response), None, limit)
            _receive(response, buffer, 0, _length(response), limit, None)
    except (_CutError, _RangeError) as error:
        raise make(ModelError, "model.download", f"{_host(url)} broke off: {error}") from None
    return buffer.getvalue()


def clear(file: BinaryIO, state: Path) -> None:
    """Forget what was loaded."""
    state.unlink(missing_ok=True)
    file.seek(0)
    file.truncate()


class _CutError(Exception):
    """The connection ended before the file did."""


@dataclass(frozen=True)
class _State:
    """What the server said about the file that a beginning is of."""

    url: str
    etag: str | None
    modified: str | None
    total: int | None

    @property
    def validator(self) -> str | None:
        """What tells that the file is the same byte for byte; a weak ETag does not."""
        return self.modified if self.etag is None or self.etag.startswith("W/") else self.etag


def _attempt(
    url: str, file: BinaryIO, state: Path, limit: int, size: int | None, progress: Progress | None
) -> None:
    have = file.seek(0, 2)
    known = _read_state(state)
    if known is None or known.url != url or known.validator is None or have > limit:
        known, have = None, 0
    if known is not None and have > 0:
        if have == known.total:
            return
        headers = {"Range": f"bytes={have}-", "If-Range": known.validator or ""}
    else:
        headers = {}
    try:
        response = _open(url, headers)
    except _RangeError:
        clear(file, state)
        raise _CutError("the file is shorter than it was") from None
    with response:
        now = _State(url, _header(response.headers, "ETag"), _header(response.headers, "Last-Modified"), None)
        if response.status == 206:
            sent = re.fullmatch(
                r"bytes (\d{1,19})-\d{1,19}/(\d{1,19})", response.headers.get("Content-Range", "")
            )
            # An answer to a part need not repeat all that the answer to the whole said.
            said = () if known is None else ((now.etag, known.etag), (now.modified, known.modified))
            changed = known is None or any(new and new != old for new, old in said)
            if sent is None or int(sent[1]) != have or changed:
                clear(file, state)
                raise _CutError("the file has changed meanwhile")
            total: int | None = int(sent[2])
        else:
            have, total = 0, _length(response)
        _check_size(url, total, size, limit)
        if total is None and size is None and not response.chunked:
            raise make(
                ModelError, "model.download", f"{_host(url)} does not say how long the file is: not taken"
            )

        def begin() -> None:
            if have == 0:
                clear(file, state)
                text = json.dumps({"url": url, "etag": now.etag, "modified": now.modified, "total": total})
                with temporary_beside(state, text.encode()) as temporary:
                    temporary.replace(state)
            file.seek(have)

        _receive(response, file, have, total, limit, progress, begin)
        if size is not None and file.tell() != size:
            raise _CutError(f"{file.tell()} bytes came of {size}")


def _receive(
    response: http.client.HTTPResponse,
    file: IO[bytes],
    have: int,
    total: int | None,
    limit: int,
    progress: Progress | None,
    begin: Callable[[], None] = lambda: None,
) -> None:
    """The body of an answer into `file`; `begin` is called before the first byte is written, once it is
    clear that it is no web page."""
    first = True
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _CutError(_reason(error)) from error
        if first and have == 0:
            kind = response.headers.get_content_type()
            if kind == "text/html" or re.match(
                rb"(\xef\xbb\xbf)?\s*<(!doctype|html)\b", chunk[:512], re.IGNORECASE
            ):
                raise make(ModelError, "model.page", "there is a web page in place of the file")
        if first:
            begin()
            first = False
        if not chunk:
            break
        have += len(chunk)
        if have > limit or (total is not None and have > total):
            raise make(ModelError, "model.too_large", f"more than {total or limit} bytes came: not taken")
        file.write(chunk)
        if progress is not None and total:
            progress(have / total)
    if total is not None and have < total:
        raise _CutError(f"{have} bytes came of {total}")


class _RangeError(Exception):
    """The server has nothing where the rest of the file should begin."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = MAX_REDIRECTS
    max_repeats = MAX_REDIRECTS

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        # Else the body, of any length, would be read.
        fp.close()
        check_address(newurl)
        if req.type == "https" and not newurl.startswith("https:"):
            raise make(ModelError, "model.address", f"{req.host} leads away from https: not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _opener() -> urllib.request.OpenerDirector:
    """Knows http and https, the system's proxies, and bounded redirects; no files, no FTP, no cookies, no
    passwords."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _open(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """The answer of a server that has the file, its body not read yet."""
    agent = {"User-Agent": "mimo_rt", "Accept-Encoding": "identity"}
    try:
        response = _opener().open(urllib.request.Request(url, headers=agent | headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            raise _RangeError from None
        what = (
            "leads round in a circle, or not to an http address"
            if 300 <= error.code < 400
            else f"answers {error.code} {plain(str(error.reason))[:100]}"
        )
        raise make(ModelError, "model.download", f"{_host(url)} {what}") from None
    except urllib.error.URLError as error:
        raise make(
            ModelError, "model.download", f"{_host(url)} cannot be reached: {_reason(error)}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(_reason(error)) from error
    except ValueError as error:  # of an address that is none, the first one or one that it leads to
        raise make(ModelError, "model.address", f"{_host(url)} leads to no sound address: {error}") from error
    assert isinstance(response, http.client.HTTPResponse)
    if (
        response.status not in (200, 206)
        or response.headers.get("Content-Encoding", "identity") != "identity"
    ):
        response.close()
        raise make(
            ModelError, "model.download", f"{_host(url)} sends something else than the file: not taken"
        )
    return response


def _length(response: http.client.HTTPResponse) -> int | None:
    """The announced length of a body."""
    text = response.headers.get("Content-Length", "")
    return int(text) if not response.chunked and re.fullmatch(r"\d{1,19}", text) else None


def _check_size(url: str, total: int | None, size: int | None, limit: int) -> None:
    if total is not None and size is not None and total != size:
        raise make(
            ModelError,
            "model.download",
            f"{_host(url)} has {total} bytes where {size} are expected: not taken",
        )
    if total is not None and total > limit:
        raise make(
            ModelError, "model.too_large", f"{_host(url)} has {total} bytes, more than the {limit} allowed"
        )


def _read_state(path: Path) -> _State | None:
    """What was kept about a beginning; None where nothing was, or nothing that makes sense."""
    try:
        entry = json_object(read_limited(path, _MAX_STATE_BYTES))
    except (OSError, ValueError):
        return None
    url, etag, modified, total = (entry.get(key) for key in ("url", "etag", "modified", "total"))
    if not isinstance(url, str) or not (total is None or type(total) is int):
        return None
    for value in (etag, modified):
        if value is not None and not (isinstance(value, str) and _HEADER_VALUE.fullmatch(value)):
            return None
    return _State(url, etag, modified, total)


def _header(headers: Message, name: str) -> str | None:
    value = headers.get(name)
    return value if value is not None and _HEADER_VALUE.fullmatch(value) else None


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the server"


def _reason(error: BaseException) -> str:
    """A few words on what went wrong in a connection."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, OSError):
        return plain(inner.strerror or str(inner)) or type(inner).__name__
    return plain(str(inner))[:200] or type(inner).__name__
