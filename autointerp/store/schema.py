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

_ALL_TABLES = """
SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()
UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal AND database_name = current_database()
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
    try:
        ((version,),) = connection.execute("SELECT max(version) FROM schema_version").fetchall()
    except duckdb.CatalogException:
        # Only here, since to list the tables takes longer than most reads.
        if not connection.execute(_ALL_TABLES).fetchall():
            return 0
        problem = f"{path} holds other tables, and is no store of autointerp"
        raise StoreError(problem, "give the folder of a run") from None
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
