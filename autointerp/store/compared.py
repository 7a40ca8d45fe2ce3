"""What a store holds to be compared: its sets of labels and of scores, those of earlier settings too.

A set of labels is what one explainer wrote under one setting; a set of scores is what one scorer and judge gave under
one. A run that goes on with another explainer or judge keeps what the earlier one gave, under its own fingerprint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from autointerp.score.same_trials import ScoredTrials
from autointerp.store.store_file import StoreFile

_LABEL_SETS = """
SELECT e.fingerprint, e.explainer, string_agg(DISTINCT e.model, ', ' ORDER BY e.model),
    CASE WHEN count(DISTINCT e.prompt_sha256) = 1 THEN any_value(e.prompt_sha256) END,
    any_value(e.label_from) IS NOT NULL, bool_or(c.explanation_id IS NOT NULL), count(*)
FROM explanations e LEFT JOIN current_explanations c USING (explanation_id)
GROUP BY e.fingerprint, e.explainer ORDER BY max(e.created_at), e.fingerprint
"""
_SCORE_SETS = """
SELECT s.scorer, s.judge, s.fingerprint, any_value(s.metric),
    coalesce(any_value(g.fingerprint) = s.fingerprint, true), count(*)
FROM scores s JOIN explanations e USING (explanation_id) LEFT JOIN stages g ON g.stage = 'score:' || s.scorer
WHERE e.fingerprint = ? AND e.explainer = ? GROUP BY s.scorer, s.judge, s.fingerprint ORDER BY s.scorer, s.judge
"""
_VALUES = """
SELECT e.feature_index, e.label, s.scorer, s.explanation_id, s.metric, s.value, s.ci_low, s.ci_high,
    json_type(s.detail, '$.stopped') IS NULL
FROM explanations e JOIN scores s USING (explanation_id)
WHERE e.fingerprint = $labels AND e.explainer = $explainer AND list_contains($scores, s.scorer || ' ' || s.fingerprint)
    AND e.source_id = $source AND e.feature_index BETWEEN $first AND $last
ORDER BY e.feature_index, s.scorer
"""
# A context may stand in the table for several scorers, which drew the same one.
_TRIALS = """
WITH place AS (
    SELECT context_id, any_value(coalesce(nullif(group_id, ''), document_id)) AS place FROM contexts
    WHERE source_id = $source AND feature_index BETWEEN $first AND $last GROUP BY context_id
), asked AS (
    SELECT t.explanation_id, t.scorer, t.truth, t.weight, p.place,
        CASE WHEN t.unanswered IS NULL THEN t.verdict END AS verdict,
        CASE WHEN t.unanswered IS NULL THEN t.probability END AS probability,
        t.context_id || t.marked::VARCHAR || t.truth::VARCHAR AS key
    FROM trials t JOIN explanations e USING (explanation_id) JOIN place p USING (context_id)
    WHERE e.fingerprint = $labels AND e.explainer = $explainer
        AND list_contains($scores, t.scorer || ' ' || t.fingerprint)
        AND t.source_id = $source AND t.feature_index BETWEEN $first AND $last
)
SELECT explanation_id, scorer, list(key ORDER BY key), list(truth ORDER BY key), list(verdict ORDER BY key),
    list(probability ORDER BY key), list(place ORDER BY key), bool_and(weight = 1)
FROM asked GROUP BY explanation_id, scorer
"""


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Labels that one explainer wrote under one setting.

    Attributes:
        fingerprint: Of the setting.
        explainer: Its name.
        model: The language models' names, or `local`.
        prompt_sha256: Of the prompt; None where there is none, or several.
        is_baseline: Whether they are no labels of the features, but there to see what chance scores.
        is_current: Whether they count as the run's labels now.
        n: Labels.
    """

    fingerprint: str
    explainer: str
    model: str
    prompt_sha256: str | None
    is_baseline: bool
    is_current: bool
    n: int


@dataclass(frozen=True, slots=True)
class ScoreSet:
    """Scores that one scorer and judge gave under one setting, to one set of labels.

    Attributes:
        scorer: The scorer.
        judge: The judge.
        fingerprint: Of the setting.
        metric: What the values are.
        is_current: Whether they count as the run's scores now.
        n: Scores.
    """

    scorer: str
    judge: str
    fingerprint: str
    metric: str
    is_current: bool
    n: int


@dataclass(frozen=True, slots=True)
class ScoredFeature:
    """One feature's label, and its scores by scorer."""

    source_id: str
    feature_index: int
    label: str
    scores: dict[str, ScoredTrials]


class ComparedStore(StoreFile):
    """Reads what is compared."""

    def label_sets(self) -> list[LabelSet]:
        """Every set of labels, the one written last at the end."""
        with self._open() as connection:
            return [LabelSet(*row) for row in connection.execute(_LABEL_SETS).fetchall()]

    def score_sets(self, labels: LabelSet) -> list[ScoreSet]:
        """The sets of scores of a set of labels, by scorer."""
        with self._open() as connection:
            found = connection.execute(_SCORE_SETS, [labels.fingerprint, labels.explainer]).fetchall()
        return [ScoreSet(*row) for row in found]

    def n_features(self) -> dict[str, int]:
        """Features of each source."""
        with self._open() as connection:
            return dict(connection.execute("SELECT source_id, n_features FROM sources ORDER BY source_id").fetchall())

    def scored_features(
        self, labels: LabelSet, scores: Sequence[ScoreSet], source_id: str, first: int, last: int
    ) -> list[ScoredFeature]:
        """Features of one source, ascending, with what they score by the sets, and the trials.

        Args:
            labels: The set of labels.
            scores: Sets of their scores, one a scorer.
            source_id: The source.
            first: The first feature.
            last: The last feature.
        """
        wanted = {
            "labels": labels.fingerprint,
            "explainer": labels.explainer,
            "scores": [f"{of.scorer} {of.fingerprint}" for of in scores],
            "source": source_id,
            "first": first,
            "last": last,
        }
        with self._open() as connection:
            trials = {
                (str(label), str(scorer)): _Trials(*row)
                for label, scorer, *row in connection.execute(_TRIALS, wanted).fetchall()
            }
            rows = connection.execute(_VALUES, wanted).fetchall()
        found: dict[int, ScoredFeature] = {}
        for feature, label, scorer, name, metric, value, low, high, asks_all in rows:
            asked = trials.get((name, scorer), _NO_TRIALS)
            found.setdefault(feature, ScoredFeature(source_id, feature, label, {})).scores[scorer] = ScoredTrials(
                metric=metric,
                value=value,
                low=low,
                high=high,
                keys=asked.keys,
                truth=asked.truth,
                verdicts=asked.verdicts,
                probabilities=asked.probabilities,
                groups=asked.groups,
                is_plain=asks_all and asked.counts_alike,
            )
        return list(found.values())


class _Trials(NamedTuple):
    keys: list[str]
    truth: list[bool]
    verdicts: list[bool | None]
    probabilities: list[float | None]
    groups: list[str]
    counts_alike: bool


_NO_TRIALS = _Trials([], [], [], [], [], counts_alike=False)
