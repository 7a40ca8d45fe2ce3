"""An oracle that knows what each feature is about, and answers our own prompts accordingly.

    truth = TruthOracle({"names of months": lambda text, marked: any(m in MONTHS for m in marked or text.split())})
    with LoopbackServer(truth) as server: ...

- Detection and fuzzing: the predicate of each number's label is asked about its context, with its plain text
  and the pieces of text that are marked (none in detection). A label that is not in the mapping is true where its text
  occurs: in a marked piece if there are marks, else anywhere.
- Intruder: a context is of the kind of its examples where a piece that is marked in these occurs in it.
- A yes or no about one context: as detection, fuzzing and intruder have it. With `chances` the tokens of the answer are
  told with theirs, as vLLM does.
- Simulation: a token has 10 where its word, by itself, is what the label is true of, and 0 elsewhere.
- Explanation: `explain` is given the contexts, each with its marked pieces; by default the label is the most frequent
  marked piece, in lower case, ties by the alphabet. It excludes nothing, and is about the input.
- A share `error_rate` of the judge's answers is turned round, chosen by a hash of label and context, so that the same
  question always gets the same answer.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autointerp.llm.prompts import load_prompt
from autointerp.words import label_meaning
from tests.loopback.server import Call, Outcome, Say

Predicate = Callable[[str, Sequence[str]], bool]
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_LISTED = rf"\[{_QUOTED}(?:, {_QUOTED})*\]"
_SINGLE = re.compile(rf"^({_QUOTED}|{_LISTED}) \| ({_QUOTED})$", re.MULTILINE)
_NUMBERED = re.compile(rf"^(\d+): (?:({_QUOTED}|{_LISTED}) \| )?({_QUOTED})", re.MULTILINE)
_TOKENS = re.compile(rf"^(\d+): ({_QUOTED}) \| (\d+) tokens: (\[.*\])$", re.MULTILINE)
_MARKED = re.compile(r"<<(.*?)>>")
_JUDGED = ("detection", "fuzzing", "intruder", "intervention")
_EXPLANATIONS: dict[str, dict[str, str]] = {
    "explain_examples": {},
    "explain_contrastive": {"excludes": ""},
    "explain_evidence": {"side": "input"},
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A context of a prompt: its number, its text without marks, the pieces that were marked, and a judge's label.

    `examples` are those that stand in place of a label, with their marks.
    """

    number: int
    text: str
    marked: tuple[str, ...]
    label: str = ""
    examples: tuple[str, ...] = ()


def most_frequent_mark(contexts: Sequence[Shown]) -> str:
    """The most frequent marked piece, in lower case; ties by the alphabet."""
    counts = Counter(piece.strip().lower() for context in contexts for piece in context.marked)
    return min(counts, key=lambda piece: (-counts[piece], piece))


