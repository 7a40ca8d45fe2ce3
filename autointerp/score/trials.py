"""Questions with their truth, the order in which they are asked, and what is left of them once they are answered."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from autointerp.contexts.pool import PoolTiles
from autointerp.errors import PipelineError
from autointerp.identity import hash_key, keyed_hash
from autointerp.records import Context, FeatureContexts, Usage
from autointerp.score.clusters import numbered
from autointerp.score.confusion import Confusion, confusion
from autointerp.score.judge import MOST_ACTIVATION, Answer, Question
from autointerp.score.others import OtherFeatures
from autointerp.score.referee import Referees

NO_SILENT_CONTEXTS = "NoSilentContexts"
NO_FALSE_MARKS = "NoFalseMarks"


@dataclass(frozen=True, slots=True)
class SilentTiles:
    """The silent text of the score split that a label can be tried on.

    Attributes:
        eligible: Tiles, ascending.
        n_left_out: Silent tiles of the score split that nearly repeat a context of another split.
    """

    eligible: Int64[np.ndarray, " eligible"]
    n_left_out: int


@dataclass(frozen=True, eq=False)
class ScoreContexts:
    """What scorers may use of one feature.

    Attributes:
        feature: Contexts of both splits. Score contexts make trials.
        pool: The source's pool, with the truth for every feature on every tile.
        density: Share of counted tokens on which the feature fires.
        others: The labelled features of its source, itself among them; None where nobody knows them.
        referees: Finds the rules that are as good as the truth about features of its source; None where nobody looks.
    """

    feature: FeatureContexts
    pool: PoolTiles
    density: float
    others: OtherFeatures | None = None
    referees: Referees | None = None

    @cached_property
    def silent_tiles(self) -> SilentTiles:
        """Tiles of the score split on which the feature is silent, without near-duplicates of its other splits."""
        silent = self.pool.is_score & (self.pool.peaks(self.feature.feature_index) <= 0)
        repeated = silent & self.pool.repeats([c for c in self.feature.contexts if c.split != "score"], "score")
        return SilentTiles(np.flatnonzero(silent & ~repeated), int(repeated.sum()))

    @property
    def no_silence(self) -> "Undefined | None":
        """Why there are no silent contexts; None where there are some."""
        if self.feature.of("score", active=False):
            return None
        n_firing = int(np.sum(self.pool.peaks(self.feature.feature_index) > 0))
        return Undefined(
            NO_SILENT_CONTEXTS,
            f"it fires in {n_firing:,} of the pool's {self.pool.n_tiles:,} windows, which leaves too few silent ones: "
            "shorter contexts (collect.context_length) or a larger pool (collect.n_pool_blocks, contexts.n_pool_tiles) "
            "may have some",
            retry=False,
        )


@dataclass(frozen=True, slots=True)
class Posed:
    """A question of the score split with its true answer.

    Attributes:
        question: What the judge sees.
        truth: What a perfect judge of a perfect label would say.
        weight: 1 / probability with which the context was drawn.
        part: The part of the population it was drawn from, where a scorer draws from several.
    """

    question: Question
    truth: bool
    weight: float = 1.0
    part: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """Questions that got an answer, as arrays.

    Attributes:
        posed: The questions.
        truth: Their true answers.
        verdict: The judge's answers; of no meaning where it gives similarities only.
        probability: That the answer is yes, or the similarity; None unless the judge gave one with every answer.
        texts: Its verdicts on the texts that it was asked about besides (`BaseScorer.texts`); None where it gave none.
        has_verdicts: Whether each answer has a verdict.
        text_probabilities: That the answer is yes, for each of the texts; None where it gave none.
        activations: What it told of each token; None unless it told them with every answer.
    """

    posed: tuple[Posed, ...]
    truth: Bool[np.ndarray, " trial"]
    verdict: Bool[np.ndarray, " trial"]
    probability: Float64[np.ndarray, " trial"] | None
    texts: Bool[np.ndarray, " text"] | None = None
    has_verdicts: bool = True
    text_probabilities: Float64[np.ndarray, " text"] | None = None
    activations: tuple[tuple[float, ...], ...] | None = None

    def where(self, keep: Iterable[Any]) -> "Answered":
        """The answered questions for which `keep` is true."""
        chosen = np.fromiter(keep, dtype=bool, count=len(self.posed))
        return Answered(
            posed=tuple(p for p, k in zip(self.posed, chosen, strict=True) if k),
            truth=self.truth[chosen],
            verdict=self.verdict[chosen],
            probability=None if self.probability is None else self.probability[chosen],
            has_verdicts=self.has_verdicts,
            activations=self.activations and tuple(a for a, k in zip(self.activations, chosen, strict=True) if k),
        )

    @property
    def cluster(self) -> Int64[np.ndarray, " trial"]:
        """Numbers of the groups of documents that the contexts are from, from 0 without a gap."""
        contexts = (p.question.context for p in self.posed)
        return numbered(c.group_id for c in contexts)

    @property
    def confusion(self) -> Confusion:
        """Counts by truth and verdict.

        Raises:
            PipelineError: If the judge, a user's, gives similarities only: no verdict would count as a no.
        """
        if not self.has_verdicts:
            raise PipelineError(
                "the judge gives similarities where the score is made of verdicts",
                "have it give verdicts, or measure `probability`",
            )
        return confusion(self.truth, self.verdict, self.cluster)


@dataclass(frozen=True, slots=True)
class Undefined:
    """Why a headline can't be computed; the scorer makes a `Failure` of it.

    Attributes:
        error_type: `AllUnanswered`, `OneClassOnly`, `NoSilentContexts`, `NoFalseMarks`, or what a scorer lacks.
        message: One line.
        retry: Whether another run may fare better.
        raw: The first reason given for no answer, where there is one.
        usage: What was paid for before a question could be posed.
    """

    error_type: str
    message: str
    retry: bool
    raw: str | None = None
    usage: Usage = field(default_factory=Usage)


def feature_key(seed: int, purpose: str, source_id: str, feature_index: int) -> int:
    """The key of one choice about one feature."""
    return hash_key(seed, purpose, source_id, str(feature_index))


def context_hashes(key: int, contexts: Sequence[Context]) -> list[int]:
    """A keyed hash of each context, by where it stands in the corpus."""
    blocks = np.array([c.block_index for c in contexts], dtype=np.int64)
    starts = np.array([c.start for c in contexts], dtype=np.int64)
    return [int(h) for h in keyed_hash(key, blocks, starts)]


def shuffled(posed: Sequence[Posed], key: int) -> tuple[Posed, ...]:
    """The questions in an order that tells nothing about their truth."""
    hashes = context_hashes(key, [p.question.context for p in posed])
    return tuple(posed[i] for i in sorted(range(len(posed)), key=lambda i: (hashes[i], i)))


def missing_class(posed: Sequence[Posed], positives: str, negatives: str) -> Undefined | None:
    """`OneClassOnly` if there is no question of one class, which is named; None if there are questions of both."""
    for truth, name in ((True, positives), (False, negatives)):
        if not any(p.truth == truth for p in posed):
            return Undefined("OneClassOnly", f"there are no {name} to judge", retry=False)
    return None


def answered(posed: Sequence[Posed], answers: Sequence[Answer]) -> Answered | Undefined:
    """Keep the questions that got an answer; `AllUnanswered` if none of a class, or of a part, got one."""
    assert len(posed) == len(answers), "a judge answers every question, in order"
    pairs = [(p, a) for p, a in zip(posed, answers, strict=True) if a.unanswered is None]
    for truth, part in sorted({(p.truth, p.part) for p in posed}):
        if not any((p.truth, p.part) == (truth, part) for p, _ in pairs):
            # What no judge call can mend is not asked again.
            retry = any(a.retry for p, a in zip(posed, answers, strict=True) if (p.truth, p.part) == (truth, part))
            reason = next((a.unanswered for a in answers if a.unanswered is not None), None)
            n_asked = sum((p.truth, p.part) == (truth, part) for p in posed)
            which = f"{part} questions" if part else f"questions whose true answer is {'yes' if truth else 'no'}"
            return Undefined("AllUnanswered", f"none of the {n_asked} {which} was answered", retry=retry, raw=reason)
    probabilities = [a.probability for _, a in pairs if a.probability is not None]
    return Answered(
        posed=tuple(p for p, _ in pairs),
        truth=np.array([p.truth for p, _ in pairs], dtype=bool),
        verdict=np.array([a.verdict for _, a in pairs], dtype=bool),
        probability=np.array(probabilities, dtype=np.float64) if len(probabilities) == len(pairs) else None,
        has_verdicts=all(a.verdict is not None for _, a in pairs),
        activations=_all_activations([a.activations for _, a in pairs]),
    )


def with_every_answer(posed: Sequence[Posed], answers: Sequence[Answer], *, right: bool) -> Answered:
    """All questions, those without an answer taken to be answered right, or wrong, and with the utmost certainty.

    Scores of the two are the ends of what the score would be, had the judge answered everything (Manski 1989).
    """
    given = [a.probability for a in answers if a.unanswered is None]
    known = [probability for probability in given if probability is not None]
    utmost = {True: max(known, default=0.0) + 1, False: min(known, default=0.0) - 1}
    verdict = [p.truth == right if a.unanswered is not None else a.verdict for p, a in zip(posed, answers, strict=True)]
    probability = [
        utmost[p.truth == right] if a.unanswered is not None else a.probability
        for p, a in zip(posed, answers, strict=True)
    ]
    return Answered(
        posed=tuple(posed),
        truth=np.array([p.truth for p in posed], dtype=bool),
        verdict=np.array(verdict, dtype=bool),
        probability=np.array(probability, dtype=np.float64) if len(known) == len(given) else None,
        has_verdicts=all(a.verdict is not None for a in answers if a.unanswered is None),
        activations=_every_activation(posed, answers, right=right),
    )


def features_by_prompt(asked: Iterable[tuple[tuple[str, int], Sequence[Answer]]]) -> dict[str, int]:
    """How many features' questions each prompt held, of features each with the answers to its questions."""
    held = defaultdict[str, set[tuple[str, int]]](set)
    for feature, answers in asked:
        for prompt in {a.prompt for a in answers} - {None}:
            held[str(prompt)].add(feature)
    return {prompt: len(features) for prompt, features in held.items()}


