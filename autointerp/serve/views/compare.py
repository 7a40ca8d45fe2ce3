"""The page of comparisons: two features, two labels of one feature, or two runs."""

from collections.abc import Iterator, Mapping, Sequence

from autointerp.errors import CompareError, SearchError
from autointerp.identity import feature_id
from autointerp.library.compare import FeatureDifference, RunComparison, ScorerComparison, compare_runs
from autointerp.library.feature import Feature
from autointerp.library.label_difference import compare_labels
from autointerp.library.run import Run
from autointerp.library.trials import LabelTrials, ShownTrial
from autointerp.records import input_tokens
from autointerp.score.same_trials import Compared
from autointerp.serve.serving import Serving
from autointerp.serve.views.compare_shapes import (
    Closeness,
    CompareAsked,
    ComparedFeature,
    CompareView,
    FeatureChange,
    FeaturesCompared,
    LabelsCompared,
    LabelSetLine,
    OwnLabel,
    RunsCompared,
    SaidTwice,
    ScoreDifference,
    ScorerChange,
)
from autointerp.serve.views.runs import named_runs, run_named
from autointerp.serve.views.shown import Chip, feature_line, feature_path, snippet
from autointerp.store.compared import ComparedStore
from autointerp.store.known import shown
from autointerp.store.results import ScoredLabel

_TOKENS = 12
_SNIPPETS = 5
_TRIALS = 40
_FURTHEST = 12
_CHANGES = 20
_PREFIX = 8
_NEIGHBORS = 50


def compare_view(serving: Serving, asked: CompareAsked) -> CompareView:
    """Compare.

    Raises:
        UnknownFeatureError: If there is no such feature.
        UnknownRunError: If there is no such run.
        CompareError: If there is nothing, or more than one thing, to compare.
    """
    view = CompareView(asked=asked, runs=tuple(named_runs(serving)))
    match asked.of:
        case "features" if asked.a is not None and asked.b is not None:
            return view.model_copy(update={"features": _features(serving, asked.a, asked.b)})
        case "labels" if asked.feature is not None:
            return view.model_copy(update={"labels": _labels(serving, asked.feature, asked.label)})
        case "runs":
            update: dict[str, object] = {
                "label_sets": tuple(_label_sets(serving)),
                "explainers": tuple(name or "" for name in _of_sides(asked.explainer)),
            }
            if any(name.strip() for name in (*asked.run, *asked.explainer, *asked.judge)):
                update["compared_runs"] = _runs(serving, asked)
            return view.model_copy(update=update)
        case _:
            return view


# --- two features ---------------------------------------------------------------------------------------------------


def _features(serving: Serving, a: str, b: str) -> FeaturesCompared:
    first, second = (serving.client.features.get(name.strip()) for name in (a, b))
    sides = _compared(serving, first), _compared(serving, second)
    telling = {of.token for of in sides[1].tokens}
    return FeaturesCompared(
        first=sides[0],
        second=sides[1],
        closeness=tuple(_closeness(_run_of(serving, first), first, second)),
        shared_tokens=tuple(of.token for of in sides[0].tokens if of.token in telling),
    )


def _run_of(serving: Serving, feature: Feature) -> Run:
    return next(run for run in serving.client.runs if run.name == feature.run)


def _compared(serving: Serving, feature: Feature) -> ComparedFeature:
    run = _run_of(serving, feature)
    view = run.feature(feature.index, feature.source_id)
    strongest = sorted((c for c in view.contexts if c.is_active), key=lambda c: -c.max_activation)[:_SNIPPETS]
    return ComparedFeature(
        line=feature_line(feature),
        status=view.feature.status,
        n_active=view.feature.n_active,
        mean_activation=view.feature.mean_activation,
        max_activation=view.feature.max_activation,
        labels=tuple(_own_label(of) for of in view.labels if not of.explanation.is_baseline),
        tokens=input_tokens(view.feature)[:_TOKENS],
        top_logits=view.feature.top_logits[:_TOKENS],
        bottom_logits=view.feature.bottom_logits[:_TOKENS],
        snippets=tuple(map(snippet, strongest)),
    )


