"""A finished run, copied so that it can be scored again and again: its labels, contexts, pool and scorers."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from autointerp.config import Pipeline
from autointerp.llm import LanguageModel
from autointerp.records import Explanation
from autointerp.run.on_disk.folder import hold_run_folder, read_pipeline
from autointerp.run.participants import Participants
from autointerp.run.session import Session, SourceSession
from autointerp.score.base import BaseScorer
from autointerp.score.trials import ScoreContexts


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
        return Participants(self.source.run, _no_model, names).scorers


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


def texts_of(given: Iterable[ScoreContexts]) -> list[str]:
    """The texts of features' contexts."""
    return [context.text for of in given for context in of.feature.contexts]


def _no_model(stage: str, config: object) -> LanguageModel:
    raise AssertionError("judging is local")
