"""How far the stages are, and how good the labels are: sums over the current rows."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC

import duckdb

from autointerp.records import FeatureFilter
from autointerp.score.tier import Graded, tier_from
from autointerp.store.query import select_explanations, select_scores
from autointerp.store.results import NullSummary, ScoredLabel, ScorerSummary, StageStatus, with_scores

_STAGES = """
SELECT stage FROM stages UNION SELECT stage FROM failures UNION SELECT 'score:' || scorer FROM scores
"""
_FAILED = """
SELECT stage, count(DISTINCT CASE WHEN explanation_id IS NULL
                                  THEN source_id || ':' || feature_index ELSE explanation_id END)
FROM current_failures GROUP BY stage
"""
_DONE = """
SELECT 'collect', count(*) FROM features
UNION ALL SELECT 'contexts', count(DISTINCT (source_id, feature_index)) FROM current_contexts WHERE kind <> 'pool'
UNION ALL SELECT 'explain', count(DISTINCT (source_id, feature_index)) FROM current_explanations
    WHERE label_from IS NULL
UNION ALL SELECT 'baseline', count(*) FROM current_explanations WHERE label_from IS NOT NULL
UNION ALL SELECT 'score:' || scorer, count(DISTINCT explanation_id) FROM current_scores
    SEMI JOIN current_explanations USING (explanation_id) GROUP BY scorer
UNION ALL SELECT 'index', count(DISTINCT explanation_id) FROM label_embeddings
    SEMI JOIN (SELECT explanation_id FROM current_explanations WHERE label_from IS NULL) USING (explanation_id)
"""
_UPSTREAM = """
SELECT 'collect', coalesce(sum(n_features), 0) FROM sources
UNION ALL SELECT 'score', count(*) FROM current_explanations WHERE label_from IS NULL OR explainer <> 'no_label'
UNION ALL SELECT 'score:' || scorer, (SELECT count(*) FROM current_explanations)
    FROM current_scores JOIN current_explanations USING (explanation_id)
    WHERE label_from IS NOT NULL AND explainer = 'no_label' GROUP BY scorer
UNION ALL SELECT 'score:' || scorer, (SELECT count(*) FROM current_explanations WHERE label_from IS NULL)
    FROM current_scores JOIN current_explanations USING (explanation_id)
    JOIN stages ON stage = 'score:' || scorer AND status = 'done'
    GROUP BY scorer HAVING count(label_from) = 0
        AND NOT EXISTS (
            SELECT 1 FROM current_failures f JOIN current_explanations e USING (explanation_id)
            WHERE f.stage = 'score:' || scorer AND e.label_from IS NOT NULL
        )
UNION ALL SELECT 'index', count(*) FROM current_explanations WHERE label_from IS NULL
"""
# Chance stands in the detail of a scorer where each feature has its own; these metrics have one of their own.
_SCORES = """
WITH scored AS (
    SELECT s.scorer, s.judge, s.value, s.ci_low, s.metric, e.source_id, e.feature_index,
        e.label_from IS NOT NULL AS is_baseline, e.explainer,
        coalesce(
            TRY_CAST(s.detail ->> '$.chance' AS DOUBLE),
            CASE WHEN s.metric IN ('balanced accuracy', 'AUROC') THEN 0.5 END
        ) AS chance,
        coalesce(json_type(s.detail, '$.uninformative') = 'VARCHAR', false) AS is_uninformative
    FROM current_scores s JOIN current_explanations e USING (explanation_id)
    WHERE e.label_from IS NULL OR e.explainer = 'shuffled'
), shuffled AS (
    SELECT scorer, judge, source_id, feature_index, avg(value) AS other
    FROM scored WHERE is_baseline GROUP BY ALL
), paired AS (
    SELECT scorer, judge, count(*) AS n_paired, avg(is_above) AS share_above,
        avg(CASE WHEN own > other THEN 1.0 WHEN own = other THEN 0.5 ELSE 0.0 END) AS win_rate
    FROM (
        SELECT scorer, judge, avg(value) AS own, any_value(other) AS other, avg((ci_low > other)::INTEGER) AS is_above
        FROM scored JOIN shuffled USING (scorer, judge, source_id, feature_index)
        WHERE NOT is_baseline GROUP BY scorer, judge, source_id, feature_index
    ) GROUP BY scorer, judge
)
SELECT g.scorer, g.judge, max(g.metric), avg(chance) FILTER (NOT is_baseline), {labels}, {baseline},
    coalesce(any_value(p.n_paired), 0), any_value(p.win_rate), any_value(p.share_above)