def _closeness(run: Run, first: Feature, second: Feature) -> Iterator[Closeness]:
    """By each space, where both are of one source: from the neighbors of either, as far as they are known."""
    if first.source_id != second.source_id or first.index == second.index:
        return
    near: dict[str, list[dict[int, float]]] = {}
    with run.reader.session() as reader:
        for space in reader.neighbor_spaces():
            for of in (first, second):
                stored = reader.neighbors(of.index, space, source_id=of.source_id)
                near.setdefault(space, []).append({one.feature_index: one.similarity for one in stored})
    if first.label is not None and second.label is not None:
        try:
            hits = run.neighbors(first.index, top_k=_NEIGHBORS, source_id=first.source_id)
        except SearchError:  # no label is indexed yet
            hits = []
        near = {"label": [{hit.feature_index: hit.relevance for hit in hits}], **near}
    for space, known in near.items():
        found = [of[other.index] for of, other in zip(known, (second, first), strict=False) if other.index in of]
        yield Closeness(space=space, similarity=next(iter(found), None), n_known=max(map(len, known)))


def _own_label(of: ScoredLabel) -> OwnLabel:
    return OwnLabel(
        id=of.explanation.explanation_id,
        label=of.explanation.label,
        explainer=of.explanation.explainer,
        model=of.explanation.model,
        null=of.explanation.explainer if of.explanation.is_baseline else None,
        chips=tuple(
            Chip(scorer=score.scorer, value=score.value, low=score.ci_low, high=score.ci_high) for score in of.scores
        ),
    )


# --- two labels of one feature --------------------------------------------------------------------------------------


def _labels(serving: Serving, name: str, wanted: Sequence[str]) -> LabelsCompared:
    feature = serving.client.features.get(name.strip())
    run = _run_of(serving, feature)
    scored = run.feature(feature.index, feature.source_id).labels
    options = tuple(map(_own_label, scored))
    first, second = _two_labels(feature, options, [of for of in wanted if of.strip()])
    tried = run.trials(feature.index, source_id=feature.source_id) if any(of.scores for of in scored) else ()
    pairs = list(_pairs(tried, first, second))
    said = [of for pair in pairs for of in _said_twice(*pair)]
    verdicts = [of for of in said if isinstance(of.first, bool) and isinstance(of.second, bool)]
    other = [of for of in verdicts if of.first != of.second]
    set_apart = [of for of in said if _change_of(of) < 0]
    explained = {of.explanation.explanation_id: of.explanation for of in scored}
    compared = compare_labels(run, explained[first.id], explained[second.id])
    return LabelsCompared(
        line=feature_line(feature),
        options=options,
        first=first,
        second=second,
        differences=tuple(
            _difference(*pair, compared[pair[0].score.scorer]) for pair in pairs if pair[0].score.scorer in compared
        ),
        trials=(*other[:_TRIALS], *sorted(set_apart, key=_change_of)[:_FURTHEST]),
        n_same=len(verdicts) - len(other),
    )


def _two_labels(feature: Feature, options: Sequence[OwnLabel], wanted: Sequence[str]) -> tuple[OwnLabel, OwnLabel]:
    if len(options) < 2:
        raise CompareError(f"{feature.id} has {len(options)} labels", "name a feature that has two, shuffled ones too")
    if not wanted:
        return options[0], options[1]
    if len(wanted) != 2:
        raise CompareError(f"{len(wanted)} labels are named", "name two of one feature")
    found = []
    for one in wanted:
        of = [option for option in options if option.id.startswith(one.strip())]
        if len(of) != 1:
            raise CompareError(f"{feature.id} has {len(of)} labels {shown(one)}", "give the id of one of its labels")
        found += of
    return found[0], found[1]


def _pairs(
    tried: Sequence[LabelTrials], first: OwnLabel, second: OwnLabel
) -> Iterator[tuple[LabelTrials, LabelTrials]]:
    by = {(of.explanation.explanation_id, of.score.scorer): of for of in tried}
    for label, scorer in by:
        if label == first.id and (second.id, scorer) in by:
            yield by[first.id, scorer], by[second.id, scorer]


def _difference(first: LabelTrials, second: LabelTrials, compared: Compared) -> ScoreDifference:
    chips = [
        Chip(scorer=of.scorer, value=of.value, low=of.ci_low, high=of.ci_high) for of in (first.score, second.score)
    ]
    return ScoreDifference(
        scorer=first.score.scorer,
        metric=first.score.metric,
        first=chips[0],
        second=chips[1],
        value=compared.difference.value,
        low=compared.difference.low,
        high=compared.difference.high,
        p_value=compared.difference.p_value,
        by_trials=compared.by_trials,
    )


