"""Nothing paid for is lost, and nothing is paid for twice."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autointerp.config import ModelConfig
from autointerp.errors import DiskFullError, RunError
from autointerp.llm import CallFailure, Journal, Reply, connect
from autointerp.llm.journal import request_key
from autointerp.llm.protocol import RawAnswer, Repair, TokenChances
from autointerp.records import Usage
from tests.llm.asking import Asker, Label, label_request
from tests.loopback.server import Always, Call, Drop, LoopbackServer, Outcome, Provider, Say, Script

ASK_ALL = Path(__file__).parent / "ask_all.py"


def echo(call: Call) -> Outcome:
    return Say(f'{{"label": "{call.user}"}}', tokens=(10, 0, 5))


def test_a_rerun_of_the_same_requests_pays_nothing(asker: Asker, provider: Provider) -> None:
    requests = [label_request(f"feature {i}") for i in range(10)]
    with LoopbackServer(Always(echo)) as server:
        first = asker.ask(server, *requests, provider=provider)
        again = asker.ask(server, *requests, provider=provider)
        assert len(server.calls) == 10
    for one, two in zip(first, again, strict=True):
        assert isinstance(one, Reply)
        assert isinstance(two, Reply)
        assert (one.answer, one.usage, one.model) == (two.answer, two.usage, two.model)
        assert (one.from_journal, two.from_journal) == (False, True)


def test_the_total_counts_what_was_paid_now_and_nothing_again(asker: Asker) -> None:
    async def usages(server: LoopbackServer) -> list[Usage]:
        totals = []
        for _ in range(2):
            config = asker.config(server, usd_per_million_input=1.0, usd_per_million_output=1.0)
            async with connect(config, asker.journal, sleep=asker.waits) as model:
                for i in range(2):
                    await model.ask(label_request(f"feature {i}"))
                totals.append(model.usage)
        return totals

    with LoopbackServer(Always(echo)) as server:
        assert asyncio.run(usages(server)) == [Usage(2, 20, 0, 10, 30e-6), Usage()]


@pytest.mark.parametrize(
    "settings",
    [{"user": "another"}, {"max_output_tokens": 99}, {"temperature": 0.5}],
    ids=["text", "limit", "temperature"],
)
def test_what_decides_an_answer_is_in_its_key(asker: Asker, settings: dict[str, Any]) -> None:
    with LoopbackServer(Always(echo)) as server:
        asker.ask(server, label_request(), label_request(**settings))
        asker.ask(server, label_request(), model="another")
        assert len(server.calls) == 3


def test_two_who_ask_the_same_at_once_pay_once(asker: Asker) -> None:
    with LoopbackServer(Always(echo), latency_s=0.05) as server:
        outcomes = asker.ask(server, *[label_request()] * 5)
        assert len(server.calls) == 1
    assert {o.answer.label for o in outcomes if isinstance(o, Reply)} == {"what is it?"}


def test_a_paid_failure_is_repeated_from_the_journal(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Script(Say("no", stop="refusal"), then=Always(echo))) as server:
        first = asker.ask_one(server, provider=provider)
        again = asker.ask_one(server, provider=provider)
        assert len(server.calls) == 1
    assert isinstance(first, CallFailure)
    assert again == replace(first, paid=Usage())


def test_a_paid_failure_is_asked_again_where_that_is_wanted_and_then_kept(asker: Asker) -> None:
    bad = Say("not json")
    with LoopbackServer(Script(bad, bad, then=Always(echo))) as server:
        assert isinstance(asker.ask_one(server), CallFailure)
        assert isinstance(asker.ask_one(server, retry_failures=True), Reply)
        assert isinstance(asker.ask_one(server), Reply)
        assert len(server.calls) == 3


def test_a_failure_that_was_not_paid_is_not_in_the_journal(asker: Asker) -> None:
    with LoopbackServer(Script(Drop(), then=Always(echo))) as server:
        assert isinstance(asker.ask_one(server, max_attempts=1), CallFailure)
        assert len(asker.journal) == 0
        assert isinstance(asker.ask_one(server, max_attempts=1), Reply)


def test_a_repaired_answer_is_read_again_without_paying(asker: Asker, provider: Provider) -> None:
    with LoopbackServer(Script(Say("not json"), then=Always(echo))) as server:
        first = asker.ask_one(server, provider=provider)
        again = asker.ask_one(server, provider=provider)
        assert len(server.calls) == 2
    assert isinstance(first, Reply)
    assert isinstance(again, Reply)
    assert again.usage == first.usage
    assert again.from_journal


def test_an_answer_that_has_come_is_kept_though_the_run_stops_meanwhile(asker: Asker, tmp_path: Path) -> None:
    class SlowJournal(Journal):
        begun = threading.Event()

        def _commit(self, writes: list[Any]) -> None:
            self.begun.set()
            time.sleep(0.2)
            super()._commit(writes)

    async def cancel(server: LoopbackServer, journal: SlowJournal) -> None:
        async with connect(asker.config(server), journal) as model:
            asking = asyncio.create_task(model.ask(label_request()))
            await asyncio.to_thread(journal.begun.wait)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert len(journal) == 1

    with LoopbackServer(Always(echo)) as server, SlowJournal(tmp_path / "slow.sqlite") as journal:
        asyncio.run(cancel(server, journal))


def test_an_answer_comes_back_as_it_went_in_any_script(journal: Journal) -> None:
    answer = RawAnswer('{"label": "日本語, עברית, 🙂 \\u0000"}', "complete", "m", 3, 2, 1)
    journal.put("k", answer).result()
    assert journal.get("k") == answer
    assert journal.get("other") is None


def test_the_chances_of_an_answers_tokens_come_back_too(journal: Journal) -> None:
    tokens = (TokenChances('{"a": '), TokenChances("é", (("é", 0.75), ("\u0000", 0.25))), TokenChances("", ()))
    answer = RawAnswer('{"a": é', "complete", "m", 3, 2, 1, tokens=tokens)
    journal.put("k", answer).result()
    assert journal.get("k") == answer


def test_half_a_character_does_not_stop_the_journal(journal: Journal) -> None:
    journal.put("k", RawAnswer("\ud83d", "complete", "m", 3, 2, 1)).result()
    kept = journal.get("k")
    assert kept is not None
    assert kept.text == "\ufffd"


def test_the_key_is_the_same_in_every_process() -> None:
    config = ModelConfig(model="m")
    key = request_key(label_request(), None, config, "http://127.0.0.1:1/v1")
    assert key == "daca418ae198f8dc675a8d96d5f7e80d1529b886741f2187f6b37a984cfb799f"
    assert key != request_key(label_request(), Repair("a", "b"), config, "http://127.0.0.1:1/v1")


def test_an_answer_is_on_the_disk_before_its_write_is_called_done(journal: Journal) -> None:
    # A killed process can't show it, since the system still has what it wrote; a power cut would.
    full = (2,)
    for database in (journal._writing, journal._database):
        assert database.execute("PRAGMA synchronous").fetchone() == full


def test_a_file_that_is_no_journal_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_text("hello " * 1000)
    with pytest.raises(RunError, match=r"journal\.sqlite can't be used"):
        Journal(path)
    with pytest.raises(RunError, match="can't be used"):
        Journal(tmp_path / "nowhere" / "journal.sqlite")


def test_a_full_disk_is_said_and_what_was_paid_is_kept(journal: Journal) -> None:
    answer = RawAnswer("x" * 5000, "complete", "m", 1, 0, 1)
    journal.put("first", answer).result()
    with sqlite3.connect(journal.path) as database:
        pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.close()
    journal._writing.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(DiskFullError, match="no space left"):
        journal.put("second", RawAnswer("x" * 500_000, "complete", "m", 1, 0, 1)).result()
    assert journal.get("first") == answer


def start(server: LoopbackServer, journal: Path, first: int, last: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(ASK_ALL), server.openai_url, str(journal), str(first), str(last)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_at_any_moment_a_rerun_pays_only_for_the_calls_in_flight(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    n_requests, n_in_flight, kill_after = 80, 4, (11, 45)
    with LoopbackServer(Always(echo), latency_s=0.01) as server:
        for n_calls in kill_after:
            process = start(server, path, 0, n_requests)
            while len(server.calls) < n_calls and process.poll() is None:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
        with Journal(path) as journal:
            requests = [label_request(f"feature {i}") for i in range(n_requests)]
            outcomes = Asker(journal).ask(server, *requests, concurrency=n_in_flight)
            assert len(journal) == n_requests
        labels = [outcome.answer.label for outcome in outcomes if isinstance(outcome, Reply)]
        assert labels == [f"feature {i}" for i in range(n_requests)]
        assert n_requests <= len(server.calls) <= n_requests + n_in_flight * len(kill_after)


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_journal_waits_for_whoever_opens_it_at_the_same_time(tmp_path: Path, lock: str) -> None:
    # As another process does before the file is in write-ahead mode.
    path = tmp_path / "journal.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute(f"BEGIN {lock}")
    end = threading.Timer(0.2, other.execute, ["COMMIT"])
    end.start()
    with Journal(path) as journal:
        journal.put("k", RawAnswer("x", "complete", "m", 1, 0, 1)).result()
        assert len(journal) == 1
    end.join()
    other.close()


def test_a_file_that_stays_locked_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autointerp.llm.journal_file._BUSY_TIMEOUT_S", 0.1)
    path = tmp_path / "journal.sqlite"
    other = sqlite3.connect(path, isolation_level=None)
    for lock in ("BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"):
        other.execute(lock)
        with pytest.raises(RunError, match=r"can't be used \(database is locked\)"):
            Journal(path)
        other.execute("COMMIT")
    other.close()


@pytest.mark.slow
def test_processes_share_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with LoopbackServer(Always(echo), latency_s=0.002) as server:
        ranges = [(0, 60), (20, 80)]
        processes = [start(server, path, first, last) for first, last in ranges]
        for process, (first, last) in zip(processes, ranges, strict=True):
            output, _ = process.communicate(timeout=60)
            assert output.split("\n")[:-1] == [f"feature {i}" for i in range(first, last)]
            assert process.returncode == 0
    with Journal(path) as journal:
        assert len(journal) == 80


def test_the_answer_type_is_part_of_the_question() -> None:
    class Longer(Label):
        reason: str

    config = ModelConfig(model="m")
    other = label_request()
    longer = type(other)(other.system, other.user, Longer, other.max_output_tokens)
    assert request_key(other, None, config, "u") != request_key(longer, None, config, "u")
