"""Surprisal: does a language model expect the contexts in which the feature fires more, once it has read the label?

No language model is asked anything, and none is paid: a causal model on this machine reads.

1. The trials are those of the embedding score: every context of the score split, firing and silent.
2. A context's value is the mean of ln p over its tokens behind a prompt with the label, less the mean of the same
   behind the prompt with each of `score.n_surprisal_references` other features' labels.
3. The headline is the AUROC of the value over firing and silent contexts.

How probable a text is by itself (its length, its rare words) is in both terms of step 2, and so is what any label does
to a text: that words follow a list of words more easily, say. What is left is what this label does. The other labels
are drawn for each feature by keyed hash, without its own label and the one on trial; so a shuffled label is one more
of their kind, and nothing in a context tells whether it or they fit better. Drawn once for a whole source, they would
lean the same way everywhere. Their number decides the noise only.

What the model does with a label is what it can do: a small one uses words that the label has, and little else. A trial
has the value as its `probability`, in nats a token, and no verdict.
"""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float64

from autointerp.config import ScoreConfig, SubjectConfig
from autointerp.identity import fingerprint, in_keyed_order
from autointerp.llm.prompts import load_prompt
from autointerp.records import Explanation, FeatureContexts
from autointerp.score import metrics
from autointerp.score.base import BaseScorer
from autointerp.score.detail import Detail
from autointerp.score.judge import Answer, Answers, Case, Task
from autointerp.score.scorers.detection import build_questions
from autointerp.score.scorers.embedding import measure
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import Answered, Posed, ScoreContexts, Undefined
from autointerp.subject.content import local_digest
from autointerp.subject.model import subject_name
from autointerp.subject.packaged import packaged_as
from autointerp.subject.surprise import CausalModel, load_causal_model
from autointerp.words import plain_label

_KEY = "score.surprisal_model"
_PROMPT = "surprisal"
_LEAST_REFERENCES = 2
# Readings of a feature's contexts behind other labels, which its true and its shuffled label share.
_READINGS_KEPT = 64