def alone_in_prompts(answers: Sequence[Answer], shared: Mapping[str, int]) -> str | None:
    """What is to be known where prompts held several questions of this feature, and none of another.

    Args:
        answers: To the feature's questions.
        shared: How many features' questions each prompt held.
    """
    n_together = Counter(a.prompt for a in answers if a.prompt is not None and shared[a.prompt] == 1)
    n_alone = sum(n for n in n_together.values() if n > 1)
    if not n_alone:
        return None
    return (
        f"{n_alone} of {len(answers)} questions shared prompts with none of another feature: what they have in common "
        "may tell the answers without the label, and the score be too high "
        "(judge.contexts_per_prompt = 1 asks them one by one)"
    )


def true_activations(context: Context, top: float) -> tuple[float, ...]:
    """The activation at each token on the scale on which judges tell them.

    Args:
        context: The context.
        top: What counts as the feature's largest activation, above 0 and no less than any here.
    """
    return tuple(MOST_ACTIVATION * activation / top for activation in context.activations)


def _every_activation(
    posed: Sequence[Posed], answers: Sequence[Answer], *, right: bool
) -> tuple[tuple[float, ...], ...] | None:
    """What was told of each context, and where nothing was the true activations, or their opposite: most in silence."""
    if all(a.activations is None for a in answers):
        return None
    top = max(p.question.context.max_activation for p in posed)
    true = [true_activations(p.question.context, top) for p in posed]
    utmost = true if right else [tuple(MOST_ACTIVATION - a for a in of_context) for of_context in true]
    return _all_activations(
        [a.activations if a.unanswered is None else of_it for a, of_it in zip(answers, utmost, strict=True)]
    )


def _all_activations(told: Sequence[tuple[float, ...] | None]) -> tuple[tuple[float, ...], ...] | None:
    """What was told of each context; None where it was not told of one."""
    known = tuple(activations for activations in told if activations is not None)
    return known if len(known) == len(told) else None


def one_answer(answers: Sequence[Answer]) -> str | None:
    """What the judge said to every question, where it gave all the same answer, so that it told nothing apart."""
    given = [a for a in answers if a.unanswered is None]
    told = {activation for a in given if a.activations is not None for activation in a.activations}
    if told:
        return "the judge gave every token the same activation" if len(told) == 1 else None
    verdicts, probabilities = {a.verdict for a in given}, {a.probability for a in given}
    if verdicts in ({True}, {False}):
        return f"the judge said {'yes' if True in verdicts else 'no'} to every question"
    is_one = verdicts == {None} and len(probabilities) == 1
    return "the judge gave every question the same probability" if is_one else None
