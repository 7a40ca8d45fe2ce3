"""A label that somebody writes while looking at a feature, scored at once by the judges that need no key.

1. The run's session is opened to read: the contexts that its own labels are scored on, and the pool.
2. Each of the pipeline's scorers that looks at labels and needs neither the subject nor a language model asks the local
   judge, on the trials that the run's own labels had by such a judge. What it can't score is a failure with its reason.
3. Nothing of the run is written: the label is for `store.notes` to keep, beside it.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from autointerp.config import JudgeConfig, ModelConfig
from autointerp.errors import NoKeyError
from autointerp.explain.label_files.read import UNKNOWN_AUTHOR
from autointerp.identity import feature_id, fingerprint, stable_uuid
from autointerp.plugins import called_by_us
from autointerp.records import Explanation, Failure, ScoreWithTrials
from autointerp.records.notes import LONGEST_AUTHOR, LONGEST_LABEL, OWN, OwnLabel, checked_line
from autointerp.run.event_loop import run_to_end
from autointerp.run.participants import Participants
from autointerp.run.session import Session, SourceSession, open_session
from autointerp.score.others import OtherFeatures
from autointerp.score.referee import Referees
from autointerp.score.registry import load_scorer
from autointerp.score.trials import ScoreContexts


class OwnLabels:
    """What scores labels of people's own, on the contexts of one run.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._source: SourceSession | None = None

    def scored(self, source_id: str, feature_index: int, label: str, author: str = "") -> OwnLabel:
        """Score a label.

        Args:
            source_id: The feature's source, which the run has.
            feature_index: The feature, which the source has.
            label: One line.
            author: Who wrote it.

        Raises:
            NoteError: If the label or the author's name is no line of some length.
            RunError: If the run's folder is not whole.
            ShardError: If what was collected is not there any more, or damaged.
        """
        text = checked_line(label, "the label", LONGEST_LABEL)
        name = checked_line(author, "the author's name", LONGEST_AUTHOR, may_be_empty=True)
        own = OwnLabel(
            explanation_id=stable_uuid(f"{feature_id(source_id, feature_index)}/{_fingerprint(text, name)}"),
            source_id=source_id,
            feature_index=feature_index,
            label=text,
            author=name,
            created_at=datetime.now(UTC),
        )
        with self._lock:
            outcomes = run_to_end(self._score(own))
        found = [of for of in outcomes if isinstance(of, ScoreWithTrials)]
        return replace(
            own,
            scores=tuple(of.score for of in found),
            trials=tuple(trial for of in found for trial in of.trials),
            failures=tuple(of for of in outcomes if isinstance(of, Failure)),
        )

    async def _score(self, own: OwnLabel) -> Sequence[ScoreWithTrials | Failure]:
        if not (self._folder / "run.json").is_file():
            return [_without_contexts(own, "there is no coder here that could tell where the feature is silent")]
        source, explanation = self._source_of(own.source_id), as_explanation(own)
        of_feature = self._session.reader.feature_contexts([own.feature_index], own.source_id)
        if not of_feature:
            return [_without_contexts(own, "the run has no contexts of the feature to score a label on")]
        statistics = source.collected.statistics
        contexts = ScoreContexts(
            of_feature[0],
            source.pool,
            int(statistics.n_active[own.feature_index]) / statistics.n_tokens,
            OtherFeatures(lambda: self._labels(own.source_id), source.windows_of, self._session.embedder),
            Referees(source.pool),
        )
        self._participants.prepare([own.label], of_feature, source.pool)
        outcomes = []
        for scorer in self._participants.scorers:
            with called_by_us(scorer, f"the scorer {scorer.name!r}"):
                outcomes.append(await scorer.score(explanation, contexts))
        return outcomes

    def _labels(self, source_id: str) -> dict[int, str]:
        return {of.feature_index: of.label for of in self._session.reader.explanations(source_id=source_id)}

    def _source_of(self, source_id: str) -> SourceSession:
        if self._source is None or self._source.source_id != source_id:  # one at a time: a source may fill much memory
            self._session.require_collected()
            self._source = SourceSession(self._session, source_id)
        return self._source

    @cached_property
    def _session(self) -> Session:
        read = open_session(self._folder)
        return Session(read.pipeline.model_copy(update={"judge": JudgeConfig()}), read.folder)

    @cached_property
    def _participants(self) -> Participants:
        pipeline = self._session.pipeline
        free = [name for name in pipeline.score.scorers if _is_free(name)]
        return Participants(self._session, _no_model, pipeline.judge, free)


def as_explanation(own: OwnLabel) -> Explanation:
    """A label of one's own as an explanation like any other."""
    return Explanation(
        explanation_id=own.explanation_id,
        source_id=own.source_id,
        feature_index=own.feature_index,
        label=own.label,
        explainer=OWN,
        model=own.author or UNKNOWN_AUTHOR,
        prompt_sha256=None,
        cost_usd=0.0,
        created_at=own.created_at,
        fingerprint=_fingerprint(own.label, own.author),
    )


def _fingerprint(label: str, author: str) -> str:
    return fingerprint(OWN, label, author)


def _is_free(scorer: str) -> bool:
    found = load_scorer(scorer)
    return found.sees_label and not found.asks_subject


def _no_model(stage: str, config: ModelConfig) -> NoReturn:
    raise NoKeyError(f"{stage} asks for {config.model}, and labels of one's own are scored without", "leave it out")


def _without_contexts(own: OwnLabel, message: str) -> Failure:
    return Failure(
        stage="score",
        source_id=own.source_id,
        feature_index=own.feature_index,
        error_type="TooFewContexts",
        message=message,
        raw=None,
        retry=False,
        created_at=own.created_at,
        fingerprint=_fingerprint(own.label, own.author),
        explanation_id=own.explanation_id,
    )
