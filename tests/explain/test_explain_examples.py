"""The explainer `examples`: what it sends, and what it makes of the answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from autointerp.config import ExplainConfig
from autointerp.errors import KeyRefusedError
from autointerp.explain.explainers.examples import ExamplesExplainer
from autointerp.llm import Journal, load_prompt
from autointerp.records import Explanation, FeatureEvidence
from tests.explain.explaining import HOSTILE, MONTHS, Asked, ask, config, evidence
from tests.loopback.contexts import SOURCE
from tests.loopback.server import Always, Http, Oracle, Outcome, Raw, Say
from tests.loopback.truth import TruthOracle

GOLDEN = Path(__file__).parent / "golden_explain_examples.txt"


def explain(oracle: Oracle, journal: Journal, shown: FeatureEvidence | None = None, **settings: Any) -> Asked:
    return ask(ExamplesExplainer, oracle, journal, shown, **settings)


def test_the_prompt_is_the_golden_one(journal: Journal) -> None:
    asked = explain(Always(Say('{"label": "months"}')), journal, evidence((*MONTHS, HOSTILE)))
    assert asked.prompt == GOLDEN.read_text(encoding="utf-8")


def test_an_answer_becomes_an_explanation_with_its_origin_and_cost(journal: Journal) -> None:
    say = Say('{"label": "  names of\\n months "}', tokens=(1000, 0, 10))
    asked = explain(Always(say), journal, usd_per_million_input=1.0, usd_per_million_output=10.0)
    outcome = asked.explanation
    assert outcome == Explanation(
        explanation_id=outcome.explanation_id,
        source_id=SOURCE,
        feature_index=7,
        label="names of months",
        explainer="examples",
        model="m",
        prompt_sha256=load_prompt("explain_examples").sha256,
        cost_usd=0.0011,
        created_at=outcome.created_at,
        fingerprint=asked.explainer.fingerprint,
        n_contexts=3,
    )
    assert outcome.created_at.tzinfo is not None
    again = explain(Always(say), journal).explanation
    other = explain(Always(say), journal, evidence(feature_index=8)).explanation
    assert again.cost_usd is None
    assert again.explanation_id == outcome.explanation_id != other.explanation_id


def test_the_oracle_that_knows_the_truth_explains_by_the_most_frequent_mark(journal: Journal) -> None:
    assert explain(TruthOracle(), journal).explanation.label == "may"


@pytest.mark.parametrize(
    ("reply", "error_type", "retry"),
    [
        (Say('{"label": ""}'), "EmptyLabel", False),
        (Say('{"label": " . "}'), "EmptyLabel", False),
        (Say(json.dumps({"label": "This feature fires when " + "very " * 50})), "LabelTooLong", False),
        (Say('{"label": "From May to July, the pass is OPEN"}'), "PromptRepeated", False),
        (Say('{"label": "Be as specific as the contexts allow, and no more."}'), "PromptRepeated", False),
        (Say('{"label": "I\'m sorry, but I can\'t help with that."}'), "Refusal", False),
        (Say("names of months"), "ParseFailure", True),
        (Say("no", stop="refusal"), "Refusal", True),
        (Say('{"lab', stop="truncated"), "Truncated", True),
        (Http(500), "ServerError", True),
        (Raw("<html>"), "ServerError", True),
        (Http(400, "no such field"), "BadRequest", True),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_no_label_is_a_failure_with_what_was_said(
    journal: Journal, reply: Outcome, error_type: str, retry: bool
) -> None:
    asked = explain(Always(reply), journal)
    failure = asked.failure
    assert (failure.stage, failure.source_id, failure.feature_index) == ("explain", SOURCE, 7)
    assert (failure.error_type, failure.retry) == (error_type, retry)
    assert failure.fingerprint == asked.explainer.fingerprint
    assert "\n" not in failure.message
    if isinstance(reply, Say):
        assert failure.raw == reply.text


def test_a_feature_that_shows_nothing_is_a_failure_and_costs_nothing(journal: Journal) -> None:
    asked = explain(Always(Say('{"label": "x"}')), journal, evidence(()))
    assert (asked.failure.error_type, asked.failure.retry) == ("NoContexts", False)
    assert asked.calls == []


def test_a_refused_key_is_raised(journal: Journal) -> None:
    with pytest.raises(KeyRefusedError):
        explain(Always(Http(401)), journal)


def test_the_fingerprint_follows_what_decides_a_label_and_not_how_it_is_asked() -> None:
    def fingerprint(settings: ExplainConfig) -> str:
        return ExamplesExplainer.settings_fingerprint(settings)

    base = fingerprint(config())
    assert fingerprint(config(concurrency=3, timeout_s=5.0, base_url="http://127.0.0.1:9/v1")) == base
    assert fingerprint(config(n_silent=3)) == base, "it shows none"
    others = [config(model="n"), config(temperature=0.0), config(n_contexts=10), config(max_output_tokens=9)]
    others += [config(context_window=9999), config(provider="anthropic")]
    assert len({base, *map(fingerprint, others)}) == 7
