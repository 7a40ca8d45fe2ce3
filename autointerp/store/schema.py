"""The schema's version, and the numbered migrations that lead to it.

Each file `migrations/NNNN_name.sql` takes a store from version NNNN - 1 to NNNN, in one transaction. A migration that
has been released is never edited.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import duckdb

from autointerp.errors import NewerStoreError, StoreError

# Views too: of a CSV, JSON or Parquet file DuckDB makes a database in memory that holds nothing else.
_ALL_TABLES = """
SELECT table_name FROM duckdb_tables() UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema.

    Attributes:
        version: Version of the schema after the step, from 1 on.
        sql: The statements.
    """

    version: int
    sql: str


@cache
def known_migrations() -> tuple[Migration, ...]:
    """The migrations that come with this program, ascending, numbered from 1 without a gap."""
    found = [
        Migration(int(match[1]), entry.read_text(encoding="utf-8"))
        for entry in files("autointerp.store").joinpath("migrations").iterdir()
        if (match := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name))
    ]
    migrations = tuple(sorted(found, key=lambda migration: migration.version))
    assert [m.version for m in migrations] == list(range(1, len(migrations) + 1))
    return migrations


def store_version(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """The version of an open store; 0 for a database without any table or view.

    Raises:
        StoreError: If the database has tables or views, but is no store.
        NewerStoreError: If the version is above the last one known here.
    """
    tables = {name for (name,) in connection.execute(_ALL_TABLES).fetchall()}
    if not tables:
        return 0
    if "schema_version" not in tables:
        raise StoreError(f"{path} holds other tables, and is no store of autointerp", "give the folder of a run")
    ((version,),) = connection.execute("SELECT max(version) FROM schema_version").fetchall()
    known = known_migrations()[-1].version
    if version > known:
        raise NewerStoreError(
            f"{path} has schema version {version}, this program knows up to {known}",
            "upgrade autointerp, or use another run folder",
        )
    return int(version)


def migrate(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Bring an open, writable store to the last known version, each step in one transaction."""
    version = store_version(connection, path)
    for migration in known_migrations()[version:]:
        connection.begin()
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
        connection.execute(migration.sql)
        connection.execute("INSERT INTO schema_version VALUES (?)", [migration.version])
        connection.commit()
