"""How people write the words of a corpus: Python, NumPy, GPU, value.

What a model reads need not tell: some tokenizers lose capitals, and a context is too short to say whether a capital is
the name's or the sentence's. So words are counted where documents are read:

1. A spelling counts where it stands inside of a sentence, after a word and a space, comma, hyphen, slash or bracket, in
   whatever case: a capital at the start of a sentence, a heading or a line of code says nothing.
2. A word that never stands there is spelled as it is elsewhere, a mere initial capital taken off.
3. Of a word's spellings the most frequent is its own, of equally frequent ones the lower case.
4. A spelling with capitals inside (CamelCase) may be a name, as NumPy and TensorFlow are, or the identifier of a
   program. A name has two parts at most and stands again and again inside of sentences; what is none is cut into its
   parts, which are words by themselves: LocalEntryNotFoundError is local, entry, not, found and error.

The first `MOST_CHARACTERS` of a corpus are counted, so that a large one costs seconds, too.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autointerp.errors import ShardError, file_error
from autointerp.records import Document
from autointerp.records.corpus import TokenizedDocument
from autointerp.whole_file import whole_file
from autointerp.words import WORD, identifier_parts, plain_word

MOST_CHARACTERS = 20_000_000
_INSIDE = frozenset([" ", ", ", "; ", " (", "-", "/", " - "])
_NAME_PARTS = 2
_LEAST_NAMED = 5
_LEAST_NAME_RATE = 5e-5
_FILE = "spellings.json"

AnyDocument = Document | TokenizedDocument


@dataclass(frozen=True, slots=True)
class Spellings:
    """How words are written that are not written in lower case.

    Attributes:
        written: The spelling, by the word in lower case.
        cut: The parts of identifiers, by the identifier in lower case.
    """

    written: Mapping[str, str] = field(default_factory=dict)
    cut: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, word: str) -> str:
        """A word as people write it; in lower case where nothing else is known."""
        return self.written.get(plain := plain_word(word), plain)

    def parts(self, word: str) -> tuple[str, ...]:
        """The words that an identifier is glued from, as they stand in it; the word itself of all else."""
        lower = plain_word(word)
        if (found := self.cut.get(lower)) is not None:
            return found
        if lower in self.written or word == lower or len(parts := identifier_parts(word)) == 1:
            return (word,)
        return parts

    @classmethod
    def counted(cls, texts: Iterable[str]) -> Spellings:
        """The spellings of texts; see the module's steps."""
        counts = SpellingCounts()
        for text in texts:
            counts.add(text)
        return counts.spellings()

    @classmethod
    def read(cls, folder: Path) -> Spellings | None:
        """What the corpus stage kept in its folder; None where it kept nothing, as of tokens without a text.

        Raises:
            ShardError: If the file is damaged, or can't be read.
        """
        file = folder / _FILE
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            return cls(kept["written"], {word: tuple(parts) for word, parts in kept["cut"].items()})
        except FileNotFoundError:
            return None
        except OSError as error:
            raise file_error(error, file, ShardError) from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            again = f"remove the folder {folder} and run the corpus stage again"
            raise ShardError(f"{file} is damaged", again) from error

    def save(self, folder: Path) -> None:
        """Keep them beside the shards of a corpus.

        Raises:
            DiskFullError: If there is no space left.
        """
        text = json.dumps({"written": self.written, "cut": self.cut}, ensure_ascii=False, sort_keys=True)
        with whole_file(folder / _FILE) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


class SpellingCounts:
    """Counts spellings, of documents as they pass by."""

    def __init__(self) -> None:
        self._inside: Counter[str] = Counter()
        self._elsewhere: Counter[str] = Counter()
        self._n_characters = 0

    def passing(self, documents: Iterable[AnyDocument]) -> Iterator[AnyDocument]:
        """The documents, each counted as it goes by if it has a text."""
        for document in documents:
            if isinstance(document, Document):
                self.add(document.text)
            yield document

    def add(self, text: str) -> None:
        """Count the words of a text, as far as there is room for it."""
        text = text[: MOST_CHARACTERS - self._n_characters]
        self._n_characters += len(text)
        end: int | None = None  # of the word before
        for match in WORD.finditer(text):
            word = unicodedata.normalize("NFC", match.group())
            if word[0].isalpha():
                inside = end is not None and text[end : match.start()] in _INSIDE
                (self._inside if inside else self._elsewhere)[word] += 1
                end = match.end()
            elif word[0].isalnum():
                end = match.end()

    def spellings(self) -> Spellings:
        """What they come to; see steps 2 to 4 of the module."""
        n_words = self._inside.total() + self._elsewhere.total()
        least_named = max(_LEAST_NAMED, _LEAST_NAME_RATE * n_words)
        by_word: dict[str, Counter[str]] = {}
        for counts in (self._inside, self._elsewhere):
            here: dict[str, Counter[str]] = {}
            for spelling, n in counts.items():
                is_counted = counts is self._inside or spelling[1:] != spelling[1:].lower() or spelling.islower()
                if is_counted and (word := plain_word(spelling)) not in by_word:
                    here.setdefault(word, Counter())[spelling] = n
            by_word.update(here)
        written: dict[str, str] = {}
        cut: dict[str, tuple[str, ...]] = {}
        for word, of_word in by_word.items():
            own = min(of_word, key=lambda spelling: (-of_word[spelling], spelling != word, spelling))
            parts = identifier_parts(own)
            if len(parts) > _NAME_PARTS or (len(parts) > 1 and self._inside[own] < least_named):
                if len(own) == len(word):
                    cut[word] = parts
            elif own != word:
                written[word] = own
        return Spellings(written, cut)
