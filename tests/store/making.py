"""Small, valid records to put into a store; every argument that matters to a test is named there."""

from datetime import UTC, datetime
from pathlib import Path

from autointerp.identity import stable_uuid
from autointerp.records import (
    Context,
    ContextKind,
    Explanation,
    Failure,
    FeatureContexts,
    FeatureRecord,
    FeatureStatus,
    FollowingToken,
    Score,
    ScoreWithTrials,
    SourceRecord,
    Split,
    TokenCount,
    TokenLogit,
    Trial,
)
from autointerp.store.connection import writing

SOURCE = "tiny@1-res-64"
MOMENT = datetime(2026, 11, 21, 9, 30, 0, 250_000, tzinfo=UTC)


class Make:
    """Makes records of one source."""

    source_id = SOURCE
    moment = MOMENT

    def source(self, n_features: int = 64) -> SourceRecord:
        return SourceRecord(SOURCE, "tiny", "blocks.1", "coder", n_features, "docstrings", 10_000)

    def feature(self, index: int, density: float = 0.01, status: FeatureStatus = "ok") -> FeatureRecord:
        fires = status != "dead"
        return FeatureRecord(
            source_id=SOURCE,
            feature_index=index,
            n_active=int(density * 10_000),
            density=density,
            max_activation=4.25,
            mean_activation=1.125,
            histogram=(0, 3, 5),
            status=status,
            top_tokens=(TokenCount(" Wärme", 7, 1.5), TokenCount("熱", 3, 0.5)) if fires else (),
            top_tokens_n_missed=2 if fires else 0,
            following_tokens=(FollowingToken("'s", 5, 12.5), FollowingToken(" 熱", 1, 0.25)) if fires else (),
            n_sampled_peaks=8 if fires else 0,
            n_followed_peaks=7 if fires else 0,
            top_logits=(TokenLogit(" heat", 0.75), TokenLogit(" fire", 0.5)),
            bottom_logits=(TokenLogit(" ice", -0.5),),
        )

    def context(
        self, feature: int, place: int = 0, kind: ContextKind = "top", split: Split = "explain", text: str = "a b c"
    ) -> Context:
        tokens = tuple(f" {word}" for word in text.split())
        silent = kind.startswith("silent")
        activations = tuple(0.0 if silent else 0.25 * (i + 1) for i in range(len(tokens)))
        return Context(
            context_id=stable_uuid(f"{feature}/{kind}/{split}/{place}"),
            source_id=SOURCE,
            feature_index=feature,
            kind=kind,
            split=split,
            tokens=tokens,
            token_ids=tuple(range(len(tokens))),
            activations=activations,
            max_activation=max(activations),
            peak=0 if silent else len(tokens) - 1,
            quantile=None if silent else 9,
            document_id=f"notes/{place}.txt",
            block_index=3_000_000_000 + place,
            start=8,
        )

    def contexts(self, feature: int) -> FeatureContexts:
        kinds: tuple[tuple[ContextKind, Split], ...] = (
            ("top", "explain"),
            ("quantile", "explain"),
            ("silent_random", "explain"),
            ("quantile", "score"),
            ("silent_similar", "score"),
        )
        made = tuple(self.context(feature, place, kind, split) for place, (kind, split) in enumerate(kinds))
        return FeatureContexts(SOURCE, feature, made)

    def explanation(
        self, feature: int, label: str = "heat and fire", fingerprint: str = "e1", label_from: int | None = None
    ) -> Explanation:
        return Explanation(
            explanation_id=stable_uuid(f"{feature}/{fingerprint}/{label_from}"),
            source_id=SOURCE,
            feature_index=feature,
            label=label,
            explainer="keywords" if label_from is None else "shuffled",
            model="local",
            prompt_sha256=None,
            cost_usd=0.0,
            created_at=MOMENT,
            fingerprint=fingerprint,
            label_from=label_from,
        )

    def graded(
        self, explanation: Explanation, scorer: str = "detection", value: float = 0.75, fingerprint: str = "s1"
    ) -> ScoreWithTrials:
        drawn = self.context(explanation.feature_index, 99, "pool", "score", "drawn from the pool")
        score = Score(
            explanation_id=explanation.explanation_id,
            scorer=scorer,
            judge="local",
            metric="balanced accuracy",
            value=value,
            ci_low=max(0.0, value - 0.1),
            ci_high=min(1.0, value + 0.1),
            n_trials=2,
            n_unanswered=1,
            detail={"f1": 0.5, "auroc": None, "by_quantile": {"0": 0.25}},
            fingerprint=fingerprint,
        )
        trials = (
            Trial(explanation.explanation_id, scorer, "local", drawn.context_id, True, True, 0.875, (1, 2), 3.5),
            Trial(
                explanation.explanation_id, scorer, "local", drawn.context_id, False, None, None, unanswered="refused"
            ),
        )
        return ScoreWithTrials(score, trials, (drawn,))

    def failure(
        self,
        feature: int,
        stage: str = "explain",
        fingerprint: str = "e1",
        *,
        retry: bool = False,
        explanation_id: str | None = None,
    ) -> Failure:
        return Failure(
            stage=stage,
            source_id=SOURCE,
            feature_index=feature,
            error_type="Refusal",
            message="the model would not answer",
            raw="I can't",
            retry=retry,
            created_at=MOMENT,
            fingerprint=fingerprint,
            explanation_id=explanation_id,
        )


make = Make()


def spoil_score(store: Path, feature: int, scorer: str = "detection") -> None:
    """Make a score not a number, as it may be in a store that somebody else wrote: the writer refuses it."""
    with writing(store, 60) as connection:
        connection.execute("UPDATE scores SET value = 'nan' WHERE feature_index = ? AND scorer = ?", [feature, scorer])
