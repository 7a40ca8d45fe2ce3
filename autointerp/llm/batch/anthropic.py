"""Anthropic's batch endpoint through the `anthropic` SDK.

A batch is one message with all requests in it; its results are one stream. The provider keeps no name of ours: a batch
of which we know no id is recognised by its number of requests, and for certain only by the requests' names in its
results, which can be read when it is over.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

import pydantic

from autointerp.llm.batch.sdk import DescribedBatch, Page, SdkBatches
from autointerp.llm.batch.service import BatchLook, BatchResult, NotDone, Unsure
from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request, Trouble
from autointerp.llm.providers.anthropic import ANTHROPIC, message_body, read_message
from autointerp.llm.providers.body import mapping
from autointerp.llm.providers.manner import Manner
from autointerp.llm.providers.problem import HttpProblem, status_of
from autointerp.llm.providers.sdk import read_json


class _Counts(pydantic.BaseModel):
    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def n_done(self) -> int:
        return self.succeeded + self.errored + self.canceled + self.expired


class _Batch(DescribedBatch):
    type: Literal["message_batch"]
    processing_status: str
    request_counts: _Counts


class _Result(pydantic.BaseModel):
    type: str
    message: Any = None
    error: Any = None


class _Line(pydantic.BaseModel):
    custom_id: str
    result: _Result


class AnthropicBatches(SdkBatches[_Batch]):
    """Anthropic's batch endpoint; see `sdk.SdkBatches`."""

    most_requests = 100_000
    most_bytes = 256_000_000
    path = "/v1/messages/batches"
    after = "after_id"
    batch = _Batch
    page = Page[_Batch]
    dialect = ANTHROPIC

    def line(self, key: str, request: Request[AnswerT], repair: Repair | None, manner: Manner) -> bytes:
        """One request as it stands in the batch."""
        params = message_body(request, repair, self._config, manner)
        return json.dumps({"custom_id": key, "params": params}).encode()

    async def submit(self, lines: Sequence[bytes], name: str) -> str | Unsure | Trouble | HttpProblem:
        """Send all requests; their batch's name stays with us."""
        content = b'{"requests":[' + b",".join(lines) + b"]}"
        return self._made(await self._client.upload(self.path, "application/json", content=content))

    def read_look(self, batch: _Batch) -> BatchLook:
        return BatchLook(
            is_over=batch.processing_status == "ended",
            n_done=batch.request_counts.n_done,
            results=(batch.id,),
        )

    def is_ours(self, batch: _Batch, name: str, n_requests: int) -> bool | None:
        counts = batch.request_counts
        return None if counts.n_done + counts.processing == n_requests else False

    def results_path(self, where: str) -> str:
        return f"{self.path}/{where}/results"

    def read_line(self, text: str) -> BatchResult | Trouble:
        line = read_json(text, _Line)
        return BatchResult(line.custom_id, _outcome(line.result)) if isinstance(line, _Line) else line


def _outcome(result: _Result) -> RawAnswer | HttpProblem | Trouble | NotDone:
    if result.type == "succeeded":
        return read_message(200, result.message if isinstance(result.message, str) else json.dumps(result.message))
    if result.type in ("expired", "canceled"):
        return NotDone(result.type)
    # The error's kind is all that is left of its status.
    return HttpProblem(status_of(mapping(result.error)), json.dumps(result.error))
