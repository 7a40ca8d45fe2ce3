"""An answer that a language model might give, for calls that are planned and not made.

It fits the wanted schema: a label is a phrase of typical length, another for every prompt, as labels differ; a list of
verdicts has an entry for each numbered line of the prompt.
"""

import hashlib
import json
import re
from typing import Any

from autointerp.llm.answers import answer_schema
from autointerp.llm.protocol import AnswerT, Request, TokenChances

TYPICAL_LABEL = 48
"""Characters: seven words."""
_LONGEST_LABEL = 160
_NUMBERED = re.compile(r'^\d+: (["[].*)', re.MULTILINE)
_N_TOKENS = re.compile(r'^\d+: ".*?" \| (\d+) tokens: \["', re.MULTILINE)
_PLAIN_ENTRIES = 3
_DEEPEST = 8
_OF_A_FIELD = 1
_WORDS = """
names of words that stand before an exception in errors raised by code when values are missing dates months colours and
numbers terms from physics or law verbs about change places where people live requests to files tests with tables of
results phrases which begin a sentence lists keys types parameters shapes arrays models
"""


def plan_answer(request: Request[AnswerT], n_bytes: float | None = None) -> str:
    """Write an answer, the same for the same request.

    Args:
        request: What would be asked.
        n_bytes: How long such answers are on average, if it is known; only phrases are made to fit.
    """
    schema = answer_schema(request.answer)
    answer = _Answer(request, schema)
    text = answer.write(TYPICAL_LABEL)
    if n_bytes is None or answer.n_phrases == 0 or answer.has_lists:
        return text
    missing = (n_bytes - len(text.encode())) / answer.n_phrases
    return answer.write(max(1.0, min(TYPICAL_LABEL + missing, _LONGEST_LABEL)))


def plan_chances(request: Request[AnswerT], text: str) -> tuple[TokenChances, ...]:
    """Chances of a planned answer's tokens, where they are wanted: of a choice between words, each is as likely."""
    if not request.wants_chances:
        return ()
    chosen = [word for word in _choices(answer_schema(request.answer)) if f'"{word[0]}"' in text]
    if not chosen:
        return (TokenChances(text),)
    words = chosen[0]
    before, after = text.split(words[0], 1)
    return TokenChances(before), TokenChances(words[0], tuple((w, 1 / len(words)) for w in words)), TokenChances(after)


def _choices(schema: dict[str, Any]) -> list[list[str]]:
    """The words of each field of an answer that may hold some words only."""
    return [part["enum"] for part in schema.get("properties", {}).values() if "enum" in part]


class _Answer:
    """One answer in the making."""

    def __init__(self, request: Request[AnswerT], schema: dict[str, Any]) -> None:
        self._schema = schema
        self._lines = [len(line) for line in _NUMBERED.findall(request.user)]
        self._n_numbered = len(self._lines)
        self._about: int | None = None
        self._n_tokens = [int(n) for n in _N_TOKENS.findall(request.user)]
        self._hash = hashlib.sha256(f"{request.system}\n{request.user}".encode("utf-8", "replace")).digest()
        self._words = _WORDS.split()
        self._label_length: float = TYPICAL_LABEL
        self.n_phrases = 0
        self.has_lists = False

    def write(self, label_length: float) -> str:
        self._label_length = label_length
        self.n_phrases = 0
        return json.dumps(self._fill(self._schema, number=1, depth=0), ensure_ascii=False)

    def _fill(self, node: dict[str, Any], *, number: int, depth: int) -> Any:
        if depth > _DEEPEST:
            return None
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            return self._fill(self._schema["$defs"][name], number=number, depth=depth + 1)
        if "const" in node or "enum" in node:
            return node["const"] if "const" in node else node["enum"][0]
        if "anyOf" in node:
            options = [option for option in node["anyOf"] if option.get("type") != "null"]
            return self._fill(options[0], number=number, depth=depth + 1) if options else None
        match node.get("type"):
            case "object":
                parts = node.get("properties", {}).items()
                return {name: self._fill(part, number=number, depth=depth + 1) for name, part in parts}
            case "array":
                return self._entries(node, number, depth)
            case "integer":
                return number
            case "number":
                return 0.95
            case "boolean":
                return number % 2 == 1
            case "null":
                return None
            case _:
                return self._phrase()

    def _entries(self, node: dict[str, Any], number: int, depth: int) -> list[Any]:
        self.has_lists = True
        if "prefixItems" in node:
            return [self._fill(item, number=1, depth=depth + 1) for item in node["prefixItems"]]
        item = node.get("items", {})
        if item.get("type") == "integer" and len(self._n_tokens) == self._n_numbered > 0:
            return [0] * self._n_tokens[number - 1]  # one for each token of a numbered line
        if item.get("type") == "integer" and depth > _OF_A_FIELD:
            return [number, 95 if number % 2 else 5]  # a pair: what it is about, and what is said of it
        is_of_contexts = "$ref" in item or item.get("type") in ("object", "array")
        if not is_of_contexts:
            return [self._fill(item, number=number, depth=depth + 1) for number in range(1, _PLAIN_ENTRIES + 1)]
        entries = []
        for place, length in enumerate(self._lines, start=1):
            self._about = length  # what is written about a line, with words, is about as long as it
            entries.append(self._fill(item, number=place, depth=depth + 1))
        self._about = None
        return entries

    def _phrase(self) -> str:
        words: list[str] = []
        wanted = self._label_length if self._about is None else self._about
        while sum(len(word) + 1 for word in words) < wanted:
            byte = self._hash[(len(words) + 7 * self.n_phrases) % len(self._hash)]
            words.append(self._words[byte % len(self._words)])
        self.n_phrases += 1
        return " ".join(words)
