"""AutoSteer: features and a dose for a specification, with a receipt; or that no feature here steers this.

1. Candidates are found in three ways (`candidates`), dosed, and dropped where their output score is low (`finding`).
2. The prompts are halved. On the first half those left are tried at a dose of 1, the best few at every dose, alone and
   together, and the best within the limits is chosen (`sweep`).
3. On the other half it is held against plain answers and the controls, and on a question set (`reporting`). It steers
   where all tests are passed (`choice`); else it is declined, with the reasons.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autointerp.errors import SearchError
from autointerp.identity import feature_id
from autointerp.library.feature_edits import FeatureEdit, FeatureEdits
from autointerp.library.steer.bench import Bench, Examples
from autointerp.library.steer.finding import Found, find
from autointerp.library.steer.material import shipped_questions
from autointerp.library.steer.receipt import Cost, Kept, Receipt
from autointerp.library.steer.reporting import Reported, report
from autointerp.library.steer.settings import Settings, Try
from autointerp.library.steer.sweep import Swept, sweep
from autointerp.library.variant import Variant
from autointerp.store.known import shown

if TYPE_CHECKING:
    from autointerp.library.backend import LocalBackend
    from autointerp.library.features import Features

Tell = Callable[[str], None]
_FEWEST_PROMPTS = 12


@dataclass(frozen=True, slots=True, repr=False)
class Steering:
    """What a specification came to. Printed, it is its receipt.

    Attributes:
        receipt: What was tried, and what it is worth.
        edits: Of the features, in doses, for `variant.set`; none where no feature steers this.
    """

    receipt: Receipt
    edits: FeatureEdits

    @property
    def steers(self) -> bool:
        """Whether features steer this."""
        return self.receipt.steers

    @property
    def variant(self) -> Variant:
        """A variant of the model with these edits."""
        return Variant(self.receipt.source_id).set(self.edits)

    def __repr__(self) -> str:
        return repr(self.receipt)

    def _repr_html_(self) -> str:
        return self.receipt._repr_html_()


def auto_steer(
    features: "Features",
    run: "LocalBackend",
    source_id: str,
    specification: str,
    examples: Examples | None = None,
    settings: Settings | None = None,
    tell: Tell | None = None,
) -> Steering:
    """Find features that steer to a specification, and measure what they do and cost; see the module's steps.

    Args:
        features: Finds features.
        run: That the source is of.
        source_id: The source.
        specification: In words.
        examples: Texts with it and without it; they say what is meant where they are given.
        settings: How features are chosen and measured.
        tell: Told of each step.

    Raises:
        SearchError: If the specification has no word, a set of examples is empty, or there are too few prompts.
        SubjectError: If the subject has no language-model head, or the source's features can't be edited.
        GenerationError: If it can't answer.
    """
    settings, tell = settings or Settings(), tell or (lambda _: None)
    check_asked(specification, examples, settings)
    began = time.monotonic()
    bench = Bench(features, run, source_id, specification, examples, settings)
    tell("finding candidates")
    found = find(bench)
    swept = reported = None
    if found.able:
        tell(f"trying {len(found.able)} of {len(found.candidates)} candidates")
        swept = sweep(bench, found)
        found = swept.found
        if swept.chosen is not None:
            tell("reporting what was chosen")
            reported = report(bench, swept.chosen)
    receipt = _receipt(bench, found, swept, reported, time.monotonic() - began)
    kept = swept.chosen if swept is not None and receipt.steers else None
    strengths = {} if kept is None else kept.strengths
    edits = FeatureEdits(
        FeatureEdit(source_id, index, strength, label=found.candidates[index].feature.label)
        for index, strength in strengths.items()
    )
    return Steering(receipt, edits)


def _are_examples(given: Any) -> bool:
    return isinstance(given, Sequence) and len(given) == 2 and all(map(_are_texts, given))


def _are_texts(given: Any) -> bool:
    return (
        isinstance(given, Sequence)
        and not isinstance(given, str | bytes)
        and all(isinstance(text, str) for text in given)
    )


def check_asked(specification: object, examples: Examples | None, settings: Settings) -> None:
    """See that it makes sense.

    Raises:
        SearchError: If it does not.
    """
    if not isinstance(specification, str) or not specification.strip():
        raise SearchError("nothing is said to steer towards", "say it in words: AutoSteer('talk about the sea')")
    if not (examples is None or _are_examples(examples)):
        raise SearchError(f"{shown(examples)} are no two sets of examples", "give (texts with it, texts without)")
    if examples is not None and not all(examples):
        raise SearchError("one of the two sets of examples is empty", "give texts with it, and texts without")
    if settings.n_prompts < _FEWEST_PROMPTS:
        raise SearchError(f"{settings.n_prompts} prompts tell nothing", f"take {_FEWEST_PROMPTS} or more")


def _receipt(bench: Bench, found: Found, swept: Swept | None, reported: Reported | None, seconds: float) -> Receipt:
    settings, spent = bench.settings, bench.asker.spent
    reasons: tuple[str, ...] = ()
    if swept is None:
        reasons = (_why_none_able(found),)
    elif reported is None:
        reasons = swept.reasons
    else:
        reasons = reported.verdict.reasons
    prompts = json.dumps([bench.choose, bench.report], ensure_ascii=False)
    return Receipt(
        specification=bench.specification,
        source_id=bench.source_id,
        steers=not reasons,
        reasons=reasons,
        kept=() if swept is None or swept.chosen is None else _kept(found, swept.chosen),
        dropped=(*found.dropped, *(() if swept is None else swept.dropped)),
        tried=() if swept is None else swept.tried,
        plain_concept=None if swept is None else float(bench.plain.concept.mean()),
        arms=() if reported is None else reported.arms,
        verdict=None if reported is None else reported.verdict,
        questions=None if reported is None else reported.questions,
        n_choose=len(bench.choose),
        n_report=len(bench.report),
        settings=settings,
        prompts_digest=hashlib.sha256(prompts.encode()).hexdigest(),
        questions_digest=shipped_questions().digest,
        cost=Cost(
            n_generated=spent.n_generated,
            n_read=spent.n_read + bench.questions.n_read,
            n_answers=spent.n_answers,
            n_known=spent.n_known,
            n_questions=bench.questions.n_asked,
            seconds=seconds,
        ),
    )


def _why_none_able(found: Found) -> str:
    if not found.candidates:
        return "no label is about it, no feature fires for it, and none points to a word of it"
    return f"none of {len(found.candidates)} candidates brings about what it points to"


def _kept(found: Found, chosen: Try) -> tuple[Kept, ...]:
    kept = []
    for index, strength in chosen.strengths.items():
        candidate, dose, score = found.candidates[index], found.doses[index], found.scores[index]
        of_max = dose.of_max_activation
        kept.append(
            Kept(
                feature=feature_id(candidate.feature.source_id, index),
                label=candidate.feature.label,
                strength=strength,
                activation=chosen.values[index],
                of_max_activation=None if of_max is None else strength * of_max,
                of_stream_norm=strength * dose.of_stream_norm,
                found_by=candidate.found_by,
                output_score=score.score,
                points_to=score.tokens,
            )
        )
    return tuple(kept)
