import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from autointerp.config import CollectConfig, ContextsConfig
from autointerp.contexts import build
from autointerp.contexts.build import build_contexts
from autointerp.contexts.negatives import SilentPools
from autointerp.contexts.splits import DuplicateFilter, group_split
from autointerp.corpus.reader import ShardReader
from autointerp.corpus.shard_files import save_shard
from autointerp.errors import LeakError, ShardError
from autointerp.records import SILENT_KINDS, BlockShard, Context, Failure, FeatureContexts, Split
from tests.contexts.world import COLLECT, CONTEXTS, SOURCE, World, jaccard, make_world

EVERY_KIND = CONTEXTS.model_copy(
    update={"negatives": ("silent_peak", "silent_similar", "silent_neighbor", "silent_token")}
)
NEIGHBORS: Mapping[int, Sequence[int]] = {1: [2, 3], 2: [3], 3: [1, 2]}
DEAD, RARE, USUAL, COMMON, ALWAYS = range(5)
FEATURES = (DEAD, RARE, USUAL, COMMON, ALWAYS)


def outcomes(
    world: World,
    config: ContextsConfig = CONTEXTS,
    features: Sequence[int] = FEATURES,
    *,
    seed: int = 0,
    neighbors: Mapping[int, Sequence[int]] | np.ndarray | None = None,
    collect: CollectConfig = COLLECT,
) -> dict[int, FeatureContexts | Failure]:
    """Outcome of each feature, in the order given."""
    built = build_contexts(features, world.inputs(config, collect, seed=seed, neighbors=neighbors))
    return {outcome.feature_index: outcome for outcome in built}


def contexts_in(world: World, config: ContextsConfig = CONTEXTS, *, seed: int = 0) -> list[FeatureContexts]:
    built = outcomes(world, config, seed=seed, neighbors=NEIGHBORS).values()
    return [outcome for outcome in built if isinstance(outcome, FeatureContexts)]


def of_split(contexts: FeatureContexts, split: Split) -> list[Context]:
    return [context for context in contexts.contexts if context.split == split]


worlds = st.builds(
    make_world, st.integers(0, 10_000), n_words=st.sampled_from([4, 30, 400]), duplicated=st.sampled_from([0.0, 0.4])
)
any_config = st.sampled_from([CONTEXTS, EVERY_KIND, CONTEXTS.model_copy(update={"near_duplicate": 0.2})])


