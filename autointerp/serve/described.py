"""The description of the API, as `GET /openapi.json` gives it: what FastAPI knows, and what it does not.

- Errors: every route can be refused, in the one shape of `errors`; FastAPI would tell of another shape for 422.
- Streams: where an answer may come as events, that stands beside JSON.
- Numbers that are none: our own client's records have them as the texts `NaN` and `Infinity` (`library.remote.shapes`).
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from autointerp.library.remote.shapes import PATH

_TOLD = (
    "Features of sparse autoencoders: their labels, scores and contexts, what they do on texts, and what their model "
    "says with them turned up or down. Where the server has a key, what runs the model, writes or spends wants it as "
    "`Authorization: Bearer KEY`."
)
_TAGS = {
    "Library": 'What `autointerp.open("http://…")` asks.',
    "Ember": "The protocol of Goodfire's Ember.",
    "OpenAI": "Chat completions, plain or steered.",
    "Neuronpedia": "The protocol of Neuronpedia.",
}
_STREAMS = ("/v1/chat/completions", "/api/inference/v1/chat/completions")
_ERROR = "ErrorReply"
_ERROR_SHAPE = {
    "type": "object",
    "description": "Why there is no answer, in OpenAI's shape; for our own client with the error's class and parts.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": {"type": "string", "description": "One line: what is wrong, and what to do about it."},
                "type": {"type": "string"},
                "param": {"type": "null"},
                "code": {"type": "integer", "description": "The status."},
                "kind": {"type": "string"},
                "problem": {"type": "string"},
                "remedy": {"type": "string"},
                "faults": {"type": "array", "items": {"type": "string"}},
            },
        }
    },
}
_REFUSED = {
    "description": "Refused",
    "content": {
        "application/json": {"schema": {"$ref": f"#/components/schemas/{_ERROR}"}},
        "text/html": {"schema": {"type": "string"}},
    },
}
_NOT_A_NUMBER = {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}


class DescribedApp(FastAPI):
    """An application that describes itself so."""

    def openapi(self) -> dict[str, Any]:
        """The description; it is made once."""
        if self.openapi_schema is None:
            self.openapi_schema = _made(self)
        return self.openapi_schema


def _made(app: FastAPI) -> dict[str, Any]:
    tags = [{"name": name, "description": told} for name, told in _TAGS.items()]
    plain: dict[str, Any] = get_openapi(
        title=app.title, version=app.version, description=_TOLD, routes=app.routes, tags=tags
    )
    schemas = plain.setdefault("components", {}).setdefault("schemas", {})
    for path, operation in _operations(plain):
        responses = operation.setdefault("responses", {})
        responses.pop("422", None)
        responses.update({"4XX": _REFUSED, "5XX": _REFUSED})
        if path in _STREAMS:
            responses["200"]["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    for name in _named(plain, schemas):
        schemas[name] = _with_no_numbers(schemas[name])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas[_ERROR] = _ERROR_SHAPE
    return plain


def _operations(plain: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, of_path in plain["paths"].items():
        for operation in of_path.values():
            yield path, operation


def _named(plain: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    """The schemas of what our own client is answered."""
    wanted = [operation["responses"].get("200", {}) for path, operation in _operations(plain) if path.startswith(PATH)]
    found: set[str] = set()
    while wanted:
        for name in _references(wanted.pop()):
            if name not in found:
                found.add(name)
                wanted.append(schemas[name])
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(named := schema.get("$ref"), str):
            yield named.rpartition("/")[2]
        for part in schema.values():
            yield from _references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _references(part)


def _with_no_numbers(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_no_numbers(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number":
        told = {name: schema[name] for name in ("title", "description", "default") if name in schema}
        return {**told, "anyOf": [{"type": "number"}, _NOT_A_NUMBER]}
    return {name: _with_no_numbers(part) for name, part in schema.items()}