FROM scored g LEFT JOIN paired p USING (scorer, judge)
GROUP BY g.scorer, g.judge ORDER BY g.scorer, g.judge
"""
_GRADED = """
WITH graded AS (
    SELECT s.explanation_id, s.scorer, s.value, s.ci_low, e.source_id, e.feature_index,
        e.label_from IS NOT NULL AS is_baseline, coalesce(s.detail ->> '$.side', 'input') AS side,
        coalesce(
            TRY_CAST(s.detail ->> '$.chance' AS DOUBLE),
            CASE WHEN s.metric IN ('balanced accuracy', 'AUROC') THEN 0.5 END
        ) AS chance
    FROM current_scores s JOIN current_explanations e USING (explanation_id)
    WHERE e.label_from IS NULL OR e.explainer = 'shuffled'
), shuffled AS (
    SELECT scorer, source_id, feature_index, avg(value) AS other FROM graded WHERE is_baseline GROUP BY ALL
)
SELECT explanation_id, scorer, side, ci_low, chance, other
FROM graded LEFT JOIN shuffled USING (scorer, source_id, feature_index)
WHERE NOT is_baseline ORDER BY explanation_id, scorer
"""
_NULLS = """
SELECT s.scorer, s.judge, e.explainer, count(*), avg(s.value), quantile_cont(s.value, 0.25),
    quantile_cont(s.value, 0.5), quantile_cont(s.value, 0.75),
    avg((s.ci_low > coalesce(
        TRY_CAST(s.detail ->> '$.chance' AS DOUBLE), CASE WHEN s.metric IN ('balanced accuracy', 'AUROC') THEN 0.5 END
    ))::INTEGER),
    count(*) FILTER (coalesce(json_type(s.detail, '$.uninformative') = 'VARCHAR', false))
FROM current_scores s JOIN current_explanations e USING (explanation_id)
WHERE e.label_from IS NOT NULL AND e.explainer <> 'shuffled'
GROUP BY s.scorer, s.judge, e.explainer ORDER BY e.explainer
"""
_VALUES = """
    count(*) FILTER ({those}), avg(value) FILTER ({those}), quantile_cont(value, 0.25) FILTER ({those}),
    quantile_cont(value, 0.5) FILTER ({those}), quantile_cont(value, 0.75) FILTER ({those}),
    avg((ci_low > chance)::INTEGER) FILTER ({those}), count(*) FILTER ({those} AND is_uninformative)
"""


def stage_status(connection: duckdb.DuckDBPyConnection) -> list[StageStatus]:
    """Every stage in the order of the data flow; the baseline only where it was asked for.

    What is pending is counted against the stage before: labels against features with contexts, scores and embeddings
    against labels, of a scorer that is done without any shuffled label against the true ones. For contexts and the
    baseline it is what was asked for that has no result yet.
    """
    rows = connection.execute("SELECT stage, status, n_asked, cost_usd, finished_at FROM stages").fetchall()
    known = {str(stage): rest for stage, *rest in rows}
    done = {str(stage): int(n) for stage, n in connection.execute(_DONE).fetchall()}
    failed = {str(stage): int(n) for stage, n in connection.execute(_FAILED).fetchall()}
    upstream = {str(stage): int(n) for stage, n in connection.execute(_UPSTREAM).fetchall()}
    upstream["explain"] = done["contexts"]
    ((explain_cost,),) = connection.execute(
        "SELECT sum(cost_usd) FROM current_explanations WHERE label_from IS NULL HAVING count(*) = count(cost_usd)"
    ).fetchall() or [(None,)]

    statuses = []
    for stage in _stages_of([*known, *done, *failed]):
        if stage == "baseline" and not (stage in known or done[stage]):
            continue
        status, n_asked, cost_usd, finished_at = known.get(stage, (None, None, None, None))
        settled = done.get(stage, 0) + failed.get(stage, 0)
        wanted = upstream.get(stage, upstream.get(stage.partition(":")[0], settled if n_asked is None else n_asked))
        statuses.append(
            StageStatus(
                stage=stage,
                status=status,
                n_done=done.get(stage, 0),
                n_failed=failed.get(stage, 0),
                n_pending=max(0, wanted - settled),
                cost_usd=explain_cost if stage == "explain" and cost_usd is None else cost_usd,
                finished_at=None if finished_at is None else finished_at.replace(tzinfo=UTC),
            )
        )
    return statuses


def stage_names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The stages of which there can be results or failures; the baseline only where it was asked for."""
    found = {str(stage) for (stage,) in connection.execute(_STAGES).fetchall()}
    return [stage for stage in _stages_of([*found]) if stage != "baseline" or stage in found]


