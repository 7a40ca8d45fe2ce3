"""What a judge without the label can count: in one trial, and in a trial beside the others of its prompt."""

import unicodedata
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Float64, Int64

from autointerp.score.label_free.trials import Table, token_key
from autointerp.words import FUNCTION_WORDS

Numbers = Float64[np.ndarray, " trial"]
_N_COMMON = 3
Statistics = Mapping[str, Numbers]
"""By name; solvers take each as it stands, and its opposite."""


def place_statistics(table: Table) -> dict[str, Numbers]:
    """Of the marks: how many, in how many runs, and where. Empty where nothing is marked."""
    if not table.has_marks:
        return {}
    marks = table.is_marked
    length = table.is_token.sum(axis=1)
    starts = marks & ~np.pad(marks, ((0, 0), (1, 0)))[:, :-1]
    first = marks.argmax(axis=1)
    last = marks.shape[1] - 1 - marks[:, ::-1].argmax(axis=1)
    middle = _mean_where(np.broadcast_to(np.arange(marks.shape[1], dtype=float), marks.shape), marks)
    return {
        "marks": marks.sum(axis=1).astype(float),
        "runs of marks": starts.sum(axis=1).astype(float),
        "first mark": first.astype(float),
        "last mark": last.astype(float),
        "mark late in its context": middle / np.maximum(1, length - 1),
        "mark near three quarters": -np.abs(middle / length - 0.75),
        "mark near the middle": -np.abs(middle / np.maximum(1, length - 1) - 0.5),
        "span of marks": (last - first).astype(float),
    }


def text_statistics(table: Table) -> dict[str, Numbers]:
    """Of the context alone."""
    inside = table.is_token
    looks = {name: _flags(table, look) & inside for name, look in _LOOKS.items()}
    repeated = np.array([[(row == code).sum() > 1 for code in row] for row in table.codes]) & inside
    characters = np.array([len("".join(trial.tokens).strip()) for trial in table.trials], dtype=float)
    return {
        "length in tokens": inside.sum(axis=1).astype(float),
        "length in characters": characters,
        "mean rarity": _mean_where(table.rarity, inside),
        "largest rarity": table.rarity.max(axis=1),
        "share of repeated tokens": _mean_where(repeated.astype(float), inside),
        **{f"share of {name}": _mean_where(flags.astype(float), inside) for name, flags in looks.items()},
        **{f"begins with {name}": flags[:, 0].astype(float) for name, flags in looks.items()},
        **{f"ends with {name}": _last(flags, inside) for name, flags in looks.items()},
    }


def profile_statistics(table: Table) -> dict[str, Numbers]:
    """Rarity and look at each offset, from the front."""
    columns = {f"rarity at {offset}": table.rarity[:, offset] for offset in range(table.rarity.shape[1])}
    stops = _flags(table, _is_stop_word)
    return columns | {f"stop word at {offset}": stops[:, offset].astype(float) for offset in range(stops.shape[1])}


def mark_statistics(table: Table) -> dict[str, Numbers]:
    """Of the marked tokens beside the others. Empty where nothing is marked."""
    if not table.has_marks:
        return {}
    marks, rest = table.is_marked, table.is_token & ~table.is_marked
    of_marks = _mean_where(table.rarity, marks)
    copies = np.zeros(marks.shape)
    before = np.zeros(marks.shape)
    for row, offset in zip(*np.nonzero(marks), strict=True):
        same = (table.codes[row] == table.codes[row, offset]) & rest[row]
        copies[row, offset] = same.sum()
        before[row, offset] = same[:offset].any()
    below = (table.rarity < np.where(marks, table.rarity, -np.inf).max(axis=1)[:, None]) & rest
    looks = {name: _flags(table, look) for name, look in _LOOKS.items()}
    shifted = {name: np.pad(flags, ((0, 0), (1, 1))) for name, flags in looks.items()}
    return {
        "rarity of marked tokens": of_marks,
        "largest rarity of a marked token": np.where(marks, table.rarity, -np.inf).max(axis=1),
        "rarity beyond the unmarked": of_marks - _mean_where(table.rarity, rest),
        "rank of the marked token's rarity": _mean_where(below.astype(float), rest),
        "no copy unmarked in the context": -_mean_where(copies, marks),
        "first of its copies": -_mean_where(before, marks),
        "letters in marked tokens": _mean_where(_lengths(table), marks),
        **{f"marked {name}": _mean_where(flags.astype(float), marks) for name, flags in looks.items()},
        **{f"after {name}": _mean_where(flags[:, :-2].astype(float), marks) for name, flags in shifted.items()},
        **{f"before {name}": _mean_where(flags[:, 2:].astype(float), marks) for name, flags in shifted.items()},
    }


def prompt_statistics(table: Table) -> dict[str, Numbers]:
    """Of each trial beside the others of its prompt; 0 for one that stands alone."""
    found: dict[str, Numbers] = {}
    for rows in table.prompts:
        for name, values in _of_prompt(table, rows).items():
            found.setdefault(name, np.zeros(len(table.trials)))[rows] = values
    return found


