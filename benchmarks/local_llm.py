"""What a small model in this process is worth: its labels beside others, and its verdicts where the truth is known.

    autointerp demo --llm
    python -m benchmarks.local_llm runs/demo-llm

1. **As a judge of planted features** (`data/puzzles`): of each puzzle's true label some contexts that it describes and
   as many others, in the judge's own prompts, answered by its chances of yes and no. AUROC within each label; balanced
   accuracy over all, cut at .5 and by what the judge says without content.
2. **As a judge of the demo's features**: detection's questions about the run's labels, another feature's label, and a
   label that is withheld.
3. **As an explainer**: its labels, the local explainers' and the nulls' on the same contexts, under the local judge and
   under itself.

Intervals are 95 %: of means over labels by their spread, of shares by resampling labels.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from autointerp.config import ContentFree, JudgeConfig
from autointerp.contexts.evidence import feature_evidence
from autointerp.identity import hash_key
from autointerp.llm import Journal, LanguageModel, connect
from autointerp.records import Explanation
from autointerp.run.calibrate import pose
from autointerp.run.participants import Participants
from autointerp.run.progress import LogReporter
from autointerp.score.judge import Case, Judge, Question, Task
from autointerp.score.judges.llm import LlmJudge
from autointerp.score.judges.local import LocalJudge
from autointerp.score.nulls import WITHHELD, token_label
from autointerp.score.on_puzzles import KINDS
from autointerp.score.scorers.detection import DETECTION, build_questions
from benchmarks.scored_run import Scored, copied, scored

_WAYS: tuple[ContentFree, ...] = ("none", "text", "label")
_N_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Asked:
    """A label, its questions, and what is right."""

    task: Task
    case: Case
    right: Sequence[bool]


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a finished run of the pipeline demo-llm")
    parser.add_argument("--each", type=int, default=3, help="contexts of either kind of each puzzle")
    parser.add_argument("--dtype", default="bfloat16", help="of the weights; the pipeline has float32")
    arguments = parser.parse_args()
    with copied(arguments.run) as pipeline, scored(pipeline) as run:
        puzzles = puzzle_questions(run, arguments.each)
        labels = all_labels(run)
        with Journal(run.source.run.folder.journal) as journal:  # what the run has asked is not asked again
            asyncio.run(measure(run, in_dtype(pipeline.judge, arguments.dtype), journal, puzzles, labels))


def in_dtype(judge: JudgeConfig, dtype: str) -> JudgeConfig:
    """The run's judge with weights of another type."""
    assert judge.model is not None, "the run has a language model for a judge"
    return judge.model_copy(update={"model": judge.model.model_copy(update={"dtype": dtype})})


async def measure(
    run: Scored, config: JudgeConfig, journal: Journal, puzzles: Sequence[Asked], labels: dict[str, dict[int, str]]
) -> None:
    """Ask, and print."""
    assert config.model is not None, "the run has a language model for a judge"
    async with connect(config.model, journal) as model:
        judges = {way: judge_of(model, config, way) for way in _WAYS}
        for task in ("detection", "fuzzing"):
            of_task = [of for of in puzzles if of.task.name == task]
            n = sum(len(of.right) for of in of_task)
            started = time.monotonic()
            print(f"\nplanted features, {task}: {len(of_task)} true labels, {n} questions")
            for way, judge in judges.items():
                print(f"  {way:<8} {told(await answer(judge, of_task), of_task)}")
            print(f"  {time.monotonic() - started:.0f} s of wall-clock")
        local = LocalJudge(run.source.run.embedder)
        print(f"\n{len(run.given)} features of the demo, detection")
        for kind, by_feature in labels.items():
            asked = [feature_questions(run, feature, label) for feature, label in by_feature.items()]
            print(f"  {kind}, {len(asked)} labels")
            print(f"    local judge    {told(await answer(local, asked), asked)}")
            for way, judge in judges.items():
                print(f"    itself, {way:<6} {told(await answer(judge, asked), asked)}")


def judge_of(model: LanguageModel, config: JudgeConfig, way: ContentFree) -> LlmJudge:
    """The run's judge, its chances asked for and corrected in one way."""
    settings = {"answers": "chances", "content_free": way}
    return LlmJudge(model, config.model_copy(update=settings))


def puzzle_questions(run: Scored, n_each: int) -> list[Asked]:
    """Questions about the true labels of the puzzles: of either kind so many, by keyed hash."""
    asked = []
    for group in pose(run.source.run, KINDS, LogReporter()).groups:
        for of in group.trials if group.fault == "true" else ():
            pairs = list(zip(of.case.questions, of.right, strict=True))
            some = [pair for right in (True, False) for pair in first(pairs, right, n_each)]
            if len({right for _, right in some}) == 2:
                case = Case(of.case.label, [question for question, _ in some], of.case.background)
                asked.append(Asked(group.task, case, [right for _, right in some]))
    return asked