def _said_twice(first: LabelTrials, second: LabelTrials) -> Iterator[SaidTwice]:
    """The trials that both labels were put to."""
    others = {_key(of): of for of in second.trials}
    for of in first.trials:
        if (other := others.get(_key(of))) is not None:
            yield SaidTwice(
                scorer=of.trial.scorer,
                truth=of.trial.truth,
                first=_said(of),
                second=_said(other),
                snippet=None if of.context is None else snippet(of.context),
            )


def _change_of(of: SaidTwice) -> float:
    """How far apart two probabilities are, the further the less; 0 of verdicts, and where one is missing."""
    if isinstance(of.first, bool) or isinstance(of.second, bool) or of.first is None or of.second is None:
        return 0.0
    return -abs(of.first - of.second)


def _key(of: ShownTrial) -> tuple[str, tuple[int, ...], bool]:
    return of.trial.context_id, of.trial.marked, of.trial.truth


def _said(of: ShownTrial) -> bool | float | None:
    return of.trial.probability if of.trial.verdict is None else of.trial.verdict


# --- two runs -------------------------------------------------------------------------------------------------------


def _label_sets(serving: Serving) -> Iterator[LabelSetLine]:
    for name, run in named_runs(serving).items():
        for of in ComparedStore(run.reader.path).label_sets():
            yield LabelSetLine(
                run=name,
                explainer=of.explainer,
                model=of.model,
                fingerprint=of.fingerprint[:_PREFIX],
                is_current=of.is_current,
                n=of.n,
            )


def _runs(serving: Serving, asked: CompareAsked) -> RunsCompared:
    names = [name for name in asked.run if name.strip()] or list(named_runs(serving))[:1]
    if len(names) > 2:
        raise CompareError(f"{len(names)} runs are named", "name one or two")
    if len(names) == 2 and names[0] == names[1]:
        names = names[:1]
    folders = {name: str(run_named(serving, name).reader.path.parent) for name in names}
    second = folders[names[1]] if len(names) == 2 else None
    try:
        found = compare_runs(
            folders[names[0]], second, explainer=_of_sides(asked.explainer), judge=_of_sides(asked.judge)
        )
    except CompareError as error:
        raise CompareError(_by_name(error.problem, folders), _by_name(error.remedy, folders)) from error
    return _compared_runs(found, folders)


def _of_sides(names: Sequence[str]) -> list[str | None]:
    """Who is named for either side; None for what counts now."""
    named = [name.strip() or None for name in names]
    return [None] * (2 - len(named)) + named


def _by_name(text: str, folders: Mapping[str, str]) -> str:
    """A text that names runs by what they are called here: where their folders lie is nobody's business."""
    for name, folder in folders.items():
        text = text.replace(folder, name)
    return text


def _compared_runs(found: RunComparison, folders: Mapping[str, str]) -> RunsCompared:
    return RunsCompared(
        first=_by_name(found.first.name, folders),
        second=_by_name(found.second.name, folders),
        differs=tuple(_by_name(line, folders) for line in found.differs),
        warnings=tuple(_by_name(line, folders) for line in found.warnings),
        scorers=tuple(map(_scorer, found.scorers)),
    )


def _scorer(of: ScorerComparison) -> ScorerChange:
    overall, mean = of.overall, of.overall.mean
    return ScorerChange(
        scorer=of.scorer,
        metric=of.metric,
        first_judge=of.first_judge,
        second_judge=of.second_judge,
        is_paired=of.is_paired,
        n_first=overall.n_first,
        n_second=overall.n_second,
        first_mean=overall.first_mean,
        second_mean=overall.second_mean,
        value=mean.value,
        low=mean.low,
        high=mean.high,
        is_settled=mean.is_settled,
        n_to_settle=mean.n_to_settle,
        won=overall.won.value,
        n_better=len(of.better),
        n_worse=len(of.worse),
        better=tuple(map(_change, of.better[:_CHANGES])),
        worse=tuple(map(_change, of.worse[:_CHANGES])),
    )


def _change(of: FeatureDifference) -> FeatureChange:
    return FeatureChange(
        id=feature_id(of.source_id, of.feature_index),
        path=feature_path(of.source_id, of.feature_index),
        first_label=of.first_label,
        second_label=of.second_label,
        first_value=of.first_value,
        second_value=of.second_value,
        value=of.difference.value,
        low=of.difference.low,
        high=of.difference.high,
        q_value=of.q_value,
    )