def within_prompts(table: Table, values: Float64[np.ndarray, "trial column"]) -> Float64[np.ndarray, "trial column"]:
    """Each column less its mean in the prompt, over its standard deviation there."""
    relative = np.zeros_like(values)
    for rows in table.prompts:
        spread = values[rows].std(axis=0)
        relative[rows] = (values[rows] - values[rows].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return relative


def _of_prompt(table: Table, rows: Int64[np.ndarray, " member"]) -> dict[str, Numbers]:
    inside = table.is_token[rows]
    words, place = np.unique(table.codes[rows], return_inverse=True)
    place = place.reshape(inside.shape)
    rarity = np.zeros(words.size)
    rarity[place[inside]] = table.rarity[rows][inside]
    held = _holds(place, inside, words.size)
    others = held.sum(axis=0) - held
    weighted = held * rarity
    weighted /= np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), np.finfo(float).tiny)
    likeness = weighted @ weighted.T
    n_others = max(1, rows.size - 1)
    # By chance a token stands in as many of the others as its rate and their length say.
    expected = n_others * np.minimum(1.0, np.exp(-rarity) * inside.sum(axis=1).mean())
    surprise = np.where(others > expected, others * np.log(np.maximum(others, 1e-9) / expected), 0.0) * held
    same = (table.codes[rows][:, None] == table.codes[rows][None]) & inside[:, None] & inside[None]
    found = {
        "common theme": (likeness.sum(axis=1) - np.diagonal(likeness)) / n_others,
        "common word": surprise.max(axis=1),
        "common words": np.sort(surprise, axis=1)[:, -_N_COMMON:].sum(axis=1),
        "same token at the same place": ((same.sum(axis=1) - inside) * table.rarity[rows]).sum(axis=1),
    }
    if table.has_marks:
        marked = _holds(place, table.is_marked[rows], words.size)
        unmarked = _holds(place, inside & ~table.is_marked[rows], words.size)
        marked_elsewhere = marked.sum(axis=0) - marked
        unmarked_elsewhere = unmarked.sum(axis=0) - unmarked
        n_marked = marked.sum(axis=1)
        elsewhere = (marked * marked_elsewhere * rarity).sum(axis=1) / n_marked
        here = (unmarked * marked_elsewhere * rarity).max(axis=1)
        nowhere = -(marked * unmarked_elsewhere * rarity).sum(axis=1) / n_marked
        found |= {
            "marked token marked elsewhere": elsewhere,
            "marked token nowhere unmarked": nowhere,
            "no token marked elsewhere unmarked here": -here,
            "marks agree": elsewhere - here + nowhere / 2,
        }
    return found


def _holds(
    place: Int64[np.ndarray, "member offset"], where: Bool[np.ndarray, "member offset"], n_words: int
) -> Float64[np.ndarray, "member word"]:
    holds = np.zeros((len(place), n_words))
    member, offset = np.nonzero(where)
    holds[member, place[member, offset]] = 1.0
    return holds


def _is_stop_word(token: str) -> bool:
    return token_key(token) in FUNCTION_WORDS


def _is_punctuation(token: str) -> bool:
    return all(unicodedata.category(c)[0] in "PS" for c in token_key(token))


def _is_capital(token: str) -> bool:
    return token.strip()[:1].isupper()


def _has_digit(token: str) -> bool:
    return any(c.isdigit() for c in token)


def _begins_word(token: str) -> bool:
    return token[:1].isspace()


_LOOKS = {
    "stop words": _is_stop_word,
    "punctuation": _is_punctuation,
    "capitals": _is_capital,
    "digits": _has_digit,
    "beginnings of words": _begins_word,
}


def _flags(table: Table, look: Callable[[str], bool]) -> Bool[np.ndarray, "trial offset"]:
    flags = np.zeros(table.codes.shape, dtype=bool)
    for row, trial in enumerate(table.trials):
        flags[row, : len(trial.tokens)] = [look(token) for token in trial.tokens]
    return flags


def _mean_where(values: Float64[np.ndarray, "trial offset"], where: Bool[np.ndarray, "trial offset"]) -> Numbers:
    mean: Numbers = (values * where).sum(axis=1) / np.maximum(1, where.sum(axis=1))
    return mean


def _last(flags: Bool[np.ndarray, "trial offset"], inside: Bool[np.ndarray, "trial offset"]) -> Numbers:
    last: Numbers = flags[np.arange(len(flags)), inside.sum(axis=1) - 1].astype(float)
    return last


def _lengths(table: Table) -> Float64[np.ndarray, "trial offset"]:
    lengths = np.zeros(table.codes.shape)
    for row, trial in enumerate(table.trials):
        lengths[row, : len(trial.tokens)] = [len(token.strip()) for token in trial.tokens]
    return lengths
