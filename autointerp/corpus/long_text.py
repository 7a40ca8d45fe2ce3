"""Tokens of a text of any length, in bounded memory: the same as of the text as a whole.

A tokenizer given a text takes a hundred bytes and more for each of its characters. So a long text is tokenized in parts
that overlap, and the tokens of two parts are spliced inside the overlap:

1. Each token has its place in the text. What a part's ends change in the tokens near them (a word cut through, a space
   put before the first word) is seen by their not being the same tokens at the same places in both parts.
2. The parts are spliced in the middle of the longest run of tokens that are the same in both. A run of at least
   LEAST_RUN is asked for. An encoding by byte pairs is right where each two neighboring tokens are (as in the bpe crate
   of van Antwerpen and Neubeck), and words are split and looked up by what stands near them. So what both parts say is
   what the whole text gives.
3. Where there is no such run, as in a million equal letters, the part and the overlap are taken twice as long. Past
   MOST_CHARACTERS the text is cut at the part's end, and the tokens there may be others than the whole text's.

A tokenizer written in Python does not tell places. Its parts end before white space, where a token may differ.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PART_CHARACTERS = 2**17
MOST_CHARACTERS = 2**21
OVERLAP_CHARACTERS = 2**10
LEAST_RUN = 16


class _Part(NamedTuple):
    """The tokens of the characters `start` to `end` of a text; their places count from `start`."""

    token_ids: list[int]
    places: list[tuple[int, int]]
    start: int
    end: int

    def token(self, number: int) -> tuple[int, int, int]:
        """A token's id, and where it begins and ends in the text."""
        start, end = self.places[number]
        return self.token_ids[number], self.start + start, self.start + end

    def placed(self, first: int, last: int) -> list[tuple[int, int]]:
        """Where each of some tokens begins and ends in the text."""
        return [(self.start + start, self.start + end) for start, end in self.places[first:last]]


def iter_token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> Iterator[list[int]]:
    """Yield the ids of a text's tokens in consecutive parts, without special tokens around them."""
    if not tokenizer.is_fast:
        yield from _iter_before_spaces(tokenizer, text)
        return
    for token_ids, _ in iter_placed_tokens(tokenizer, text):
        yield token_ids


def iter_placed_tokens(
    tokenizer: PreTrainedTokenizerBase, text: str
) -> Iterator[tuple[list[int], list[tuple[int, int]]]]:
    """As `iter_token_ids`, with where each token begins and ends in the text; of a tokenizer that tells places."""
    part, n_given = _tokenize(tokenizer, text, 0, PART_CHARACTERS), 0
    overlap = OVERLAP_CHARACTERS
    while part.end < len(text):
        following = _tokenize(tokenizer, text, part.end - overlap, PART_CHARACTERS)
        splice = _find_splice(part, following)
        if splice is None and part.end - part.start < MOST_CHARACTERS:
            part = _tokenize(tokenizer, text, part.start, 2 * (part.end - part.start))
            overlap *= 2
            continue
        if splice is None:
            following = _tokenize(tokenizer, text, part.end, PART_CHARACTERS)
            splice = len(part.token_ids), 0
        yield part.token_ids[n_given : splice[0]], part.placed(n_given, splice[0])
        part, n_given = following, splice[1]
        overlap = OVERLAP_CHARACTERS
    yield part.token_ids[n_given:], part.placed(n_given, len(part.places))


def _tokenize(tokenizer: PreTrainedTokenizerBase, text: str, start: int, n_characters: int) -> _Part:
    end = min(start + n_characters, len(text))
    encoded = tokenizer(
        text[start:end],
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=True,
        verbose=False,
    )
    return _Part(encoded["input_ids"], encoded["offset_mapping"], start, end)


def _find_splice(part: _Part, following: _Part) -> tuple[int, int] | None:
    """How many tokens of a part come before the splice, and how many of the following one; None where none is safe."""
    n_tokens = bisect_left(following.places, (part.end - following.start, 0))
    first = bisect_left(part.places, (following.start - part.start, 0))
    number_of = {part.token(number): number for number in range(len(part.token_ids) - 1, first - 1, -1)}
    longest, splice = LEAST_RUN - 1, None
    place = 0
    while place < n_tokens:
        number, run = number_of.get(following.token(place)), 0
        while (
            number is not None
            and number + run < len(part.token_ids)
            and place + run < n_tokens
            and part.token(number + run) == following.token(place + run)
        ):
            run += 1
        if number is not None and run > longest:
            longest, splice = run, (number + run // 2, place + run // 2)
        place += max(run, 1)
    return splice


def _iter_before_spaces(tokenizer: PreTrainedTokenizerBase, text: str) -> Iterator[list[int]]:
    start = 0
    while start < len(text):
        end = min(start + PART_CHARACTERS, len(text))
        if end < len(text):
            space = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
            end = space if space > start else end
        yield tokenizer(text[start:end], add_special_tokens=False, verbose=False)["input_ids"]
        start = end
