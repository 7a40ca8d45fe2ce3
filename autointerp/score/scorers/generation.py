"""Generation: does the feature fire on texts that the label describes, and not on texts like them that it doesn't?

1. Texts for and against the label: where a language model judges, it writes them, given nothing but the label
   (`writers.llm`); where not, words of the label are put into held-out silent text, and other words instead
   (`writers.local`).
2. The subject reads every text, framed as the corpus's blocks are, and the coder says what the feature does on it. No
   judge is asked: the subject's answer is yes where the feature fires on some token, and its probability the largest
   activation, as a share of the largest of the feature's contexts.
3. The headline is the AUROC of that: the probability that the feature is stronger on a text that the label describes
   than on one that it doesn't. A feature that fires a little nearly everywhere, and strongly on what is meant, gets its
   due; at `> 0` alone it would not. Balanced accuracy at `> 0` is made of the detail's sensitivity and specificity.

The other scorers ask whether a label follows from what the feature does; this one asks whether what the feature does
follows from the label, and so sees a label that is too broad: texts that it describes leave the feature silent. After
Huang et al. 2023 (2309.10312) and FADE (Puri et al. 2025, 2502.16994).
"""

import asyncio
import math
from collections.abc import Sequence

from autointerp.contexts.windows import make_context
from autointerp.errors import SubjectError
from autointerp.identity import fingerprint
from autointerp.live.subject import LiveSubject
from autointerp.records import Context, Explanation, Usage
from autointerp.records.live import TokenActivations
from autointerp.score import metrics
from autointerp.score.base import BaseScorer
from autointerp.score.detail import Detail, add_confusion
from autointerp.score.judge import Answer, Answers, Case, Question, Task
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import Answered, Posed, ScoreContexts, Undefined, shuffled
from autointerp.score.writers.llm import LlmWriter
from autointerp.score.writers.local import LocalWriter
from autointerp.score.writers.writer import FEWEST_TEXTS, MadeText, Writer, Written

GENERATION = Task("generation", "generate_examples")


