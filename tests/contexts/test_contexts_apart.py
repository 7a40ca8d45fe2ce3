"""The select split: set apart of the explain side, and nothing that grades changes by it."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.config import CollectConfig, ContextsConfig
from autointerp.contexts import build, choose
from autointerp.contexts.build import build_contexts
from autointerp.contexts.splits import DuplicateFilter, check_no_leak, group_split
from autointerp.contexts.windows import make_context
from autointerp.errors import LeakError
from autointerp.records import Context, Failure, FeatureContexts, Split
from tests.contexts.world import COLLECT, CONTEXTS, SOURCE, World, jaccard, make_world

COMMON = 3
EVERY_KIND = CONTEXTS.model_copy(
    update={"negatives": ("silent_peak", "silent_similar", "silent_neighbor", "silent_token")}
)
NEIGHBORS: Mapping[int, Sequence[int]] = {1: [2, 3], 2: [3], 3: [1, 2]}

worlds = st.builds(
    make_world, st.integers(0, 10_000), n_words=st.sampled_from([4, 30, 400]), duplicated=st.sampled_from([0.0, 0.4])
)
configs = st.sampled_from([CONTEXTS, EVERY_KIND, CONTEXTS.model_copy(update={"near_duplicate": 0.2})])
shares = st.floats(0.0, 0.95)
names = st.lists(st.text(min_size=1), max_size=40, unique=True)


def setting_apart(config: ContextsConfig, share: float, n_select: int = 6) -> ContextsConfig:
    return config.model_copy(update={"select_share": share, "n_select": n_select})


def outcomes(
    world: World, config: ContextsConfig, *, seed: int = 0, collect: CollectConfig = COLLECT
) -> dict[int, FeatureContexts | Failure]:
    built = build_contexts(range(5), world.inputs(config, collect, seed=seed, neighbors=NEIGHBORS))
    return {outcome.feature_index: outcome for outcome in built}


def of_split(outcome: FeatureContexts | Failure, split: Split) -> list[Context]:
    assert isinstance(outcome, FeatureContexts), outcome
    return [context for context in outcome.contexts if context.split == split]


@given(names, st.integers(0, 9), st.floats(0.05, 0.95), shares)
def test_documents_are_set_apart_from_the_explain_side_only(
    documents: list[str], seed: int, explain_share: float, select_share: float
) -> None:
    for name in documents:
        without = group_split(name, seed, explain_share)
        with_select = group_split(name, seed, explain_share, select_share)
        assert (without == "score") == (with_select == "score")
        assert with_select in ({"score"} if without == "score" else {"explain", "select"})


@given(names, shares, shares)
def test_a_larger_select_share_only_sets_more_documents_apart(documents: list[str], one: float, other: float) -> None:
    smaller, larger = sorted([one, other])
    apart = [{n for n in documents if group_split(n, 0, 0.5, s) == "select"} for s in (smaller, larger)]
    assert apart[0] <= apart[1]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.8])
def test_the_select_split_gets_its_share_of_the_explain_side(share: float) -> None:
    splits = Counter(group_split(f"document {i}", 0, 0.5, share) for i in range(8000))
    # Four standard deviations of a binomial of about 4000 are at most 0.032.
    assert splits["select"] / (splits["select"] + splits["explain"]) == pytest.approx(share, abs=0.032)


def test_documents_without_a_select_share_are_split_as_ever() -> None:
    for name in map(str, range(300)):
        assert group_split(name, 0, 0.5, 0.0) == group_split(name, 0, 0.5) != "select"


@given(worlds, configs, shares, st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_what_grades_is_the_same_whatever_is_set_apart(
    world: World, config: ContextsConfig, share: float, seed: int
) -> None:
    without = outcomes(world, config, seed=seed)
    for feature, outcome in outcomes(world, setting_apart(config, share), seed=seed).items():
        if isinstance(outcome, FeatureContexts):
            assert of_split(outcome, "score") == of_split(without[feature], "score")


@given(worlds, configs, shares, st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_no_two_splits_share_a_document_or_nearly_a_text(
    world: World, config: ContextsConfig, share: float, seed: int
) -> None:
    for outcome in outcomes(world, setting_apart(config, share), seed=seed).values():
        if isinstance(outcome, Failure):
            continue
        for first, second in itertools.combinations(outcome.contexts, 2):
            assert first.split == second.split or first.document_id != second.document_id
            assert jaccard(first.token_ids, second.token_ids) < config.near_duplicate
        for context in outcome.contexts:
            assert context.split == group_split(context.document_id, seed, config.explain_share, share)
            true = world.dense[context.block_index, :, outcome.feature_index]
            assert context.activations == tuple(true[context.start : context.start + len(context.tokens)].tolist())


def test_select_contexts_are_stratified_like_those_that_grade_and_have_as_many_silent_ones() -> None:
    collect = COLLECT.model_copy(update={"n_fired": 90, "n_pool_blocks": 200})
    config = setting_apart(CONTEXTS, 0.4, n_select=8)
    outcome = outcomes(make_world(5, n_documents=300), config, collect=collect)[COMMON]
    assert Counter((c.split, c.kind) for c in of_split(outcome, "select")) == {
        ("select", "quantile"): 8,
        ("select", "silent_peak"): 4,
        ("select", "silent_similar"): 4,
    }
    assert isinstance(outcome, FeatureContexts)
    assert Counter(c.quantile for c in outcome.of("select", active=True)) == {0: 2, 1: 2, 2: 2, 3: 2}
    assert len({c.context_id for c in outcome.contexts}) == len(outcome.contexts)
    assert [s for s, _ in itertools.groupby(c.split for c in outcome.contexts)] == ["explain", "select", "score"]


def test_a_feature_without_select_contexts_has_the_others_all_the_same() -> None:
    world = make_world(5, n_documents=200)
    outcome = outcomes(world, setting_apart(CONTEXTS, 1e-9))[COMMON]
    without = outcomes(world, CONTEXTS)[COMMON]
    assert of_split(outcome, "select") == []
    assert of_split(outcome, "score") == of_split(without, "score")
    assert len(of_split(outcome, "explain")) == len(of_split(without, "explain"))


def test_a_feature_that_the_select_split_leaves_too_little_to_explain_is_recorded_so() -> None:
    world = make_world(5, n_documents=200)
    assert isinstance(outcomes(world, CONTEXTS)[COMMON], FeatureContexts)
    failure = outcomes(world, setting_apart(CONTEXTS, 0.99))[COMMON]
    assert isinstance(failure, Failure)
    assert failure.error_type == "TooFewContexts"
    assert failure.message.startswith(("0 explain", "1 explain", "2 explain"))


def test_tiles_know_their_three_splits() -> None:
    world = make_world(5)
    config = setting_apart(CONTEXTS, 0.5)
    tiles, without = world.tiles(config), world.tiles(CONTEXTS)
    expected = [group_split(name, 0, 0.5, 0.5) for name in tiles.document_ids]
    assert [tiles.split(tile) for tile in range(tiles.n_tiles)] == expected
    for split in ("explain", "select", "score"):
        assert tiles.of(split).tolist() == [of == split for of in expected]
    assert tiles.is_explain.tolist() == tiles.of("explain").tolist()
    assert tiles.is_score.tolist() == without.is_score.tolist()
    assert set(expected) == {"explain", "select", "score"}
    given_back = tiles.without_select()
    assert [given_back.split(tile) for tile in range(tiles.n_tiles)] == [without.split(t) for t in range(tiles.n_tiles)]


def context_of(split: Split, document_id: str, tokens: list[int]) -> Context:
    return make_context(
        tokens,
        [1.0] * len(tokens),
        source_id=SOURCE,
        feature_index=3,
        kind="quantile",
        split=split,
        quantile=0,
        document_id=document_id,
        block_index=0,
        start=0,
        tokens=["x"] * len(tokens),
    )


PAIRS: list[tuple[Split, Split]] = [("explain", "select"), ("select", "score"), ("explain", "score")]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_document_in_two_of_the_splits_is_a_leak(first: Split, second: Split) -> None:
    contexts = (context_of(second, "a", [7, 8, 9, 10]), context_of(first, "a", [1, 2, 3, 4]))
    with pytest.raises(LeakError, match=f"3 has document 'a' in both splits, {first} and {second}"):
        check_no_leak(FeatureContexts(SOURCE, 3, contexts), 0.5)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_near_duplicate_in_another_split_is_a_leak(first: Split, second: Split) -> None:
    shown, later = context_of(first, "c", [1, 2, 3, 4, 5]), context_of(second, "d", [1, 2, 3, 4, 5, 6, 7, 8])
    with pytest.raises(
        LeakError, match=f"{second} context {later.context_id} repeats 50% of {first} context {shown.context_id}"
    ):
        check_no_leak(FeatureContexts(SOURCE, 3, (later, shown)), 0.5)


def test_a_select_split_that_depends_on_who_asks_is_caught_as_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    n_asked = itertools.count()

    def fickle(document_id: str, seed: int, explain_share: float, select_share: float = 0.0) -> Split:
        settled = group_split(document_id, seed, explain_share)
        return settled if select_share == 0 or settled == "score" or next(n_asked) % 2 else "select"

    monkeypatch.setattr(build, "group_split", fickle)
    with pytest.raises(LeakError, match="in both splits, explain and select"):
        outcomes(make_world(5, duplicated=0.0), setting_apart(CONTEXTS, 0.5))


def test_a_duplicate_that_slips_into_the_select_split_is_caught_as_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(5, n_documents=200, duplicated=0.6)

    class Blind(DuplicateFilter):
        def admit(self, trigrams: frozenset[int]) -> bool:
            return True

    monkeypatch.setattr(build, "DuplicateFilter", Blind)
    monkeypatch.setattr(choose, "DuplicateFilter", Blind)
    with pytest.raises(LeakError, match=r"select context .* repeats .* of explain context"):
        outcomes(world, setting_apart(CONTEXTS, 0.5))
