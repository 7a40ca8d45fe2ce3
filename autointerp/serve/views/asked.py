"""What pages are asked, as it stands in their addresses: a form sends what is left empty as an empty text."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from autointerp.serve.shapes import Text


class Asked(BaseModel):
    """What is asked of a page; what else stands in its address is not looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


def _nothing(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _lines_as_written(value: object) -> object:
    # A browser's form sends every line break as two characters.
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


Share = Annotated[float | None, BeforeValidator(_nothing)]
OneOf = Annotated[Text | None, BeforeValidator(_nothing)]
Place = Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_nothing)]
Texts = tuple[Text, ...]
Written = Annotated[Text, BeforeValidator(_lines_as_written)]
