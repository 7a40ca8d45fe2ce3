"""What is compared: whose labels and whose scores, of which run; and what two such sides have not in common."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from autointerp.errors import CompareError
from autointerp.records import SourceRecord
from autointerp.store.compared import ComparedStore, LabelSet, ScoredFeature, ScoreSet
from autointerp.store.known import check_name, shown
from autointerp.store.reader import Reader

_FEATURES_PER_READ = 2000
_LEAST_PREFIX = 4
_SHOWN_PREFIX = 8
_Set = TypeVar("_Set", LabelSet, ScoreSet)


@dataclass(frozen=True, slots=True)
class Side:
    """One of two that are compared.

    Attributes:
        run: The run's folder, as it was named.
        labels: Its set of labels.
        scores: Its sets of scores, one a scorer.
        sources: The run's sources, by id.
        contexts: Fingerprint of the run's contexts; None in a store that no run has written.
    """

    run: str
    labels: LabelSet
    scores: tuple[ScoreSet, ...]
    sources: dict[str, SourceRecord]
    contexts: str | None

    @property
    def name(self) -> str:
        """The run and its explainer, with the model where there is one."""
        model = "" if self.labels.model == "local" else f", {self.labels.model}"
        return f"{self.run} ({self.labels.explainer}{model})"

    def scored_by(self, scorer: str) -> ScoreSet:
        """Its scores by one of its scorers."""
        return next(of for of in self.scores if of.scorer == scorer)

    def features(self, source_id: str, first: int, last: int) -> list[ScoredFeature]:
        """Its scored features of a source, from a first to a last one."""
        return ComparedStore(self.run).scored_features(self.labels, self.scores, source_id, first, last)


def choose_sides(
    first: str | Path,
    second: str | Path | None,
    explainer: str | Sequence[str | None],
    judge: str | Sequence[str | None],
) -> tuple[Side, Side]:
    """The two sides that a caller names; see `compare_runs`.

    Raises:
        CompareError: If there are no such labels or scores, several kinds, or the two are the same.
    """
    explainers, judges = _named("explainers", explainer), _named("judges", judge)
    is_one_name = len(explainers) == len(judges) == 1 and (explainers[0] is None) != (judges[0] is None)
    if second is None and is_one_name:
        # Of one run and one name: what counts now against what is named.
        explainers, judges = [None, *explainers], [None, *judges]
    of_first, of_second = (
        _side(folder, explainers[place % len(explainers)], judges[place % len(judges)])
        for place, folder in enumerate((first, first if second is None else second))
    )
    if (of_first.labels, of_first.scores) == (of_second.labels, of_second.scores) and _same(first, second):
        raise CompareError(
            f"both sides are {of_first.name}",
            "name another run, two explainers (--explainer A --explainer B), or two judges (--judge A --judge B);"
            f" there are {_told(ComparedStore(first).label_sets(), _told_labels)}",
        )
    return of_first, of_second


def common_scorers(first: Side, second: Side, wanted: Sequence[str] | None) -> list[str]:
    """The scorers that have scored both sides: those that are wanted, or all.

    Raises:
        CompareError: If there is none, or not one of those that are wanted.
    """
    names = sorted({of.scorer for of in first.scores} & {of.scorer for of in second.scores})
    if not names:
        told = (f"{side.name}: {', '.join(of.scorer for of in side.scores) or 'none'}" for side in (first, second))
        raise CompareError(f"no scorer has scored both ({'; '.join(told)})", "score both by the same scorers")
    for name in wanted or ():
        check_name(name, names, "scorer of both", CompareError)
    return [name for name in names if wanted is None or name in wanted]


def each_read(first: Side, second: Side) -> Iterator[tuple[str, list[ScoredFeature], list[ScoredFeature]]]:
    """Each source and some thousand features at a time of either side."""
    for source in sorted(set(first.sources) | set(second.sources)):
        n_features = max(side.sources[source].n_features for side in (first, second) if source in side.sources)
        for start in range(0, n_features, _FEATURES_PER_READ):
            last = start + _FEATURES_PER_READ - 1
            yield source, first.features(source, start, last), second.features(source, start, last)


def what_differs(first: Side, second: Side) -> tuple[str, ...]:
    """What differs between two sides, in words: labels, judges, and what they were made from."""
    found = []
    one, other = first.labels, second.labels
    for what, of_one, of_other in (
        ("explainer", one.explainer, other.explainer),
        ("explainer's model", one.model, other.model),
        ("prompt", (one.prompt_sha256 or "none")[:_SHOWN_PREFIX], (other.prompt_sha256 or "none")[:_SHOWN_PREFIX]),
    ):
        if of_one != of_other:
            found.append(f"{what}: {of_one} and {of_other}")
    if one.fingerprint != other.fingerprint and not found and first.contexts == second.contexts:
        found.append(f"labels: {one.fingerprint[:_SHOWN_PREFIX]} and {other.fingerprint[:_SHOWN_PREFIX]}")
    for of in first.scores:
        against = next((score for score in second.scores if score.scorer == of.scorer), None)
        if against is not None and against.judge != of.judge:
            found.append(f"judge of {of.scorer}: {of.judge} and {against.judge}")
        elif against is not None and against.fingerprint != of.fingerprint and first.contexts == second.contexts:
            found.append(f"settings of {of.scorer}: {of.fingerprint[:8]} and {against.fingerprint[:8]}")
    if first.contexts != second.contexts:
        found.append("contexts: each run has its own")
    for source in sorted(set(first.sources) & set(second.sources)):
        for what in ("corpus", "model", "hook", "coder"):
            of_one, of_other = (getattr(side.sources[source], what) for side in (first, second))
            if of_one != of_other:
                found.append(f"{what} of {source}: {of_one} and {of_other}")
    return tuple(found)


def what_to_know(first: Side, second: Side) -> tuple[str, ...]:
    """What of a difference would not be of what one means to compare."""
    found = []
    both = sorted(set(first.sources) & set(second.sources))
    if not both:
        found.append(
            f"no source is in both ({', '.join(first.sources)}; {', '.join(second.sources)}): two samples of other"
            " features are compared, not pairs"
        )
    if not all(has_same_text(first, second, source) for source in both):
        found.append("the texts are not the same: features are paired, their trials are not")
    elif both and first.contexts != second.contexts:
        found.append("the runs have other settings up to the contexts: trials are paired where they are the same")
    if any(_coder(first.sources[source]) != _coder(second.sources[source]) for source in both):
        found.append("one name, and coders of other origins: see that a feature of one is that of the other")
    scored = {of.scorer: of.judge for of in first.scores}
    is_other_judge = any(scored.get(of.scorer, of.judge) != of.judge for of in second.scores)
    if is_other_judge and first.labels.fingerprint != second.labels.fingerprint:
        found.append("labels and judges both differ: a difference may be of either")
    return tuple(found)


def has_same_text(first: Side, second: Side, source_id: str) -> bool:
    """Whether both have a source, and have collected it over the same text."""
    one, other = first.sources.get(source_id), second.sources.get(source_id)
    return one is not None and other is not None and one.corpus == other.corpus


def _coder(source: SourceRecord) -> tuple[str, str, str, int]:
    return source.model, source.hook, source.coder, source.n_features


def _same(first: str | Path, second: str | Path | None) -> bool:
    return second is None or ComparedStore(first).path.resolve() == ComparedStore(second).path.resolve()


def _named(what: str, names: str | Sequence[str | None]) -> list[str | None]:
    """One name or two; None for whatever counts now."""
    given: list[str | None] = [names] if isinstance(names, str) else list(names)
    if len(given) > 2:
        raise CompareError(f"{len(given)} {what} are named", "name one of both sides, or two, the first side's first")
    return given or [None]


def _side(folder: str | Path, explainer: str | None, judge: str | None) -> Side:
    reader, store = Reader(folder), ComparedStore(folder)
    with reader.session():
        sources = {source.source_id: source for source in reader.sources()}
        contexts = next((stage.fingerprint for stage in reader.stages() if stage.stage == "contexts"), None)
    with store.session():
        labels = _label_set(store.label_sets(), explainer, str(folder))
        scores = _score_sets(store.score_sets(labels), judge, str(folder), labels)
    return Side(str(folder), labels, scores, sources, contexts)


def _label_set(sets: Sequence[LabelSet], wanted: str | None, run: str) -> LabelSet:
    if wanted is None:
        found = [of for of in sets if of.is_current and not of.is_baseline]
    else:
        found = [of for of in sets if wanted in (of.explainer, of.model) or _begins(of.fingerprint, wanted)]
        found = [of for of in found if of.is_current] or found
    if len(found) == 1:
        return found[0]
    known = f"{run} holds {_told(sets, _told_labels)}" if sets else f"run `autointerp explain` for {run}"
    if not found:
        what = "no label" if wanted is None else f"no label by {shown(wanted)}"
        raise CompareError(f"there is {what} in {run}", known)
    of_whom = "current labels" if wanted is None else f"labels by {shown(wanted)}"
    raise CompareError(
        f"{run} holds several sets of {of_whom}: {_told(found, _told_labels)}",
        "name one by the beginning of its fingerprint",
    )


def _score_sets(sets: Sequence[ScoreSet], judge: str | None, run: str, labels: LabelSet) -> tuple[ScoreSet, ...]:
    """One set of scores a scorer: the current one, or that of the judge that is named."""
    named = [of for of in sets if judge is None or of.judge == judge or _begins(of.fingerprint, judge)]
    if judge is not None and not named:
        raise CompareError(
            f"there is no score of the labels by {labels.explainer} by the judge {shown(judge)} in {run}",
            f"it holds {_told(sets, _told_scores) or 'none: run `autointerp score`'}",
        )
    chosen = []
    for scorer in sorted({of.scorer for of in named}):
        found = [of for of in named if of.scorer == scorer]
        found = [of for of in found if of.is_current] or found
        if len(found) > 1:
            raise CompareError(
                f"{run} holds several sets of scores by {scorer}: {_told(found, _told_scores)}",
                "name one by the beginning of its fingerprint (--judge)",
            )
        chosen += found
    return tuple(chosen)


def _begins(fingerprint: str, wanted: str) -> bool:
    return len(wanted) >= _LEAST_PREFIX and fingerprint.startswith(wanted)


def _told(sets: Sequence[_Set], told: Callable[[_Set], str]) -> str:
    return ", ".join(map(told, sets))


def _told_labels(of: LabelSet) -> str:
    model = "" if of.model == "local" else f" ({of.model})"
    return f"{of.explainer}{model} {of.fingerprint[:_SHOWN_PREFIX]}{'' if of.is_current else ', of earlier settings'}"


def _told_scores(of: ScoreSet) -> str:
    earlier = "" if of.is_current else ", of earlier settings"
    return f"{of.scorer} by {of.judge} {of.fingerprint[:_SHOWN_PREFIX]}{earlier}"
