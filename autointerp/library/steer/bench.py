"""What all steps of a steering need: the subject, the specification, the prompts, and who asks."""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from autointerp.embedder import Embedder
from autointerp.errors import SubjectError
from autointerp.library.feature import FeatureGroup
from autointerp.library.steer.answers import Answers, Arm, Asker
from autointerp.library.steer.lens import Lens
from autointerp.library.steer.material import halves, shipped_instructions
from autointerp.library.steer.measures import Concept
from autointerp.library.steer.prompts import Prompts, with_request
from autointerp.library.steer.pushing import Pushing
from autointerp.library.steer.question_set import QuestionAsker
from autointerp.library.steer.settings import Settings
from autointerp.live.next_token import find_head
from autointerp.records.live import SourceEdits
from autointerp.subject.limits import window_of

if TYPE_CHECKING:
    from autointerp.library.backend import LocalBackend
    from autointerp.library.features import Features

Examples = tuple[Sequence[str], Sequence[str]]


class Bench:
    """Where one specification is steered to.

    Attributes:
        features: Finds features.
        run: That the source is of.
        source_id: The source.
        specification: In words.
        examples: Texts with it and without it, if they say what is meant.
        settings: How features are chosen and measured.
        concept: What answers are scored by.
        live: The subject.
        head: Its head.
        prompts: Puts texts to it.
        lens: Of the source.
        pushing: What its features do to the words of the specification.
        questions: Asks the shipped questions.
        choose: Prompts by which is chosen.
        report: Prompts that are reported.

    Raises:
        SearchError: If the specification has no word.
        SubjectError: If the subject has no language-model head, or no instruction and its answer fit into its window.
    """

    def __init__(
        self,
        features: "Features",
        run: "LocalBackend",
        source_id: str,
        specification: str,
        examples: Examples | None,
        settings: Settings,
    ) -> None:
        self.features, self.run, self.source_id = features, run, source_id
        self.specification, self.examples, self.settings = specification, examples, settings
        self.embedder = run.embedder
        is_known = lru_cache(maxsize=65_536)(self.embedder.has_word) if isinstance(self.embedder, Embedder) else bool
        # What is wrong of the words is told before the model is loaded.
        self.concept = Concept(specification, self.embedder, examples, is_known)
        self._record = next(of for of in run.sources() if of.source_id == source_id)
        self.live = run.live.of_source(self._record)
        self.head = find_head(self.live.sources.subject)
        self.prompts = Prompts(self.live)
        self.lens = Lens(self.live, source_id)
        self.pushing = Pushing(self.lens, self.head, self.concept.facets)
        self.questions = QuestionAsker(self.live, self.head, self.prompts, settings.seed)
        self._window = window_of(self.live.sources.subject)
        able = [text for text in shipped_instructions() if self._fits(self.prompts.instruction(text))]
        self.choose, self.report = halves(tuple(able[: settings.n_prompts]), settings.seed)
        if not self.choose:
            raise SubjectError(
                f"the model {self.live.sources.subject.name} reads {self._window} tokens at once, too few for an"
                " instruction and its answer",
                "ask for shorter answers, or steer another model",
            )

    @cached_property
    def asker(self) -> Asker:
        """Has the subject answer."""
        generator = self.run.live.generator(self._record)
        return Asker(generator, self.head, self.prompts, self.concept, self.embedder, self.settings.sampling)

    def lookup(self, indices: Sequence[int]) -> FeatureGroup:
        """Features of the source by index."""
        return self.features.lookup(list(indices), self.source_id)

    def arm(self, name: str, instructions: Sequence[str], edits: tuple[SourceEdits, ...] = ()) -> Arm:
        """Instructions answered under the same edits."""
        prompts = tuple(self.prompts.instruction(text) for text in instructions)
        return Arm(name, prompts, (edits,) * len(prompts))

    def varied(self, name: str, instructions: Sequence[str], edits: Sequence[tuple[SourceEdits, ...]]) -> Arm:
        """Instructions answered each under edits of its own."""
        return Arm(name, tuple(self.prompts.instruction(text) for text in instructions), tuple(edits))

    def asked_for(self, name: str, instructions: Sequence[str]) -> Arm | None:
        """Instructions that ask for it in words, without edits; None where one and its answer don't fit."""
        arm = self.arm(name, [with_request(text, self.specification) for text in instructions])
        return arm if all(map(self._fits, arm.prompts)) else None

    def _fits(self, prompt: Sequence[int]) -> bool:
        return self._window is None or len(prompt) + self.settings.sampling.max_tokens <= self._window

    @cached_property
    def plain(self) -> Answers:
        """Plain answers to the prompts by which is chosen."""
        (answers,) = self.asker.ask(self.choose, [self.arm("plain", self.choose)])
        return answers
