"""One answer under way: what was read and what was generated, which edits hold where, and what its rules have said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Bool, Float32

from autointerp.errors import GenerationError
from autointerp.live.generation.cache import TextCache
from autointerp.live.generation.changes import Compiled, Editors
from autointerp.live.generation.choose import Chosen
from autointerp.live.generation.request import Abort, Event, GenerationRequest, Happening, Likeliest, Rule
from autointerp.live.generation.text import AnswerText
from autointerp.records.live import EditScope, FeatureName, SourceEdits

LONGEST_PASS = 512
"""Tokens of one text that are read at once: others don't wait longer than that."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A handler that is asked, and of what."""

    rule: Rule
    event: Event
    happening: Happening


class Row:
    """An answer under way.

    Args:
        request: What is asked.
        text: Its text, as it comes.
        editors: Of the subject's sources.
        cache: For what is read; None for an answer whose tokens each read all before them again.

    Attributes:
        tokens: Of the prompt, and what was generated.
        n_read: Tokens that were read as they are edited.
        n_judged: Tokens at which rules were evaluated.
        log_probs: Of generated tokens.
        likeliest: In the place of each.
        events: All that happened.
        asked: Handlers whose answer is waited for.
        is_aborted: Whether a rule has ended it.
    """

    def __init__(self, request: GenerationRequest, text: AnswerText, editors: Editors, cache: TextCache | None) -> None:
        self.request, self.text, self.cache = request, text, cache
        self.tokens = list(request.prompt)
        self.n_read = self.n_judged = 0
        self.log_probs: list[float] = []
        self.likeliest: list[Likeliest] = []
        self.events: list[Happening] = []
        self.asked: tuple[Asked, ...] = ()
        self.is_aborted = False
        self._n_told = 0
        self._editors = editors
        self._longest_pass = LONGEST_PASS
        # The request's own edits come first; which of all hold at a token is told by their numbers.
        self._edits: list[tuple[SourceEdits, ...]] = [tuple(of for of in request.edits if of.edits)]
        self._lasting: list[tuple[int, int]] = []
        self._at_token: dict[int, list[int]] = {}
        self._compiled: dict[tuple[int, ...], Compiled] = {(): {}}
        self._rules = dict(enumerate(request.rules))
        self._n_rules = len(self._rules)
        self.features = self._needed()

    @property
    def n_prompt(self) -> int:
        """Tokens of the prompt."""
        return len(self.request.prompt)

    @property
    def is_judged(self) -> bool:
        """Whether rules are to be evaluated still."""
        return bool(self._rules)

    def compiled(self, position: int) -> Compiled:
        """What is done at a token, as far as is known."""
        numbers = self._holding(position)
        if numbers not in self._compiled:
            self._compiled[numbers] = self._editors.compile(chain.from_iterable(self._edits[n] for n in numbers))
        return self._compiled[numbers]

    def is_disturbed(self, end: int) -> bool:
        """Whether edits at the tokens from `n_read` to an end change what rules see of those tokens."""
        if not self._rules:
            return False
        edited = {source_id for position in range(self.n_read, end) for source_id in self.compiled(position)}
        return self._editors.disturbs(edited, self.features)

    def next_end(self) -> int:
        """Up to where the row is read next."""
        if self.cache is None and not self._rules:
            return len(self.tokens)
        return min(len(self.tokens), self.n_read + self._longest_pass)

    def keep(self, n_read: int, tried: int) -> None:
        """Say up to where a pass that went up to `tried` was right."""
        if n_read < tried:
            self._longest_pass = max(1, n_read - self.n_read)
        else:
            self._longest_pass = min(LONGEST_PASS, 2 * self._longest_pass)
        self.n_read = n_read
        if self.cache is not None:
            self.cache.cut(n_read)

    def take(self, chosen: Chosen) -> None:
        """Take a generated token."""
        self.tokens.append(chosen.token_id)
        self.log_probs.append(chosen.log_prob)
        self.likeliest.append(chosen.likeliest)

    def untold(self) -> tuple[Happening, ...]:
        """What happened since this was asked last."""
        new = tuple(self.events[self._n_told :])
        self._n_told = len(self.events)
        return new

    def n_edited(self) -> tuple[int, int]:
        """How many tokens of the prompt, and of what was generated, were edited, of those that were read."""
        edited = [bool(self._holding(position)) for position in range(self.n_read)]
        return sum(edited[: self.n_prompt]), sum(edited[self.n_prompt :])

    def judge(self, first: int, activations: Mapping[FeatureName, Float32[np.ndarray, " token"]]) -> int | None:
        """Evaluate the rules at tokens that were read.

        Args:
            first: Position of the first of them.
            activations: Of the rules' features, there.

        Returns:
            The first token whose edits, or a handler's, are other than those that it was read with: what was read from
            there on does not count. None where there is none.

        Raises:
            GenerationError: If a rule gives something else than one truth value a token.
        """
        n = len(next(iter(activations.values())))
        held = {number: _held(rule, activations, n) for number, rule in self._rules.items()}
        after = -1
        while (place := self._next_place(held, after)) is not None:
            after = place
            position = first + place
            self.n_judged = position + 1
            asked: list[Asked] = []
            is_changed = False
            due = [number for number, where in held.items() if where[place] and number in self._rules]
            for number in due:  # grows by the rules in those that hold
                rule = self._rules[number]
                if rule.lasting == "rest":
                    del self._rules[number]
                for inner in rule.inner:
                    self._n_rules += 1
                    self._rules[self._n_rules] = inner
                    held[self._n_rules] = _held(inner, activations, n)
                    due += [self._n_rules] if held[self._n_rules][place] else []
                if isinstance(rule.then, tuple):
                    is_changed |= self.add(rule.then, rule.lasting == "rest", position)
                    continue
                happening = self._happening(rule, rule.then.name, position, place, activations)
                self.events.append(happening)
                if isinstance(rule.then, Abort):
                    self.is_aborted = True
                    return position
                if rule.then.handler is not None:
                    asked.append(Asked(rule, rule.then, happening))
            self.features = self._needed()
            self.asked = tuple(asked)
            if is_changed or asked:
                return position
        self.n_judged = max(self.n_judged, first + n)
        return None

    def _next_place(self, held: Mapping[int, Bool[np.ndarray, " token"]], after: int) -> int | None:
        """The next place at which a rule holds that is still there."""
        still = [where[after + 1 :] for number, where in held.items() if number in self._rules]
        places = np.flatnonzero(np.logical_or.reduce(still)) if still else np.zeros(0, dtype=np.int64)
        return after + 1 + int(places[0]) if len(places) else None

    def add(self, edits: tuple[SourceEdits, ...], is_lasting: bool, position: int) -> bool:
        """Edit a token, and all after it where that is so; says whether there is anything to edit."""
        edits = tuple(of for of in edits if of.edits)
        if not edits:
            return False
        number = next((n for n, known in enumerate(self._edits[1:], start=1) if known == edits), len(self._edits))
        if number == len(self._edits):
            self._edits.append(edits)
        if is_lasting:
            self._lasting.append((number, position))
        else:
            self._at_token.setdefault(position, []).append(number)
        return True

    def _holding(self, position: int) -> tuple[int, ...]:
        """Numbers of the edits that hold at a token."""
        own = [0] if self._edits[0] and self._is_in_scope(self.request.scope, position) else []
        lasting = [number for number, first in self._lasting if position >= first]
        return (*own, *lasting, *self._at_token.get(position, ()))

    def _is_in_scope(self, scope: EditScope, position: int) -> bool:
        match scope.kind:
            case "all":
                return True
            case "generated":
                return position >= self.n_prompt
            case "from":
                return position >= scope.position
            case "role":
                roles = self.request.roles
                if position >= self.n_prompt:
                    return scope.role == "assistant"
                return roles is not None and roles[position] is not None and roles[position] == scope.role

    def _needed(self) -> dict[str, tuple[int, ...]]:
        """Features that the rules need, by source."""
        names = sorted({name for rule in self._rules.values() for each in rule.all() for name in each.features})
        by_source: dict[str, list[int]] = {}
        for source_id, feature in names:
            by_source.setdefault(source_id, []).append(feature)
        return {source_id: tuple(features) for source_id, features in by_source.items()}

    def _happening(
        self,
        rule: Rule,
        name: str,
        position: int,
        place: int,
        activations: Mapping[FeatureName, Float32[np.ndarray, " token"]],
    ) -> Happening:
        return Happening(
            name,
            position,
            tuple(self.tokens[: position + 1]),
            self.n_prompt,
            {feature: float(activations[feature][place]) for feature in rule.features},
        )


def _held(
    rule: Rule, activations: Mapping[FeatureName, Float32[np.ndarray, " token"]], n_tokens: int
) -> Bool[np.ndarray, " token"]:
    held = np.asarray(rule.holds({name: activations[name] for name in rule.features}))
    if held.shape != (n_tokens,) or held.dtype != np.bool_:
        raise GenerationError(
            f"a rule's condition gave {held.dtype} of shape {held.shape} for {n_tokens} tokens",
            "have it give one truth value a token",
        )
    return held


def stacked(rows: Sequence[Row]) -> dict[str, tuple[int, ...]]:
    """Features that the rules of several rows need, by source."""
    needed: dict[str, set[int]] = {}
    for row in rows:
        for source_id, features in row.features.items():
            needed.setdefault(source_id, set()).update(features)
    return {source_id: tuple(sorted(features)) for source_id, features in sorted(needed.items())}
