"""OpenAI's batch endpoint, and every server that speaks it, through the `openai` SDK.

A batch is a file of requests, uploaded first; its results are a file of answers and a file of errors. Our name of it
goes into the batch's metadata. A batch of which some requests were not reached in time has what was reached, and each
of the others as an error.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

import pydantic

from autointerp.llm.batch.sdk import DescribedBatch, Page, SdkBatches
from autointerp.llm.batch.service import BatchLook, BatchResult, NotDone, Unsure
from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request, Trouble
from autointerp.llm.providers.body import count
from autointerp.llm.providers.manner import Manner
from autointerp.llm.providers.openai import OPENAI, completion_body, read_completion
from autointerp.llm.providers.problem import HttpProblem, rejected_answer
from autointerp.llm.providers.sdk import read_json

_ENDPOINT = "/v1/chat/completions"
_NAME = "autointerp"
_OVER = frozenset({"completed", "expired", "cancelled", "failed"})
_LACKS_ROOM = frozenset({"token_limit_exceeded", "request_limit_exceeded"})


class _File(pydantic.BaseModel):
    id: str


class _Counts(pydantic.BaseModel):
    completed: int = 0
    failed: int = 0


class _Fault(pydantic.BaseModel):
    code: Any = None  # what servers put here differs, and one odd fault must not cost a batch's other results
    message: Any = None
    line: Any = None
    param: Any = None


class _Faults(pydantic.BaseModel):
    data: list[_Fault] | None = None


class _Batch(DescribedBatch):
    object: Literal["batch"]
    status: str
    metadata: dict[str, str] | None = None
    request_counts: _Counts | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: _Faults | None = None


class _Response(pydantic.BaseModel):
    status_code: Any = 0
    body: Any = None


class _Line(pydantic.BaseModel):
    custom_id: str
    response: _Response | None = None
    error: _Fault | None = None


class OpenAIBatches(SdkBatches[_Batch]):
    """OpenAI's batch endpoint; see `sdk.SdkBatches`."""

    most_requests = 50_000
    most_bytes = 200_000_000
    path = "/batches"
    after = "after"
    batch = _Batch
    page = Page[_Batch]
    dialect = OPENAI

    def line(self, key: str, request: Request[AnswerT], repair: Repair | None, manner: Manner) -> bytes:
        """One request as it stands in the file."""
        body = completion_body(request, repair, self._config, manner)
        return json.dumps({"custom_id": key, "method": "POST", "url": _ENDPOINT, "body": body}).encode()

    async def submit(self, lines: Sequence[bytes], name: str) -> str | Unsure | Trouble | HttpProblem:
        """Upload the requests, and make a batch of them."""
        requests = (f"{name}.jsonl", b"\n".join(lines) + b"\n", "application/jsonl")
        text = await self._client.upload(
            "/files", "multipart/form-data", body={"purpose": "batch"}, files={"file": requests}
        )
        file = read_json(text, _File) if isinstance(text, str) else text
        if not isinstance(file, _File):
            return file
        body = {
            "input_file_id": file.id,
            "endpoint": _ENDPOINT,
            "completion_window": "24h",
            "metadata": {_NAME: name},
        }
        return self._made(self._client.text(await self._client.post_json(self.path, body)))

    def read_look(self, batch: _Batch) -> BatchLook:
        counts = batch.request_counts or _Counts()
        # The answers' file can be a little late.
        is_complete = batch.output_file_id is not None or counts.completed == 0
        faults = (batch.errors and batch.errors.data) or []
        return BatchLook(
            is_over=batch.status in _OVER and is_complete,
            n_done=counts.completed + counts.failed,
            results=tuple(name for name in (batch.output_file_id, batch.error_file_id) if name is not None),
            refusal=_refusal(faults) if batch.status == "failed" else None,
            lacks_room=batch.status == "failed" and any(str(fault.code) in _LACKS_ROOM for fault in faults),
        )

    def is_ours(self, batch: _Batch, name: str, n_requests: int) -> bool | None:
        return (batch.metadata or {}).get(_NAME) == name

    def results_path(self, where: str) -> str:
        return f"/files/{where}/content"

    def read_line(self, text: str) -> BatchResult | Trouble:
        line = read_json(text, _Line)
        return BatchResult(line.custom_id, _outcome(line)) if isinstance(line, _Line) else line


def _refusal(faults: list[_Fault]) -> HttpProblem:
    """The first fault of a batch that was refused as a whole, in the form of an error to a single call."""
    first = faults[0] if faults else _Fault(message="it does not say why")
    place = "" if first.line is None else f"line {first.line}: "
    error = {"message": f"{place}{first.message}", "code": first.code, "param": first.param}
    return HttpProblem(400, json.dumps({"error": error}))


def _outcome(line: _Line) -> RawAnswer | HttpProblem | Trouble | NotDone:
    status = 0 if line.response is None else count(line.response.status_code)
    if line.response is not None and status != 0:
        body = _as_text(line.response.body)
        if status == 200:
            return read_completion(status, body)
        problem = HttpProblem(status, body)
        return rejected_answer(problem) or problem
    code = str((line.error and line.error.code) or "")
    if code in ("batch_expired", "batch_cancelled"):
        return NotDone(code.removeprefix("batch_"))
    message = (line.error and line.error.message) or "neither an answer nor an error"
    return Trouble("Timeout" if "timeout" in code else "ServerError", f"{code or 'error'}: {message}", retriable=True)


def _as_text(body: Any) -> str:
    """A body as it would have come by itself: some servers put it in as a text."""
    return body if isinstance(body, str) else json.dumps(body)
