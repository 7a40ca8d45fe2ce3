"""A finished run, copied so that it can be scored again and again: its labels, contexts, pool and scorers."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from jaxtyping import Bool

from autointerp.config import Pipeline
from autointerp.contexts.pool import PoolTiles
from autointerp.llm import LanguageModel
from autointerp.records import Explanation
from autointerp.run.on_disk.folder import hold_run_folder, read_pipeline
from autointerp.run.participants import Participants
from autointerp.run.pipeline import run_pipeline
from autointerp.run.session import Session, SourceSession
from autointerp.score.base import BaseScorer
from autointerp.score.judge import Judge
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import ScoreContexts

_ALL = 1 << 40


@contextmanager
def copied(run: str) -> Iterator[Pipeline]:
    """A copy of a run's folder, for as long as the block lasts; its pipeline.

    Args:
        run: The run folder; it is only read.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(run).name
        shutil.copytree(run, copy)
        yield read_pipeline(copy).model_copy(update={"runs": folder, "name": copy.name})


def forget_scores(pipeline: Pipeline) -> None:
    """Take scores and the embeddings of the pool's tiles out of a copied run, as they are not there before scoring."""
    for file in (pipeline.run_folder / "pool").glob("*/tiles.safetensors"):
        file.unlink()
    with duckdb.connect(str(pipeline.run_folder / "store.duckdb")) as store:
        for table in ("scores", "trials"):
            store.execute(f"DELETE FROM {table}")
        store.execute("DELETE FROM stages WHERE stage LIKE 'score:%'")


@dataclass(frozen=True)
class Scored:
    """One source of a run under way.

    Attributes:
        source: The source.
        explanations: Its labels and the shuffled ones, by feature.
        given: What scorers may use of each feature.
    """

    source: SourceSession
    explanations: Sequence[Explanation]
    given: dict[int, ScoreContexts]

    @property
    def labels(self) -> list[Explanation]:
        """The true labels."""
        return [e for e in self.explanations if not e.is_baseline]

    def scorers(self, names: Sequence[str]) -> tuple[BaseScorer, ...]:
        """Scorers with a judge that has not learnt anything yet."""
        return Participants(self.source.run, _no_model, self.source.run.pipeline.judge, names).scorers

    def tools(self, judge: Judge) -> ScoreTools:
        """What a scorer with another judge is made of."""
        run = self.source.run
        return ScoreTools(run.pipeline.score, run.pipeline.seed, lambda: judge, lambda: run.embedder)


@contextmanager
def scored(pipeline: Pipeline, n_features: int | None = None) -> Iterator[Scored]:
    """Open a copied run of one source.

    Args:
        pipeline: Its pipeline.
        n_features: Labelled features at most, the first ones; None for all.
    """
    with hold_run_folder(pipeline) as folder:
        session = Session(pipeline, folder)
        (source,) = session.each_source()
        explanations = session.reader.explanations(source_id=source.source_id, baselines=True)
        features = sorted({e.feature_index for e in explanations})[:n_features]
        statistics = source.collected.statistics
        given = {
            of.feature_index: ScoreContexts(
                of, source.pool, int(statistics.n_active[of.feature_index]) / statistics.n_tokens
            )
            for of in session.reader.feature_contexts(features, source.source_id)
        }
        of_given = [e for e in explanations if e.feature_index in given]
        yield Scored(source, sorted(of_given, key=lambda e: e.feature_index), given)


@contextmanager
def every_window(pipeline: Pipeline) -> Iterator[PoolTiles]:
    """Every window of a copied run's corpus, with every firing of every feature: the pool, were it the whole corpus.

    Args:
        pipeline: Of the copied run. The subject runs over the corpus again.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = pipeline.model_copy(
            update={
                "runs": folder,
                "collect": pipeline.collect.model_copy(update={"n_pool_blocks": _ALL}),
                "contexts": pipeline.contexts.model_copy(update={"n_pool_tiles": _ALL}),
            }
        )
        with hold_run_folder(whole) as held:
            shutil.copytree(pipeline.run_folder / "corpus", held.corpus)
        run_pipeline(whole, ["collect"])
        with hold_run_folder(whole) as held:
            (source,) = Session(whole, held).each_source()
            yield source.pool


@dataclass(frozen=True, slots=True)
class Truth:
    """What a label is worth over all held-out windows, by one judge.

    Attributes:
        f1: Of the other two.
        precision: Share of the windows with a yes in which the feature fires; 0 of none.
        recall: Share of its activation mass in windows with a yes.
        base_rate: Share of windows in which it fires.
    """

    f1: float
    precision: float
    recall: float
    base_rate: float


def truth(windows: PoolTiles, feature_index: int, yes: Bool[np.ndarray, " score_window"]) -> Truth:
    """What verdicts on every window of the score split come to.

    Args:
        windows: Every window.
        feature_index: The feature.
        yes: Verdicts on the windows of the score split, in order.
    """
    mass = windows.masses(feature_index)
    of_score = mass[windows.is_score]
    precision = float((of_score[yes] > 0).mean()) if yes.any() else 0.0
    recall = float(of_score[yes].sum() / of_score.sum()) if of_score.any() else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision and recall else 0.0
    return Truth(f1, precision, recall, float((mass > 0).mean()))


def texts_of(given: Iterable[ScoreContexts]) -> list[str]:
    """The texts of features' contexts."""
    return [context.text for of in given for context in of.feature.contexts]


def _no_model(stage: str, config: object) -> LanguageModel:
    raise AssertionError("judging is local")
