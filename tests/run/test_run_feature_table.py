"""The rows of features, made column by column, are those of a loop over features."""

from dataclasses import replace

import numpy as np
import pytest

from autointerp.collect.effects import SourceEffects
from autointerp.collect.following import FollowingTokens
from autointerp.collect.tokens import top_tokens
from autointerp.config import Pipeline
from autointerp.records import (
    FeatureRecord,
    FeatureStatistics,
    FeatureStatus,
    FollowingToken,
    TokenCount,
    TokenCounts,
    TokenLogit,
)
from autointerp.run.feature_table import FeatureColumns
from autointerp.store.rows import features_of
from autointerp.subject.logits import ExtremeLogits, NoLogits
from tests.collect.cases import plain_case

N_FEATURES, N_RANKS = 7, 3
DEAD, DENSE, FEW, NO_DIRECTION = 1, 2, 3, 4
TEXTS = (" a", "ü", "<x>", " 熱", "")
OCCURRENCES = np.array([90, 80, 70, 60, 50])
PIPELINE = Pipeline.model_validate({"name": "x", "coder": {"path": "x"}})


@pytest.fixture
def columns() -> FeatureColumns:
    rng = np.random.default_rng(3)
    n_active = rng.integers(1, 300, N_FEATURES)
    n_active[[DEAD, DENSE]] = 0, 900
    n_blocks = np.full(N_FEATURES, 80)
    n_blocks[[DEAD, FEW]] = 0, 2
    statistics = FeatureStatistics(
        n_tokens=1000,
        n_blocks=90,
        n_active=n_active,
        n_active_blocks=n_blocks,
        activation_sum=rng.random(N_FEATURES) * n_active,
        max_activation=rng.random(N_FEATURES).astype(np.float32),
        histogram=rng.integers(0, 9, (N_FEATURES, 4)),
        bin_edges=np.exp2(np.arange(5.0)),
    )
    feature = np.array([0, 0, 2, 3, 3, 3, 6], np.int32)
    counts = TokenCounts(
        feature=feature,
        token_id=np.array([1, 3, 0, 1, 2, 4, 0], np.int32),
        n_active=rng.integers(1, 50, feature.size),
        activation_sum=rng.random(feature.size),
        n_missed=rng.integers(0, 3, N_FEATURES),
    )
    following = FollowingTokens(
        offsets=np.array([0, 2, 2, 2, 5, 5, 6, 6]),
        token_id=np.array([3, 1, 0, 2, 4, 4], np.int32),
        n_peaks=np.array([5, 2, 9, 4, 1, 3]),
        lift=rng.random(6).astype(np.float32),
        n_sampled=rng.integers(0, 20, N_FEATURES),
        n_followed=rng.integers(0, 20, N_FEATURES),
    )
    shape = (N_FEATURES, N_RANKS)
    top, bottom = rng.random(shape).astype(np.float32), -rng.random(shape).astype(np.float32)
    top[NO_DIRECTION] = bottom[NO_DIRECTION] = 0
    tokens = rng.integers(0, len(TEXTS), (2, *shape)).astype(np.int32)
    case = plain_case(np.zeros((1, 4, N_FEATURES), np.float32))
    collected = replace(case.part(case.shards[0]), statistics=statistics, token_counts=counts)
    effects = SourceEffects(following, ExtremeLogits(tokens[0], top, tokens[1], bottom), OCCURRENCES)
    return FeatureColumns("m@s", collected, top_tokens(counts, N_FEATURES, 2), effects, TEXTS, PIPELINE)


def by_a_loop(columns: FeatureColumns, index: int, status: FeatureStatus) -> FeatureRecord:
    statistics, following, logits = columns.collected.statistics, columns.effects.following, columns.effects.logits
    tops = slice(columns.tokens.offsets[index], columns.tokens.offsets[index + 1])
    after = slice(following.offsets[index], following.offsets[index + 1])
    n_active = int(statistics.n_active[index])

    def ranked(which: str) -> tuple[TokenLogit, ...]:
        if isinstance(logits, NoLogits) or index == NO_DIRECTION:
            return ()
        tokens, values = getattr(logits, f"{which}_tokens")[index], getattr(logits, f"{which}_logits")[index]
        return tuple(TokenLogit(TEXTS[token], float(value)) for token, value in zip(tokens, values, strict=True))

    return FeatureRecord(
        source_id="m@s",
        feature_index=index,
        n_active=n_active,
        density=n_active / 1000,
        max_activation=float(statistics.max_activation[index]),
        mean_activation=float(statistics.activation_sum[index]) / n_active if n_active else 0.0,
        histogram=tuple(statistics.histogram[index].tolist()),
        status=status,
        top_tokens=tuple(
            TokenCount(TEXTS[token], int(n), float(mean), int(OCCURRENCES[token]))
            for token, n, mean in zip(
                columns.tokens.token_id[tops],
                columns.tokens.n_active[tops],
                columns.tokens.mean_activation[tops],
                strict=True,
            )
        ),
        top_tokens_n_missed=int(columns.collected.token_counts.n_missed[index]),
        following_tokens=tuple(
            FollowingToken(TEXTS[token], int(n), float(lift))
            for token, n, lift in zip(
                following.token_id[after], following.n_peaks[after], following.lift[after], strict=True
            )
        ),
        n_sampled_peaks=int(following.n_sampled[index]),
        n_followed_peaks=int(following.n_followed[index]),
        top_logits=ranked("top"),
        bottom_logits=ranked("bottom"),
    )


STATUS: list[FeatureStatus] = ["ok", "dead", "dense", "few_contexts", "ok", "ok", "ok"]


@pytest.mark.parametrize("has_logits", [True, False])
@pytest.mark.parametrize(("first", "last"), [(0, N_FEATURES), (0, 3), (3, 6), (6, N_FEATURES), (4, 4)])
def test_any_range_of_features_has_the_rows_of_a_loop(
    first: int, last: int, has_logits: bool, columns: FeatureColumns
) -> None:
    if not has_logits:
        columns = replace(columns, effects=replace(columns.effects, logits=NoLogits("no head")))
    rows = features_of(columns.table(first, last).to_pylist())
    assert rows == [by_a_loop(columns, index, STATUS[index]) for index in range(first, last)]
