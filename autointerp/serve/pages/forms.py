"""Forms of pages as what they ask for."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar
from urllib.parse import parse_qs

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

_Asked = TypeVar("_Asked", bound=BaseModel)
_MOST_FIELDS = 2_000


def fields_of(body: bytes) -> Mapping[str, Sequence[str]]:
    """The fields of a form that was sent, each with its values.

    Raises:
        HTTPException: If the body is no form.
    """
    try:
        return parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise HTTPException(400, "the form can't be read: send it from its page") from error


def read_as(kind: type[_Asked], fields: Mapping[str, Sequence[str]], several: Collection[str]) -> _Asked:
    """What a form asks for.

    Args:
        kind: Of this.
        fields: The form's.
        several: Fields of which each value counts; of others the last does.

    Raises:
        RequestValidationError: If it asks for what makes no sense.
    """
    said = {name: tuple(values) if name in several else values[-1] for name, values in fields.items()}
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]) from error
