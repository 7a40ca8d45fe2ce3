"""The judge without a language model: it carries a label out that is a rule, and compares any other with the text.

A label is a rule if its sentence is read back as one (`rules.sentence`), whoever wrote it; then the answers are the
judge `rule`'s. Every other label is a list of words, and the answer is yes where label and text are similar enough:

1. Each question becomes texts. Detection: the context. Fuzzing: each run of marked tokens, widened to whole words.
   Examples that stand in place of a label are read as one: the words under their marks, each an item.
2. A question's similarity is the embedder's similarity of the label and its text; over several runs of marks, the mean.
3. What is similar enough differs by label: one of frequent words is close to any text. So a label is tried on texts
   that are no question (`Case.background`, the corpus as it comes), and on the same texts with one of its own words
   added; where words are marked, on the words of these texts, and on its own. The two means are the ends of a scale,
   and from a third of the way on the judge says yes.

Where activations are asked for there is no threshold. A token's activation is the similarity of the label and the
token's word, put to the fourth power: unrelated words have cosines of about a third, and would drown the few that fit.

So nothing that is known of the feature decides an answer, and a label of something else can't profit from it: were the
threshold set on contexts whose answers are known, it would be put between the feature's one word and others, whichever
the label happens to be closer to. A label that is no more similar to texts with its own words than to any others says
nothing: every answer then has probability 1/2, and the verdict is no.

A third, and how fast the probability rises, were chosen once, over all of the demo's features together, and are one
rule for every feature and both sorts of questions (`benchmarks/demo.md` has what other choices give).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
from jaxtyping import Float64
from scipy.special import expit

from autointerp.contexts.render import active_offsets, shown_offsets
from autointerp.embedder import LabelEmbedder
from autointerp.identity import fingerprint
from autointerp.records import Context
from autointerp.rules.sentence import read_rule
from autointerp.score.judge import MOST_ACTIVATION, Answer, Answers, Case, Question, Task
from autointerp.score.judges.rule import RuleJudge
from autointerp.words import label_words, words_of

_THRESHOLD = 1 / 3
_SLOPE = 4.0
_SHARPENING = 4
_N_PLANTED = 32
_SMALLEST_SCALE = 1e-3
# Of labels whose scores are under way, each with and without marks.
_MAX_SCALES = 256


@dataclass(frozen=True, slots=True)
class Scale:
    """What similarities to one label mean.

    Attributes:
        background: Mean similarity of texts as they come.
        own: Mean similarity of texts that hold one of the label's words.
    """

    background: float
    own: float

    def probability(self, similarity: Float64[np.ndarray, " question"]) -> Float64[np.ndarray, " question"]:
        """Probability of yes, were both answers equally frequent."""
        if self.own - self.background < _SMALLEST_SCALE:
            return np.full(similarity.shape, 0.5)
        share = (similarity - self.background) / (self.own - self.background)
        probability: Float64[np.ndarray, " question"] = expit(_SLOPE * (share - _THRESHOLD))
        return probability


class LocalJudge:
    """Answers by carrying a rule out, or by similarity; see the module's steps.

    Args:
        embedder: Gives the similarities.
    """

    name = "local"
    is_free = True
    simulates = True

    def __init__(self, embedder: LabelEmbedder) -> None:
        self._embedder = embedder
        self._rules = RuleJudge()
        self._scale = lru_cache(maxsize=_MAX_SCALES)(self._find_scale)

    def fingerprint(self, task: Task) -> str:
        """Of the embedder and the scale, which answer every task alike, and of how rules are carried out."""
        scale = [_THRESHOLD, _SLOPE, _N_PLANTED]
        return fingerprint("judge", self.name, 5, scale, self._embedder.fingerprint, self._rules.fingerprint(task))

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Embed the words that are new, all at once."""
        self._embedder.learn_words([*labels, *texts])

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        """Answer every question, in order; none of a case without words to compare with, unless its label is a rule."""
        return [self._answers(task, case) for case in cases]

    def _answers(self, task: Task, case: Case) -> Answers:
        rule = read_rule(case.label)
        if rule is not None and not any(question.examples for question in case.questions):
            return self._rules.carry_out(rule, task, case)
        return self._simulate(case) if task.wants_activations else self._compare(case)

    def _compare(self, case: Case) -> Answers:
        if not any(map(words_of, case.background)):
            reason = "the pool has no text of the explain split, so there is nothing to compare similarities with"
            return Answers([Answer(verdict=None, unanswered=reason, retry=False)] * len(case.questions))
        alike: defaultdict[tuple[str, bool], list[int]] = defaultdict(list)
        for place, question in enumerate(case.questions):
            label = words_under_marks(question.examples) if question.examples else case.label
            alike[label, bool(question.marked)].append(place)
        probabilities = np.empty(len(case.questions))
        for (label, is_marked), places in alike.items():
            similarity = self._similarities(label, [case.questions[place] for place in places])
            probabilities[places] = self._scale(label, case.background, is_marked).probability(similarity)
        answers = [Answer(verdict=bool(p > 0.5), probability=float(p)) for p in probabilities]
        if not case.texts:
            return Answers(answers)
        # Apart from the questions: the same texts under every label, which the embedder then cuts once.
        similarity = self._embedder.similarity(case.label, case.texts).astype(np.float64)
        of_texts = self._scale(case.label, case.background, False).probability(similarity)
        return Answers(answers, texts=of_texts > 0.5, text_probabilities=of_texts)

    def _find_scale(self, label: str, background: tuple[str, ...], is_marked: bool) -> Scale:
        own = label_words(label)
        if is_marked:
            texts: tuple[str, ...] = _distinct_words(background)
        else:
            texts = background
            own = [f"{text} {own[place % len(own)]}" for place, text in enumerate(background[:_N_PLANTED])]
        means = [float(self._embedder.similarity(label, of).mean(dtype=np.float64)) for of in (texts, own)]
        return Scale(*means)

    def _simulate(self, case: Case) -> Answers:
        words = [token_words(question.context) for question in case.questions]
        distinct = sorted({word for of_context in words for word in of_context})
        similarity = self._embedder.similarity(case.label, distinct).astype(np.float64)
        activation = MOST_ACTIVATION * np.clip(similarity, 0.0, 1.0) ** _SHARPENING
        told = dict(zip(distinct, np.round(activation, 3).tolist(), strict=True))
        return Answers(
            [Answer(verdict=None, activations=tuple(told[word] for word in of_context)) for of_context in words]
        )

    def _similarities(self, label: str, questions: Sequence[Question]) -> Float64[np.ndarray, " question"]:
        texts = [marked_texts(q.context, q.marked) if q.marked else (q.context.text,) for q in questions]
        similarity = self._embedder.similarity(label, [text for of_one in texts for text in of_one])
        if len(similarity) == len(texts):
            return similarity.astype(np.float64)
        ends = np.cumsum([len(of_one) for of_one in texts])[:-1]
        return np.array([part.mean(dtype=np.float64) for part in np.split(similarity, ends)], dtype=np.float64)


