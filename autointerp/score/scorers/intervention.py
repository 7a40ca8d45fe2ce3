"""Intervention: does the label fit what the feature does to the model's output, when it is turned up?

1. Prompts: windows of the pool, of the score split, the same for every feature of a source: `n_interventions` groups
   of four, no two of one group of documents where there are enough.
2. In every prompt of a group the feature's activation is raised at every token, by `steering` times its largest
   activation (`live.edits`), and the next token's log-probabilities are compared with those without. On the mean of the
   group's prompts, the ten tokens that rise most are what the feature *promotes*.
3. As many questions again show what *other* features promote, each in one of the same groups: features that fire in the
   pool, by keyed hash, turned up until what they add is as long as what this one adds.
4. A judge is asked whether such tokens are what the label leads one to expect; a local one compares their words.
   The headline is the AUROC of its probability: that the feature's own tokens fit the label better than another's.

What it promotes is shown without a context, so what the label says of the input helps only as far as both sides of the
feature are about one thing. After Gur-Arieh et al. 2025 (2501.08319) and Paulo et al. 2024 (2410.13928).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from autointerp.contexts.pool import PoolTiles
from autointerp.contexts.windows import make_context
from autointerp.errors import SubjectError
from autointerp.identity import hash_key, in_keyed_order
from autointerp.live.edits import direction, writing_hook
from autointerp.live.next_token import OutputHead, effects, find_head
from autointerp.live.subject import LiveSubject
from autointerp.records import Context, Explanation
from autointerp.records.live import Edit, Effect, TokenChange
from autointerp.score import metrics
from autointerp.score.base import BaseScorer
from autointerp.score.detail import Detail
from autointerp.score.judge import Judge, Question, Task
from autointerp.score.scorers.embedding import SimilarityJudge
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import Answered, Posed, ScoreContexts, Undefined, shuffled
from autointerp.subject.source import Source

INTERVENTION = Task("intervention", "judge_intervention", yes_no="yes_no_intervention")
_PROMPTS_A_GROUP = 4
_FEWEST_GROUPS = 3
_N_TOKENS = 10
# Features: a label and its shuffled one are scored one after the other.
_MOST_KEPT = 4096


@dataclass(frozen=True, slots=True)
class _Group:
    """Prompts that an effect is averaged over.

    Attributes:
        prompts: Tokens of each.
        block_index: Of the first: names the group in its contexts.
        group_id: Of the first's document.
    """

    prompts: tuple[tuple[int, ...], ...]
    block_index: int
    group_id: str


@dataclass(frozen=True, slots=True)
class _Steered:
    """What one feature was found to do.

    Attributes:
        posed: Its own effects and others', as questions.
        strength: What its activation was raised by.
        own: Its own effects.
        others: The other features'.
    """

    posed: tuple[Posed, ...]
    strength: float
    own: tuple[Effect, ...]
    others: tuple[Effect, ...]


class InterventionScorer(BaseScorer):
    """Grades by whether the label fits the tokens that the feature promotes; see the module's steps."""

    name = "intervention"
    task = INTERVENTION
    metric = "AUROC"
    interval = "Newcombe's score interval on Hanley and McNeil's variance, at effective numbers of trials"
    classes = ("effects of the feature", "effects of other features")
    needs_silence = False
    asks_subject = True
    side = "output"
    n_together = 16

    def __init__(self, tools: ScoreTools) -> None:
        self._subject = tools.subject
        self._steered: dict[tuple[str, int], _Steered | Undefined] = {}
        self._groups: dict[str, tuple[_Group, ...]] = {}
        super().__init__(tools)

    def make_judge(self, tools: ScoreTools) -> Judge:
        """The run's; where it is free, one by the similarity of words, which needs no threshold."""
        judge = tools.judge()
        return SimilarityJudge(tools.embedder()) if judge.is_free else judge

    def settings(self, tools: ScoreTools) -> Sequence[Any]:
        """How many groups of prompts, and how strongly the feature is turned up."""
        return (tools.config.n_interventions, tools.config.steering)

    @classmethod
    def subject_problem(cls, subject: LiveSubject) -> str | None:
        """Why nothing comes next, there is no language-model head; or why no source's features can be turned up."""
        try:
            find_head(subject.sources.subject)
        except SubjectError as error:
            return f"asks what the subject expects next, and {error.problem}"
        problems = [_edit_problem(source) for source in subject.sources.sources]
        return f"turns features up, and {problems[0]}" if all(problems) else None

    @cached_property
    def _head(self) -> OutputHead:
        return find_head(self._subject().sources.subject)

    async def make_ready(self, jobs: Sequence[tuple[Explanation, ScoreContexts]]) -> None:
        """Turn the features up that were not yet: a label and its shuffled one share what comes of it."""
        new = {
            (explanation.source_id, explanation.feature_index): contexts
            for explanation, contexts in jobs
            if (explanation.source_id, explanation.feature_index) not in self._steered
        }
        for source_id in sorted({source_id for source_id, _ in new}):
            of_source = [contexts for (source, _), contexts in new.items() if source == source_id]
            self._steered |= await asyncio.to_thread(self._steer, self._subject(), of_source)
        while len(self._steered) > _MOST_KEPT:  # the oldest are long scored
            del self._steered[next(iter(self._steered))]

    def _steer(
        self, live: LiveSubject, features: Sequence[ScoreContexts]
    ) -> dict[tuple[str, int], _Steered | Undefined]:
        """Turn features of one source up, all in the same forward passes."""
        source_id, pool = features[0].feature.source_id, features[0].pool
        keys = [(source_id, contexts.feature.feature_index) for contexts in features]
        coder = live.source(source_id).coder
        if problem := _edit_problem(live.source(source_id)):
            return dict.fromkeys(keys, Undefined("NoOutput", problem, retry=False))
        groups = self._prompts(source_id, pool)
        if len(groups) < _FEWEST_GROUPS:
            undefined = Undefined(
                "TooFewContexts",
                f"the pool has {len(groups) * _PROMPTS_A_GROUP} windows of the score split to be prompts, and "
                f"{_FEWEST_GROUPS * _PROMPTS_A_GROUP} are needed: a larger pool (collect.n_pool_blocks) has more",
                retry=False,
            )
            return dict.fromkeys(keys, undefined)
        lengths = coder.decoder.float().norm(dim=1).cpu().numpy()
        able = pool.firing_features
        able = able[lengths[able] > 0]
        asked: list[tuple[Sequence[Sequence[int]], Sequence[Edit]]] = []
        strengths: list[float] = []
        for contexts in features:
            feature = contexts.feature.feature_index
            strengths.append(self.config.steering * max(c.max_activation for c in contexts.feature.contexts))
            added = strengths[-1] * float(direction(coder, feature).norm())
            others = able[able != feature]
            key = hash_key(self.seed, self.name, source_id, str(feature))
            others = in_keyed_order(key, others)[: len(groups)]
            asked += [(group.prompts, (Edit(feature, "add", strengths[-1]),)) for group in groups]
            for group, other in zip(groups, others.tolist(), strict=False):
                value = added / float(direction(coder, other).norm())
                asked.append((group.prompts, (Edit(other, "add", value),)))
        found = iter(effects(live, self._head, source_id, asked, _N_TOKENS))
        done: dict[tuple[str, int], _Steered | Undefined] = {}
        for key_of, strength in zip(keys, strengths, strict=True):
            own = tuple(next(found) for _ in groups)
            n_others = min(len(groups), int(np.sum(able != key_of[1])))
            others_do = tuple(next(found) for _ in range(n_others))
            posed = [
                Posed(Question(_context(effect, *key_of, group, place)), truth)
                for truth, these in ((True, own), (False, others_do))
                for place, (group, effect) in enumerate(zip(groups, these, strict=False), start=len(groups) * truth)
            ]
            done[key_of] = _Steered(tuple(posed), strength, own, others_do)
        return done

    def _prompts(self, source_id: str, pool: PoolTiles) -> tuple[_Group, ...]:
        """Groups of held-out windows by keyed hash, those of documents' groups that have one after all others."""
        if source_id in self._groups:
            return self._groups[source_id]
        held_out = np.flatnonzero(pool.is_score & (pool.length == pool.length.max()))
        order = in_keyed_order(hash_key(self.seed, self.name, source_id), held_out)
        chosen = pool.spread_over_groups(order)[: _PROMPTS_A_GROUP * self.config.n_interventions]
        groups = [chosen[i : i + _PROMPTS_A_GROUP] for i in range(0, len(chosen), _PROMPTS_A_GROUP)]
        self._groups[source_id] = tuple(
            _Group(
                tuple(tuple(pool.token_ids[tile, : pool.length[tile]].tolist()) for tile in tiles),
                int(pool.block_index[tiles[0]]),
                pool.group_ids[tiles[0]],
            )
            for tiles in groups
            if len(tiles) == _PROMPTS_A_GROUP
        )
        return self._groups[source_id]

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...] | Undefined:
        """What the feature promotes, and what others do."""
        steered = self._steered[explanation.source_id, explanation.feature_index]
        return steered if isinstance(steered, Undefined) else shuffled(steered.posed, key)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """AUROC, how strongly the feature was turned up, and what came of it."""
        assert of.probability is not None, "every answer has a probability or a similarity"
        headline = metrics.auroc(of.truth, of.probability, of.cluster)
        assert headline is not None, "both classes have answers"
        steered = self._steered[contexts.feature.source_id, contexts.feature.feature_index]
        assert isinstance(steered, _Steered), "it has questions"
        detail = Detail()
        detail.add("n_positive", int(of.truth.sum()))
        detail.add("n_negative", int((~of.truth).sum()))
        detail.add("steering", self.config.steering)
        detail.add("strength", steered.strength)
        detail.add("kl", float(np.mean([effect.kl for effect in steered.own])))
        detail.add("kl_others", float(np.mean([effect.kl for effect in steered.others])))
        detail.add_numbers("promoted", mean_changes([effect.promoted for effect in steered.own]))
        detail.add_numbers("suppressed", mean_changes([effect.suppressed for effect in steered.own]))
        return headline, detail


def _edit_problem(source: Source) -> str | None:
    try:
        writing_hook(source)
    except SubjectError as error:
        return error.problem
    return None


def mean_changes(lists: Sequence[Sequence[TokenChange]]) -> dict[str, float]:
    """The tokens that most lists name, with their mean change there; as many as a list has."""
    found: dict[str, list[float]] = {}
    for of_group in lists:
        for change in of_group:
            found.setdefault(change.token, []).append(change.change)
    most = sorted(found.items(), key=lambda named: (-len(named[1]), -abs(sum(named[1])), named[0]))[:_N_TOKENS]
    return {token: sum(changes) / len(changes) for token, changes in most}


def _context(effect: Effect, source_id: str, feature_index: int, group: _Group, place: int) -> Context:
    return make_context(
        [change.token_id for change in effect.promoted],
        [max(0.0, change.change) for change in effect.promoted],
        source_id=source_id,
        feature_index=feature_index,
        kind="effect",
        split="score",
        quantile=None,
        document_id=group.group_id,
        group_id=group.group_id,
        block_index=group.block_index,
        start=place,
        tokens=[f"{', ' if rank else ''}{change.token}" for rank, change in enumerate(effect.promoted)],
    )
