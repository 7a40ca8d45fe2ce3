"""A user's own query over the store: one statement, which reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import duckdb

from autointerp.errors import SearchError, in_one_line
from autointerp.text_table import table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_SHOWN = 20
_WIDTH = 60


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """What a query found.

    Attributes:
        arrow: It as a table of Arrow.

    Example:
        >>> found = client.sql("SELECT feature_index, status FROM features ORDER BY feature_index LIMIT 2")
        >>> found.columns, found.rows
        (['feature_index', 'status'], [(0, 'ok'), (1, 'ok')])
        >>> found
        feature_index  status
        0              ok
        1              ok
    """

    arrow: "pa.Table"

    @property
    def columns(self) -> list[str]:
        """Names of its columns."""
        return list(self.arrow.column_names)

    @cached_property
    def rows(self) -> list[tuple[Any, ...]]:
        """Its rows, of Python's own types."""
        return list(zip(*(column.to_pylist() for column in self.arrow.columns), strict=True))

    def to_pandas(self) -> "pd.DataFrame":
        """It as a data frame; whole numbers and booleans are of types that know missing values.

        Example:
            >>> client.sql("SELECT 1 AS a UNION ALL SELECT NULL ORDER BY a").to_pandas().a.dtype
            Int32Dtype()
        """
        import pandas as pd  # slow to import
        import pyarrow as pa

        types = {getattr(pa, f"int{n}")(): getattr(pd, f"Int{n}Dtype")() for n in (8, 16, 32, 64)}
        return self.arrow.to_pandas(types_mapper={**types, pa.bool_(): pd.BooleanDtype()}.get)

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    def __repr__(self) -> str:
        shown = zip(*(column.to_pylist() for column in self.arrow.slice(0, _SHOWN).columns), strict=True)
        lines = table(self.columns, [[_told(value) for value in row] for row in shown], left=range(len(self.columns)))
        return "\n".join([*lines, *self._more()])

    def _repr_html_(self) -> str:
        first = Table(self.arrow.slice(0, _SHOWN)).to_pandas()
        # A dollar sign in a label begins no formula.
        html: str = first.to_html(index=False, na_rep="", classes="tex2jax_ignore mathjax_ignore")
        return "\n".join([html, *self._more()])

    def _more(self) -> list[str]:
        return [f"… and {len(self) - _SHOWN:,} more"] if len(self) > _SHOWN else []


def _told(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = " ".join(str(value).split())
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"


def ask(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    parameters: Sequence[Any] | Mapping[str, Any],
    n_most: int | None = None,
) -> Table:
    """Answer a user's query.

    Args:
        connection: Open for reading. That alone does not do: what copies a table into a file only reads the store.
        query: One SELECT, which may begin with FROM, WITH, VALUES, DESCRIBE, SUMMARIZE or SHOW.
        parameters: In the places of its `?`, or of its `$name`.
        n_most: Rows at most; any number where None.

    Raises:
        SearchError: If it is another statement, DuckDB can't answer it, or it finds more rows.
    """
    if not isinstance(query, str):
        raise SearchError(f"{query!r} is no query", "give SQL as text")
    if isinstance(parameters, str) or not isinstance(parameters, Mapping | Sequence):
        raise SearchError(f"{parameters!r} are no parameters", "give them in a list, or by name")
    try:
        statements = duckdb.extract_statements(query)
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            raise SearchError(
                f"the query is {len(statements) or 'no'} statement{'s' * (len(statements) != 1)}, or does more than to"
                " read",
                "ask one SELECT at a time",
            )
        params = dict(parameters) if isinstance(parameters, Mapping) else list(parameters)
        found = connection.sql(query, params=params or None)
        assert found is not None, "a SELECT gives a relation"
        if n_most is None:
            return Table(_plain(found.to_arrow_table()))
        rows = found.limit(n_most + 1).to_arrow_table()
        if rows.num_rows > n_most:
            raise SearchError(f"the query finds more than {n_most:,} rows", "end it with a LIMIT, or count them there")
        return Table(_plain(rows))
    except duckdb.Error as error:
        raise SearchError(f"the store can't answer the query ({in_one_line(error)})", "mend it") from error


def _plain(found: "pa.Table") -> "pa.Table":
    """A table whose decimals are floats, or whole numbers where they fit: a sum of whole numbers is a decimal."""
    import pyarrow as pa

    for place, field in enumerate(found.schema):
        if pa.types.is_decimal(field.type):
            kind = pa.int64() if field.type.scale == 0 else pa.float64()
            try:
                found = found.set_column(place, field.name, found.column(place).cast(kind))
            except pa.ArrowInvalid:  # too large for 64 bits
                found = found.set_column(place, field.name, found.column(place).cast(pa.float64()))
    return found
