"""OpenAI's batch endpoint, and every server that speaks it, through the `openai` SDK.

A batch is a file of requests, uploaded first; its results are a file of answers and a file of errors. Our name of it
goes into the batch's metadata. A batch of which some requests were not reached in time has what was reached, and each
of the others as an error.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Sequence
from typing import Any, Literal, cast

import pydantic
from httpx2 import HTTPError, Response, Timeout
from openai import APIConnectionError, APIStatusError, AsyncOpenAI, AsyncStream

from autointerp.config import ModelConfig
from autointerp.llm.batch.service import (
    BatchLook,
    BatchResult,
    Candidate,
    NotDone,
    Unsure,
    read_json,
    split_lines,
    unsure,
)
from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request, Trouble
from autointerp.llm.providers.connections import UNWRAPPED, broken_connection
from autointerp.llm.providers.errors import HttpProblem, not_an_answer
from autointerp.llm.providers.keys import without_key
from autointerp.llm.providers.openai import completion_body, read_completion

_ENDPOINT = "/v1/chat/completions"
_NAME = "autointerp"
_UPLOAD_TIMEOUT_S = 600.0
_CLOCKS_DIFFER_S = 3600.0
_PAGE = 100
_OVER = frozenset({"completed", "expired", "cancelled", "failed"})
_LACKS_ROOM = frozenset({"token_limit_exceeded", "request_limit_exceeded"})


class _File(pydantic.BaseModel):
    id: str


class _Counts(pydantic.BaseModel):
    completed: int = 0
    failed: int = 0


class _Fault(pydantic.BaseModel):
    code: str | None = None
    message: str | None = None
    line: int | None = None
    param: str | None = None


class _Faults(pydantic.BaseModel):
    data: list[_Fault] | None = None


class _Batch(pydantic.BaseModel):
    id: str
    object: Literal["batch"]
    status: str
    created_at: float = 0.0
    metadata: dict[str, str] | None = None
    request_counts: _Counts | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: _Faults | None = None


class _Page(pydantic.BaseModel):
    data: list[_Batch]
    has_more: bool = False


class _Response(pydantic.BaseModel):
    status_code: int = 0
    body: Any = None


class _Line(pydantic.BaseModel):
    custom_id: str
    response: _Response | None = None
    error: _Fault | None = None


class OpenAIBatches:
    """OpenAI's batch endpoint; see `service.BatchService`."""

    most_requests = 50_000
    most_bytes = 200_000_000

    def __init__(self, config: ModelConfig, key: str) -> None:
        self._config = config
        self._key = key
        self._client = AsyncOpenAI(api_key=key, base_url=config.base_url, max_retries=0, timeout=config.timeout_s)

    def line(self, key: str, request: Request[AnswerT], repair: Repair | None, *, structured: bool) -> bytes:
        """One request as it stands in the file."""
        body = completion_body(request, repair, self._config, structured=structured)
        return json.dumps({"custom_id": key, "method": "POST", "url": _ENDPOINT, "body": body}).encode()

    async def submit(self, lines: Sequence[bytes], name: str) -> str | Unsure | Trouble | HttpProblem:
        """Upload the requests, and make a batch of them."""
        upload = self._client.post(
            "/files",
            body={"purpose": "batch"},
            files={"file": (f"{name}.jsonl", b"\n".join(lines) + b"\n", "application/jsonl")},
            options={
                "headers": {"Content-Type": "multipart/form-data"},
                "timeout": Timeout(max(_UPLOAD_TIMEOUT_S, self._config.timeout_s)),
            },
            cast_to=Response,
        )
        file = read_json(await self._text(upload), _File)
        if not isinstance(file, _File):
            return file
        body = {
            "input_file_id": file.id,
            "endpoint": _ENDPOINT,
            "completion_window": "24h",
            "metadata": {_NAME: name},
        }
        batch = read_json(await self._text(self._client.post("/batches", body=body, cast_to=Response)), _Batch)
        return batch.id if isinstance(batch, _Batch) else unsure(batch)

    async def find(self, name: str, n_requests: int, since: float) -> list[Candidate] | Trouble | HttpProblem:
        """Look for the batch with our name, the newest first."""
        after: dict[str, str] = {}
        while True:
            query = {"limit": str(_PAGE), **after}
            text = await self._text(self._client.get("/batches", options={"params": query}, cast_to=Response))
            page = read_json(text, _Page)
            if not isinstance(page, _Page):
                return page
            for batch in page.data:
                if (batch.metadata or {}).get(_NAME) == name:
                    look = _look(batch)
                    return [Candidate(batch.id, True, look.is_over, look.results)]
            if not page.has_more or not page.data or page.data[-1].created_at < since - _CLOCKS_DIFFER_S:
                return []
            after = {"after": page.data[-1].id}

    async def look(self, batch_id: str) -> BatchLook | Trouble | HttpProblem:
        """See how far a batch is."""
        batch = read_json(await self._text(self._client.get(f"/batches/{batch_id}", cast_to=Response)), _Batch)
        return _look(batch) if isinstance(batch, _Batch) else batch

    async def results(self, where: str) -> AsyncGenerator[BatchResult | Trouble | HttpProblem, None]:
        """Read a file of answers or of errors."""
        opened = await self._open(f"/files/{where}/content")
        if not isinstance(opened, Response):
            yield opened
            return
        try:
            async for line in split_lines(opened.aiter_bytes()):
                result = _result(without_key(line.decode("utf-8", "replace"), self._key))
                yield result
                if isinstance(result, Trouble):
                    return
        except (HTTPError, OSError) as error:
            yield Trouble("ConnectionDropped", f"the connection failed ({type(error).__name__})", retriable=True)
        finally:
            await opened.aclose()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _open(self, path: str) -> Response | Trouble | HttpProblem:
        opening = self._client.get(path, cast_to=Response, stream=True, stream_cls=AsyncStream[object])
        return await self._response(cast(Awaitable[Response], opening))

    async def _text(self, sending: Awaitable[Response]) -> str | Trouble | HttpProblem:
        response = await self._response(sending)
        return without_key(response.text, self._key) if isinstance(response, Response) else response

    async def _response(self, sending: Awaitable[Response]) -> Response | Trouble | HttpProblem:
        try:
            return await sending
        except APIStatusError as error:
            body = without_key(error.response.text, self._key)
            return HttpProblem(error.status_code, body, dict(error.response.headers))
        except (APIConnectionError, *UNWRAPPED) as error:
            return broken_connection(error, self._config.timeout_s, was_reached=True)


