"""One cheap call of each model, before the work that leads up to the first question."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from autointerp import run_pipeline
from autointerp.config import Pipeline
from autointerp.errors import KeyRefusedError, LanguageModelError, ModelNotServedError
from autointerp.run.check_models import check_models
from autointerp.run.check_participants import asked_models
from autointerp.run.progress import StageSummary
from tests.loopback.server import Always, Http, LoopbackServer, Outcome, Say
from tests.run.planted import Planted
from tests.run.test_run_planted import asked_pipeline

PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 1.0}
OK = Say('{"ok": true}', tokens=(100, 0, 10))


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-check-0123456789")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


class Lines:
    """Keeps what is told of the check."""

    def __init__(self) -> None:
        self.summaries: list[StageSummary] = []

    def progress(
        self, stage: str, n_done: int, n_total: int, note: str = "", *, seconds_left: float | None = None
    ) -> None:
        """Nothing is kept."""

    def finished(self, summary: StageSummary) -> None:
        self.summaries.append(summary)

    def say(self, line: str) -> None:
        """Nothing is kept."""


def pipeline_of(url: str | None, judge: dict[str, Any] | None = None, **model: Any) -> Pipeline:
    table = {"model": "m", "base_url": url, "max_attempts": 1, **PRICES, **model}
    explain = {"explainer": "examples", "model": table}
    judged = {"kind": "llm", "model": {**table, **(judge or {})}}
    llm = {"patience_s": 0.2}
    return Pipeline.model_validate(
        {"name": "x", "coder": {"path": "c"}, "explain": explain, "judge": judged, "llm": llm}
    )


def check(pipeline: Pipeline, folder: Path) -> StageSummary:
    lines = Lines()
    asked = asked_models(pipeline, explains=True, scores=True)
    asyncio.run(check_models(pipeline, asked, folder / "journal.sqlite", lines))
    (summary,) = lines.summaries
    return summary


def test_each_model_is_asked_once_and_what_it_costs_is_told(tmp_path: Path) -> None:
    with LoopbackServer(Always(OK)) as server:
        one = check(pipeline_of(server.openai_url), tmp_path)
        assert len(server.calls) == 1, "explainer and judge are one model"
        assert one.note == f"m at {server.openai_url} answers"
        assert (one.stage, one.n_done) == ("check", 1)
        assert one.cost_usd == pytest.approx(110e-6)
        two = check(pipeline_of(server.openai_url, judge={"model": "j"}), tmp_path)
    assert [call.model for call in server.calls] == ["m", "m", "j"], "the journal answers no check"
    assert two.note == f"m at {server.openai_url} answers; j at {server.openai_url} answers"
    assert all((call.max_output_tokens or 0) <= 256 for call in server.calls)


@pytest.mark.parametrize(
    "odd", [Say("Hello!"), Say('{"ok": tr', stop="truncated"), Say("no", stop="refusal"), Say('{"ok": "yes"}')]
)
def test_odd_words_are_an_answer(tmp_path: Path, odd: Outcome) -> None:
    with LoopbackServer(Always(odd)) as server:
        assert check(pipeline_of(server.openai_url), tmp_path).note.endswith(" answers")


def test_a_question_that_is_refused_as_it_stands_is_told_and_stops_nothing(tmp_path: Path) -> None:
    with LoopbackServer(Always(Http(400, "no such tool"))) as server:
        note = check(pipeline_of(server.openai_url), tmp_path).note
    assert note.endswith("refuses a first question (HTTP 400: no such tool)")


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_a_server_that_is_overloaded_is_told_and_stops_nothing(tmp_path: Path, status: int) -> None:
    with LoopbackServer(Always(Http(status, "overloaded"))) as server:
        note = check(pipeline_of(server.openai_url), tmp_path).note
    assert f"has no answer now (HTTP {status}: overloaded" in note
    assert note.endswith("is asked again later")


def test_by_batches_too_the_check_is_a_single_call(tmp_path: Path) -> None:
    with LoopbackServer(Always(OK)) as server:
        check(pipeline_of(server.openai_url, batch=True), tmp_path)
        assert len(server.calls) == 1


def test_an_address_where_nothing_answers_stops_the_run_unless_the_journal_has_answers(tmp_path: Path) -> None:
    with LoopbackServer(Always(OK)) as server:
        pass
    with pytest.raises(LanguageModelError, match=rf"m at {server.openai_url} gives no answer.*: see that the server"):
        check(pipeline_of(server.openai_url), tmp_path)
    with LoopbackServer(Always(OK)) as server:
        check(pipeline_of(server.openai_url), tmp_path)
    assert "the journal has some" in check(pipeline_of(server.openai_url), tmp_path).note


def test_the_variable_that_names_the_address_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackServer(Always(OK)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
        assert f"m at {server.openai_url} (OPENAI_BASE_URL) answers" in check(pipeline_of(None), tmp_path).note


@pytest.mark.parametrize(
    ("refusal", "error"),
    [(Http(401, "invalid key"), KeyRefusedError), (Http(404, "The model `m` does not exist"), ModelNotServedError)],
    ids=["key", "model"],
)
def test_a_wrong_key_or_model_is_found_before_anything_is_read(
    planted: Planted, tmp_path: Path, refusal: Http, error: type[LanguageModelError]
) -> None:
    with LoopbackServer(Always(refusal)) as server:
        pipeline = asked_pipeline(planted, tmp_path, server.openai_url)
        with pytest.raises(error):
            run_pipeline(pipeline)
        assert len(server.calls) == 1
    assert not (pipeline.run_folder / "corpus").exists()
