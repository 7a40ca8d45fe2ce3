"""What a client says of a server that it can't reach, or that is none of ours, and where its key goes."""

import contextlib
import json
import logging
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import autointerp
from autointerp.errors import AutointerpError, BusyError, RemoteError, SearchError, VariantError
from autointerp.library.chat.replies import ChatCompletionChunk
from autointerp.library.remote.connection import KEY_VARIABLE, Connection
from autointerp.serve.app import Access, make_app
from autointerp.serve.chats import Chats
from autointerp.serve.limits import Limits
from autointerp.serve.serving import Serving
from tests.docs.pages import ROOT, read_page
from tests.docs.world import SERVED_AT, in_small
from tests.serve.serving import answering

TALK = [{"role": "user", "content": "the river"}]
Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(autouse=True)
def no_key_of_whoever_runs_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@contextmanager
def another(answer: Answer) -> Iterator[str]:
    """A program that answers otherwise than ours."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def replying(status: int, body: Any, **headers: str) -> Answer:
    """Answers with one reply to all."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def line(raised: Callable[[], object], kind: type[AutointerpError] = RemoteError) -> str:
    """The one line of an error."""
    with pytest.raises(kind) as error:
        raised()
    told = str(error.value)
    assert "\n" not in told
    return told


def ours(**more: Any) -> dict[str, Any]:
    return {"program": "autointerp", "version": "9.0", "protocol": 1, "runs": [{"name": "demo", "told": ""}], **more}


def test_nothing_that_answers_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert line(lambda: autointerp.open(address)).startswith(f"nothing answers at {address} (")
    assert "nothing answers at http://no-such-host.invalid" in line(
        lambda: autointerp.open("http://no-such-host.invalid:8000")
    )


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://", "is no address"),
        ("http://127.0.0.1:99999", "is no address"),
        ("http://127.0.0.1:0", "is no address"),
        ("http://[::1", "is no address"),
        ("http://me:secret@127.0.0.1:8000", "give the key as api_key="),
        ("http://127.0.0.1:8000/?run=demo", "more than an address"),
    ],
)
def test_what_is_no_address_is_one_line_without_a_key_in_it(address: str, message: str) -> None:
    told = line(lambda: autointerp.open(address))
    assert message in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b"<html>hello</html>", "is another program"),
        (200, {"program": "jupyter"}, "is another program"),
        (200, [], "is another program"),
        (404, b"not found", "is another program"),
        (404, {"detail": "Not Found"}, "is another program"),
        (301, b"", "is another program"),
        (500, b"oops", "does not answer (status 500)"),
        (200, ours(protocol=2), "speaks protocol 2 (autointerp 9.0), and this client 1 (autointerp "),
        (200, ours(runs=7), "in a shape that is not known here"),
        (200, b"[" * 100_000, "is another program"),
    ],
)
def test_another_program_and_another_version_are_one_line(status: int, body: Any, message: str) -> None:
    with another(replying(status, body)) as address:
        assert message in line(lambda: autointerp.open(address))


def test_a_proxy_that_is_busy_says_when_to_ask_again() -> None:
    with another(replying(429, b"slow down", Retry_After="7")) as address:
        assert line(lambda: autointerp.open(address), BusyError).endswith(
            "takes no more requests now: try again in 7 s"
        )


def test_an_answer_of_another_shape_is_one_line() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        replying(200, ours() if handler.command == "GET" else {"answer": [{"label": 3}]})(handler)

    with another(answer) as address:
        client = autointerp.open(address)
        told = line(lambda: client.run.search("river"))
        assert "answers in a shape that is not known here" in told
        assert "same version of autointerp" in told


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_connection_that_is_cut_amid_an_answer_is_one_line(is_streamed: bool) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.command == "GET":
            replying(200, ours())(handler)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'data: {"answer": ')

    with another(answer) as address:
        client = autointerp.open(address)
        asked = partial(client.chat.completions.create, TALK) if is_streamed else partial(client.run.feature, 1)
        assert "was cut amid an answer" in line(asked)


