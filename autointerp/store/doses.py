"""The doses that a store keeps: found once, by whoever asks first."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from autointerp.records.dose import Dose
from autointerp.store.connection import prepare, reading, writing
from autointerp.store.query import fetch

# Which texts doses were found on is part of the method.
_COLUMNS = tuple(field.name for field in fields(Dose) if field.name != "found_on")


def read_doses(
    path: Path, source_id: str, features: Sequence[int], method: str, timeout_s: float
) -> Mapping[int, Dose]:
    """Those of some features that were found by a method, by their index.

    Args:
        path: The store's file.
        source_id: The source.
        features: Their indices.
        method: Fingerprint of how doses are found.
        timeout_s: How long to wait for a writer to finish its transaction.

    Raises:
        StoreError: If there is no store, or it can't be used.
    """
    wanted = {"source_id": source_id, "feature_index": list(features), "method": method}
    with reading(path, timeout_s) as connection:
        return {int(row["feature_index"]): Dose(**row) for row in fetch(connection, "doses", _COLUMNS, wanted)}


def keep_doses(path: Path, doses: Sequence[Dose], method: str, texts: str, timeout_s: float) -> None:
    """Keep doses, in place of earlier ones of the same features by the same method.

    Args:
        path: The store's file.
        doses: At least one; no feature twice.
        method: Fingerprint of how they were found.
        texts: SHA-256 of the texts on which.
        timeout_s: How long to wait for those who have the file open.

    Raises:
        StoreError: If there is no store or it can't be written; StoreBusyError after `timeout_s`.
        DiskFullError: If there is no room.
    """
    names = (*_COLUMNS, "method", "texts")
    rows = [[*(getattr(dose, name) for name in _COLUMNS), method, texts] for dose in doses]
    prepare(path, timeout_s)
    with writing(path, timeout_s) as connection:
        connection.executemany(
            "DELETE FROM doses WHERE source_id = ? AND feature_index = ? AND method = ?",
            [[dose.source_id, dose.feature_index, method] for dose in doses],
        )
        connection.executemany(f"INSERT INTO doses ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", rows)
