"""How far the stages are, and how good the labels are: sums over the current rows."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC
from itertools import groupby
from operator import itemgetter

import duckdb

from autointerp.records import FeatureFilter
from autointerp.score.dispute import EXPECTED
from autointerp.score.null_kinds import NOT_OF_ALL_SCORERS
from autointerp.score.tier import CHANCE_OF, Graded, tier_from
from autointerp.store.query import select_explanations, select_scores
from autointerp.store.results import (
    Author,
    RefereeCounts,
    ScoredLabel,
    ScorerSummary,
    StageStatus,
    ValueSummary,
    with_scores,
)

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
_NOT_OF_ALL = ", ".join(f"'{kind}'" for kind in NOT_OF_ALL_SCORERS)
_UPSTREAM = f"""
WITH graded AS (
    SELECT DISTINCT scorer, CASE WHEN label_from IS NULL THEN 'true' ELSE explainer END AS kind
    FROM current_scores JOIN current_explanations USING (explanation_id)
)
SELECT 'collect', coalesce(sum(n_features), 0) FROM sources
UNION ALL SELECT 'score', count(*) FROM current_explanations
    WHERE label_from IS NULL OR explainer NOT IN ({_NOT_OF_ALL})
UNION ALL SELECT 'score:' || s.scorer, count(*) FROM (SELECT DISTINCT scorer FROM graded) s, current_explanations e
    WHERE e.label_from IS NULL OR e.explainer NOT IN ({_NOT_OF_ALL})
        OR EXISTS (SELECT 1 FROM graded g WHERE g.scorer = s.scorer AND g.kind = e.explainer)
    GROUP BY s.scorer
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
# As `tier.chance_of` has it: chance stands in the detail of a scorer where each feature has its own.
_CHANCE = f"""coalesce(
            TRY_CAST(s.detail ->> '$.chance' AS DOUBLE),
            CASE s.metric {" ".join(f"WHEN '{metric}' THEN {chance}" for metric, chance in CHANCE_OF.items())} END
        )"""
