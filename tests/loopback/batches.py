"""A loopback server with both providers' batch endpoints, over the same oracle as single calls.

    with BatchServer(oracle) as server:
        server.is_held = True          # batches are taken, and nothing of them is carried out
        server.faults["look"] = [Drop()]

A batch is carried out when it is looked at or listed: all of it, or `n_per_look` of its requests. What the oracle says
to each becomes its result: `Say` an answer, `Http` an error, `Raw` an answer that is none, `Stall` one that came too
late, `Drop` no result at all. Nothing is forgotten, so a client that was killed finds its batches again.
"""

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.loopback.server import (
    Call,
    Drop,
    Http,
    LoopbackServer,
    Oracle,
    Outcome,
    Provider,
    Raw,
    Say,
    Stall,
    Unspoken,
    error_body,
    parse_call,
)

_PATHS = re.compile(r"/v1/(?:files|batches|messages/batches)(?:/|$)")
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass
class Batch:
    """A batch at the server.

    Attributes:
        batch_id: Its id.
        provider: Whose protocol it came in.
        requests: (custom_id, body) of each.
        metadata: As sent.
        headers: Of the request that made it.
        refusal: Faults for which it was refused as a whole.
        outcomes: What became of its requests so far, by custom_id.
        ended: None while it is under way, or how it ended.
        n_looks: How often it was looked at.
    """

    batch_id: str
    provider: Provider
    requests: list[tuple[str, dict[str, Any]]]
    metadata: dict[str, str]
    headers: dict[str, str]
    refusal: list[dict[str, Any]] = field(default_factory=list)
    outcomes: dict[str, tuple[Outcome, Call]] = field(default_factory=dict)
    ended: str | None = None
    n_looks: int = 0
    created_at: float = field(default_factory=time.time)


Fault = Outcome | Callable[[Outcome], Outcome]