def score_summary(connection: duckdb.DuckDBPyConnection) -> list[ScorerSummary]:
    """Each scorer's values over the current labels, beside shuffled labels of the same features, and other nulls."""
    labels, baseline = (_VALUES.format(those=those) for those in ("NOT is_baseline", "is_baseline"))
    nulls: dict[tuple[str, str], list[NullSummary]] = defaultdict(list)
    for scorer, judge, *row in connection.execute(_NULLS).fetchall():
        nulls[scorer, judge].append(NullSummary(*row))
    rows = connection.execute(_SCORES.format(labels=labels, baseline=baseline)).fetchall()
    return [replace(ScorerSummary(*row), nulls=tuple(nulls[row[0], row[1]])) for row in rows]


def tier_counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many of the current true labels are of each tier, the most frequent first; those without scores of none."""
    graded: dict[str, list[Graded]] = {}
    for explanation, *of_score in connection.execute(_GRADED).fetchall():
        graded.setdefault(explanation, []).append(Graded(*of_score))
    tiers = Counter(tier.name for of_label in graded.values() if (tier := tier_from(of_label)) is not None)
    return dict(sorted(tiers.items(), key=lambda of: (-of[1], of[0])))


def count_labels(connection: duckdb.DuckDBPyConnection) -> int:
    """How many current true labels there are."""
    ((n,),) = connection.execute("SELECT count(*) FROM current_explanations WHERE label_from IS NULL").fetchall()
    return int(n)


def labelled_indices(connection: duckdb.DuckDBPyConnection, source_id: str) -> frozenset[int]:
    """The features of a source that have a current true label."""
    found = connection.execute(
        "SELECT DISTINCT feature_index FROM current_explanations WHERE label_from IS NULL AND source_id = ?",
        [source_id],
    ).fetchnumpy()
    return frozenset(found["feature_index"].tolist())


def shuffled_values(
    connection: duckdb.DuckDBPyConnection, where: FeatureFilter
) -> dict[tuple[str, int], dict[str, float]]:
    """What shuffled labels of a filter's sources and features score, by feature and scorer; the mean of several."""
    values: dict[tuple[str, int], dict[str, float]] = {}
    found = connection.execute(
        "SELECT e.source_id, e.feature_index, s.scorer, avg(s.value)"
        " FROM current_scores s JOIN current_explanations e USING (explanation_id)"
        " WHERE e.label_from IS NOT NULL AND e.explainer = 'shuffled'"
        " AND ($sources IS NULL OR e.source_id IN (SELECT unnest($sources::VARCHAR[])))"
        " AND ($features IS NULL OR e.feature_index IN (SELECT unnest($features::BIGINT[]))) GROUP BY ALL",
        {
            "sources": None if where.sources is None else list(where.sources),
            "features": None if where.features is None else list(where.features),
        },
    ).fetchall()
    for source_id, feature_index, scorer, value in found:
        values.setdefault((source_id, feature_index), {})[scorer] = value
    return values


def ranked_labels(
    connection: duckdb.DuckDBPyConnection, scorer: str | None, n: int, *, best: bool
) -> list[ScoredLabel]:
    """Current true labels by one scorer's value, or by the mean of all their scorers; ties by feature."""
    direction = "DESC" if best else "ASC"
    found = connection.execute(
        f"""
        SELECT explanation_id, avg(s.value) AS value
        FROM current_explanations e JOIN current_scores s USING (explanation_id)
        WHERE e.label_from IS NULL AND ($scorer IS NULL OR s.scorer = $scorer)
        GROUP BY explanation_id, e.source_id, e.feature_index
        ORDER BY value {direction}, e.source_id, e.feature_index, explanation_id LIMIT $n
        """,
        {"scorer": scorer, "n": n},
    ).fetchall()
    ranked = [str(explanation) for explanation, _ in found]
    wanted = {"explanation_id": ranked}
    explanations = select_explanations(connection, "current_explanations", wanted, baselines=False)
    by_id = {label.explanation_id: label for label in explanations}
    return with_scores([by_id[name] for name in ranked], select_scores(connection, wanted))


def _stages_of(found: Sequence[str]) -> list[str]:
    scorers = sorted({stage for stage in found if stage.startswith("score:")})
    return ["collect", "contexts", "explain", "baseline", *scorers, "index"]
