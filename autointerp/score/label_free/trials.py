"""What a judge sees of each trial, and how common each token is.

Everything that solvers without a label work on: tokens, marks, and which trials share a prompt. What grades a guess
(`truth`, `feature`, `group`) stands beside it.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int64

from autointerp.identity import hash_key
from autointerp.records import Context

PROMPT_SIZE = 20
_SEED = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """One trial without its label.

    Attributes:
        feature: Whose label was on trial.
        group: Of the context's document.
        tokens: Of the context; joined they are its text.
        marked: Offsets of marked tokens; empty where the task marks none.
        truth: The answer that a solver guesses.
        prompt: Names the prompt that it was put in; empty where it was put alone.
        place: Orders a feature's trials in a way that tells nothing of their truth.
    """

    feature: int
    group: str
    tokens: tuple[str, ...]
    marked: tuple[int, ...]
    truth: bool
    prompt: str = ""
    place: int = 0


def shown(feature: int, context: Context, marked: Sequence[int], truth: bool, prompt: str = "") -> Shown:
    """A trial of a context, as a judge sees it."""
    place = hash_key(_SEED, "place", str(feature), context.context_id, *map(str, marked))
    group = context.group_id
    return Shown(feature, group, context.tokens, tuple(marked), truth, prompt, place)


class TokenRates:
    """How common tokens are, in text that is no part of any trial; case and white space don't count."""

    def __init__(self, contexts: Iterable[Sequence[str]]) -> None:
        self._counts = Counter(token_key(token) for tokens in contexts for token in tokens)
        self._total = sum(self._counts.values()) + 0.5 * (len(self._counts) + 1)
        self._codes: dict[str, int] = {}

    def code(self, token: str) -> int:
        """A number for the token, the same at each call."""
        return self._codes.setdefault(token_key(token), len(self._codes))

    def rarity(self, token: str) -> float:
        """Minus the logarithm of its share of the text, in nats; half a token is added to each count."""
        return float(-np.log((self._counts[token_key(token)] + 0.5) / self._total))


def token_key(token: str) -> str:
    """What makes two tokens the same."""
    return token.strip().lower() or " "


@dataclass(frozen=True)
class Table:
    """Trials as arrays; rows of short contexts are filled up on the right.

    Attributes:
        trials: The trials.
        codes: Which token stands where, -1 beyond the end.
        rarity: Of the token there, 0 beyond the end.
        is_marked: Where there is a mark.
    """

    trials: tuple[Shown, ...]
    codes: Int64[np.ndarray, "trial offset"]
    rarity: Float64[np.ndarray, "trial offset"]
    is_marked: Bool[np.ndarray, "trial offset"]

    @cached_property
    def is_token(self) -> Bool[np.ndarray, "trial offset"]:
        """Where there is a token."""
        inside: Bool[np.ndarray, "trial offset"] = self.codes >= 0
        return inside

    @cached_property
    def truth(self) -> Bool[np.ndarray, " trial"]:
        """The answers."""
        return np.array([trial.truth for trial in self.trials], dtype=bool)

    @cached_property
    def feature(self) -> Int64[np.ndarray, " trial"]:
        """The features."""
        return np.array([trial.feature for trial in self.trials], dtype=np.int64)

    @property
    def has_marks(self) -> bool:
        """Whether the task marks tokens."""
        return bool(self.is_marked.any())

    @cached_property
    def prompts(self) -> tuple[Int64[np.ndarray, " member"], ...]:
        """The rows of each prompt."""
        rows: defaultdict[str, list[int]] = defaultdict(list)
        for row, trial in enumerate(self.trials):
            rows[trial.prompt or f"alone {row}"].append(row)
        return tuple(np.array(members, dtype=np.int64) for members in rows.values())

    def in_prompts(self, prompts: Sequence[str]) -> "Table":
        """The same trials in other prompts."""
        pairs = zip(self.trials, prompts, strict=True)
        trials = tuple(dataclasses.replace(trial, prompt=prompt) for trial, prompt in pairs)
        return dataclasses.replace(self, trials=trials)

    def of_one_feature(self, size: int = PROMPT_SIZE) -> "Table":
        """The trials of each feature, `size` a prompt."""
        return self.in_prompts(
            [f"{t.feature}/{rank // size}" for t, rank in zip(self.trials, self._ranks, strict=True)]
        )

    def mixed(self, size: int = PROMPT_SIZE) -> "Table":
        """One trial of each of `size` features in a prompt."""
        order = sorted(
            range(len(self.trials)),
            key=lambda i: (self._ranks[i], hash_key(_SEED, str(self._ranks[i]), str(self.trials[i].feature))),
        )
        prompts = [""] * len(self.trials)
        rank, n_before = -1, 0
        for i in order:
            if self._ranks[i] != rank:
                rank, n_before = self._ranks[i], 0
            prompts[i] = f"round {rank}/{n_before // size}"
            n_before += 1
        return self.in_prompts(prompts)

    @cached_property
    def _ranks(self) -> list[int]:
        by_feature: defaultdict[int, list[int]] = defaultdict(list)
        for row, trial in enumerate(self.trials):
            by_feature[trial.feature].append(row)
        ranks = [0] * len(self.trials)
        for rows in by_feature.values():
            for rank, row in enumerate(sorted(rows, key=lambda i: self.trials[i].place)):
                ranks[row] = rank
        return ranks


def tabulate(trials: Sequence[Shown], rates: TokenRates) -> Table:
    """Put trials into arrays."""
    shape = len(trials), max(len(trial.tokens) for trial in trials)
    codes = np.full(shape, -1, dtype=np.int64)
    rarity = np.zeros(shape)
    is_marked = np.zeros(shape, dtype=bool)
    for row, trial in enumerate(trials):
        codes[row, : len(trial.tokens)] = [rates.code(token) for token in trial.tokens]
        rarity[row, : len(trial.tokens)] = [rates.rarity(token) for token in trial.tokens]
        is_marked[row, list(trial.marked)] = True
    return Table(tuple(trials), codes, rarity, is_marked)
