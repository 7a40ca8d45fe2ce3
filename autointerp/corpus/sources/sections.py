"""Long texts to sections of about 1,500 characters (750 to 3,000).

1. A text is cut at blank lines; inside a longer paragraph at line ends; inside a longer line at sentence ends, else at
   spaces. What is short is put together again. The sections one after another are the text.
2. A text of fewer than 3,000 characters stays one document.
3. No more than a few paragraphs are in memory at a time. A paragraph of more than a million characters is taken in
   parts, which end at the best place for a cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TextIO

from autointerp.records import Document

_SECTION_CHARACTERS = 1_500
_LEAST_SECTION_CHARACTERS = _SECTION_CHARACTERS // 2
_LEAST_LONG_FILE_CHARACTERS = 2 * _SECTION_CHARACTERS
_PART_CHARACTERS = 2**20

# Where a text may be cut, the best places first, each behind the match: blank lines, line ends, sentence ends (scripts
# without spaces have their own full stops), spaces.
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")
_LESSER_CUTS = (
    re.compile(r"\n"),
    re.compile(r"[.!?…][\"'”\u2019»)\]]*\s+|[\u3002\uff01\uff1f]+[」』”\u2019]*"),
    re.compile(r"\s+"),
)


def cut_text(name: str, text: TextIO) -> Iterator[Document]:
    """Yield a short text as one document, a long one section by section, in the file's group."""
    beginning = text.read(_LEAST_LONG_FILE_CHARACTERS)
    if len(beginning) < _LEAST_LONG_FILE_CHARACTERS:
        yield Document(name, beginning)
        return
    paragraphs = (paragraph for part in _read_parts(text, beginning) for paragraph in _cut_behind(_BLANK_LINES, part))
    pieces = (piece for paragraph in paragraphs for piece in _cut_pieces(paragraph, _LESSER_CUTS))
    for number, section in enumerate(_gather_sections(pieces), start=1):
        yield Document(f"{name}#{number}", section, name)


def _read_parts(text: TextIO, beginning: str) -> Iterator[str]:
    """A text in parts that end where a cut would be anyway."""
    kept = beginning
    while more := text.read(_PART_CHARACTERS):
        kept += more
        end = _last_cut(kept)
        if end == 0 and len(kept) >= _PART_CHARACTERS:
            end = len(kept) // _SECTION_CHARACTERS * _SECTION_CHARACTERS
        yield kept[:end]
        kept = kept[end:]
    yield kept


def _last_cut(text: str) -> int:
    """The end of the last of the best cuts in a text that goes on; 0 where there is none."""
    settled = len(text.rstrip())  # spaces or blank lines at the end may go on
    for cut in (_BLANK_LINES, *_LESSER_CUTS):
        if ends := [match.end() for match in cut.finditer(text, 0, settled)]:
            return ends[-1]
    return 0


def _cut_pieces(text: str, cuts: tuple[re.Pattern[str], ...]) -> Iterator[str]:
    """Cut a text into pieces no longer than a section, only those that are too long at the lesser places."""
    if len(text) <= _SECTION_CHARACTERS:
        yield text
    elif not cuts:
        for start in range(0, len(text), _SECTION_CHARACTERS):
            yield text[start : start + _SECTION_CHARACTERS]
    else:
        for piece in _cut_behind(cuts[0], text):
            yield from _cut_pieces(piece, cuts[1:])


def _cut_behind(cut: re.Pattern[str], text: str) -> Iterator[str]:
    ends = [match.end() for match in cut.finditer(text)]
    for start, end in pairwise([0, *ends, len(text)]):
        yield text[start:end]


def _gather_sections(pieces: Iterator[str]) -> Iterator[str]:
    """Gather consecutive pieces; a heading or a last line alone would be too short for a block of tokens."""
    before = section = ""
    for piece in pieces:
        if len(section) >= _LEAST_SECTION_CHARACTERS and len(section) + len(piece) > _SECTION_CHARACTERS:
            if before:
                yield before
            before, section = section, ""
        section += piece
    if len(section) < _LEAST_SECTION_CHARACTERS:
        section = before + section
    elif before:
        yield before
    yield section