class TruthOracle:
    """See the module.

    Args:
        truths: For each label, whether it is true of a text with marked pieces.
        explain: The label for the contexts of an explanation prompt.
        error_rate: Share of the judge's answers that are turned round.
        chances: Of a yes where the label is true of a context, and where it isn't; None to tell none.
    """

    def __init__(
        self,
        truths: Mapping[str, Predicate] | None = None,
        *,
        explain: Callable[[Sequence[Shown]], str] = most_frequent_mark,
        error_rate: float = 0.0,
        chances: tuple[float, float] | None = None,
    ) -> None:
        self._truths = dict(truths or {})
        self._explain = explain
        self._error_rate = error_rate
        self._chances = chances

    def reply(self, call: Call) -> Outcome:
        if call.system == load_prompt("check").system:
            return Say('{"ok": true}')
        if call.system == load_prompt("judge_simulation").system:
            return Say(simulations([self._simulate(of.label, of.tokens) for of in shown_tokens(call.user)]))
        if call.system in {load_prompt(f"yes_no_{name}").system for name in _JUDGED}:
            return self._say_yes_or_no(shown_single(call.user))
        contexts = shown_contexts(call.user)
        for name, more in _EXPLANATIONS.items():
            if call.system == load_prompt(name).system:
                return Say(json.dumps({"label": self._explain(contexts), **more}))
        judges = {load_prompt(f"judge_{name}").system for name in _JUDGED}
        assert call.system in judges, f"not one of our prompts: {call.system[:80]}"
        answers = [self._judge(context) for context in contexts]
        return Say(json.dumps({"answers": answers}))

    def _judge(self, context: Shown) -> list[int]:
        return [context.number, 95 if self._holds(context) else 5]

    def _say_yes_or_no(self, context: Shown) -> Say:
        holds = self._holds(context)
        if self._chances is None:
            return Say(json.dumps({"answer": "yes" if holds else "no"}))
        return say_yes_or_no(self._chances[not holds])

    def _holds(self, context: Shown) -> bool:
        label = context.label
        truth = self._truths.get(label)
        if context.examples:
            holds = any(_occurs(piece.strip(), context.text, ()) for e in context.examples for piece in marked_in(e))
        else:
            holds = truth(context.text, context.marked) if truth else _occurs(label, context.text, context.marked)
        return holds != self.errs(context)

    def _simulate(self, label: str, tokens: Sequence[str]) -> list[int]:
        truth = self._truths.get(label)
        words = [token.strip() for token in tokens]
        return [10 * bool(truth(word, (word,)) if truth else _occurs(label, word, (word,))) for word in words]

    def errs(self, context: Shown) -> bool:
        """Whether the answer about a context is turned round."""
        digest = hashlib.sha256(json.dumps([context.label, context.text, context.marked]).encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < self._error_rate


def shown_contexts(user: str) -> list[Shown]:
    """The numbered contexts of a prompt's user part."""
    return [_shown(int(number), label or '""', text) for number, label, text in _NUMBERED.findall(user)]


def shown_single(user: str) -> Shown:
    """The context of a prompt that asks for yes or no."""
    ((about, text),) = _SINGLE.findall(user)
    return _shown(1, about, text)


def _shown(number: int, about_json: str, text_json: str) -> Shown:
    marked_text: str = json.loads(text_json)
    about = json.loads(about_json)
    return Shown(
        number,
        _MARKED.sub(r"\1", marked_text),
        marked_in(marked_text),
        about if isinstance(about, str) else "",
        () if isinstance(about, str) else tuple(about),
    )


def say_yes_or_no(chance: float) -> Say:
    """An answer by tokens, with the chances of what might have stood in place of each: some of what is yes or no.

    Args:
        chance: Of all that is a yes, of what is one or the other.
    """
    said, other = ("yes", "no") if chance >= 0.5 else ("no", "yes")
    sure = max(chance, 1 - chance)
    chances = {said: 0.6 * sure, f" {said}": 0.2 * sure, said.title(): 0.1 * sure, other[0]: 0.9 * (1 - sure), "": 0.1}
    pieces = ['{"', "answer", '":', ' "', said, '"}']
    tokens = tuple(_logprob(piece, chances if piece == said else {piece: 0.999, "\n": 0.001}) for piece in pieces)
    return Say("".join(pieces), logprobs=tokens)


def _logprob(text: str, chances: Mapping[str, float]) -> dict[str, Any]:
    """A token as OpenAI's protocol tells it; one without a chance as vLLM does."""
    others = [
        {"token": other, "logprob": math.log(chance) if chance > 0 else -9999.0, "bytes": list(other.encode())}
        for other, chance in chances.items()
    ]
    return {**others[0], "top_logprobs": others, "token": text}


@dataclass(frozen=True, slots=True)
class ShownTokens:
    """A number of a prompt that asks for activations: its label, and the tokens of its context."""

    number: int
    label: str
    tokens: tuple[str, ...]


def shown_tokens(user: str) -> list[ShownTokens]:
    """The numbered contexts of a prompt that asks for activations."""
    return [
        ShownTokens(int(number), json.loads(label), tuple(json.loads(tokens)))
        for number, label, _, tokens in _TOKENS.findall(user)
    ]


def simulations(activations: Sequence[Sequence[float]]) -> str:
    """An answer with activations for the numbers 1, 2, …"""
    answers = [{"number": n, "activations": list(of)} for n, of in enumerate(activations, start=1)]
    return json.dumps({"answers": answers})


def marked_in(text: str) -> tuple[str, ...]:
    """The pieces of a text that are marked."""
    return tuple(_MARKED.findall(text))


def _occurs(label: str, text: str, marked: Sequence[str]) -> bool:
    places = marked or (text,)
    return any(label_meaning(label).casefold() in place.casefold() for place in places)
