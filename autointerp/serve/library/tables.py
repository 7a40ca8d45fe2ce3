"""Questions whose answers are tables: SQL, and a run as one data frame."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from autointerp.library.remote.shapes import ARROW, FRAME, PROTOCOL, SQL, Frame, Query
from autointerp.library.run import Run
from autointerp.serve.library.names import place_of
from autointerp.serve.serving import Serving

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {ARROW: {"schema": {"type": "string", "format": "binary"}}}, "description": "A table"}
}


class ArrowResponse(Response):
    """A table in Arrow's stream format."""

    media_type = ARROW


def add_routes(routes: APIRouter, serving: Serving, names: Mapping[str, int]) -> None:
    """Add the routes, over what is served."""

    @routes.post(
        f"/v{PROTOCOL}/runs/{{run}}/{SQL}",
        response_class=ArrowResponse,
        responses=_RESPONSES,
        summary="A query in DuckDB's SQL, which reads the run's store and nothing else",
        operation_id="library-sql",
    )
    async def sql(request: Request, run: str, asked: Query) -> Response:
        of = serving.client.runs[place_of(names, run)]
        found = await serving.sql.answer(request, partial(of.sql_confined, asked.query, asked.parameters))
        return ArrowResponse(found)

    @routes.post(
        f"/v{PROTOCOL}/runs/{{run}}/{FRAME}",
        response_class=ArrowResponse,
        responses=_RESPONSES,
        summary="Features with their labels and scores as one table",
        operation_id="library-frame",
    )
    async def frame(request: Request, run: str, asked: Frame) -> Response:
        of = serving.client.runs[place_of(names, run)]
        return ArrowResponse(await serving.store.answer(request, partial(_frame, of, asked)))


def _frame(run: Run, asked: Frame) -> bytes:
    import pyarrow as pa  # slow to import

    table = pa.Table.from_pandas(run.to_pandas(asked.where.read()), preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data
