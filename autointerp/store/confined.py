"""A stranger's query over the store: in a process of its own, which sees no other file and ends when it must.

What only reads can still read too much: DuckDB's SELECT opens any file of the machine, takes all memory, and may have
no end. So the query of somebody who asks over a network is answered by a new process. It has nothing of this one's
environment, its DuckDB opens nothing but the store, and no setting of that can be changed; its memory, its rows and
its time are bounded.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from autointerp.errors import AutointerpError, SearchError, StoreBusyError, TimeLimitError
from autointerp.store.connection import reading
from autointerp.store.sql import ask

_TOO_MUCH = "ask for less: fewer rows, or shorter ones"
_OPEN_S = 5.0
_KINDS: Mapping[str, type[AutointerpError]] = {of.__name__: of for of in (SearchError, StoreBusyError)}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a query may take.

    Attributes:
        seconds: From its start to the last of its rows.
        rows: Of what it finds.
        memory_mib: Of DuckDB; what is found takes about as much again.
        found_mib: Of what it finds, which the server holds until it is sent.
    """

    seconds: float = 20.0
    rows: int = 100_000
    memory_mib: int = 1_024
    found_mib: int = 256


def ask_confined(
    path: Path, query: str, parameters: Sequence[Any] | Mapping[str, Any], bounds: Bounds | None = None
) -> bytes:
    """Answer a stranger's query.

    Args:
        path: The store.
        query: As of `store.sql.ask`.
        parameters: Likewise; of what JSON can hold.
        bounds: What it may take.

    Returns:
        A table in Arrow's stream format.

    Raises:
        SearchError: If it is no query that reads the store, or takes too much.
        StoreBusyError: If another process holds the store.
        TimeLimitError: If it takes too long.
    """
    bounds = bounds or Bounds()
    asked = {"path": str(path.resolve()), "query": query, "parameters": parameters, "bounds": asdict(bounds)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"],
            input=json.dumps(asked).encode(),
            capture_output=True,
            env={"LANG": "C.UTF-8"},
            cwd="/",
            timeout=bounds.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeLimitError(f"the query takes longer than {bounds.seconds:g} s", _TOO_MUCH) from error
    if done.returncode == 0:
        return done.stdout
    try:
        told = json.loads(done.stderr)
        kind, problem, remedy = _KINDS[told["kind"]], str(told["problem"]), str(told["remedy"])
    except (ValueError, KeyError, TypeError):
        raise _too_much(bounds) from None  # it was ended amid its work
    raise kind(problem, remedy)


def main() -> None:
    """Answer the query on the standard input, in a process that does nothing else."""
    asked = json.load(sys.stdin)
    bounds = Bounds(**asked["bounds"])
    resource.setrlimit(resource.RLIMIT_CPU, (int(bounds.seconds) * 8, int(bounds.seconds) * 8))
    resource.setrlimit(resource.RLIMIT_AS, ((4 * bounds.memory_mib + 4_096) * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        sys.stdout.buffer.write(_answer(Path(asked["path"]), asked["query"], asked["parameters"], bounds))
    except (SearchError, StoreBusyError) as error:
        json.dump({"kind": type(error).__name__, "problem": error.problem, "remedy": error.remedy}, sys.stderr)
        sys.exit(1)


def _answer(path: Path, query: str, parameters: Sequence[Any] | Mapping[str, Any], bounds: Bounds) -> bytes:
    import pyarrow as pa

    with reading(path, _OPEN_S) as connection:
        for setting in (
            f"memory_limit = '{bounds.memory_mib}MiB'",
            "max_temp_directory_size = '0MiB'",
            "threads = 2",
            "python_enable_replacements = false",
            "autoload_known_extensions = false",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            connection.execute(f"SET {setting}")
        try:
            found = ask(connection, query, parameters, bounds.rows).arrow
        except SearchError as error:
            if isinstance(error.__cause__, duckdb.OutOfMemoryException):
                raise _too_much(bounds) from error
            raise
    if found.nbytes > bounds.found_mib * 2**20:
        raise SearchError(f"the query finds more than {bounds.found_mib:,} MiB", _TOO_MUCH)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, found.schema) as stream:
        stream.write_table(found)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _too_much(bounds: Bounds) -> SearchError:
    return SearchError(f"the query takes more than {bounds.memory_mib:,} MiB of memory", _TOO_MUCH)
