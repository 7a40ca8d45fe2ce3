"""Nothing but the label tells the answer: on a small run of the demo's parts, solvers without one stay at chance.

The learned solvers, and the demo's own size, are left to `benchmarks/label_free.py`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from autointerp import load_pipeline, open_run, run_pipeline
from autointerp.export.report.floor import sample_trials
from autointerp.score.label_free.solvers import Guessed, plain_prompt_solvers, plain_solvers
from autointerp.score.label_free.trials import Table, tabulate
from tests.making import make_once

SMALL = (
    "corpus.n_tokens=60_000",
    "features.sample=150",
    'score.scorers=["detection", "fuzzing", "discrimination"]',
    "score.baseline=false",
)
# Solvers may be as far from chance as this, and as much farther as chance takes them in so few features.
MARGIN = 0.03
SCORERS = ("detection", "fuzzing", "discrimination")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tables(shared_folder: Path) -> dict[str, Table]:
    """The trials of each scorer."""

    def make(made: Path) -> None:
        pipeline = load_pipeline("demo", (*SMALL, f"runs={made.parent}", f"name={made.name}"))
        run_pipeline(pipeline, ("corpus", "collect", "contexts", "explain", "score"))

    reader = open_run(make_once(shared_folder / "attacked", make)).reader
    sampled = sample_trials(reader, 1000)
    return {scorer: tabulate(sampled.by_scorer[scorer], sampled.rates) for scorer in SCORERS}


def telling(guessed: Sequence[Guessed]) -> Iterator[str]:
    """Solvers that are surely farther from chance than the margin, on either side."""
    for of in guessed:
        if of.low > 0.5 + MARGIN or of.high < 0.5 - MARGIN:
            yield f"{of.solver}: {of.auroc:.3f} ({of.low:.3f} to {of.high:.3f}, {of.n_features} features)"


@pytest.mark.parametrize("scorer", SCORERS)
def test_no_trial_tells_its_truth_by_what_can_be_counted_in_it(tables: dict[str, Table], scorer: str) -> None:
    assert not list(telling(plain_solvers(tables[scorer])))


@pytest.mark.parametrize("scorer", SCORERS)
def test_no_trial_tells_its_truth_beside_those_of_other_features(tables: dict[str, Table], scorer: str) -> None:
    assert not list(telling(plain_prompt_solvers(tables[scorer].mixed())))


def test_the_collection_is_large_enough_to_tell(tables: dict[str, Table]) -> None:
    for table in tables.values():
        widths = [of.high - of.low for of in plain_solvers(table)]
        assert max(widths) < 0.12
        assert table.truth.mean() == pytest.approx(0.5, abs=0.1)
