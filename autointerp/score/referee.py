"""The referee: a rule that is as good as the truth about a feature, whoever wrote its label.

1. The rule is what the explainer `rules` wrote, as the label or among the candidates of a `best_of`. Where it was not
   asked, one is found now, on the explain split (`rules.search`): the one that is worth most, whether or not it looks
   ahead, and whatever F1 is to be expected of it, since step 2 measures that.
2. It is carried out on every window of the pool that is of the score split. Its precision is the share of the windows
   in which it holds that the feature fires in, its recall the share of the feature's activation mass in them that lies
   in windows in which it holds: counts, no estimates. It is a referee where both are above `LEAST_RIGHT`, of at least
   `LEAST_WINDOWS` windows in which the feature fires.

What it says of a label stands in `dispute`.
"""

import numpy as np
from jaxtyping import Float64

from autointerp.contexts.pool import PoolTiles
from autointerp.explain.explainers.rules import RulesExplainer
from autointerp.records import Explanation, FeatureContexts
from autointerp.rules.evidence import FeatureText, NaturalText
from autointerp.rules.search import find_rule
from autointerp.rules.sentence import read_rule, write_rule
from autointerp.score.dispute import Referee

LEAST_RIGHT = 0.95
LEAST_WINDOWS = 10
VERSION = (1, RulesExplainer.version)


class Referees:
    """Finds the referees of one source's features; seeks a rule once, however many labels a feature has.

    Args:
        pool: Of the source.
    """

    def __init__(self, pool: PoolTiles) -> None:
        self._pool = pool
        self._explain = NaturalText.of_explain(pool)
        self._held_out = NaturalText(pool, tuple(np.flatnonzero(pool.is_score).tolist()))
        self._sought: dict[int, str | None] = {}

    def of(self, explanation: Explanation, feature: FeatureContexts, density: float) -> Referee | None:
        """The referee for a label; None where the feature has no rule that is as good as the truth.

        Args:
            explanation: The label.
            feature: Contexts of its feature.
            density: Share of counted tokens on which the feature fires.
        """
        mass = self._pool.masses(feature.feature_index)[self._pool.is_score]
        if (mass > 0).sum() < LEAST_WINDOWS:  # before a rule is sought for nothing
            return None
        rule = self._rule(explanation, feature, density)
        return None if rule is None else self._tried(rule, mass)

    def _rule(self, explanation: Explanation, feature: FeatureContexts, density: float) -> str | None:
        """The sentence of the feature's rule: what was found already, or what is found now."""
        own = {"explainer": explanation.explainer, "label": explanation.label}
        tried = [of for of in explanation.detail.get("candidates", [own]) if of["explainer"] == RulesExplainer.name]
        if tried:
            label: str | None = tried[0].get("label")
            return label
        index = feature.feature_index
        if index not in self._sought:
            active = feature.of("explain", active=True)
            found = find_rule(FeatureText.build(active, index, density, self._explain))
            self._sought[index] = None if found is None else write_rule(found.rule)
        return self._sought[index]

    def _tried(self, sentence: str, mass: Float64[np.ndarray, " window"]) -> Referee | None:
        rule = read_rule(sentence)
        if rule is None:  # of a user's explainer that is called `rules`, too
            return None
        holds, fires = rule.in_rows(self._held_out.units), mass > 0
        if not holds.any():
            return None
        precision, recall = float(fires[holds].mean()), float(mass[holds].sum() / mass.sum())
        is_right = precision > LEAST_RIGHT and recall > LEAST_RIGHT
        return Referee(sentence, precision, recall, int(fires.sum())) if is_right else None
