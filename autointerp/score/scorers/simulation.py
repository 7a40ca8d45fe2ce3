"""Simulation: can the activation at every token be told from the label? After Bills et al. 2023.

1. The questions are every context of the score split, as in detection: firing ones of all quantiles, and silent ones,
   in which other features peak. For each the judge gives what it takes the activation at each token to be, from 0 to
   10. It may see label and tokens, and nothing else.
2. The headline is the correlation of these with the true activations, over all tokens (`correlation`): firing contexts
   weigh one half together and silent ones the other, each context of a half the same. That is settled here, before any
   answer, and is no natural mix: a feature is mostly silent, and how precise a label is there tell `recall` and
   precision. A correlation below 0 is told as 0, and as it is in the detail.
3. Beside it stands `chance`, what can be had without the label: features fire on rare tokens more than on common ones,
   so a simulation that gives each token its rarity in the pool is correlated with most of them. The feature's own
   correlation with it is computed on the same tokens, and told as 0 where it is negative.

A question without an answer is taken, for the bounds, as simulated truly, or as its opposite.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from autointerp.contexts.pool import PoolTiles
from autointerp.errors import PipelineError
from autointerp.records import Context, Explanation
from autointerp.score import metrics
from autointerp.score.base import BaseScorer
from autointerp.score.correlation import Simulated
from autointerp.score.detail import Detail
from autointerp.score.judge import Task
from autointerp.score.scorers.detection import build_questions
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import Answered, Posed, ScoreContexts, true_activations

SIMULATION = Task("simulation", "judge_simulation", wants_activations=True)


class SimulationScorer(BaseScorer):
    """Grades by the correlation of simulated and true activations; see the module's steps.

    Raises:
        PipelineError: If the judge tells no activations.
    """

    name = "simulation"
    task = SIMULATION
    metric = "correlation of simulated and true activations"
    interval = "Bayesian bootstrap of groups of documents, firing and silent contexts apart"

    def __init__(self, tools: ScoreTools) -> None:
        super().__init__(tools)
        if not getattr(self.judge, "simulates", False):
            raise PipelineError(
                f"the judge {self.judge.name!r} tells no activations, which the scorer {self.name!r} asks for",
                f"take {self.name!r} out of score.scorers, or have the judge answer tasks that want activations, and"
                " give it the attribute `simulates = True`",
            )

    def settings(self, tools: ScoreTools) -> Sequence[Any]:
        """The draws behind the interval."""
        return (tools.config.n_bootstrap,)

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...]:
        """Every context of the score split."""
        return build_questions(contexts.feature, "score", key)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """The correlation, and what else the simulated activations tell."""
        return measure(of, posed, contexts.pool, self.config.n_bootstrap, np.random.default_rng(key))


def measure(
    of: Answered, posed: Sequence[Posed], pool: PoolTiles, n_draws: int, rng: np.random.Generator
) -> tuple[metrics.Estimate, Detail]:
    """The correlation of simulated and true activations, and what else they tell.

    Args:
        of: Answered questions, on firing and on silent contexts.
        posed: All that were asked.
        pool: Tells how rare tokens are.
        n_draws: Draws behind the interval.
        rng: Of these draws.

    Raises:
        PipelineError: If the judge, a user's, gave verdicts or similarities.
    """
    if of.activations is None:
        raise PipelineError(
            "the judge gives yes or no, or similarities, where activations are asked for",
            "have it give `Answer(verdict=None, activations=...)` where `task.wants_activations`",
        )
    contexts = [p.question.context for p in of.posed]
    top = max(p.question.context.max_activation for p in posed)
    true = [true_activations(context, top) for context in contexts]
    tokens = Simulated.join(of.activations, true, of.truth, of.cluster)
    correlation = tokens.correlation()
    low, high = tokens.interval(n_draws, rng)
    floor = replace(tokens, simulated=rarities(contexts, pool)).correlation()

    detail = Detail()
    detail.add("correlation", correlation)
    detail.add_numbers("correlation_interval", {"low": low, "high": high})
    detail.add("chance", max(0.0, floor))
    detail.add("rank_correlation", tokens.ranked().correlation())
    detail.add("explained_variance", tokens.explained_variance())
    detail.add("correlation_within_firing", tokens.correlation_within_firing())
    detail.add("n_positive", int(of.truth.sum()))
    detail.add("n_negative", int((~of.truth).sum()))
    detail.add("n_tokens", tokens.true.size)
    return metrics.Estimate(max(0.0, correlation), max(0.0, low), max(0.0, high)), detail


def rarities(contexts: Sequence[Context], pool: PoolTiles) -> Float64[np.ndarray, " token"]:
    """How rare each token of contexts is: minus the logarithm of its share of the pool, half a token added."""
    ids = np.concatenate([np.asarray(context.token_ids, dtype=np.int64) for context in contexts])
    inside = np.arange(pool.token_ids.shape[1]) < pool.length[:, None]
    counts = np.bincount(pool.token_ids[inside], minlength=int(ids.max()) + 1)
    rarity: Float64[np.ndarray, " token"] = -np.log((counts[ids] + 0.5) / max(1, counts.sum()))
    return rarity
