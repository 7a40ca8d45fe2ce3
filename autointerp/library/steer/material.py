"""What steering is measured on, as it is shipped: questions with their options, and instructions.

Both were written for this program. A question is put to the model as a user would, the answer is begun with its
`opening`, and the option that the model finds likeliest to follow is its answer: nothing is generated. Options are of
one kind and of like length, so that none is likelier by itself.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from autointerp.assets import asset_folder
from autointerp.identity import hash_key, in_keyed_order

_FOLDER = "steering"


@dataclass(frozen=True, slots=True)
class Question:
    """A question with two to four options.

    Attributes:
        topic: What it is of: capitals, knowledge, opposites, arithmetic or grammar.
        question: As it is asked.
        opening: How the answer begins.
        options: What may follow; the first is right.
    """

    topic: str
    question: str
    opening: str
    options: tuple[str, ...]

    def continuation(self, option: str) -> str:
        """An option as it stands behind the opening."""
        return option if self.opening.endswith('"') else f" {option}"


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions, and the SHA-256 of the file that they are from."""

    questions: tuple[Question, ...]
    digest: str


@lru_cache(maxsize=1)
def shipped_questions() -> QuestionSet:
    """The question set of this package.

    Example:
        >>> from autointerp.library.steer.material import shipped_questions
        >>> of = shipped_questions().questions
        >>> len(of) >= 200, of[0].question, of[0].options[0]
        (True, 'What is the capital of France?', 'Paris')
    """
    text = (asset_folder("data") / _FOLDER / "questions.jsonl").read_bytes()
    rows = (json.loads(line) for line in text.splitlines())
    questions = tuple(Question(row["topic"], row["question"], row["opening"], tuple(row["options"])) for row in rows)
    return QuestionSet(questions, hashlib.sha256(text).hexdigest())


@lru_cache(maxsize=1)
def shipped_instructions() -> tuple[str, ...]:
    """Instructions that leave open what an answer is about, in an order that is as good as random."""
    lines = (asset_folder("data") / _FOLDER / "instructions.txt").read_text(encoding="utf-8").splitlines()
    order = in_keyed_order(hash_key(0, "instructions"), np.arange(len(lines)))
    return tuple(lines[place] for place in order)


def halves(prompts: tuple[str, ...], seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prompts in two halves by a keyed hash: doses are chosen on the first, figures are of the second."""
    order = in_keyed_order(hash_key(seed, "steering halves"), np.arange(len(prompts))).tolist()
    middle = len(prompts) // 2
    return tuple(prompts[i] for i in sorted(order[:middle])), tuple(prompts[i] for i in sorted(order[middle:]))