# A label and the shuffled one beside it are asked about the same contexts.
@lru_cache(maxsize=1024)
def token_words(context: Context) -> tuple[str, ...]:
    """For each token the word that it is part of, a punctuation mark, or nothing where it is white space."""
    text = "".join(context.tokens)
    ends = list(accumulate(len(token) for token in context.tokens))
    starts = [end - len(token) for end, token in zip(ends, context.tokens, strict=True)]
    return tuple(text[slice(*_widened(text, *span))] for span in zip(starts, ends, strict=True))


def words_under_marks(examples: Sequence[Context]) -> str:
    """What examples have marked, as a label: a list of the words on which the feature fires in them."""
    return "\n".join(text for context in examples for text in marked_texts(context, active_offsets(context)))


@lru_cache(maxsize=8)
def _distinct_words(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({word for text in texts for word in words_of(text)}))


# A label and the shuffled one beside it are asked about the same marks.
@lru_cache(maxsize=1024)
def marked_texts(context: Context, marked: tuple[int, ...]) -> tuple[str, ...]:
    """The text of each run of marked tokens, widened to whole words.

    Args:
        context: The context.
        marked: Offsets of the marked tokens, at least one.

    Returns:
        One text a run, in order; runs in one word, or in words that touch, make one.
    """
    text = "".join(context.tokens)
    ends = np.cumsum([len(token) for token in context.tokens])
    spans: list[list[int]] = []
    for offset in sorted(shown_offsets(context, marked)):
        start, end = _widened(text, int(ends[offset]) - len(context.tokens[offset]), int(ends[offset]))
        if spans and not text[spans[-1][1] : start].strip():
            spans[-1][1] = max(end, spans[-1][1])
        else:
            spans.append([start, end])
    return tuple(text[start:end] for start, end in spans)


def _widened(text: str, start: int, end: int) -> tuple[int, int]:
    """A piece of a text without the space before it, widened to whole words."""
    while start < end and text[start].isspace():
        start += 1
    while start > 0 and start < len(text) and text[start - 1].isalnum() and text[start].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum() and text[end - 1].isalnum():
        end += 1
    return start, end
