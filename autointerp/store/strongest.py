"""The contexts in which features fire most: found by their largest activations first, as whole contexts are heavy."""

from collections.abc import Sequence

from autointerp.records import Context
from autointerp.store.query import NOT_OF_SCORERS, columns_of, fetch
from autointerp.store.rows import contexts_of
from autointerp.store.store_file import StoreFile

_STRONGEST = f"""
SELECT context_id FROM current_contexts
WHERE source_id = $source AND feature_index IN (SELECT unnest($features)) AND max_activation > 0 AND {NOT_OF_SCORERS}
QUALIFY row_number() OVER (
    PARTITION BY feature_index ORDER BY max_activation DESC, place, block_index, start, context_id
) <= $n
"""
_ORDER = ("feature_index", "max_activation DESC", "place", "block_index", "start", "context_id")


class StrongestReader(StoreFile):
    """Reads them."""

    def strongest(self, features: Sequence[int], source_id: str, n: int) -> dict[int, list[Context]]:
        """Of features of one source, the `n` contexts in which each fires most, as far as any were built.

        Args:
            features: Their indices.
            source_id: The source.
            n: So many of each, at most.
        """
        asked = {"source": source_id, "features": list(features), "n": n}
        found: dict[int, list[Context]] = {}
        with self.session(), self._open() as connection:
            names = [str(name) for (name,) in connection.execute(_STRONGEST, asked).fetchall()]
            wanted = {"source_id": source_id, "feature_index": list(features), "context_id": names}
            rows = fetch(
                connection, "current_contexts", columns_of(Context), wanted, order=_ORDER, condition=NOT_OF_SCORERS
            )
        for context in contexts_of(rows):
            found.setdefault(context.feature_index, []).append(context)
        return found