def first(pairs: Sequence[tuple[Question, bool]], right: bool, n: int) -> list[tuple[Question, bool]]:
    """The first pairs of one kind in a keyed order."""
    of_kind = [pair for pair in pairs if pair[1] == right]
    return sorted(of_kind, key=lambda pair: hash_key(0, pair[0].context.context_id, str(pair[0].marked)))[:n]


def feature_questions(run: Scored, feature: int, label: str) -> Asked:
    """Detection's questions about a label of a feature."""
    posed = build_questions(run.given[feature].feature, "score", 0)
    background = run.source.pool.background
    return Asked(DETECTION, Case(label, [p.question for p in posed], background), [p.truth for p in posed])


def all_labels(run: Scored) -> dict[str, dict[int, str]]:
    """Labels of the run's features, by who wrote them."""
    own = {e.feature_index: e.label for e in run.labels}
    shuffled = {e.feature_index: e.label for e in run.explanations if e.explainer == "shuffled"}
    records = {of.feature_index: of for of in run.source.run.reader.features(sorted(own), run.source.source_id)}
    tokens = {feature: token_label(str(records[feature].top_tokens[0].token)) for feature in own}
    return {
        "SmolLM2's": own,
        "keywords": asyncio.run(explained(run, "keywords", sorted(own))),
        "rules": asyncio.run(explained(run, "rules", sorted(own))),
        "most frequent token": {feature: label for feature, label in tokens.items() if label is not None},
        "SmolLM2's, shuffled": shuffled,
        "withheld": dict.fromkeys(own, WITHHELD),
    }


async def explained(run: Scored, explainer: str, features: Sequence[int]) -> dict[int, str]:
    """The labels of one of the local explainers."""
    session = run.source.run
    session.pipeline = session.pipeline.model_copy(
        update={"explain": session.pipeline.explain.model_copy(update={"explainer": explainer})}
    )
    writer = Participants(session, _no_model, session.pipeline.judge).explainer(run.source)
    records = {of.feature_index: of for of in session.reader.features(features, run.source.source_id)}
    labels = {}
    for feature in features:
        outcome = await writer.explain(feature_evidence(run.given[feature].feature, records[feature]))
        if isinstance(outcome, Explanation):
            labels[feature] = outcome.label
    return labels


async def answer(judge: Judge, asked: Sequence[Asked]) -> list[np.ndarray]:
    """What a judge says to each label's questions: rows of probability and verdict, in their order."""
    judge.prepare(
        sorted({of.case.label for of in asked}),
        sorted({question.context.text for of in asked for question in of.case.questions}),
    )
    said = await judge.answer(asked[0].task, [of.case for of in asked])
    assert all(a.unanswered is None for of in said for a in of.answers), "all are answered"
    return [np.array([(a.probability, a.verdict) for a in of.answers], dtype=float) for of in said]


def told(said: Sequence[np.ndarray], asked: Sequence[Asked]) -> str:
    """AUROC within labels, balanced accuracy over all, and how often the answer was yes."""
    truths = [np.array(of.right) for of in asked]
    areas = np.array([roc_auc_score(truth, of[:, 0]) for truth, of in zip(truths, said, strict=True)])
    rng = np.random.default_rng(0)
    draws = [balanced(truths, said, rng.integers(len(asked), size=len(asked))) for _ in range(_N_RESAMPLES)]
    low, high = np.percentile(draws, [2.5, 97.5])
    verdicts = np.concatenate([of[:, 1] for of in said])
    half = 1.96 * areas.std(ddof=1) / len(areas) ** 0.5
    balance = balanced(truths, said, np.arange(len(asked)))
    return (
        f"AUROC {areas.mean():.3f} ± {half:.3f}; balanced accuracy {balance:.3f} [{low:.3f} {high:.3f}];"
        f" yes to {verdicts.mean():.0%}"
    )


def balanced(truths: Sequence[np.ndarray], said: Sequence[np.ndarray], chosen: np.ndarray) -> float:
    """Balanced accuracy over the questions of some labels."""
    truth = np.concatenate([truths[i] for i in chosen])
    yes = np.concatenate([said[i][:, 1] for i in chosen]) > 0
    return float((yes[truth].mean() + (~yes[~truth]).mean()) / 2)


def _no_model(stage: str, config: object) -> LanguageModel:
    raise AssertionError("local explainers ask none")


if __name__ == "__main__":
    main()
