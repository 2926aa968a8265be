"""`mimo-rt models pull`: what a network, a server and a registry can do to a download, and what not."""

from __future__ import annotations

import contextlib
import errno
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import onnx
import onnx_models
import pytest

import mimo_rt
from mimo_rt import ModelError
from mimo_rt.cli import main
from mimo_rt.models import download, folder, pull, registry
from mimo_rt.models.registry import Published


@dataclass
class Web:
    """A server on this machine: what it gives, how it misbehaves, and what it was asked for."""

    data: bytes
    address: str = ""
    etag: str | None = '"one"'
    kind: str = "application/octet-stream"
    cut_after: list[int] = field(default_factory=list)
    """Bytes of the body after which the connection ends, for the first requests."""
    ranges: bool = True
    conditions: bool = True
    """Whether the rest is only given of the file that was asked for."""
    length: bool = True
    status: int = 200
    extra: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    asked: list[dict[str, str]] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append({"path": handler.path, **{k.lower(): v for k, v in handler.headers.items()}})
        if handler.path.startswith("/redirect"):
            handler.send_response(302)
            handler.send_header("Location", self.extra["Location"])
            handler.end_headers()
            if handler.path.endswith("endless"):
                with contextlib.suppress(OSError):
                    while True:
                        handler.wfile.write(bytes(1 << 16))
            return
        # All that a test may change is read before the client can see anything of the answer.
        cut = self.cut_after.pop(0) if self.cut_after else None
        hold = self.hold
        begin, status = 0, self.status
        wanted = handler.headers.get("Range")
        same = handler.headers.get("If-Range") == self.etag or not self.conditions
        if wanted and self.ranges and same:
            begin, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
        body = self.data[begin:]
        handler.send_response(416 if status == 206 and not body else status)
        handler.send_header("Content-Type", self.kind)
        if self.length:
            handler.send_header("Content-Length", str(len(body)))
        if status == 206:
            handler.send_header("Content-Range", f"bytes {begin}-{len(self.data) - 1}/{len(self.data)}")
        if self.etag:
            handler.send_header("ETag", self.etag)
        for key, value in self.extra.items():
            handler.send_header(key, value)
        handler.end_headers()
        handler.wfile.write(body[:cut])
        if hold is not None:
            handler.wfile.flush()
            hold.wait(60)
        handler.close_connection = True


@pytest.fixture
def web(model_file: Path) -> Iterator[Web]:
    web = Web(model_file.read_bytes())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield web
    if web.hold is not None:
        web.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, models_folder: Path) -> None:
    """No waiting between attempts, no proxy, and a folder of each test's own."""
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def offer(web: Web, tmp_path: Path) -> Callable[..., str]:
    """Writes a registry that offers "net" and returns its path; keywords replace fields."""

    def write(**fields: object) -> str:
        path = tmp_path / "registry.json"
        model = {"name": "net", "url": f"{web.address}/net.onnx", **fields}
        path.write_text(json.dumps({"format": 1, "models": [model]}))
        return str(path)

    return write


def fetch(where: str, **options: Any) -> folder.UserModel:
    return pull.pull(registry.find("net", where), **options)


