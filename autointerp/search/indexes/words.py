"""An index of words in a folder, for millions of labels: which rows have words of a query, rarest words first.

It chooses candidates (by BM25, which tantivy has), and counts in how many labels a word is; how well each candidate
matches is then worked out from its own text, in the same way as for few labels (`word_matches`).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from autointerp.search.word_matches import words_of_label, words_of_query

_HEAP_BYTES = 128_000_000
_MOST_FETCHED = 20_000
_MOST_WORDS = 32
_KEPT_COUNTS = 100_000


class WordIndex:
    """Finds rows by words.

    Args:
        folder: What `WordWriter` wrote.
        n_rows: Rows that count: another process may be adding more.

    Raises:
        ValueError: If the folder holds no whole index.
    """

    def __init__(self, folder: Path, n_rows: int) -> None:
        import tantivy

        index = tantivy.Index.open(str(folder))
        self._schema = index.schema
        self._n_rows = n_rows
        self._searcher: Any = index.searcher()
        self._n_with: dict[str, int] = {}

    @property
    def is_whole(self) -> bool:
        """Whether it has all rows that count."""
        return int(self._searcher.num_docs) >= self._n_rows

    def candidates(
        self, query: str, n_rows: int, allowed: Bool[np.ndarray, " row"] | None = None
    ) -> Int64[np.ndarray, " candidate"]:
        """The rows that match a query's words best, ascending; none where no label has one of them.

        Args:
            query: Any text; of a long one the rarest words count.
            n_rows: Wanted.
            allowed: Rows that may be found; all where None.
        """
        import tantivy

        words = {word: self.n_labels_with(word) for word in words_of_query(query)}
        known = sorted((n, word) for word, n in words.items() if n)[:_MOST_WORDS]
        if not known:
            return np.empty(0, np.int64)
        asked = tantivy.Query.boolean_query(
            [(tantivy.Occur.Should, tantivy.Query.term_query(self._schema, "label", word)) for _, word in known]
        )
        limit = n_rows
        while True:
            hits = self._searcher.search(asked, limit, count=False).hits
            rows = np.array(self._searcher.fast_field_values("row", [at for _, at in hits]), dtype=np.int64)
            kept = rows[rows < self._n_rows]
            kept = kept if allowed is None else kept[allowed[kept]]
            if len(kept) >= n_rows or len(hits) < limit or limit >= _MOST_FETCHED:
                return np.sort(kept[:n_rows])
            limit = min(8 * limit, _MOST_FETCHED)

    def n_labels_with(self, word: str) -> int:
        """In how many labels a word is."""
        if word not in self._n_with:
            if len(self._n_with) > _KEPT_COUNTS:
                self._n_with.clear()
            self._n_with[word] = int(self._searcher.doc_freq("label", word))
        return self._n_with[word]


class WordWriter:
    """Adds labels to an index of words; nothing of it is there for others before `commit`.

    Args:
        folder: Made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        import tantivy

        folder.mkdir(exist_ok=True)
        schema = tantivy.SchemaBuilder()
        schema.add_text_field("label", stored=False, tokenizer_name="whitespace", index_option="freq")
        schema.add_unsigned_field("row", stored=False, indexed=True, fast=True)
        self._index = tantivy.Index(schema.build(), path=str(folder))
        # One thread: with several, which labels lie together in the index would be left to chance.
        self._writer: Any = self._index.writer(_HEAP_BYTES, num_threads=1)

    def n_rows(self) -> int:
        """Labels that are in the index."""
        self._index.reload()
        return int(self._index.searcher().num_docs)

    def drop_from(self, row: int) -> None:
        """Take the labels from a row on out."""
        import tantivy

        late = tantivy.Query.range_query(self._index.schema, "row", tantivy.FieldType.Unsigned, row, 2**63)
        self._writer.delete_documents_by_query(late)
        self._writer.commit()

    def add(self, first: int, labels: Iterable[str]) -> None:
        """Add the labels of rows from `first` on."""
        import tantivy

        for row, label in enumerate(labels, start=first):
            document = tantivy.Document()
            document.add_text("label", " ".join(words_of_label(label)))
            document.add_unsigned("row", row)
            self._writer.add_document(document)

    def commit(self) -> None:
        """Put what was added into the index, for all to see, and let go of it."""
        self._writer.commit()
        self._writer.wait_merging_threads()