def test_a_stream_without_its_end_is_told(address: str) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.command == "GET":
            replying(200, ours())(handler)
            return
        chunk = {"id": "", "created": 0, "model": "m", "choices": [], "events": [], "system_fingerprint": ""}
        replying(200, b"data: " + json.dumps({"answer": chunk}).encode() + b"\n\n")(handler)

    with another(answer) as at:
        stream = autointerp.open(at).chat.completions.create(TALK, stream=True)
        assert isinstance(next(stream), ChatCompletionChunk)
        assert "was cut amid an answer" in line(lambda: next(stream))


def test_a_key_is_asked_for_and_given(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(make_app(Serving(serving.client, Limits()), Access(key="right key"))) as address:
        for given in (None, "wrong"):
            told = line(partial(autointerp.open, address, api_key=given))
            assert f"give api_key=, or set {KEY_VARIABLE}" in told
            assert "wrong" not in told.partition(":")[0]
        client = autointerp.open(address, api_key="right key")
        river = client.features.get(1)
        assert river.label == "river"
        assert b"right key" not in pickle.dumps(river)
        monkeypatch.setenv(KEY_VARIABLE, "right key")
        assert pickle.loads(pickle.dumps(river)).contexts(1) == river.contexts(1)
    assert "right key" not in repr(vars(client.run)) + repr(client)


def test_a_key_goes_nowhere_unencrypted_but_where_it_is_sent_on_purpose(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a key")
    told = line(lambda: Connection("http://192.0.2.1:8000"))
    assert f"the key of {KEY_VARIABLE} is not sent to http://192.0.2.1:8000" in told
    assert "use https, or a tunnel" in told
    Connection("https://192.0.2.1:8000").close()
    Connection("http://[::1]:8000").close()
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        Connection("http://192.0.2.1:8000", "a key").close()
    (record,) = caplog.records
    assert "sent to http://192.0.2.1:8000 unencrypted" in record.message
    assert "a key" not in record.message
    assert "give it in ASCII" in line(lambda: Connection("https://192.0.2.1", "schlüssel"))


def test_a_server_that_is_busy_is_told_as_such(serving: Serving) -> None:
    with answering(make_app(other := Serving(serving.client, Limits(n_waiting=0)))) as address:
        client = autointerp.open(address)
        free = threading.Event()
        held = [other.store.submit(free.wait) for _ in range(4)]
        told = line(lambda: client.run.search("river"), BusyError)
        assert "try again in a few seconds" in told
        free.set()
        assert all(future.result(10) for future in held)


def test_what_needs_the_folder_says_so(address: str, tmp_path: Path) -> None:
    client = autointerp.open(address)
    assert repr(client).startswith(f"Client of <Run {address}#demo: 12 features of planted@0-res-12, ")
    for ask in (lambda: client.run.reader, lambda: client.run.live, lambda: client.run.embedder):
        assert "is answered for by a server, and this needs its folder" in line(ask, SearchError)
    assert not hasattr(client.run, "no_such")
    handled = client.variant().handle_when(client.features.get(1) > 0, print)
    assert "can't call a handler that is here" in line(
        lambda: client.chat.completions.create(TALK, handled), VariantError
    )
    embedder: Any = object()
    assert "embedded at the server" in line(lambda: autointerp.open(address, embedder), SearchError)
    assert "open it alone" in line(lambda: autointerp.open([address, "runs/demo"]), SearchError)
    assert "run folders want none" in line(lambda: autointerp.open(tmp_path, api_key="a"), SearchError)


def test_a_stream_that_is_closed_frees_its_place(serving: Serving, address: str) -> None:
    client = autointerp.open(address)
    with client.chat.completions.create(TALK, stream=True, max_completion_tokens=40) as stream:
        next(stream)
    assert list(stream) == []
    waited, chats = threading.Event(), serving.chats
    assert isinstance(chats, Chats)
    for _ in range(500):
        if not chats.line.n_taken:
            break
        waited.wait(0.01)
    assert not chats.line.n_taken


def test_the_page_does_what_it_shows(address: str, planted_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    programs = [block.text for block in read_page(ROOT / "docs/remote.md").blocks if SERVED_AT in block.text]
    assert len(programs) > 1
    with contextlib.chdir(planted_runs):
        for program in programs:
            exec(in_small(program).replace(SERVED_AT, address), {})
    said = capsys.readouterr().out
    assert "\nTrue\n" in said
    assert " piano piano" in said
