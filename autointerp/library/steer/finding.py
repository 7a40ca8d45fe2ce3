"""Candidates that could steer at all: found in three ways, dosed, and dropped where they bring about nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autointerp.errors import SearchError
from autointerp.library.feature import FeatureGroup
from autointerp.library.steer.bench import Bench
from autointerp.library.steer.candidates import Candidate, by_contrast, by_output, gather, pairs_of
from autointerp.library.steer.output_score import OutputScore, output_scores
from autointerp.library.steer.receipt import Dropped
from autointerp.records.dose import Dose


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a specification.

    Attributes:
        candidates: All, by index.
        doses: Of each; found on few tokens, but for those that are tried at every dose.
        scores: Output score of each that has a dose.
        gains: By how many nats each of these makes the word that it helps most likelier; 0 where there is no word.
        able: Those that can steer at all, those that make words likeliest first.
        dropped: The others, with why.
    """

    candidates: dict[int, Candidate]
    doses: dict[int, Dose]
    scores: dict[int, OutputScore]
    gains: dict[int, float]
    able: tuple[int, ...]
    dropped: tuple[Dropped, ...]

    def dosed(self, doses: Sequence[Dose]) -> "Found":
        """With other doses of some candidates."""
        return replace(self, doses=self.doses | {dose.feature_index: dose for dose in doses})

    def drop(self, index: int, why: str) -> Dropped:
        """A candidate as it is told that it is dropped."""
        of, score = self.candidates[index], self.scores.get(index)
        return Dropped(of.feature.id, of.feature.label, of.found_by, None if score is None else score.score, why)


def find(bench: Bench) -> Found:
    """Find candidates, and see which bring about what they point to.

    Raises:
        SubjectError: If the source's features can't be edited, or don't reach the logits.
    """
    candidates = {of.index: of for of in _candidates(bench)}
    rough = bench.run.doses(list(candidates), bench.source_id, roughly=True) if candidates else []
    doses = {of.feature_index: of for of in rough}
    dosed = {index: unit for index, of in doses.items() if (unit := of.unit) is not None}
    scores = output_scores(bench.lens, bench.head, dosed)
    gains = dict.fromkeys(dosed, 0.0)
    if bench.pushing.tokens:
        gains = {index: float(of_words.max()) for index, of_words in bench.pushing.gains(dosed).items()}
    found = Found(candidates, doses, scores, gains, (), ())
    able, dropped = [], []
    for index in candidates:
        least, score = bench.settings.least_output_score, scores.get(index)
        if score is None:
            dropped.append(found.drop(index, f"it has no dose: {doses[index].why}"))
        elif gains[index] < bench.settings.least_word_gain and score.gain < least:
            dropped.append(
                found.drop(index, f"it makes what it points to likelier by {score.gain:.4f}, below {least:g}")
            )
        else:
            able.append(index)
    able.sort(key=lambda index: (-gains[index], -scores[index].score))
    return replace(found, able=tuple(able), dropped=tuple(dropped))


def _candidates(bench: Bench) -> list[Candidate]:
    settings, source_id = bench.settings, bench.source_id
    try:
        labels = bench.features.search(bench.specification, settings.n_of_each, source=source_id)
    except SearchError:  # no feature has a label yet
        labels = FeatureGroup()
    output = bench.pushing.strongest(settings.n_of_each, settings.least_word_gain)
    for index, facets in by_output(bench.lens, bench.concept.facets, settings.n_of_each).items():
        output.setdefault(index, facets)
    return gather(labels, _by_contrast(bench), output, bench.lookup, settings.n_candidates)


def _by_contrast(bench: Bench) -> FeatureGroup:
    settings, is_paired = bench.settings, bench.examples is None
    if bench.examples is None:
        sets: Sequence[Sequence[str]] = pairs_of(bench.specification, bench.choose[: settings.n_pairs])
    else:
        sets = bench.examples
    is_chat = is_paired and bench.prompts.is_chat
    first, second = ([[{"role": "user", "content": text}] if is_chat else text for text in of] for of in sets)
    contrast = bench.features.contrast(
        first,
        second,
        settings.n_of_each,
        paired=is_paired,
        source=bench.source_id,
        aggregate_by="max",
        seed=settings.seed,
    )
    return by_contrast(contrast)
