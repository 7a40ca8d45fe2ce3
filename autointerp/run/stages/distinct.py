"""The second half of the explain stage: labels that several features nearly share are written anew, against each other.

It goes over the features that have a first label and no final one. Each gets a final label, which is a record of its
own: the first again, or one that tells the feature from its siblings (`explain.distinct`), where that is no worse
(`score.told_apart`). The first labels stay in the store as they are, under the fingerprint of a run that tells nothing
apart; such a run finds them done, and so does this one after a kill.

Who is whose sibling is found among all first labels of the source at the time. A final label is never made anew:
features added later are told apart from those that were there, not these from them, so that nothing that was scored or
paid for is lost.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from autointerp.config import ExplainConfig
from autointerp.contexts.evidence import feature_evidence
from autointerp.explain.base import BaseExplainer
from autointerp.explain.distinct import Same, find_same, say_the_same
from autointerp.identity import feature_id, fingerprint, stable_uuid
from autointerp.llm.protocol import NOT_NOW
from autointerp.plugins import called_by_us
from autointerp.records import Explanation, Failure, FeatureEvidence, Sibling, total_cost
from autointerp.run.asking import ask_all
from autointerp.run.participants import Participants
from autointerp.run.session import SourceSession
from autointerp.score.others import NearLabel, OtherFeatures
from autointerp.score.told_apart import ApartTrial, Verdict
from autointerp.words import plain_label

_FEATURES_PER_READ = 64
_LABELS_PER_TRANSACTION = 128
_ALONE_PER_TRANSACTION = 4096
_SPACES = ("coactivation", "decoder")


@dataclass
class SharedLabels:
    """How many labels were nearly shared, and what became of them; for the stage's line.

    Attributes:
        n_equal_before: Features whose first label another feature has, too.
        n_equal_after: Features whose final label another feature has, too.
        n_near: Features with siblings, now.
        n_told_apart: Of these, those with a new label.
        n_same: Of these, those of which every sibling does the same.
    """

    n_equal_before: int = 0
    n_equal_after: int = 0
    n_near: int = 0
    n_told_apart: int = 0
    n_same: int = 0

    def note(self) -> str:
        """The note."""
        return (
            f"{self.n_near} labels nearly shared: {self.n_told_apart} told apart, {self.n_same} of features that do the"
            f" same; features with an equal label: {self.n_equal_before} before, {self.n_equal_after} after"
        )


@dataclass(frozen=True, slots=True)
class _Job:
    """A feature to be told apart.

    Attributes:
        first: Its first label.
        evidence: What an explainer may know of it.
        siblings: From whom it is told apart.
        same: Those of its siblings that do the same.
    """

    first: Explanation
    evidence: FeatureEvidence
    siblings: Sequence[Sibling]
    same: Sequence[Same]


async def tell_source_apart(
    source: SourceSession,
    participants: Participants,
    features: Sequence[int],
    keep: Callable[[list[Explanation | Failure]], None],
    counted: SharedLabels,
    guessed: Collection[tuple[str, int]] = (),
) -> None:
    """Give features their final labels.

    Args:
        source: Of the features.
        participants: Make the explainer and the trial.
        features: Those without a final label; of those without a first one nothing is said.
        keep: Stores labels.
        counted: Takes the counts.
        guessed: Features, each with its source, whose first label is a plan's: it may be anyone's.
    """
    session = source.run
    config = session.pipeline.explain
    first = labels_of(source, participants.first_fingerprint)
    others = OtherFeatures(lambda: {f: e.label for f, e in first.items()}, source.windows_of, session.embedder)
    wanted = [feature for feature in features if feature in first]
    near: dict[int, list[NearLabel]] = {}
    for feature in wanted:
        found = [
            of
            for of in others.nearest(feature, config.n_distinct)
            if (source.source_id, feature) in guessed or _is_near(of, first, feature, config)
        ]
        if found:
            near[feature] = found
    stamp = _Stamp(participants.explain_fingerprint)
    alone = [stamp.again(first[feature]) for feature in wanted if feature not in near]
    for start in range(0, len(alone), _ALONE_PER_TRANSACTION):
        keep([*alone[start : start + _ALONE_PER_TRANSACTION]])
    if near:
        explainer, trial = participants.explainer(source), participants.apart_trial(source)

        async def tell(job: _Job) -> Explanation | Failure:
            return await _tell_apart(job, explainer, trial, stamp, is_planned=participants.plans)

        await ask_all(
            _jobs(source, first, near),
            tell,
            keep,
            n_at_once=participants.n_explained_at_once,
            batch_size=_LABELS_PER_TRANSACTION,
        )
    _count(counted, source, participants, first, near)


def _is_near(of: NearLabel, first: Mapping[int, Explanation], feature: int, config: ExplainConfig) -> bool:
    if of.similarity >= config.distinct_similarity:
        return True
    return say_the_same(first[of.feature_index].label, first[feature].label)


async def _tell_apart(
    job: _Job, explainer: BaseExplainer, trial: ApartTrial, stamp: "_Stamp", *, is_planned: bool
) -> Explanation | Failure:
    """The final label; a failure where there is no answer now, since a final label is never made anew."""
    told: dict[str, Any] = {
        "near": [of.feature_index for of in job.siblings] + [of.feature_index for of in job.same],
    }
    if not job.siblings:
        return stamp.again(job.first, told | {"kept": "first label: the others do the same"}, job)
    with called_by_us(explainer, f"the explainer {explainer.name!r} on feature {job.evidence.feature_index}"):
        unseen = replace(job.evidence, select_active=(), select_silent=())
        second = await explainer.tell_apart(unseen, job.first, job.siblings)
    if isinstance(second, Failure) and second.error_type in NOT_NOW:
        return second
    if isinstance(second, Failure):
        told["kept"] = f"first label: {second.error_type}, {second.message}"
        return stamp.again(job.first, told, job, cost_usd=second.cost_usd)
    told["second_label"] = second.label
    if say_the_same(second.label, job.first.label) and not is_planned:
        told["kept"] = "first label: the second is the same"
        return stamp.again(job.first, told, job, cost_usd=second.cost_usd)
    verdict = await trial.compare(job.first.label, second.label, job.evidence, job.siblings)
    told |= _account(verdict)
    cost_usd = total_cost((second.cost_usd, verdict.cost_usd))
    if verdict.retry:
        message = f"no label could be chosen: {verdict.reason}"
        return explainer.failure(job.evidence, "AllUnanswered", message, retry=True, cost_usd=cost_usd)
    if not verdict.takes_second:
        return stamp.again(job.first, told, job, cost_usd=cost_usd)
    return stamp.again(second, told | {"first_label": job.first.label}, job, cost_usd=cost_usd)


def _account(verdict: Verdict) -> dict[str, Any]:
    account: dict[str, Any] = {"kept": verdict.reason, "n_asked": verdict.n_asked}
    for name, of in (("first", verdict.first), ("second", verdict.second)):
        if of is not None:
            account |= {f"{name}_{rate}": value for rate, value in asdict(of).items()}
    return account


def _jobs(
    source: SourceSession, first: Mapping[int, Explanation], near: Mapping[int, Sequence[NearLabel]]
) -> Iterator[list[_Job]]:
    reader, features = source.run.reader, sorted(near)
    spaces = set(reader.neighbor_spaces())
    for start in range(0, len(features), _FEATURES_PER_READ):
        some = features[start : start + _FEATURES_PER_READ]
        read = sorted({*some, *(of.feature_index for feature in some for of in near[feature])})
        with reader.session():
            records = {record.feature_index: record for record in reader.features(read, source.source_id)}
            chunk = reader.feature_contexts(read, source.source_id)
            neighbors = {
                (feature, space): reader.neighbors(feature, space, source_id=source.source_id)
                for feature in some
                for space in _SPACES
                if space in spaces
            }
        evidence = {of.feature_index: feature_evidence(of, records[of.feature_index]) for of in chunk}
        jobs: list[_Job] = []
        for feature in some:
            indices = [of.feature_index for of in near[feature]]
            same = find_same(indices, *(neighbors.get((feature, space), []) for space in _SPACES))
            passed_over = {of.feature_index for of in same}
            siblings = [
                Sibling(
                    of.feature_index,
                    first[of.feature_index].label,
                    of.similarity,
                    evidence[of.feature_index].active,
                    evidence[of.feature_index].max_activation,
                )
                for of in near[feature]
                if of.feature_index not in passed_over
            ]
            jobs.append(_Job(first[feature], evidence[feature], siblings, same))
        yield jobs


@dataclass(frozen=True, slots=True)
class _Stamp:
    """Makes final labels.

    Attributes:
        fingerprint: Of the stage.
    """

    fingerprint: str

    def again(
        self,
        label: Explanation,
        told: Mapping[str, Any] | None = None,
        job: _Job | None = None,
        cost_usd: float | None = 0.0,
    ) -> Explanation:
        """A label as a final one.

        Args:
            label: The first label, or the one that tells it apart.
            told: How it came about, for its detail.
            job: Whose label it is, where it has siblings.
            cost_usd: What it cost besides the first.
        """
        # What others are called decides the label too, and no two labels of one id may differ.
        group = "" if job is None else fingerprint("siblings", [[of.feature_index, of.label] for of in job.siblings])
        name = f"{feature_id(label.source_id, label.feature_index)}/{self.fingerprint}/{group}"
        detail = dict(label.detail) | ({} if told is None else {"distinct": dict(told)})
        if job is not None and job.same:
            detail["same_as"] = [of.told() for of in job.same]
        return replace(
            label,
            explanation_id=stable_uuid(name),
            fingerprint=self.fingerprint,
            created_at=datetime.now(UTC),
            detail=detail,
            cost_usd=total_cost(((label if job is None else job.first).cost_usd, cost_usd)),
        )


def labels_of(source: SourceSession, of_fingerprint: str) -> dict[int, Explanation]:
    """The labels of a source that carry a fingerprint, by feature."""
    found = source.run.reader.explanations(source_id=source.source_id, fingerprint=of_fingerprint)
    return {of.feature_index: of for of in found}


def _count(
    counted: SharedLabels,
    source: SourceSession,
    participants: Participants,
    first: Mapping[int, Explanation],
    near: Mapping[int, Sequence[NearLabel]],
) -> None:
    final = labels_of(source, participants.explain_fingerprint)
    counted.n_equal_before += _n_equal([first[feature].label for feature in final if feature in first])
    counted.n_equal_after += _n_equal([of.label for of in final.values()])
    counted.n_near += len(near)
    told = [final[feature].detail for feature in near if feature in final]
    counted.n_told_apart += sum("first_label" in detail.get("distinct", {}) for detail in told)
    counted.n_same += sum("same_as" in d and "second_label" not in d.get("distinct", {}) for d in told)


def _n_equal(labels: Sequence[str]) -> int:
    """Labels that are there more than once."""
    counts = Counter(map(plain_label, labels))
    return sum(n for n in counts.values() if n > 1)
