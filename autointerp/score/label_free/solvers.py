"""Solvers that guess a trial's truth without its label, and how well they do.

1. Plain solvers are the statistics of `label_free_statistics`, each as it stands.
2. Learned solvers are fitted to trials of other features whose documents are of other groups: features and groups are
   dealt into `N_FOLDS` folds each, and the trials of one fold of both are guessed by what the rest of both taught. So
   neither a feature nor a text that serves many features can be learnt by heart. Trees get the main directions of the
   bags of tokens, and these too are found in the trials that teach: found in all, they would know how often a token is
   marked in the trials of the very feature that is guessed, which no single trial tells.
3. Within each feature a guess is graded by AUROC, .5 where it tells nothing. The figure is the mean over features with
   trials of both truths; its 95 % interval treats features as drawn independently.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from autointerp.embedder import TextEmbedder
from autointerp.identity import hash_key
from autointerp.score import metrics
from autointerp.score.label_free import statistics
from autointerp.score.label_free.statistics import Numbers
from autointerp.score.label_free.trials import Table

N_FOLDS = 3
_N_BOOSTS, _N_LEAVES, _N_BINS = 60, 7, 64
_STRENGTH = 0.03
_N_COMPONENTS = 16


@dataclass(frozen=True, slots=True)
class Guessed:
    """How well a solver did.

    Attributes:
        solver: Its name.
        auroc: Mean over features of the AUROC within each.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n_features: With trials of both truths.
    """

    solver: str
    auroc: float
    low: float
    high: float
    n_features: int


def grade(solver: str, table: Table, guess: Numbers) -> Guessed:
    """The mean AUROC of a guess within each feature."""
    areas = []
    order = np.argsort(table.feature, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(table.feature[order])) + 1):
        area = metrics.auroc(table.truth[rows], guess[rows])
        if area is not None:
            areas.append(area.value)
    assert areas, "some feature has trials of both truths"
    half = 1.96 * float(np.std(areas)) / max(1, len(areas) - 1) ** 0.5
    mean = float(np.mean(areas))
    return Guessed(solver, mean, mean - half, mean + half, len(areas))


def plain_solvers(table: Table) -> list[Guessed]:
    """Statistics of one trial, each alone."""
    return [grade(name, table, values) for name, values in _surface(table).items()]


def plain_prompt_solvers(table: Table) -> list[Guessed]:
    """Statistics of each trial beside the others of its prompt, each alone."""
    return [grade(name, table, values) for name, values in statistics.prompt_statistics(table).items()]


def learned_solvers(table: Table, embedder: TextEmbedder | None = None) -> list[Guessed]:
    """Everything that can be learnt of trials one by one, and all of it put together.

    Args:
        table: The trials.
        embedder: Gives directions to contexts, or to marked words; without one no solver learns from those.
    """
    folds = Folds.of(table)
    place = statistics.place_statistics(table)
    profile = statistics.profile_statistics(table)
    surface = _stacked(_surface(table) | profile)
    bags = _bags(table, embedder)
    found = {
        "rarity at each place, learned": folds.guess(_linear, _standard(_stacked(profile))),
        "surface, learned": folds.guess(_boosting, surface),
        **{f"{name}, learned": folds.guess(_linear, columns) for name, columns in bags.items()},
    }
    if place:
        found["place and number of marks, learned"] = folds.guess(_boosting, _stacked(place))
    return [*(grade(name, table, guess) for name, guess in found.items()), learned_trial_solver(table, embedder)]


def learned_trial_solver(table: Table, embedder: TextEmbedder | None = None) -> Guessed:
    """All that one trial tells, put together."""
    surface = _stacked(_surface(table) | statistics.profile_statistics(table))
    guess = Folds.of(table).guess(_boosting, surface, list(_bags(table, embedder).values()))
    return grade("one trial, all", table, guess)


def learned_prompt_solver(table: Table, embedder: TextEmbedder | None = None) -> Guessed:
    """All that a whole prompt tells, put together with what each of its trials tells.

    What another model guesses of a trial alone is no part of it: that model was taught by trials that are guessed here,
    and its guesses of the others would tell their truth.
    """
    each = _stacked(_surface(table) | statistics.prompt_statistics(table))
    alone = _stacked(statistics.profile_statistics(table))
    columns = np.concatenate([each, statistics.within_prompts(table, each), alone], axis=1)
    return grade("prompt, all", table, Folds.of(table).guess(_boosting, columns, list(_bags(table, embedder).values())))


@dataclass(frozen=True)
class Folds:
    """Which trials teach which.

    Attributes:
        feature: Fold of each trial's feature.
        group: Fold of each trial's group.
        truth: The answers.
    """

    feature: Int64[np.ndarray, " trial"]
    group: Int64[np.ndarray, " trial"]
    truth: Bool[np.ndarray, " trial"]

    @classmethod
    def of(cls, table: Table) -> "Folds":
        """Deal features and groups out by keyed hash."""
        return cls(
            _dealt("features", (str(trial.feature) for trial in table.trials)),
            _dealt("groups", (trial.group for trial in table.trials)),
            table.truth,
        )

    def guess(self, make: Callable[[], Any], columns: Any, bags: Sequence[Any] = ()) -> Numbers:
        """The log-odds of each trial, by models that saw neither its feature nor its group.

        Args:
            make: Makes a classifier of scikit-learn.
            columns: Numbers, or a sparse matrix: a row a trial.
            bags: Wide matrices, of which the classifier gets the main directions beside the columns.
        """
        guess = np.zeros(self.truth.size)
        for feature, group in product(range(N_FOLDS), repeat=2):
            test = (self.feature == feature) & (self.group == group)
            train = (self.feature != feature) & (self.group != group)
            if test.any() and np.unique(self.truth[train]).size == 2:
                # Fits of this size wait for each other's threads longer than they take.
                with threadpool_limits(1):
                    seen, unseen = [columns[train]], [columns[test]]
                    for bag in bags:
                        n_components = min(_N_COMPONENTS, bag.shape[1])
                        sketch = TruncatedSVD(n_components, random_state=0).fit(bag[train])
                        seen.append(sketch.transform(bag[train]))
                        unseen.append(sketch.transform(bag[test]))
                    if bags:
                        seen, unseen = [np.concatenate(seen, axis=1)], [np.concatenate(unseen, axis=1)]
                    guess[test] = make().fit(seen[0], self.truth[train]).decision_function(unseen[0])
        return guess


def _surface(table: Table) -> dict[str, Numbers]:
    return statistics.place_statistics(table) | statistics.text_statistics(table) | statistics.mark_statistics(table)


def _bags(table: Table, embedder: TextEmbedder | None) -> dict[str, Any]:
    bags = {"bag of tokens": _bag(table, table.is_token)}
    if table.has_marks:
        bags["identity of marked tokens"] = _bag(table, table.is_marked)
        bags["tokens before marks"] = _bag(table, _shifted(table.is_marked, -1) & table.is_token)
        bags["tokens after marks"] = _bag(table, _shifted(table.is_marked, 1) & table.is_token)
    if embedder is not None:
        of = "marked words" if table.has_marks else "the context"
        bags[f"embedding of {of}"] = _embeddings(table, embedder)
    return bags


def _shifted(flags: Bool[np.ndarray, "trial offset"], by: int) -> Bool[np.ndarray, "trial offset"]:
    shifted: Bool[np.ndarray, "trial offset"] = np.zeros_like(flags)
    if by > 0:
        shifted[:, by:] = flags[:, :-by]
    else:
        shifted[:, :by] = flags[:, -by:]
    shifted &= ~flags
    return shifted


def _dealt(purpose: str, names: Iterable[str]) -> Int64[np.ndarray, " trial"]:
    return np.array([hash_key(0, purpose, name) % N_FOLDS for name in names], dtype=np.int64)


def _boosting() -> Any:
    return HistGradientBoostingClassifier(
        max_iter=_N_BOOSTS, max_leaf_nodes=_N_LEAVES, max_bins=_N_BINS, early_stopping=False, random_state=0
    )


def _linear() -> Any:
    return LogisticRegression(C=_STRENGTH, solver="liblinear")


def _stacked(columns: statistics.Statistics) -> Float64[np.ndarray, "trial column"]:
    return np.stack(list(columns.values()), axis=1)


def _standard(columns: Float64[np.ndarray, "trial column"]) -> Float64[np.ndarray, "trial column"]:
    spread = columns.std(axis=0)
    standard: Float64[np.ndarray, "trial column"] = (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return standard


def _bag(table: Table, where: Bool[np.ndarray, "trial offset"]) -> Any:
    rows, offsets = np.nonzero(where)
    shape = len(table.trials), int(table.codes.max()) + 1
    bag = csr_matrix((np.ones(rows.size), (rows, table.codes[rows, offsets])), shape=shape)
    bag.data[:] = 1.0
    return bag


def _embeddings(table: Table, embedder: TextEmbedder) -> Float64[np.ndarray, "trial dim"]:
    texts = [
        "".join(token for i, token in enumerate(trial.tokens) if not table.has_marks or i in trial.marked).strip()
        or "."
        for trial in table.trials
    ]
    each = list(dict.fromkeys(texts))
    row_of = {text: row for row, text in enumerate(each)}
    vectors = embedder.embed(each).astype(np.float64)
    scaled: Float64[np.ndarray, "trial dim"] = vectors[[row_of[text] for text in texts]] * vectors.shape[1] ** 0.5
    return scaled


def best(guessed: Sequence[Guessed]) -> Guessed:
    """The solver that is farthest from chance, on either side: one that is always wrong tells as much."""
    return max(guessed, key=lambda of: abs(of.auroc - 0.5))
