"""The rule that is found is the one that was planted."""

from collections import defaultdict

import numpy as np
import pytest

from autointerp.config import CollectConfig, ContextsConfig, ScoreConfig
from autointerp.rules.bits import bits_saved, rule_bits
from autointerp.rules.evidence import FeatureText, NaturalText
from autointerp.rules.rule import Class, Rule, Words
from autointerp.rules.search import Found, find_rule
from autointerp.rules.sentence import read_rule, write_rule
from autointerp.rules.units import Units, on_units
from tests.puzzles.built import Built
from tests.puzzles.planted import WINDOW, Planted

KINDS = ("token", "words", "pattern", "position", "conjunction")


@pytest.fixture(scope="module")
def built(planted: Planted) -> Built:
    collect = CollectConfig(context_length=WINDOW, n_top=20, n_fired=100, n_pool_blocks=2000)
    return Built.build(planted, collect, ContextsConfig(n_pool_tiles=4000), ScoreConfig())


@pytest.fixture(scope="module")
def found(built: Built) -> dict[int, Found]:
    pool = next(iter(built.given.values())).pool
    natural = NaturalText.of_explain(pool)
    rules = {}
    for feature, given in built.given.items():
        active = given.feature.of("explain", active=True)
        rule = find_rule(FeatureText.build(active, feature, given.density, natural), least_f1=0.4)
        assert rule is not None, built.planted.puzzles[feature].name
        rules[feature] = rule
    return rules


def true_f1(built: Built, feature: int, rule: Rule) -> float:
    """Over every word of the corpus: where the rule holds, and where the feature was planted."""
    planted, shard = built.planted, built.planted.shard
    inside = zip(shard.token_ids, shard.counted, strict=True)
    rows = [planted.pieces.pieces(ids[counted].tolist()) for ids, counted in inside]
    texts = ["".join(row) for row in rows]
    fires = np.concatenate(
        [on_units(planted.dense[place][shard.counted[place], feature].tolist(), row) for place, row in enumerate(rows)]
    )
    holds = rule.holds(Units.cut(texts))
    return float(2 * (holds & (fires > 0)).sum() / (holds.sum() + (fires > 0).sum()))


def test_rules_with_the_planted_firings_are_found_for_nine_in_ten(built: Built, found: dict[int, Found]) -> None:
    hits: dict[str, list[bool]] = defaultdict(list)
    for feature, of in found.items():
        if (kind := built.planted.puzzles[feature].kind) in KINDS:
            hits[kind].append(true_f1(built, feature, of.rule) > 0.95)
    assert sum(map(len, hits.values())) >= 34
    assert np.mean([hit for of_kind in hits.values() for hit in of_kind]) >= 0.9, hits


def test_topics_that_are_told_by_words_around_are_found(built: Built, found: dict[int, Found]) -> None:
    topics = [feature for feature in found if built.planted.puzzles[feature].kind == "topic"]
    assert len(topics) == 4
    assert all(true_f1(built, feature, found[feature].rule) > 0.7 for feature in topics)


def test_a_planted_word_is_found_as_itself_and_nothing_more(built: Built, found: dict[int, Found]) -> None:
    of_name = {built.planted.puzzles[feature].name: write_rule(of.rule) for feature, of in found.items()}
    assert of_name["must"] == '"must"'
    assert of_name["booleans"] == '"false" or "true"'
    assert of_name["ing"] == 'words ending in "-ing"'
    assert of_name["number-of"] == '"number" right before "of"'
    assert of_name["digits"] == "numbers"


def test_every_rule_is_read_back_from_its_sentence_and_has_three_parts_at_most(found: dict[int, Found]) -> None:
    for of in found.values():
        assert read_rule(write_rule(of.rule)) == of.rule
        assert of.rule.n_parts <= 3
        assert of.bits > 0


def test_what_is_told_of_a_rule_is_about_what_it_comes_to(built: Built, found: dict[int, Found]) -> None:
    gaps = [of.agreement.f1 - true_f1(built, feature, of.rule) for feature, of in found.items()]
    assert np.mean(np.abs(gaps)) < 0.05


def test_bits_are_n_times_mutual_information_and_below_zero_where_firing_is_rarer() -> None:
    assert float(bits_saved(10, 0, 10, 10)) == pytest.approx(20.0)
    assert float(bits_saved(5, 5, 10, 10)) == pytest.approx(0.0)
    assert float(bits_saved(0, 10, 10, 10)) == pytest.approx(-20.0)


def test_a_longer_rule_costs_more() -> None:
    one, two, every = Rule((Words(("a",)),)), Rule((Words(("a", "b")),)), Rule((Class("words"),))
    assert rule_bits(every, 1000) < rule_bits(one, 1000) < rule_bits(two, 1000)
    assert rule_bits(Rule(one.roots, unless=Words(("b",))), 1000) > rule_bits(two, 1000)
