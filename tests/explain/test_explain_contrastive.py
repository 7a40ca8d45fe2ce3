"""The explainer `contrastive`: look-alikes in the prompt, and the exclusion in the label."""

import json
from pathlib import Path

import pytest

from autointerp.explain.explainers.contrastive import ContrastiveExplainer
from autointerp.llm import Journal, load_prompt
from autointerp.records import FeatureEvidence
from tests.explain.explaining import HOSTILE, HOSTILE_TOKENS, MONTHS, Asked, ask, config, evidence
from tests.loopback.contexts import context, of_tokens
from tests.loopback.server import Always, Provider, Say
from tests.loopback.truth import TruthOracle

GOLDEN = Path(__file__).parent / "golden_explain_contrastive.txt"
SILENT = (
    context("nobody was there", kind="silent_random", block_index=11),
    of_tokens(HOSTILE_TOKENS, (0.0,) * len(HOSTILE_TOKENS), kind="silent_token", block_index=12),
    context("it may rain", kind="silent_similar", block_index=13),
)
SHOWN = evidence((*MONTHS, HOSTILE), silent=SILENT)


def explain(
    journal: Journal, label: str, excludes: str, shown: FeatureEvidence = SHOWN, provider: Provider = "openai"
) -> Asked:
    answer = json.dumps({"label": label, "excludes": excludes})
    return ask(ContrastiveExplainer, Always(Say(answer)), journal, shown, provider)


def test_the_prompt_is_the_golden_one(journal: Journal) -> None:
    assert explain(journal, "months", "").prompt == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_what_is_excluded_stands_in_the_label_and_apart(journal: Journal, provider: Provider) -> None:
    asked = explain(journal, "names of months", "the verb may", provider=provider)
    explanation = asked.explanation
    assert explanation.label == "names of months, but not the verb may"
    assert explanation.excludes == "the verb may"
    assert (explanation.explainer, explanation.side, explanation.n_contexts) == ("contrastive", None, 4)
    assert explanation.prompt_sha256 == load_prompt("explain_contrastive").sha256
    schema = asked.calls[0].schema
    assert schema is not None
    assert list(schema["properties"]) == schema["required"] == ["label", "excludes"]


@pytest.mark.parametrize(
    ("label", "excludes", "expected"),
    [
        ("months", "", "months"),
        ("months", "None.", "months"),
        ("months", " nothing", "months"),
        ("months.", "but not the verb\nmay.", "months, but not the verb may"),
        ("months", "Not a verb", "months, but not a verb"),
    ],
)
def test_nothing_to_exclude_leaves_the_label_as_it_is(
    journal: Journal, label: str, excludes: str, expected: str
) -> None:
    explanation = explain(journal, label, excludes).explanation
    assert explanation.label == expected
    assert (explanation.excludes is not None) == (expected != "months")


def test_an_exclusion_alone_is_no_label(journal: Journal) -> None:
    assert explain(journal, " ", "the verb may").failure.error_type == "EmptyLabel"
    assert explain(journal, "months", "the verb may " * 20).failure.error_type == "LabelTooLong"


def test_a_feature_without_silent_contexts_is_explained_all_the_same(journal: Journal) -> None:
    asked = explain(journal, "months", "", evidence(MONTHS))
    assert "Silent:\nnone\nAnswer:" in asked.calls[0].user
    assert asked.explanation.label == "months"


def test_contexts_that_choose_among_labels_are_never_shown(journal: Journal) -> None:
    apart = (context("a secret=9.0", split="select", block_index=50),)
    silent = (context("another secret", kind="silent_similar", split="select", block_index=51),)
    asked = explain(journal, "months", "", evidence(MONTHS, select_active=apart, select_silent=silent))
    assert "secret" not in asked.calls[0].user


def test_the_number_of_silent_contexts_is_part_of_the_fingerprint() -> None:
    fingerprints = {ContrastiveExplainer.settings_fingerprint(config(n_silent=n)) for n in (5, 10)}
    assert len(fingerprints) == 2


def test_the_oracle_that_knows_the_truth_answers_it(journal: Journal) -> None:
    assert ask(ContrastiveExplainer, TruthOracle(), journal).explanation.label == "may"
