"""What every table of a pipeline file is: frozen, extra keys refused, its texts usable as names and paths."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator


class Frozen(BaseModel):
    """A table of a pipeline file."""

    # What is wrong may be a key or a password that stands where it does not belong.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @field_validator("*")
    @classmethod
    def _usable_as_a_name_or_path(cls, value: object) -> object:
        if isinstance(value, str) and "\0" in value:
            raise ValueError("holds the character NUL, which no name or path can")
        if isinstance(value, str) and not value.strip():
            raise ValueError("is empty, and an empty text names nothing: take the key away, or say what it is")
        if isinstance(value, str) and value.startswith("~") and "/" in value:
            try:
                Path(value).expanduser()
            except RuntimeError as error:
                raise ValueError(f"no home is known for {value.partition('/')[0]}") from error
        return value