@given(worlds, any_config, st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_splits_share_no_document_and_no_near_duplicate(world: World, config: ContextsConfig, seed: int) -> None:
    for contexts in contexts_in(world, config, seed=seed):
        explain, score = of_split(contexts, "explain"), of_split(contexts, "score")
        assert not {c.document_id for c in explain} & {c.document_id for c in score}
        for first, second in itertools.combinations(contexts.contexts, 2):
            assert jaccard(first.token_ids, second.token_ids) < config.near_duplicate
        for context in contexts.contexts:
            assert context.split == group_split(context.document_id, seed, config.explain_share)


@given(worlds, any_config)
@settings(max_examples=25, deadline=None)
def test_every_context_says_of_the_activations_what_is_so(world: World, config: ContextsConfig) -> None:
    for contexts in contexts_in(world, config):
        assert len({context.context_id for context in contexts.contexts}) == len(contexts.contexts)
        for context in contexts.contexts:
            at = slice(context.start, context.start + len(context.tokens))
            true = world.dense[context.block_index, :, contexts.feature_index]
            assert context.activations == tuple(true[at].tolist())
            assert context.token_ids == tuple(world.token_ids[context.block_index, at].tolist())
            assert world.counted[context.block_index, at].all()
            assert context.document_id == world.document_ids[context.block_index]
            assert context.max_activation == (true[at] if context.kind == "silent_window" else true).max()
            assert context.is_active == (context.kind not in SILENT_KINDS)
            assert (context.quantile is None) == (context.kind in SILENT_KINDS)


@given(st.integers(0, 10_000), st.permutations(FEATURES))
@settings(max_examples=10, deadline=None)
def test_contexts_do_not_depend_on_which_features_come_with_them(seed: int, order: list[int]) -> None:
    world = make_world(seed)
    straight = outcomes(world, EVERY_KIND, neighbors=NEIGHBORS)
    shuffled = outcomes(world, EVERY_KIND, order, neighbors=NEIGHBORS)
    assert list(shuffled) == order
    alone = outcomes(world, EVERY_KIND, [USUAL], neighbors=NEIGHBORS)
    for feature, outcome in straight.items():
        if isinstance(outcome, FeatureContexts):
            assert shuffled[feature] == outcome
    if isinstance(straight[USUAL], FeatureContexts):
        assert alone[USUAL] == straight[USUAL]


def test_chunks_do_not_change_the_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(5)
    whole = contexts_in(world)
    monkeypatch.setattr(build, "_FEATURES_PER_CHUNK", 2)
    assert contexts_in(world) == whole
    assert len(whole) >= 2


def ok(outcome: FeatureContexts | Failure) -> FeatureContexts:
    assert isinstance(outcome, FeatureContexts)
    return outcome


def test_a_usual_feature_has_the_contexts_that_the_config_asks_for() -> None:
    contexts = ok(outcomes(make_world(5, n_documents=200))[COMMON])
    assert Counter((c.split, c.kind) for c in contexts.contexts) == {
        ("explain", "top"): 5,
        ("explain", "quantile"): 5,
        ("explain", "silent_peak"): 5,
        ("explain", "silent_similar"): 5,
        ("score", "quantile"): 8,
        ("score", "silent_peak"): 4,
        ("score", "silent_similar"): 4,
    }
    assert Counter(c.quantile for c in contexts.of("score", active=True)) == {0: 2, 1: 2, 2: 2, 3: 2}


def test_the_explain_side_has_at_most_twenty_silent_contexts() -> None:
    config = CONTEXTS.model_copy(update={"n_explain": 30, "explain_share": 0.8})
    contexts = ok(outcomes(make_world(5, n_documents=200), config)[COMMON])
    assert len(contexts.of("explain", active=True)) > 20
    assert len(contexts.of("explain", active=False)) == 20


def test_quantiles_are_of_the_feature_s_own_firing_blocks() -> None:
    world = make_world(5, densities=(0.0, 0.002, 0.008))
    contexts = ok(outcomes(world, features=[USUAL])[USUAL])
    firing = np.flatnonzero(world.dense[:, :, USUAL].max(axis=1) > 0)
    assert firing.size <= COLLECT.n_fired, "the sample is complete, so quantiles are exact"
    ordered = sorted(firing.tolist(), key=lambda block: (world.dense[block, :, USUAL].max(), block))
    expected = {block: place * CONTEXTS.n_quantiles // len(ordered) for place, block in enumerate(ordered)}
    active = [context for context in contexts.contexts if context.is_active]
    assert [context.quantile for context in active] == [expected[context.block_index] for context in active]


def test_a_dead_feature_is_recorded_as_dead() -> None:
    failure = outcomes(make_world(5))[DEAD]
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.error_type, failure.retry) == ("contexts", "DeadFeature", False)
    assert (failure.source_id, failure.feature_index, failure.fingerprint) == (SOURCE, DEAD, "f" * 64)
    assert failure.created_at.tzinfo is not None


def few(outcome: FeatureContexts | Failure) -> tuple[str, str]:
    assert isinstance(outcome, Failure)
    assert (outcome.stage, outcome.retry) == ("contexts", False)
    assert "\n" not in outcome.message
    return outcome.error_type, outcome.message


def test_a_feature_with_few_contexts_is_recorded_with_their_numbers_and_what_to_do() -> None:
    world = make_world(5, duplicated=0.0)
    error_type, message = few(outcomes(world, CONTEXTS.model_copy(update={"min_score": 20}))[RARE])
    assert error_type == "TooFewContexts"
    assert "explain and" in message
    assert "where 3 and 20 are needed" in message
    assert message.endswith("give more text (corpus.n_tokens), or lower contexts.min_explain and contexts.min_score")


def test_text_of_one_document_is_said_to_be_too_few_documents() -> None:
    world = make_world(5, duplicated=0.0)
    alone = replace(world, document_ids=("the only one",) * world.n_blocks)
    error_type, message = few(outcomes(alone)[COMMON])
    assert error_type == "TooFewDocuments"
    assert "it fires in" in message
    assert "sampled from 1 document, each" in message


def test_text_of_many_documents_but_one_group_is_said_to_be_too_few_groups() -> None:
    world = make_world(5, duplicated=0.0)
    error_type, message = few(outcomes(replace(world, group_ids=("a.txt",) * world.n_blocks))[COMMON])
    assert error_type == "TooFewDocuments"
    assert "documents of 1 group (source files or another group), each of which" in message
    assert message.endswith('or set corpus.groups = "document"')


def test_documents_of_one_group_are_all_on_one_side() -> None:
    world = make_world(5, duplicated=0.0)
    group_ids = tuple(f"file {int(name.split()[1]) // 3}" for name in world.document_ids)
    grouped = replace(world, group_ids=group_ids)
    for contexts in contexts_in(grouped):
        explain = {c.group_id for c in of_split(contexts, "explain")}
        score = {c.group_id for c in of_split(contexts, "score")}
        assert explain
        assert score
        assert not explain & score
        assert {c.group_id for c in contexts.contexts} <= {*group_ids}


def test_contexts_that_all_repeat_each_other_are_said_to_be_repeated() -> None:
    world = make_world(5, duplicated=0.0, short=0.0)
    same = replace(world, token_ids=np.repeat(world.token_ids[:1], world.n_blocks, axis=0), dense=world.dense)
    same.dense[:, 3, COMMON] = 7.0  # at one place everywhere, so that all windows are one
    error_type, message = few(outcomes(same)[COMMON])
    assert error_type == "RepeatedContexts"
    assert message.startswith("1 explain and 0 score contexts, where 3 and 3 are needed")


def test_a_feature_that_is_never_silent_has_active_contexts_only() -> None:
    contexts = ok(outcomes(make_world(5))[ALWAYS])
    assert {context.kind for context in contexts.contexts} == {"top", "quantile"}
    assert len(contexts.of("explain", active=True)) == CONTEXTS.n_explain
    assert len(contexts.of("score", active=True)) == CONTEXTS.n_score


def frequent(*densities: float) -> World:
    """Features that fire on each token by such chances and besides at the first place of each block."""
    world = make_world(7, densities=densities, n_documents=200, duplicated=0.0, short=0.0)
    world.dense[:, 1] = 3.0
    return world


def test_a_feature_that_fires_in_every_block_has_silent_windows_of_its_blocks() -> None:
    world = frequent(0.0, 0.03, 0.1)
    for contexts in map(ok, outcomes(world, features=range(3)).values()):
        counts = Counter((c.split, c.kind) for c in contexts.contexts if not c.is_active)
        assert counts == {("explain", "silent_window"): 10, ("score", "silent_window"): 8}
        for context in contexts.contexts:
            at = slice(context.start, context.start + len(context.tokens))
            here = world.dense[context.block_index, :, contexts.feature_index]
            assert context.activations == tuple(here[at].tolist())
            assert context.is_active or (here.max() > 0 and here[at].max() == 0)


def test_no_silent_window_shares_a_token_with_an_active_context() -> None:
    contexts = ok(outcomes(frequent(0.05), features=[0])[0])
    active = [(c.block_index, c.start, c.start + len(c.tokens)) for c in contexts.contexts if c.is_active]
    for silent in (c for c in contexts.contexts if c.kind == "silent_window"):
        for block, start, end in active:
            assert block != silent.block_index or start >= silent.start + len(silent.tokens) or end <= silent.start


def test_only_a_feature_that_lacks_silent_blocks_has_silent_windows() -> None:
    world = make_world(5, n_documents=200)
    for contexts in map(ok, outcomes(world, features=[USUAL, COMMON]).values()):
        assert "silent_window" not in {context.kind for context in contexts.contexts}
        assert len(contexts.of("explain", active=False)) == CONTEXTS.n_explain


def test_a_feature_with_some_silent_blocks_uses_them_first() -> None:
    world = frequent(0.0)
    world.dense[:3] = 0.0
    config = CONTEXTS.model_copy(update={"n_pool_tiles": 10_000})
    collect = COLLECT.model_copy(update={"n_pool_blocks": 10_000})
    contexts = ok(outcomes(world, config, [0], collect=collect)[0])
    wholly = [c for c in contexts.contexts if c.kind in SILENT_KINDS - {"silent_window"}]
    assert len(wholly) == 6, "three blocks make nine tiles, of which those that overlap repeat each other"
    assert all(c.block_index < 3 for c in wholly)
    n_silent = [len(contexts.of(split, active=False)) for split in ("explain", "score")]
    assert n_silent == [CONTEXTS.n_explain, CONTEXTS.n_score]


def test_the_length_of_a_silent_window_does_not_tell_it_from_a_firing_context() -> None:
    world = make_world(3, densities=[0.0] * 20, n_documents=500, duplicated=0.0, short=0.6)
    rng = np.random.default_rng(0)
    first = (world.counted.cumsum(axis=1) == 1) & world.counted
    world.dense[first] = rng.integers(1, 7, (int(first.sum()), 20))
    collect = COLLECT.model_copy(update={"n_pool_blocks": 1000, "n_fired": 100})
    config = CONTEXTS.model_copy(update={"n_score": 20, "n_explain": 30, "n_pool_tiles": 3000})
    values = []
    for contexts in map(ok, outcomes(world, config, range(20), collect=collect).values()):
        scored = of_split(contexts, "score")
        assert {c.kind for c in scored} == {"quantile", "silent_window"}
        values.append(roc_auc_score([c.is_active for c in scored], [len(c.tokens) for c in scored]))
    assert abs(np.mean(values) - 0.5) < 0.05


def test_documents_shorter_than_a_context_have_contexts_of_their_own_length() -> None:
    contexts = contexts_in(make_world(5, n_documents=200, short=0.6))
    lengths = {len(context.tokens) for one in contexts for context in one.contexts}
    assert max(lengths) == COLLECT.context_length
    assert min(lengths) < COLLECT.context_length


def test_the_number_of_tokens_alone_does_not_tell_firing_contexts_from_silent_ones() -> None:
    """Six blocks in ten are cut short, some below the length of a context; a feature seldom fires in these."""
    world = make_world(3, densities=[0.1] * 40, n_documents=500, duplicated=0.0, short=0.6)
    collect = COLLECT.model_copy(update={"n_pool_blocks": 600})
    config = CONTEXTS.model_copy(update={"n_score": 20, "n_explain": 30, "n_pool_tiles": 600})
    contexts = [
        c for c in outcomes(world, config, range(40), collect=collect).values() if isinstance(c, FeatureContexts)
    ]
    assert len(contexts) > 30
    for split in ("explain", "score"):
        of_each = [of_split(one, split) for one in contexts]
        assert sum(len(context.tokens) < collect.context_length for of_one in of_each for context in of_one) > 50
        values = [roc_auc_score([c.is_active for c in of_one], [len(c.tokens) for c in of_one]) for of_one in of_each]
        assert abs(np.mean(values) - 0.5) < 0.05


def test_a_split_that_depends_on_who_asks_is_caught_as_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(5)
    n_asked = itertools.count()

    def fickle(document_id: str, seed: int, explain_share: float) -> Split:
        return "explain" if next(n_asked) % 2 else "score"

    monkeypatch.setattr(build, "group_split", fickle)
    with pytest.raises(LeakError, match="in both splits"):
        outcomes(world)


def test_a_duplicate_that_slips_through_is_caught_as_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(5, n_documents=200, duplicated=0.6)

    class Blind(DuplicateFilter):
        def admit(self, trigrams: frozenset[int]) -> bool:
            return True

    monkeypatch.setattr(build, "DuplicateFilter", Blind)
    with pytest.raises(LeakError, match="repeats"):
        outcomes(world)


def test_neighbors_may_come_as_an_array() -> None:
    world = make_world(5)
    table = np.full((5, 3), -1, dtype=np.int32)
    for feature, near in NEIGHBORS.items():
        table[feature, : len(near)] = near
    from_mapping = outcomes(world, EVERY_KIND, [USUAL], neighbors=NEIGHBORS)[USUAL]
    assert outcomes(world, EVERY_KIND, [USUAL], neighbors=table)[USUAL] == from_mapping
    assert "silent_neighbor" in {context.kind for context in ok(from_mapping).contexts}


def test_token_negatives_hold_a_token_on_which_the_feature_peaks_most() -> None:
    config = CONTEXTS.model_copy(update={"negatives": ("silent_token",)})
    contexts = ok(outcomes(make_world(5, n_words=30, duplicated=0.0), config, [USUAL])[USUAL])
    peaks = Counter(c.token_ids[c.peak] for c in contexts.of("explain", active=True))
    most = sorted(peaks, key=lambda token_id: (-peaks[token_id], token_id))[:3]
    holding = [c for c in contexts.contexts if c.kind == "silent_token"]
    assert len(holding) > 5
    assert all(set(most) & set(c.token_ids) for c in holding)
    assert any(most[0] in c.token_ids for c in holding)


def test_another_seed_gives_other_contexts() -> None:
    world = make_world(5)
    assert contexts_in(world, seed=0) == contexts_in(world, seed=0)
    assert contexts_in(world, seed=0) != contexts_in(world, seed=1)


def test_no_features_give_no_contexts() -> None:
    assert outcomes(make_world(5), features=[]) == {}


def test_only_dead_features_read_nothing() -> None:
    assert all(isinstance(outcome, Failure) for outcome in outcomes(make_world(5), features=[DEAD]).values())


def test_samples_of_another_corpus_are_refused(tmp_path: Path) -> None:
    world = make_world(5)

    save_shard(
        BlockShard(
            shard_index=0,
            first_block=0,
            token_ids=world.token_ids[:2],
            n_tokens=world.counted[:2].sum(axis=1).astype(np.int32) + 2,
            counted=world.counted[:2],
            document_index=np.zeros(2, dtype=np.int32),
            document_ids=("document 0",),
        ),
        tmp_path / "0.npz",
    )
    built = build_contexts([USUAL], replace(world.inputs(), blocks=ShardReader(tmp_path)))
    with pytest.raises(ShardError, match="is not among the 2 blocks"):
        list(built)


def test_samples_of_another_context_length_are_refused() -> None:
    world = make_world(5)
    tiles = world.tiles(collect=COLLECT.model_copy(update={"context_length": 9}))
    built = build_contexts([USUAL], replace(world.inputs(), pools=SilentPools(tiles, tiles)))
    with pytest.raises(AssertionError, match="another context length"):
        list(built)