class BatchServer(LoopbackServer):
    """See the module.

    Attributes:
        batches: All there ever were, the oldest first.
        answered: How often a request was answered, and so is to be paid, by custom_id.
        asked_for: Requests to the batch endpoints, by what they were for: upload, create, list, look, results.
        is_held: Whether batches wait.
        n_per_look: Requests carried out at each look; None for all.
        expire_after: Of the next batches to be carried out, how many requests are reached before they expire.
        refusals: Of the next batches, for what they are refused as a whole.
        room: Requests that may wait at the server together; more are refused for lack of room.
        most_in_a_batch: More requests are too large.
        faults: What happens to the next requests of a kind, instead of what should; None lets one pass. A function is
            given what the server did and says, and tells what arrives of it.
    """

    def __init__(self, oracle: Oracle, *, port: int = 0) -> None:
        super().__init__(oracle, port=port)
        self.batches: list[Batch] = []
        self.answered: Counter[str] = Counter()
        self.asked_for: Counter[str] = Counter()
        self.is_held = False
        self.n_per_look: int | None = None
        self.expire_after: list[int] = []
        self.refusals: list[list[dict[str, Any]]] = []
        self.room: int | None = None
        self.most_in_a_batch: int | None = None
        self.faults: dict[str, list[Fault | None]] = defaultdict(list)
        self._files: dict[str, bytes] = {}

    def forget_results(self) -> None:
        """Keep batches, but not what they brought."""
        self._files.clear()
        for batch in self.batches:
            batch.ended = "archived"

    def other(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Unspoken | None:
        """Answer a request to one of the batch endpoints."""
        url = urlsplit(target)
        if not _PATHS.match(url.path):
            return None
        provider: Provider = "anthropic" if "/messages/" in url.path else "openai"
        kind = _kind(method, url.path)
        self.asked_for[kind] += 1
        fault = self.faults[kind].pop(0) if self.faults[kind] else None
        if fault is not None and not callable(fault):
            return _as_body(fault, provider)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        answer = self._answer_to(kind, provider, url.path, query, headers, body)
        return _as_body(answer if fault is None else fault(answer), provider)

    def _answer_to(
        self, kind: str, provider: Provider, path: str, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> Outcome:
        match kind:
            case "upload":
                return self._upload(headers, body)
            case "create":
                return self._create(provider, headers, json.loads(body))
            case "list":
                return self._list(provider, query)
            case "look":
                return self._look(provider, path.rsplit("/", 1)[1])
        return self._results(provider, path.rsplit("/", 2)[1])

    def _upload(self, headers: dict[str, str], body: bytes) -> Outcome:
        message = message_from_bytes(b"Content-Type: " + headers["content-type"].encode() + b"\r\n\r\n" + body)
        parts = {part.get_param("name", header="content-disposition"): part for part in message.walk()}
        assert parts["purpose"].get_payload() == "batch"
        file_id = f"file-{len(self._files)}"
        content = parts["file"].get_payload(decode=True)
        assert isinstance(content, bytes)
        self._files[file_id] = content
        return _json({"id": file_id, "object": "file", "purpose": "batch", "bytes": len(content)})

    def _create(self, provider: Provider, headers: dict[str, str], body: dict[str, Any]) -> Outcome:
        metadata: dict[str, str] = {}
        if provider == "openai":
            if body["input_file_id"] not in self._files:
                return Http(400, "no such file")
            assert (body["endpoint"], body["completion_window"]) == ("/v1/chat/completions", "24h")
            lines = [json.loads(line) for line in self._files[body["input_file_id"]].splitlines()]
            assert all((line["method"], line["url"]) == ("POST", body["endpoint"]) for line in lines)
            requests = [(line["custom_id"], line["body"]) for line in lines]
            metadata = body["metadata"]
        else:
            requests = [(request["custom_id"], request["params"]) for request in body["requests"]]
        names = [name for name, _ in requests]
        assert len(set(names)) == len(names), "custom_ids must differ"
        assert all(_CUSTOM_ID.fullmatch(name) for name in names)
        if self.most_in_a_batch is not None and len(names) > self.most_in_a_batch:
            return Http(413, "the batch is too large", kind="request_too_large")
        batch = Batch(f"batch_{len(self.batches)}", provider, requests, metadata, headers)
        if self.refusals:
            batch.refusal = self.refusals.pop(0)
        n_waiting = sum(len(other.requests) for other in self.batches if other.ended is None)
        if self.room is not None and n_waiting + len(requests) > self.room:
            batch.refusal = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached for m"}]
        self.batches.append(batch)
        return _json(self._shown(batch))

    def _list(self, provider: Provider, query: dict[str, str]) -> Outcome:
        found = [batch for batch in reversed(self.batches) if batch.provider == provider]
        after = query.get("after", query.get("after_id"))
        if after is not None:
            ids = [batch.batch_id for batch in found]
            found = found[ids.index(after) + 1 :]
        page = found[: int(query.get("limit", "20"))]
        for batch in page:
            self._go_on(batch)
        return _json({"data": [self._shown(batch) for batch in page], "has_more": len(found) > len(page)})

    def _look(self, provider: Provider, batch_id: str) -> Outcome:
        batch = self._find(provider, batch_id)
        if batch is None:
            return Http(404, f"no batch {batch_id}", kind="not_found_error")
        batch.n_looks += 1
        self._go_on(batch)
        return _json(self._shown(batch))

    def _go_on(self, batch: Batch) -> None:
        if batch.refusal:
            batch.ended = "failed"
        elif not self.is_held and batch.ended is None:
            self._carry_out(batch)

    def _find(self, provider: Provider, batch_id: str) -> Batch | None:
        return next((b for b in self.batches if (b.provider, b.batch_id) == (provider, batch_id)), None)

    def _carry_out(self, batch: Batch) -> None:
        reached = self.expire_after[0] if self.expire_after else len(batch.requests)
        end = min(reached, len(batch.outcomes) + (self.n_per_look or len(batch.requests)))
        for name, body in batch.requests[len(batch.outcomes) : end]:
            call = parse_call(len(self.calls), batch.provider, batch.headers, body)
            self.calls.append(call)
            outcome = self._oracle.reply(call)
            if isinstance(outcome, Say | Raw):
                self.answered[name] += 1
            batch.outcomes[name] = (outcome, call)
        if end == reached:
            batch.ended = "expired" if self.expire_after else "completed"
            if self.expire_after:
                self.expire_after.pop(0)
            for kind, lines in self._lines(batch).items():
                self._files[f"{batch.batch_id}-{kind}"] = "".join(f"{line}\n" for line in lines).encode()

    def _lines(self, batch: Batch) -> dict[str, list[str]]:
        """Result lines, in another order than the requests'; each kind is a file where the provider has two."""
        lines: dict[str, list[str]] = {"output": [], "error": []}
        for name, _ in reversed(batch.requests):
            outcome, call = batch.outcomes.get(name, (None, None))
            if isinstance(outcome, Drop):
                continue
            build = _openai_line if batch.provider == "openai" else _anthropic_line
            envelope = self._envelope(outcome, call) if isinstance(outcome, Say) and call is not None else None
            is_answer = isinstance(outcome, Say | Raw)
            # U+2028 and its like may stand in JSON as they are, and are no line's end there.
            line = json.dumps(build(name, outcome, envelope), ensure_ascii=False)
            lines["output" if is_answer or batch.provider == "anthropic" else "error"].append(line)
        return lines

    def _results(self, provider: Provider, name: str) -> Outcome:
        content = self._files.get(name if provider == "openai" else f"{name}-output")
        if content is None:
            return Http(404, f"no results {name}", kind="not_found_error")
        return Raw(content.decode(), content_type="application/binary")

    def _shown(self, batch: Batch) -> dict[str, Any]:
        return (_openai_batch if batch.provider == "openai" else _anthropic_batch)(batch, self._files)


def _kind(method: str, path: str) -> str:
    if method == "POST":
        return "upload" if path == "/v1/files" else "create"
    if path.endswith(("/content", "/results")):
        return "results"
    return "list" if path.endswith("/batches") else "look"


def _as_body(outcome: Outcome, provider: Provider) -> Unspoken:
    if isinstance(outcome, Http):
        return Raw(error_body(outcome, provider), outcome.status, "application/json")
    assert not isinstance(outcome, Say), "an endpoint of batches says nothing"
    return outcome


def _json(content: object) -> Raw:
    return Raw(json.dumps(content), content_type="application/json")


def _openai_batch(batch: Batch, files: dict[str, bytes]) -> dict[str, Any]:
    n_done = len(batch.outcomes)
    n_answered = sum(isinstance(outcome, Say | Raw) for outcome, _ in batch.outcomes.values())
    names = {kind: f"{batch.batch_id}-{kind}" for kind in ("output", "error")}
    status = "completed" if batch.ended == "archived" else batch.ended
    return {
        "id": batch.batch_id,
        "object": "batch",
        "status": status or ("in_progress" if batch.n_looks else "validating"),
        "created_at": int(batch.created_at),
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": batch.metadata,
        "output_file_id": names["output"] if batch.ended == "archived" or files.get(names["output"]) else None,
        "error_file_id": names["error"] if files.get(names["error"]) else None,
        "request_counts": {"total": len(batch.requests), "completed": n_answered, "failed": n_done - n_answered},
        "errors": {"object": "list", "data": batch.refusal} if batch.ended == "failed" else None,
    }


def _anthropic_batch(batch: Batch, files: dict[str, bytes]) -> dict[str, Any]:
    is_over = batch.ended is not None
    n_answered = sum(isinstance(outcome, Say | Raw) for outcome, _ in batch.outcomes.values()) if is_over else 0
    n_errors = len(batch.outcomes) - n_answered if is_over else 0
    n_rest = len(batch.requests) - n_answered - n_errors
    return {
        "id": batch.batch_id,
        "type": "message_batch",
        "processing_status": "ended" if is_over else "in_progress",
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(batch.created_at)),
        "request_counts": {
            "processing": 0 if is_over else n_rest,
            "succeeded": n_answered,
            "errored": n_errors,
            "canceled": 0,
            "expired": n_rest if is_over else 0,
        },
        "results_url": f"/v1/messages/batches/{batch.batch_id}/results"
        if f"{batch.batch_id}-output" in files
        else None,
    }


def _openai_line(name: str, outcome: Outcome | None, envelope: dict[str, Any] | None) -> dict[str, Any]:
    line: dict[str, Any] = {"id": f"batch_req_{name[:8]}", "custom_id": name, "response": None, "error": None}
    match outcome:
        case None:
            line["error"] = {"code": "batch_expired", "message": "This request could not be executed in time."}
        case Http():
            body = json.loads(error_body(outcome, "openai"))
            line["response"] = {"status_code": outcome.status, "request_id": "r", "body": body}
        case Raw():
            line["response"] = {"status_code": outcome.status, "request_id": "r", "body": outcome.body}
        case Stall():
            line["error"] = {"code": "request_timeout", "message": "the model took too long"}
        case _:
            line["response"] = {"status_code": 200, "request_id": "r", "body": envelope}
    return line


def _anthropic_line(name: str, outcome: Outcome | None, envelope: dict[str, Any] | None) -> dict[str, Any]:
    result: dict[str, Any] = {"type": "succeeded", "message": envelope}
    match outcome:
        case None:
            result = {"type": "expired"}
        case Http() | Stall():
            status = outcome.status if isinstance(outcome, Http) else 504
            message = outcome.message if isinstance(outcome, Http) else "the model took too long"
            problem = Http(status, message, kind=_KINDS[status])
            result = {"type": "errored", "error": json.loads(error_body(problem, "anthropic"))}
        case Raw():
            result["message"] = outcome.body
    return {"custom_id": name, "result": result}