class SubjectJudge:
    """A `Judge` that answers by what the subject did on a text, which stands in the context.

    Args:
        made_by: Fingerprint of what made the texts.
        is_free: Whether that costs nothing.
    """

    name = "subject"

    def __init__(self, made_by: str, *, is_free: bool) -> None:
        self._made_by = made_by
        self.is_free = is_free

    def fingerprint(self, task: Task) -> str:
        """Of what made the texts; the subject is in the fingerprint of the contexts."""
        return fingerprint("subject judge", 1, self._made_by)

    def prepare(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Nothing is to be done before."""

    async def answer(self, task: Task, cases: Sequence[Case]) -> list[Answers]:
        """Yes where the feature fired; the largest activation as a share of the largest of the question's examples."""
        return [Answers([_answer(question) for question in case.questions]) for case in cases]


def _answer(question: Question) -> Answer:
    largest = max(example.max_activation for example in question.examples)
    return Answer(question.context.is_active, probability=min(1.0, question.context.max_activation / largest))


class GenerationScorer(BaseScorer):
    """Grades by what the feature does on texts made from the label; see the module's steps."""

    name = "generation"
    task = GENERATION
    metric = "AUROC"
    interval = "Newcombe's score interval on Hanley and McNeil's variance, at effective numbers of trials"
    classes = ("texts for the label", "texts against it")
    needs_silence = False
    asks_subject = True
    n_together = 16

    def __init__(self, tools: ScoreTools) -> None:
        self._subject = tools.subject
        self._ready: dict[str, tuple[Posed, ...] | Undefined] = {}
        asked, n_texts = tools.judging_model, tools.config.n_generated
        self._writer: Writer = (
            LocalWriter(n_texts) if asked is None else LlmWriter(asked.connect(), asked.config, n_texts)
        )
        super().__init__(tools)

    def make_judge(self, tools: ScoreTools) -> SubjectJudge:
        """The subject."""
        return SubjectJudge(self._writer.fingerprint(), is_free=self._writer.is_free)

    async def make_ready(self, jobs: Sequence[tuple[Explanation, ScoreContexts]]) -> None:
        """Have the texts written, and run the subject on them.

        Raises:
            LanguageModelError: If no further call can succeed: the run stops.
        """
        subject = await asyncio.to_thread(self._subject)
        writing = (self._writer.write(explanation, contexts, self._key(explanation)) for explanation, contexts in jobs)
        written: list[Written | Undefined] = []
        # Where one call ends the run, the others in flight are waited for: they are paid for.
        for outcome in await asyncio.gather(*writing, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            written.append(outcome)
        self._ready |= await asyncio.to_thread(self._run, subject, jobs, written)

    def _run(
        self,
        subject: LiveSubject,
        jobs: Sequence[tuple[Explanation, ScoreContexts]],
        written: Sequence[Written | Undefined],
    ) -> dict[str, tuple[Posed, ...] | Undefined]:
        """The questions of each label, with what the subject did on their texts, beside a firing context for scale."""
        explanations = [explanation for explanation, _ in jobs]
        strongest = [
            max(contexts.feature.of("explain", active=True), key=lambda context: context.max_activation)
            for _, contexts in jobs
        ]
        read: list[tuple[int, MadeText, tuple[int, ...]]] = []
        for number, of_label in enumerate(written):
            if not isinstance(of_label, Undefined):
                read += [
                    (number, made, token_ids)
                    for made in of_label.texts
                    if (token_ids := _read(subject, made.text)) is not None
                ]
        done: dict[int, list[Posed]] = {}
        for source_id in sorted({explanation.source_id for explanation in explanations}):
            asked = [one for one in read if explanations[one[0]].source_id == source_id]
            features = [explanations[number].feature_index for number, _, _ in asked]
            found = subject.activations(source_id, [token_ids for _, _, token_ids in asked], features)
            for (number, made, _), said in zip(asked, found, strict=True):
                if all(map(math.isfinite, said.activations)):
                    of_label_posed = done.setdefault(number, [])
                    context = _context(explanations[number], made, said, place=len(of_label_posed))
                    of_label_posed.append(Posed(Question(context, examples=(strongest[number],)), made.fits))
        return {
            explanation.explanation_id: of_label
            if isinstance(of_label, Undefined)
            else _enough(done.get(number, []), of_label.usage)
            for number, (explanation, of_label) in enumerate(zip(explanations, written, strict=True))
        }

    def pose(self, explanation: Explanation, contexts: ScoreContexts, key: int) -> tuple[Posed, ...] | Undefined:
        """The texts that `make_ready` has made and run."""
        ready = self._ready.pop(explanation.explanation_id)
        return ready if isinstance(ready, Undefined) else shuffled(ready, key)

    def measure(
        self, of: Answered, posed: Sequence[Posed], contexts: ScoreContexts, key: int
    ) -> tuple[metrics.Estimate, Detail]:
        """AUROC of the largest activation, and how often the feature fired at all."""
        assert of.probability is not None, "the subject says how strong the feature is"
        headline = metrics.auroc(of.truth, of.probability, of.cluster)
        assert headline is not None, "both classes have texts"
        detail = Detail()
        detail.add_note("writer", self._writer.name)
        add_confusion(detail, of)
        detail.add("n_left_out", 2 * self.config.n_generated - len(posed))
        for name, truth in (("positive", True), ("negative", False)):
            share = float(of.probability[of.truth == truth].mean())
            detail.add(f"mean_strength_{name}", share)
        return headline, detail


def _read(subject: LiveSubject, text: str) -> tuple[int, ...] | None:
    """A text's tokens; None where the subject can't read it."""
    try:
        return subject.read_text(text)
    except SubjectError:
        return None


def _enough(posed: Sequence[Posed], usage: Usage) -> tuple[Posed, ...] | Undefined:
    for truth, sort in ((True, "for"), (False, "against")):
        n = sum(p.truth == truth for p in posed)
        if n < FEWEST_TEXTS:
            return Undefined(
                "TooFewTexts",
                f"there are {n} texts {sort} the label that the subject could be run on, and {FEWEST_TEXTS} are needed",
                retry=usage.n_calls > 0,
                usage=usage,
            )
    return tuple(posed)


def _context(explanation: Explanation, made: MadeText, said: TokenActivations, place: int) -> Context:
    return make_context(
        said.token_ids,
        said.activations,
        source_id=explanation.source_id,
        feature_index=explanation.feature_index,
        kind="generated",
        split="score",
        quantile=None,
        document_id=made.document_id,
        group_id=made.group_id,
        block_index=-1,
        start=place,
        tokens=said.tokens,
    )
