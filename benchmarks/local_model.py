"""What a language model in this process reads and writes in a second of CPU, one by one or in batches, with kept heads.

    python -m benchmarks.local_model

Four ways to ask the packaged SmolLM2 the same questions: one by one or all together, each read whole or behind the head
that all have in common. *verdicts*: the judge's fixed words (`prompts/judge_detection.txt`), then a label and a context
of the demo's kind, answered by yes or no. *labels*: the explainer's fixed words and contexts, answered by a label.

The ways take turns in each round, and ratios are of one round, so that what else the machine does touches all alike.
Seconds are those of this process's CPU, on one thread: the waits for other processes are not counted.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Literal

import torch

from autointerp.config import ModelConfig
from autointerp.llm.answers import answer_schema
from autointerp.llm.prompts import load_prompt, quoted
from autointerp.llm.protocol import AnswerModel
from autointerp.llm.providers.local.generation import Generator, Question, Written
from autointerp.llm.providers.local.grammar import Grammar
from autointerp.llm.providers.local.loading import load_model
from autointerp.llm.providers.local.prompt import Prompts

MODEL = "packaged:smollm2-135m-instruct"
_WORDS = (
    "the",
    "river",
    "of",
    "a",
    "key",
    "was",
    "signed",
    "in",
    "April",
    "open",
    "file",
    "and",
    "does",
    "not",
    "exist",
)
_LABELS = ("names of months", "negation in a condition", "rivers and lakes", "opening a file", "words for kinship")


class Verdict(AnswerModel):
    """The answer about one context."""

    answer: Literal["yes", "no"]


class Label(AnswerModel):
    """The explainer's answer."""

    label: str


def context(number: int, n_words: int = 24) -> str:
    """A context of a fixed length, in other words for each number."""
    return quoted(" ".join(_WORDS[(number * 7 + place * place + place) % len(_WORDS)] for place in range(n_words)))


def verdicts(prompts: Prompts, n_questions: int) -> list[Question]:
    """Questions whether a label describes a context."""
    system = load_prompt("judge_detection").system
    users = [f"{quoted(_LABELS[n % len(_LABELS)])} | {context(n)}" for n in range(n_questions)]
    return [_question(prompts, system, user, Verdict, 20) for user in users]


def labels(prompts: Prompts, n_questions: int) -> list[Question]:
    """Questions for a label of ten contexts."""
    system = load_prompt("explain_examples").system
    users = [
        "\n".join(f"{place + 1}: {context(10 * n + place)}" for place in range(10)) + "\nLabel:"
        for n in range(n_questions)
    ]
    return [_question(prompts, system, user, Label, 24) for user in users]


def _question(prompts: Prompts, system: str, user: str, answer: type[AnswerModel], most: int) -> Question:
    return Question(prompts.tokens(system, user, None), prompts.n_fixed(system), answer_schema(answer), most)


def one_by_one(generator: Generator, questions: Sequence[Question]) -> list[Written]:
    """Ask each alone."""
    return [written for question in questions for written in generator.write([question]) or ()]


def together(generator: Generator, questions: Sequence[Question], n_at_once: int = 8) -> list[Written]:
    """Ask in batches of questions of like length."""
    order = sorted(questions, key=lambda question: len(question.tokens))
    batches = [order[start : start + n_at_once] for start in range(0, len(order), n_at_once)]
    return [written for batch in batches for written in generator.write(batch) or ()]


def main() -> None:
    """Time the four ways in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--verdicts", type=int, default=8)
    parser.add_argument("--labels", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    subject = load_model(ModelConfig(provider="local", model=MODEL, device="cpu"), lambda: None)
    prompts = Prompts(subject.tokenizer, MODEL)
    grammar = Grammar(subject.tokenizer, len(subject.tokenizer), MODEL)
    asks: dict[str, Callable[[Generator, Sequence[Question]], list[Written]]] = {
        "one by one": one_by_one,
        "in batches of 8": together,
    }
    print("| questions | asked | read | CPU s | tokens in a CPU s | out a CPU s | of one by one, whole |")
    print("|---|---|---|---|---|---|---|")
    for kind, questions in (("verdicts", verdicts(prompts, args.verdicts)), ("labels", labels(prompts, args.labels))):
        seconds: dict[tuple[str, bool], list[float]] = {}
        n_out = 0
        for _ in range(args.rounds):
            for name, ask in asks.items():
                for keeps in (False, True):
                    generator = Generator(subject.model, grammar, MODEL, keeps_heads=keeps)
                    began = time.process_time()
                    n_out = sum(written.n_output for written in ask(generator, questions))
                    seconds.setdefault((name, keeps), []).append(time.process_time() - began)
        n_in = sum(len(question.tokens) for question in questions)
        base = seconds["one by one", False]
        for (name, keeps), took in seconds.items():
            ratios = [before / now for before, now in zip(base, took, strict=True)]
            median = statistics.median(took)
            print(
                f"| {len(questions)} {kind}, {n_in:,} tokens in, {n_out} out | {name} |"
                f" {'behind a kept head' if keeps else 'whole'} | {median:.1f} ({min(took):.1f}-{max(took):.1f}) |"
                f" {n_in / median:,.0f} | {n_out / median:.1f} |"
                f" {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
