"""Anthropic's batch endpoint through the `anthropic` SDK.

A batch is one message with all requests in it; its results are one stream. The provider keeps no name of ours: a batch
of which we know no id is recognised by its number of requests, and for certain only by the requests' names in its
results, which can be read when it is over.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Sequence
from datetime import datetime
from typing import Any, Literal, cast

import pydantic
from anthropic import APIConnectionError, APIStatusError, AsyncAnthropic, AsyncStream
from httpx2 import HTTPError, Response, Timeout

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
from autointerp.llm.providers.anthropic import message_body, read_message
from autointerp.llm.providers.connections import UNWRAPPED, broken_connection
from autointerp.llm.providers.errors import HttpProblem, not_an_answer
from autointerp.llm.providers.keys import without_key

_PATH = "/v1/messages/batches"
_UPLOAD_TIMEOUT_S = 600.0
_CLOCKS_DIFFER_S = 3600.0
_PAGE = 100
_STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class _Counts(pydantic.BaseModel):
    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def n_done(self) -> int:
        return self.succeeded + self.errored + self.canceled + self.expired


class _Batch(pydantic.BaseModel):
    id: str
    type: Literal["message_batch"]
    processing_status: str
    request_counts: _Counts
    created_at: datetime


class _Page(pydantic.BaseModel):
    data: list[_Batch]
    has_more: bool = False


class _Result(pydantic.BaseModel):
    type: str
    message: Any = None
    error: Any = None


class _Line(pydantic.BaseModel):
    custom_id: str
    result: _Result


class AnthropicBatches:
    """Anthropic's batch endpoint; see `service.BatchService`."""

    most_requests = 100_000
    most_bytes = 256_000_000

    def __init__(self, config: ModelConfig, key: str) -> None:
        self._config = config
        self._key = key
        self._client = AsyncAnthropic(api_key=key, base_url=config.base_url, max_retries=0, timeout=config.timeout_s)

    def line(self, key: str, request: Request[AnswerT], repair: Repair | None, *, structured: bool) -> bytes:
        """One request as it stands in the batch."""
        params = message_body(request, repair, self._config, structured=structured)
        return json.dumps({"custom_id": key, "params": params}).encode()

    async def submit(self, lines: Sequence[bytes], name: str) -> str | Unsure | Trouble | HttpProblem:
        """Send all requests; its name stays with us."""
        sending = self._client.post(
            _PATH,
            content=b'{"requests":[' + b",".join(lines) + b"]}",
            options={
                "headers": {"Content-Type": "application/json"},
                "timeout": Timeout(max(_UPLOAD_TIMEOUT_S, self._config.timeout_s)),
            },
            cast_to=Response,
        )
        batch = read_json(await self._text(sending), _Batch)
        return batch.id if isinstance(batch, _Batch) else unsure(batch)

    async def find(self, name: str, n_requests: int, since: float) -> list[Candidate] | Trouble | HttpProblem:
        """Look for batches of so many requests, the newest first."""
        found: list[Candidate] = []
        after: dict[str, str] = {}
        while True:
            query = {"limit": str(_PAGE), **after}
            page = read_json(
                await self._text(self._client.get(_PATH, options={"params": query}, cast_to=Response)), _Page
            )
            if not isinstance(page, _Page):
                return page
            for batch in page.data:
                counts = batch.request_counts
                is_late_enough = batch.created_at.timestamp() >= since - _CLOCKS_DIFFER_S
                if is_late_enough and counts.n_done + counts.processing == n_requests:
                    look = _look(batch)
                    found.append(Candidate(batch.id, False, look.is_over, look.results))
            if not page.has_more or not page.data or page.data[-1].created_at.timestamp() < since - _CLOCKS_DIFFER_S:
                return found
            after = {"after_id": page.data[-1].id}

    async def look(self, batch_id: str) -> BatchLook | Trouble | HttpProblem:
        """See how far a batch is."""
        batch = read_json(await self._text(self._client.get(f"{_PATH}/{batch_id}", cast_to=Response)), _Batch)
        return _look(batch) if isinstance(batch, _Batch) else batch

    async def results(self, where: str) -> AsyncGenerator[BatchResult | Trouble | HttpProblem, None]:
        """Read the results."""
        opening = self._client.get(
            f"{_PATH}/{where}/results", cast_to=Response, stream=True, stream_cls=AsyncStream[object]
        )
        opened = await self._response(cast(Awaitable[Response], opening))
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
    return BatchLook(
        is_over=batch.processing_status == "ended",
        n_done=batch.request_counts.n_done,
        results=(batch.id,),
    )


def _result(text: str) -> BatchResult | Trouble:
    try:
        line = _Line.model_validate_json(text)
    except pydantic.ValidationError as error:
        return not_an_answer(200, text, error.errors(include_url=False, include_input=False)[0]["msg"])
    return BatchResult(line.custom_id, _outcome(line.result))


def _outcome(result: _Result) -> RawAnswer | HttpProblem | Trouble | NotDone:
    if result.type == "succeeded":
        return read_message(200, json.dumps(result.message))
    if result.type in ("expired", "canceled"):
        return NotDone(result.type)
    # The error's kind is all that is left of its status.
    error = result.error.get("error", result.error) if isinstance(result.error, dict) else None
    kind = error.get("type") if isinstance(error, dict) else None
    return HttpProblem(_STATUS_OF.get(str(kind), 500), json.dumps(result.error), {})
