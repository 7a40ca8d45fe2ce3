"""An oracle that knows what each feature is about, and answers our own prompts accordingly.

    truth = TruthOracle({"names of months": lambda text, marked: any(m in MONTHS for m in marked or text.split())})
    with LoopbackServer(truth) as server: ...

- Detection and fuzzing: the predicate of each number's label is asked about its context, with its plain text
  and the pieces of text that are marked (none in detection). A label that is not in the mapping is true where its text
  occurs: in a marked piece if there are marks, else anywhere.
- Intruder: a context is of the kind of its examples where a piece that is marked in these occurs in it.
- Simulation: a token has 10 where its word, by itself, is what the label is true of, and 0 elsewhere.
- Explanation: `explain` is given the contexts, each with its marked pieces; by default the label is the most frequent
  marked piece, in lower case, ties by the alphabet. It excludes nothing, and is about the input.
- A share `error_rate` of the judge's answers is turned round, chosen by a hash of label and context, so that the same
  question always gets the same answer.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autointerp.llm.prompts import load_prompt
from tests.loopback.server import Call, Outcome, Say

Predicate = Callable[[str, Sequence[str]], bool]
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_LISTED = rf"\[{_QUOTED}(?:, {_QUOTED})*\]"
_NUMBERED = re.compile(rf"^(\d+): (?:({_QUOTED}|{_LISTED}) \| )?({_QUOTED})", re.MULTILINE)
_TOKENS = re.compile(rf"^(\d+): ({_QUOTED}) \| (\d+) tokens: (\[.*\])$", re.MULTILINE)
_MARKED = re.compile(r"<<(.*?)>>")
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
    """

    def __init__(
        self,
        truths: Mapping[str, Predicate] | None = None,
        *,
        explain: Callable[[Sequence[Shown]], str] = most_frequent_mark,
        error_rate: float = 0.0,
    ) -> None:
        self._truths = dict(truths or {})
        self._explain = explain
        self._error_rate = error_rate

    def reply(self, call: Call) -> Outcome:
        if call.system == load_prompt("check").system:
            return Say('{"ok": true}')
        if call.system == load_prompt("judge_simulation").system:
            return Say(simulations([self._simulate(of.label, of.tokens) for of in shown_tokens(call.user)]))
        contexts = shown_contexts(call.user)
        for name, more in _EXPLANATIONS.items():
            if call.system == load_prompt(name).system:
                return Say(json.dumps({"label": self._explain(contexts), **more}))
        judges = {load_prompt(f"judge_{name}").system for name in ("detection", "fuzzing", "intruder", "intervention")}
        assert call.system in judges, f"not one of our prompts: {call.system[:80]}"
        answers = [self._judge(context) for context in contexts]
        return Say(json.dumps({"answers": answers}))

    def _judge(self, context: Shown) -> list[int]:
        label = context.label
        truth = self._truths.get(label)
        if context.examples:
            holds = any(_occurs(piece.strip(), context.text, ()) for e in context.examples for piece in marked_in(e))
        else:
            holds = truth(context.text, context.marked) if truth else _occurs(label, context.text, context.marked)
        yes = holds != self.errs(context)
        return [context.number, 95 if yes else 5]

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
    shown = []
    for number, label, text in _NUMBERED.findall(user):
        marked_text: str = json.loads(text)
        about = json.loads(label or '""')
        shown.append(
            Shown(
                int(number),
                _MARKED.sub(r"\1", marked_text),
                marked_in(marked_text),
                about if isinstance(about, str) else "",
                () if isinstance(about, str) else tuple(about),
            )
        )
    return shown


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
    return any(label.casefold() in place.casefold() for place in places)
