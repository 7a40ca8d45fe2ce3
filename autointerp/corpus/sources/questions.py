"""Documentation as conversations: a user asks about what is documented, and its documentation is the answer.

The forms of questions, and what users say besides, are in `data/conversation_seeds.toml`. A long documentation is given
over several turns.
"""

import random
import tomllib
from functools import lru_cache
from typing import Any

from autointerp.assets import asset_folder
from autointerp.corpus.sources.chat import Message
from autointerp.records import Document

SEEDS = "conversation_seeds.toml"
_ANSWER_CHARACTERS = 900
_SYSTEM_SHARE = 0.25
_THANKS_SHARE = 0.2


def ask_about(document: Document, draw: random.Random) -> list[Message]:
    """A conversation about what a docstring documents.

    Args:
        document: Of the embedded corpus; its id says what is documented, and where that is.
        draw: Decides what is asked, and how.
    """
    seeds = read_seeds()
    module, _, name = document.document_id.rpartition(":")
    if not module:
        module, _, name = document.document_id.rpartition(".")
    question = draw.choice(seeds["questions"]).format(name=name, module=module or name)
    messages = system_message(draw)
    for number, answer in enumerate(_answers(document.text)):
        messages.append(user(question if number == 0 else draw.choice(seeds["more"])))
        messages.append(assistant(answer))
    if draw.random() < _THANKS_SHARE:
        thanks, reply = draw.choice(seeds["thanks"])
        messages += [user(thanks), assistant(reply)]
    return messages


def system_message(draw: random.Random) -> list[Message]:
    """A system message in one of four conversations; most templates have one of their own for the others."""
    if draw.random() >= _SYSTEM_SHARE:
        return []
    return [{"role": "system", "content": draw.choice(read_seeds()["systems"])}]


def user(text: str) -> Message:
    """What a user says."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """What the model answers."""
    return {"role": "assistant", "content": text}


@lru_cache
def read_seeds() -> dict[str, Any]:
    """The file of forms."""
    return tomllib.loads((asset_folder("data") / SEEDS).read_text(encoding="utf-8"))


def _answers(text: str) -> list[str]:
    """A text's paragraphs, as many in an answer as it has room for."""
    answers: list[str] = []
    for paragraph in text.split("\n"):
        if answers and len(answers[-1]) + len(paragraph) < _ANSWER_CHARACTERS:
            answers[-1] += f"\n{paragraph}"
        else:
            answers.append(paragraph)
    return answers
