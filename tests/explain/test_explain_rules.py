"""The explainer `rules`: which features get a rule, and what is said of the others."""

import asyncio
from dataclasses import replace
from typing import NoReturn

import numpy as np
import pytest

from autointerp.config import ExplainConfig
from autointerp.contexts.pool import PoolTiles
from autointerp.explain.base import Tools
from autointerp.explain.explainers.rules import RulesExplainer
from autointerp.records import Context, Explanation, Failure, FeatureEvidence
from autointerp.rules.evidence import NaturalText
from tests.loopback.contexts import of_tokens
from tests.score.world import ANIMALS, BLOCK, COLOURS, FILLER, N_BLOCKS, SOURCE, WORDS, World

CAT, EVERYTHING, ALL_BUT_CATS = range(3)


@pytest.fixture(scope="module")
def world() -> World:
    ids = np.random.default_rng(3).choice(len(WORDS), size=(N_BLOCKS, BLOCK)).astype(np.int32)
    words = COLOURS + ANIMALS + FILLER
    return World(ids, (("cat",), words, tuple(word for word in words if word != "cat")))


@pytest.fixture(scope="module")
def pool(world: World) -> PoolTiles:
    return world.pool_tiles()


def explained(
    pool: PoolTiles, active: tuple[Context, ...], density: float, *, feature: int = CAT, is_causal: bool | None = None
) -> Explanation | Failure:
    natural = NaturalText.of_explain(pool)
    explainer = RulesExplainer(
        Tools(ExplainConfig(), _never, _never, "", natural=lambda: natural, is_causal=lambda: is_causal)
    )
    evidence = FeatureEvidence(SOURCE, feature, density, 1.0, active, silent=(), top_tokens=())
    return asyncio.run(explainer.explain(evidence))


def _never() -> NoReturn:
    raise AssertionError("rules ask for neither")


def of(world: World, pool: PoolTiles, feature: int) -> Explanation | Failure:
    given = world.given(feature, pool, n=40)
    return explained(pool, given.feature.of("explain", active=True), given.density, feature=feature)


def told(outcome: Explanation | Failure) -> str:
    return outcome.label if isinstance(outcome, Explanation) else f"{outcome.error_type}: {outcome.message}"


def test_a_feature_of_one_word_gets_that_word(world: World, pool: PoolTiles) -> None:
    assert told(of(world, pool, CAT)) == '"cat"'


def test_a_feature_that_fires_on_nearly_every_word_is_said_to(world: World, pool: PoolTiles) -> None:
    assert told(of(world, pool, EVERYTHING)) == "every word and mark"
    assert told(of(world, pool, ALL_BUT_CATS)) in ("every word and mark", 'words, except "cat"')


def in_documents(words: list[str], before: str = "", after: str = "", start: int = 9) -> tuple[Context, ...]:
    """Contexts of as many documents in which these words fire, one each, among others and between two."""
    contexts = []
    for place, word in enumerate(words):
        around = np.random.default_rng(place).choice(FILLER, 16).tolist()
        row = [*around[:8], *before.split(), word, *after.split(), *around[8:]]
        activations = tuple(float(of is word) for of in row)
        context = of_tokens(tuple(f" {of}" for of in row), activations, block_index=place)
        contexts.append(replace(context, document_id=f"of {place}", group_id=f"of {place}", start=start))
    return tuple(contexts)


def test_a_list_of_words_that_fired_in_one_document_each_is_no_rule(pool: PoolTiles) -> None:
    once = explained(pool, in_documents(["quux", "blorp", "fizzing", "thud", "wib", "grault", "snafu", "zyzzy"]), 1e-4)
    assert "a precision of 1.00 and a recall of 1.00" in told(once)
    assert "foretells there, document by document, with an F1 of 0.00" in told(once)


def test_what_is_expected_of_a_rule_lies_between_its_own_contexts_and_what_it_foretold(pool: PoolTiles) -> None:
    often = explained(pool, in_documents(["quux", "blorp"] * 5), 1e-4)
    assert isinstance(often, Explanation), often
    assert often.label == '"blorp" or "quux"'
    assert often.detail["explain_f1"] == 1.0
    assert often.detail["foreseen_f1"] == pytest.approx(2 * 8 / (2 * 8 + 2))
    assert often.detail["expected_f1"] == pytest.approx(often.detail["foreseen_f1"] ** 0.5)


def test_a_feature_of_the_first_token_of_blocks_is_said_to_be_no_matter_of_words(pool: PoolTiles) -> None:
    inside = in_documents([f"{word} " for word in FILLER[8:40]], start=0)
    first = tuple(
        replace(c, tokens=c.tokens[8:], activations=c.activations[8:], token_ids=c.token_ids[8:]) for c in inside
    )
    assert "fires on the first token of a block" in told(explained(pool, first, 1e-3))
    assert "fires on the first token of a block" not in told(explained(pool, inside, 1e-3))


LETTERS = [*"abcdefghijabcdefghij"]


def test_a_rule_that_looks_ahead_says_so_where_the_subject_has_not_read_it(pool: PoolTiles) -> None:
    contexts = in_documents(LETTERS, after="qq")
    causal, other, unknown = (explained(pool, contexts, 1e-3, is_causal=of) for of in (True, False, None))
    assert told(causal) == told(other) == told(unknown) == 'single letters right before "qq"'
    assert isinstance(causal, Explanation)
    assert "describes, not explains" in causal.detail["note"]
    for said in (other, unknown):
        assert isinstance(said, Explanation)
        assert "note" not in said.detail


def test_of_rules_worth_nearly_the_same_a_causal_subject_gets_the_one_that_looks_back(pool: PoolTiles) -> None:
    contexts = (*in_documents(LETTERS * 2, "zz", "qq"), *in_documents(["a"], "", "qq"))
    assert told(explained(pool, contexts, 1e-3, is_causal=False)) == 'single letters right before "qq"'
    assert told(explained(pool, contexts, 1e-3, is_causal=True)) == 'single letters right after "zz"'