def code(where: str, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        fetch(where, **options)
    return caught.value.code


def left(models_folder: Path, suffix: str) -> list[Path]:
    return [path for path in models_folder.iterdir() if path.suffix == suffix]


def test_a_pulled_model_works_by_its_name(
    web: Web, offer: Callable[..., str], models_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"sha256": sha256(web.data).hexdigest(), "bytes": len(web.data)}
    where = offer(**known, licence="CC0-1.0", psnr="31 dB", notes="Hear!")
    assert main(["models", "pull", "--registry", where]) == 0
    assert "net" in capsys.readouterr().out
    assert main(["models", "pull", "--registry", where, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["bytes"] == len(web.data)
    assert main(["models", "pull", "net", "--registry", where, "--json"]) == 0
    said = capsys.readouterr()
    assert "Hear!" in said.err
    assert "licence" not in said.err
    assert json.loads(said.out)["licence"] == "CC0-1.0"
    assert mimo_rt.build("net")
    assert sorted(p.suffix for p in models_folder.iterdir()) == ["", ".json", ".onnx"]
    assert main(["models", "pull", "net", "--registry", where]) == 0
    assert "already" in capsys.readouterr().err
    assert len(web.asked) == 1
    assert main(["models", "pull", "net", "--registry", where, "--force", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["models", "pull", "other", "--registry", where]) == 3
    assert "it has net" in capsys.readouterr().err


def test_a_registry_at_an_address(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    web.data = json.dumps({"format": 1, "models": [{"name": "net", "url": "https://a.example/x"}]}).encode()
    assert main(["models", "pull", "--registry", f"{web.address}/r.json"]) == 0
    assert "net" in capsys.readouterr().out
    web.data = b" " * (registry.MAX_REGISTRY_BYTES + 1)
    with pytest.raises(ModelError) as caught:
        registry.load(f"{web.address}/r.json")
    assert caught.value.code == "model.too_large"
    web.data, web.cut_after = b"{}" * 50, [10]
    with pytest.raises(ModelError) as caught:
        registry.load(f"{web.address}/r.json")
    assert caught.value.code == "model.download"


def test_the_registry_that_ships(capsys: pytest.CaptureFixture[str]) -> None:
    published = {one.name: one for one in registry.load()}
    assert {"mimo-unet-gopro", "mimo-unet-plus-gopro"} <= published.keys()
    for one in published.values():
        assert one.url.startswith("https:")
        assert one.facts.licence is None
        said = " ".join(pull.warnings(one))
        assert "no licence" in said
        assert "no hash" in said


def test_a_cut_connection_is_resumed_at_once(web: Web, offer: Callable[..., str]) -> None:
    web.cut_after = [1000, 500]
    seen: list[float] = []
    model = fetch(offer(), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[0] == 1000 / len(web.data)
    assert seen[-1] == 1.0
    assert model.sha256 == sha256(web.data).hexdigest()
    assert [one.get("range") for one in web.asked] == [None, "bytes=1000-", "bytes=1500-"]
    assert {one.get("if-range") for one in web.asked[1:]} == {'"one"'}


def test_a_cut_download_goes_on_at_the_next_call(
    web: Web, offer: Callable[..., str], models_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web.cut_after = [700] * download.ATTEMPTS
    where = offer(browser="https://a.example/look")
    assert main(["models", "pull", "net", "--registry", where]) == 3
    err = capsys.readouterr().err
    assert "same command goes on" in err
    assert "https://a.example/look" in err
    assert folder.names() == []
    (partial,) = left(models_folder, ".partial")
    assert partial.read_bytes() == web.data[: 700 * download.ATTEMPTS]
    fetch(where)
    assert web.asked[-1]["range"] == f"bytes={700 * download.ATTEMPTS}-"
    assert left(models_folder, ".partial") == []


@pytest.mark.parametrize(
    "behaviour", ["conditions are honoured", "conditions are ignored", "no ranges", "no etag"]
)
def test_a_changed_file_is_begun_again(behaviour: str, web: Web, offer: Callable[..., str]) -> None:
    web.cut_after = [300] * download.ATTEMPTS
    web.etag = None if behaviour == "no etag" else '"one"'
    web.ranges = behaviour != "no ranges"
    web.conditions = behaviour != "conditions are ignored"
    assert code(offer()) == "model.download"
    web.asked.clear()
    web.data = onnx_models.mimo_unet(8, 1, seed=1)
    web.etag = None if behaviour == "no etag" else '"two"'
    assert fetch(offer()).sha256 == sha256(web.data).hexdigest()
    assert ("range" in web.asked[0]) == (behaviour != "no etag")
    assert len(web.asked) == (2 if behaviour == "conditions are ignored" else 1)


def test_an_answer_to_a_part_may_say_less(web: Web, offer: Callable[..., str]) -> None:
    web.extra = {"Last-Modified": "Mon, 01 Jun 2026 10:00:00 GMT"}
    web.cut_after = [300] * download.ATTEMPTS
    assert code(offer()) == "model.download"
    web.asked.clear()
    web.extra = {}
    assert fetch(offer()).sha256 == sha256(web.data).hexdigest()
    assert [asked["range"] for asked in web.asked] == [f"bytes={300 * download.ATTEMPTS}-"]


def test_a_file_that_became_shorter(web: Web, offer: Callable[..., str]) -> None:
    whole = web.data
    web.data, web.cut_after = whole + bytes(5000), [len(whole) + 100] + [0] * download.ATTEMPTS
    assert code(offer()) == "model.download"
    web.data, web.cut_after = whole, []
    assert fetch(offer()).bytes == len(whole)


def test_all_was_there_but_not_yet_added(
    web: Web, offer: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pull, "add_data", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(offer())
    fetch(offer())
    assert len(web.asked) == 1


def test_a_wrong_hash(web: Web, offer: Callable[..., str], models_folder: Path) -> None:
    assert code(offer(sha256="0" * 64)) == "model.hash"
    assert folder.names() == []
    assert left(models_folder, ".state") == left(models_folder, ".pin") == []
    assert code(offer(), accept="0" * 64) == "model.hash"
    assert folder.names() == []


def test_a_hash_is_pinned_at_the_first_time(
    web: Web, offer: Callable[..., str], identity_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["models", "pull", "net", "--registry", offer()]
    first, second = web.data, identity_file.read_bytes()
    assert main(command) == 0
    err = capsys.readouterr().err
    assert "no licence" in err
    assert "no hash" in err
    assert main(["models", "remove", "net"]) == 0
    web.data = second
    capsys.readouterr()
    assert main(command) == 3
    err = capsys.readouterr().err
    digest = sha256(second).hexdigest()
    assert f"--accept {digest}" in err
    assert sha256(first).hexdigest() in err
    assert folder.names() == []
    assert main([*command, "--accept", digest.upper()]) == 0
    assert folder.find("net")
    assert main([*command, "--force"]) == 0  # the new one is pinned now
    web.data = first
    assert main([*command, "--force"]) == 3
    found = folder.find("net")
    assert found is not None
    assert found.sha256 == digest


def test_no_model_is_added_without_its_pin(
    web: Web, offer: Callable[..., str], models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(target: Path, data: bytes) -> Any:
        raise OSError(errno.ENOSPC, "no room", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(pull, "temporary_beside", full)
        assert code(offer()) == "model.folder"
    assert folder.names() == []
    assert left(models_folder, ".pin") == []
    fetch(offer())
    assert len(left(models_folder, ".pin")) == len(folder.names()) == len(web.asked) == 1


def test_a_damaged_pin_is_no_pin_that_lets_all_pass(
    web: Web, offer: Callable[..., str], models_folder: Path
) -> None:
    fetch(offer())
    (pin,) = left(models_folder, ".pin")
    pin.write_text("{}")
    assert code(offer(), replace=True) == "model.pin"


@pytest.mark.parametrize("how", ["type", "content"])
def test_a_web_page_in_place_of_the_file(
    how: str, web: Web, offer: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    where = offer(browser="https://a.example/look")
    whole, web.cut_after = web.data, [500] * download.ATTEMPTS
    assert code(where) == "model.download"
    web.data, web.etag = b"\xef\xbb\xbf \n<!DOCTYPE HTML><title>Too big to scan</title>", None
    web.kind = "text/html; charset=utf-8" if how == "type" else "application/octet-stream"
    assert main(["models", "pull", "net", "--registry", where]) == 3
    err = capsys.readouterr().err
    assert "https://a.example/look" in err
    assert "mimo-rt models add FILE --name net" in err
    web.data, web.etag, web.kind = whole, '"one"', "application/octet-stream"
    fetch(where)
    assert web.asked[-1]["range"] == f"bytes={500 * download.ATTEMPTS}-", "the page took what was there"


def test_too_large(web: Web, offer: Callable[..., str]) -> None:
    size = len(web.data)
    assert code(offer(max_bytes=size - 1)) == "model.too_large"
    assert code(offer(bytes=size - 1)) == "model.download"
    assert code(offer(bytes=size + 1)) == "model.download"
    web.length = False
    assert code(offer(max_bytes=size - 1)) == "model.download", "it does not say how long it is"
    assert code(offer(bytes=size - 1)) == "model.too_large", "only counting tells"
    web.extra = {"Content-Encoding": "gzip"}
    assert code(offer(bytes=size)) == "model.download"
    web.extra = {}
    assert fetch(offer(bytes=size))


def test_what_cannot_be_built_is_not_added_nor_pinned(
    web: Web, offer: Callable[..., str], models_folder: Path
) -> None:
    good, web.data = web.data, b"not a model"
    assert code(offer()).startswith("model.")
    assert folder.names() == []
    assert left(models_folder, ".pin") == []
    network = onnx.load_from_string(good)
    onnx.helper.set_model_props(network, {"mimo_rt.preset": "mimo-unet-s"})
    web.data = network.SerializeToString()
    assert code(offer(preset="mimo-unet-plus")) == "model.preset"
    assert fetch(offer(preset="mimo-unet-s"))


def test_redirects(web: Web, offer: Callable[..., str], tmp_path: Path) -> None:
    where = offer(url=f"{web.address}/redirect")
    web.extra = {"Location": f"{web.address}/redirect"}
    assert code(where) == "model.download"
    assert len(web.asked) <= download.MAX_REDIRECTS + 2
    secret = tmp_path / "secret"
    secret.write_bytes(web.data)
    for place in (f"file://{secret}", "ftp://127.0.0.1/x", "data:text/plain,x"):
        web.extra = {"Location": place}
        assert code(where) in ("model.download", "model.address")
    web.extra = {"Location": f"{web.address}/net.onnx"}
    assert fetch(offer(url=f"{web.address}/redirect-endless"), name="other"), "no body of a redirect is read"
    assert fetch(where)


def test_no_way_from_https_to_http() -> None:
    request = download.urllib.request.Request("https://a.example/x")
    with pytest.raises(ModelError, match="away from https"):
        download._Redirects().redirect_request(
            request, BytesIO(), 302, "", download.Message(), "http://a.example/x"
        )


@pytest.mark.parametrize("status", [404, 403, 429, 500, 204])
def test_a_server_that_has_nothing(status: int, web: Web, offer: Callable[..., str]) -> None:
    web.status = status
    if status == 204:
        web.data = b""
    assert code(offer()) == "model.download"


def test_nobody_answers(
    web: Web, offer: Callable[..., str], models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert code(offer(url="http://127.0.0.1:1/x")) == "model.download"
    assert list(models_folder.iterdir()) == []
    monkeypatch.setattr(download, "TIMEOUT", 0.1)
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    web.hold, web.length, web.extra = threading.Event(), False, {"Content-Length": str(len(web.data) + 1)}
    assert code(offer()) == "model.download"


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "ftp://a.example/x",
        "http:///x",
        "https://me:secret@a.example/x",
        "http://a.example:port/x",
        "http://a.example/a b",
        "http://a.example/\r\nX: y",
        "http://a.example/" + "x" * 3000,
        "/etc/passwd",
        5,
        None,
    ],
)
def test_hostile_addresses(address: object, offer: Callable[..., str]) -> None:
    for key in ("url", "browser"):
        if address is not None or key == "url":
            assert code(offer(**{key: address})) == "model.registry"
    if isinstance(address, str) and "://" in address:
        with pytest.raises(ModelError):
            registry.load(address)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../net"},
        {"name": 5},
        {"sha256": "x"},
        {"bytes": -1},
        {"bytes": 1 << 40},
        {"max_bytes": True},
        {"licence": ["x"]},
        {"notes": "x" * 2000},
    ],
    ids=str,
)
def test_hostile_registries(fields: dict[str, object], offer: Callable[..., str]) -> None:
    assert code(offer(**fields)) == "model.registry"


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100000, '{"format": 2, "models": []}', '{"format": 1, "models": [1]}']
)
def test_no_registries(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    for place in (str(path), str(tmp_path), str(tmp_path / "missing.json")):
        with pytest.raises(ModelError) as caught:
            registry.load(place)
        assert caught.value.code == "model.registry"


def test_a_bundled_name_is_not_taken_over(web: Web, tmp_path: Path) -> None:
    one = Published("mimo-unet-s", web.address, web.address, None, None, 1 << 20, registry.Facts(), None)
    with pytest.raises(ModelError, match="bundled"):
        pull.pull(one)
    assert web.asked == []
    assert pull.pull(one, name="theirs").name == "theirs"


def test_texts_of_a_registry_cannot_play_tricks(
    web: Web, offer: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    trick = "a\x1b[2Jb\r\nc"
    where = offer(summary=trick, notes=trick, licence=trick, psnr=trick)
    assert main(["models", "pull", "--registry", where]) == 0
    assert main(["models", "pull", "net", "--registry", where]) == 0
    said = capsys.readouterr()
    assert all(c.isprintable() or c == "\n" for c in said.out + said.err)


def test_another_program_is_loading_the_same(
    web: Web, offer: Callable[..., str], models_folder: Path
) -> None:
    web.hold = threading.Event()
    web.extra = {"Content-Length": str(len(web.data) + 1)}
    web.length = False
    codes: list[str] = []
    first = threading.Thread(target=lambda: codes.append(code(offer())))
    first.start()
    while not web.asked:
        time.sleep(0.01)
    assert code(offer()) == "model.busy"
    web.hold.set()
    first.join()
    assert codes == ["model.download"]


def test_ctrl_c_keeps_what_arrived(web: Web, offer: Callable[..., str], models_folder: Path) -> None:
    web.hold, web.cut_after = threading.Event(), [2000]
    command = [sys.executable, "-m", "mimo_rt", "models", "pull", "net", "--registry", offer()]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if models_folder.is_dir() and left(models_folder, ".state"):
            break
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "goes on from there" in err
    assert "Traceback" not in err
    web.hold.set()
    web.hold = None
    fetch(offer())
    assert web.asked[-1]["range"] == "bytes=2000-"


def test_a_damaged_state_begins_again(web: Web, offer: Callable[..., str], models_folder: Path) -> None:
    for harm in (b"", b"[]", b'{"url": 5}', b'{"url": "x", "etag": "a\\nb"}'):
        web.cut_after = [400] * download.ATTEMPTS
        assert code(offer(), replace=True) == "model.download"
        (state,) = left(models_folder, ".state")
        state.write_bytes(harm)
        fetch(offer(), replace=True)
        assert "range" not in web.asked[-1]