def _look(batch: _Batch) -> BatchLook:
    counts = batch.request_counts or _Counts()
    # The answers' file can be a little late.
    is_complete = batch.output_file_id is not None or counts.completed == 0
    faults = (batch.errors and batch.errors.data) or []
    return BatchLook(
        is_over=batch.status in _OVER and is_complete,
        n_done=counts.completed + counts.failed,
        results=tuple(name for name in (batch.output_file_id, batch.error_file_id) if name is not None),
        refusal=_refusal(faults) if batch.status == "failed" else None,
        lacks_room=batch.status == "failed" and any(fault.code in _LACKS_ROOM for fault in faults),
    )


def _refusal(faults: list[_Fault]) -> HttpProblem:
    """The first fault of a batch that was refused as a whole, in the form of an error to a single call."""
    first = faults[0] if faults else _Fault(message="it does not say why")
    place = "" if first.line is None else f"line {first.line}: "
    error = {"message": f"{place}{first.message}", "code": first.code, "param": first.param}
    return HttpProblem(400, json.dumps({"error": error}), {})


def _result(text: str) -> BatchResult | Trouble:
    try:
        line = _Line.model_validate_json(text)
    except pydantic.ValidationError as error:
        return not_an_answer(200, text, error.errors(include_url=False, include_input=False)[0]["msg"])
    return BatchResult(line.custom_id, _outcome(line))


def _outcome(line: _Line) -> RawAnswer | HttpProblem | Trouble | NotDone:
    if line.response is not None and line.response.status_code != 0:
        status, body = line.response.status_code, json.dumps(line.response.body)
        return read_completion(status, body) if status == 200 else HttpProblem(status, body, {})
    code = (line.error and line.error.code) or ""
    if code in ("batch_expired", "batch_cancelled"):
        return NotDone(code.removeprefix("batch_"))
    message = (line.error and line.error.message) or "neither an answer nor an error"
    return Trouble("Timeout" if "timeout" in code else "ServerError", f"{code or 'error'}: {message}", retriable=True)