# Details are long, and are read once.
_SCORES = f"""
WITH scored AS MATERIALIZED (
    SELECT s.scorer, s.judge, s.value, s.ci_low, s.metric, e.source_id, e.feature_index,
        CASE WHEN e.label_from IS NULL THEN 'true' ELSE e.explainer END AS kind,
        {_CHANCE} AS chance,
        coalesce(json_type(s.detail, '$.uninformative') = 'VARCHAR', false) AS is_uninformative
    FROM current_scores s JOIN current_explanations e USING (explanation_id)
), shuffled AS (
    SELECT scorer, judge, source_id, feature_index, avg(value) AS other
    FROM scored WHERE kind = 'shuffled' GROUP BY ALL
), own AS (
    SELECT scorer, judge, source_id, feature_index, avg(ci_low) AS least_true
    FROM scored WHERE kind = 'true' GROUP BY ALL
), paired AS (
    SELECT scorer, judge, count(*) AS n_paired, avg(is_above) AS share_above,
        avg(CASE WHEN own > other THEN 1.0 WHEN own = other THEN 0.5 ELSE 0.0 END) AS win_rate
    FROM (
        SELECT scorer, judge, avg(value) AS own, any_value(other) AS other, avg((ci_low > other)::INTEGER) AS is_above
        FROM scored JOIN shuffled USING (scorer, judge, source_id, feature_index)
        WHERE kind = 'true' GROUP BY scorer, judge, source_id, feature_index
    ) GROUP BY scorer, judge
)
SELECT scorer, judge, max(metric), coalesce(any_value(n_paired), 0), any_value(win_rate), any_value(share_above),
    avg(chance), kind, count(*), avg(value), quantile_cont(value, 0.25), quantile_cont(value, 0.5),
    quantile_cont(value, 0.75), avg((ci_low > chance)::INTEGER), count(*) FILTER (is_uninformative),
    avg((value < least_true)::INTEGER) FILTER (kind <> 'true')
FROM scored LEFT JOIN paired USING (scorer, judge) LEFT JOIN own USING (scorer, judge, source_id, feature_index)
GROUP BY scorer, judge, kind ORDER BY scorer, judge, kind
"""
_GRADED = f"""
WITH graded AS (
    SELECT s.explanation_id, s.scorer, s.value, s.ci_low, e.source_id, e.feature_index,
        e.label_from IS NOT NULL AS is_baseline, coalesce(s.detail ->> '$.side', 'input') AS side,
        {_CHANCE} AS chance
    FROM current_scores s JOIN current_explanations e USING (explanation_id)
    WHERE e.label_from IS NULL OR e.explainer = 'shuffled'
), shuffled AS (
    SELECT scorer, source_id, feature_index, avg(value) AS other FROM graded WHERE is_baseline GROUP BY ALL
)
SELECT explanation_id, scorer, side, ci_low, chance, other
FROM graded LEFT JOIN shuffled USING (scorer, source_id, feature_index)
WHERE NOT is_baseline ORDER BY explanation_id, scorer
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
    summaries = []
    for (scorer, judge), found in groupby(connection.execute(_SCORES).fetchall(), key=itemgetter(0, 1)):
        rows = list(found)
        metric, *paired = rows[0][2:6]
        chance = next((row[6] for row in rows if row[7] == "true"), None)
        kinds = {row[7]: ValueSummary(*row[7:]) for row in rows}
        true, shuffled = kinds.pop("true", None), kinds.pop("shuffled", None)
        summaries.append(ScorerSummary(scorer, judge, metric, chance, true, shuffled, tuple(kinds.values()), *paired))
    return summaries


def tier_counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many of the current true labels are of each tier, the most frequent first; those without scores of none."""
    graded: dict[str, list[Graded]] = {}
    for explanation, *of_score in connection.execute(_GRADED).fetchall():
        graded.setdefault(explanation, []).append(Graded(*of_score))
    tiers = Counter(tier.name for of_label in graded.values() if (tier := tier_from(of_label)) is not None)
    return dict(sorted(tiers.items(), key=lambda of: (-of[1], of[0])))


def chosen_counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many of the current true labels each candidate of a `best_of` wrote, the most frequent first."""
    found = connection.execute(
        "SELECT detail ->> '$.chosen' AS chosen, count(*) AS n FROM current_explanations"
        " WHERE label_from IS NULL AND chosen IS NOT NULL GROUP BY chosen ORDER BY n DESC, chosen"
    ).fetchall()
    return {str(name): int(n) for name, n in found}


def referee_counts(connection: duckdb.DuckDBPyConnection) -> RefereeCounts:
    """How many current true labels have a rule that is as good as the truth beside them, and it disputes."""
    (row,) = connection.execute(
        """
        SELECT count(DISTINCT explanation_id),
            count(DISTINCT explanation_id) FILTER (
                TRY_CAST(s.detail ->> '$.referee_agreement_interval.high' AS DOUBLE) < ?
            ),
            count(DISTINCT explanation_id) FILTER (e.label = s.detail ->> '$.referee')
        FROM current_scores s JOIN current_explanations e USING (explanation_id)
        WHERE e.label_from IS NULL AND json_type(s.detail, '$.referee') = 'VARCHAR'
        """,
        [EXPECTED],
    ).fetchall()
    return RefereeCounts(*map(int, row))


def count_labels(connection: duckdb.DuckDBPyConnection) -> int:
    """How many current true labels there are."""
    ((n,),) = connection.execute("SELECT count(*) FROM current_explanations WHERE label_from IS NULL").fetchall()
    return int(n)


def label_authors(connection: duckdb.DuckDBPyConnection) -> list[Author]:
    """Who wrote the current true labels, the most first."""
    found = connection.execute(
        "SELECT explainer, model, prompt_sha256, count(*) AS n FROM current_explanations WHERE label_from IS NULL"
        " GROUP BY ALL ORDER BY n DESC, explainer, model, prompt_sha256"
    ).fetchall()
    return [Author(*row) for row in found]


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
