"""How long it takes to read the words of a model that runs on in braces, commas or marks of thoughts.

    python -m benchmarks.heaps_of_brackets --megabytes 4       # about 15 seconds on one core

The result stands in `heaps_of_brackets.md`.
"""

import argparse
import time

from autointerp.llm.answers import parse_answer
from autointerp.llm.protocol import AnswerModel

_MB = 1_000_000
_PIECES = {
    "braces": "{",
    "broken objects": '{"a" 1} ',
    "objects that don't end": '{"a":',
    "broken objects behind a comma too many": '{"a":[1,],x ',
    "commas": ", ",
    "thoughts that begin": "<think>",
    "channels": "<|channel|>final ",
    "different answers": '{{"label": "{n}"}}',
}
_ANSWER = '{{"why": [{heap}], "label": "months",}}'


class Label(AnswerModel):
    """The answer that is looked for."""

    label: str


def heap_of(piece: str, n_characters: int) -> str:
    """A text of so many characters, or a few more."""
    if "{n}" in piece:
        return "".join(piece.format(n=n) for n in range(n_characters // len(piece.format(n=100_000)) + 1))
    return piece * (n_characters // len(piece) + 1)


def main() -> None:
    """Read each heap, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=4, help="of each text")
    n_characters = parser.parse_args().megabytes * _MB
    texts = {name: heap_of(piece, n_characters) for name, piece in _PIECES.items()}
    texts["an answer with a comma too many, time and again"] = _ANSWER.format(heap=heap_of("[1,], ", n_characters))
    print("| text | CPU seconds | what comes of it |\n|---|---|---|")
    for name, text in texts.items():
        began = time.process_time()
        read = parse_answer(text, Label)
        seconds = time.process_time() - began
        print(f"| {name} | {seconds:.2f} | {read if isinstance(read, str) else f'the answer, {read.label!r}'} |")


if __name__ == "__main__":
    main()
