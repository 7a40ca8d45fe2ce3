"""A digest of what a store holds, for comparing two runs.

Order-independent: the hashes of a table's rows are added up. Times and costs are left out, because a run that was
killed and resumed must equal an uninterrupted one in everything else; so is the table `run`, which says what the run is
called, where it lies and by which server it was labelled, and `doses`, which holds what was asked about it since.
"""

import hashlib

import duckdb

_LEFT_OUT_TABLES = frozenset({"run", "doses"})
_LEFT_OUT = frozenset({"created_at", "finished_at", "cost_usd", "summary"})


def content_digest(connection: duckdb.DuckDBPyConnection) -> str:
    """SHA-256, in hexadecimal, of each compared table's name, row count and sum of row hashes."""
    columns = connection.execute(
        "SELECT c.table_name, c.column_name FROM duckdb_columns() c JOIN duckdb_tables() t USING (table_oid)"
        " WHERE c.database_name = current_database() AND t.database_name = current_database()"
        " ORDER BY c.table_name, c.column_index"
    ).fetchall()
    digest = hashlib.sha256()
    for table in sorted({str(table) for table, _ in columns} - _LEFT_OUT_TABLES):
        kept = [f'"{column}"' for owner, column in columns if owner == table and column not in _LEFT_OUT]
        ((n_rows, hashes),) = connection.execute(
            f'SELECT count(*), sum(hash(row({", ".join(kept)}))) FROM "{table}"'
        ).fetchall()
        digest.update(f"{table}:{n_rows}:{hashes}\n".encode())
    return digest.hexdigest()