class SurprisalJudge:
    """A `Judge` that tells how much more a model expects each context behind the label than behind other labels.

    Args:
        model: Of the causal model: as `score.surprisal_model` has it.
        device: As `subject.device` has it.
    """

    is_free = True

    def __init__(self, model: str, device: str) -> None:
        self._config = _config(model, device)
        self.name = subject_name(self._config)
        self._kept = lru_cache(maxsize=_READINGS_KEPT)(self.read_behind)

    @cached_property
    def model(self) -> CausalModel:
        """The model, loaded when it is first asked for.

        Raises:
            SubjectError: If it can't be, or is no causal one.
        """
        return load_causal_model(self._config, _KEY)

    def fingerprint(self, task: Task) -> str:
        """Of the model, by its weights where they are on this machine, and of the prompt."""
        model = self._config.model
        return fingerprint("surprisal", 1, model, local_digest(model, _KEY), load_prompt(_PROMPT).sha256)

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Nothing is to be done before."""

    def fits(self, label: str, texts: Sequence[str]) -> bool:
        """Whether the model can read each of some texts behind a label."""
        if self.model.window is None:
            return True
        longest = max((self.model.n_tokens(text) for text in texts), default=0)
        return self.model.n_tokens(_prompt(label)) + longest < self.model.window

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        """The value of each context; `background` is not needed."""
        return [self._answer(case) for case in cases]

    def _answer(self, case: Case) -> Answers:
        texts = tuple(q.context.text for q in case.questions)
        behind_label = self.read_behind(case.label, texts)
        behind_others = np.mean([self._kept(other, texts) for other in case.others], axis=0)
        return Answers(
            [
                Answer(verdict=None, probability=float(value))
                if np.isfinite(value)
                else Answer(verdict=None, unanswered=self._why_not(case.label, text), retry=False)
                for value, text in zip(behind_label - behind_others, texts, strict=True)
            ]
        )

    def read_behind(self, label: str, texts: tuple[str, ...]) -> Float64[np.ndarray, " text"]:
        """Mean of ln p over the tokens of each text behind the prompt with a label; NaN where that is too long."""
        return self.model.mean_log_probability(_prompt(label), texts)

    def _why_not(self, label: str, text: str) -> str:
        n_label, n_text = self.model.n_tokens(_prompt(label)), self.model.n_tokens(text)
        if n_text == 0:
            return f"the context has no tokens of {self.name}"
        if self.model.window is None or n_label + n_text <= self.model.window:
            return f"the label or the context has a token that {self.name} has no embedding for"
        return (
            f"the prompt with the label has {n_label} tokens and the context {n_text}, and {self.name} reads "
            f"{self.model.window} at once"
        )


class SurprisalScorer(BaseScorer):
    """Grades by AUROC of how much more the model expects a context behind the label; see the module's steps."""

    name = "surprisal"
    task = Task("surprisal", "judge_detection")
    metric = "AUROC"
    interval = "Newcombe's score interval on Hanley and McNeil's variance, at effective numbers of trials"
    asks_judge = False
    judge: SurprisalJudge

    @classmethod
    def check(cls, config: ScoreConfig, device: str) -> None:
        """See that the model is there and is a causal one."""
        load_causal_model(_config(config.surprisal_model, device), _KEY)

    def make_judge(self, tools: ScoreTools) -> SurprisalJudge:
        """The causal model."""
        return SurprisalJudge(tools.config.surprisal_model, tools.device)

    def settings(self, tools: ScoreTools) -> Sequence[Any]:
        """How many other labels, and every label, among which they are."""
        return (tools.config.n_surprisal_references, tools.labels_fingerprint())

    def announce(self, n_labels: int, contexts: FeatureContexts) -> str:
        """How fast the model reads here, and how long it will."""
        texts = _graded(contexts)
        if not texts:
            return ""
        per_second = self.judge.model.tokens_per_second(texts)
        # The other labels are read once for a true label and the shuffled one beside it.
        n_readings = 1 + self.config.n_surprisal_references / (2 if self.config.baseline else 1)
        seconds = n_labels * n_readings * sum(map(self.judge.model.n_tokens, texts)) / per_second
        weights = packaged_as(self.config.surprisal_model)
        return (
            f"surprisal: {self.judge.name}{f' ({weights})' if weights else ''} reads {per_second:,.0f} tokens a second"
            f" here; {n_labels:,} labels take about {seconds / 60:,.0f} min"
        )

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...] | Undefined:
        """Every context of the score split; or why there are none, where other labels are lacking."""
        n_others = len(self.others(explanation, contexts))
        if n_others < _LEAST_REFERENCES:
            return Undefined(
                "TooFewLabels",
                f"there are {n_others} labels of other features that the model can read before its contexts, and "
                f"{_LEAST_REFERENCES} are needed, to tell what any label does to a text",
                retry=False,
            )
        return build_questions(contexts.feature, "score", key)

    def others(self, explanation: Explanation, contexts: ScoreContexts) -> tuple[str, ...]:
        """Labels of other features, drawn by keyed hash of this one."""
        if contexts.others is None:
            return ()
        labels = contexts.others.labels
        own = {plain_label(explanation.label), plain_label(labels.get(explanation.feature_index, ""))}
        features = np.fromiter(labels, dtype=np.int64, count=len(labels))
        texts = _graded(contexts.feature)
        chosen: list[str] = []
        for feature in in_keyed_order(self._key(explanation), features).tolist():
            label = labels[feature]
            if plain_label(label) not in own and self.judge.fits(label, texts):
                own.add(plain_label(label))
                chosen.append(label)
            if len(chosen) == self.config.n_surprisal_references:
                break
        return tuple(chosen)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """AUROC over all silent contexts, and against each kind of them alone."""
        assert of.probability is not None, "every answer has a value"
        headline, detail = measure(of, of.probability, "gain")
        detail.add_note("weights", packaged_as(self.config.surprisal_model) or self.config.surprisal_model)
        return headline, detail


def _config(model: str, device: str) -> SubjectConfig:
    return SubjectConfig(model=model, device=device)


def _prompt(label: str) -> str:
    return f"{load_prompt(_PROMPT).user(label=label)}\n\n"


def _graded(contexts: FeatureContexts) -> list[str]:
    return [context.text for context in contexts.contexts if context.split == "score"]
