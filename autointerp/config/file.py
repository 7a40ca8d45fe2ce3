"""Reading a pipeline file: TOML by path or by a ready-made name, overrides, and errors in plain words."""

import codecs
import difflib
import json
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from autointerp.assets import asset_folder
from autointerp.config import Pipeline
from autointerp.errors import PipelineError, RunError, file_error
from autointerp.valid_text import valid_text

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_Config = TypeVar("_Config", bound=BaseModel)


def ready_made() -> tuple[str, ...]:
    """Names of the pipelines that come with the program."""
    return tuple(sorted(p.stem for p in asset_folder("pipelines").glob("*.toml")))


def pipeline_path(name_or_path: str | Path) -> Path:
    """The file of a pipeline given by path or by the name of a ready-made one.

    Raises:
        PipelineError: If there is neither.
    """
    path, name = Path(name_or_path), str(name_or_path)
    try:
        with suppress(RuntimeError):  # nobody has the home that is named
            path = path.expanduser()
        if path.is_file():
            return path
    except OSError as error:
        raise file_error(error, path, PipelineError) from error
    if name in ready_made():
        return asset_folder("pipelines") / f"{name}.toml"
    raise PipelineError(
        f"no pipeline file {name!r}",
        f"give a TOML file, or one of {', '.join(ready_made())}; `autointerp new my.toml` writes a starting file",
    )


def load_pipeline(name_or_path: str | Path, overrides: tuple[str, ...] = ()) -> Pipeline:
    """Read a pipeline file, apply `key=value` overrides, and validate.

    Args:
        name_or_path: A TOML file, or the name of a ready-made pipeline.
        overrides: For example `corpus.n_tokens=100000`. The value is read as TOML, and as a string where it is none;
            `unset` takes the key away.

    Raises:
        PipelineError: One line, naming the first wrong key and what is allowed there.

    Example:
        >>> pipeline = autointerp.load_pipeline("demo.toml", ("features.indices=0-3",))
        >>> pipeline.name, pipeline.features.indices
        ('demo', '0-3')
    """
    path = pipeline_path(name_or_path)
    content = read_toml(path)
    for override in overrides:
        _apply_override(content, override)
    try:
        return Pipeline.model_validate(content)
    except ValidationError as error:
        raise PipelineError(f"{path}: {_first_problem(error)}", _what_to_do(error)) from error


def as_kept(kind: type[_Config], content: object, file: Path) -> _Config:
    """A part of a run's configuration, as one of its files keeps it.

    Raises:
        RunError: If it has keys or values that are not known here.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise RunError(
            f"{file} is of another version of autointerp ({_first_problem(error)})",
            "use the version that made it, or start the run again with --no-resume",
        ) from error


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file, with or without a byte order mark.

    Raises:
        PipelineError: If it can't be read, is not UTF-8, or is no TOML.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise file_error(error, path, PipelineError) from error
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise PipelineError(f"{path} is UTF-16, and TOML is UTF-8", "save it as UTF-8")
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PipelineError(f"{path} is not UTF-8 (line {line})", "save it as UTF-8") from error
    except RecursionError as error:
        raise PipelineError(f"{path} is not valid TOML (nested too deep)", "mend it") from error
    except ValueError as error:  # also a number of thousands of digits
        raise PipelineError(f"{path} is not valid TOML ({error})", "mend that line") from error


def _apply_override(content: dict[str, Any], override: str) -> None:
    """Set one dotted key; the value `unset` takes a key away, so that its default holds."""
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise PipelineError(f"--set {override!r} is not key=value", "write it as --set corpus.n_tokens=100000")
    if valid_text(override) != override:
        raise PipelineError(
            f"--set {valid_text(override)} is not UTF-8", "write it in UTF-8, or rename the file that it names"
        )
    table = content
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if isinstance(table, list) and len(table) == 1:
            table = table[0]
        if isinstance(table, list):
            raise PipelineError(f"--set {dotted}: there are several tables {key!r}", "set it in the file")
        if not isinstance(table, dict):
            raise PipelineError(f"--set {dotted}: {key!r} is a value, not a table", "check the key's spelling")
    if text.strip() == "unset":
        table.pop(keys[-1], None)
    else:
        table[keys[-1]] = _toml_value(text.strip())


def as_toml(value: Any) -> str:
    """A string, number, boolean or list as TOML, which writes them as JSON does, but no surrogates and no bare DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


_PLAIN_WORDS = {
    "tuple_type": 'must be a list, for example ["a", "b"]',
    "too_short": "must have {min_length} or more entries, not {actual_length}",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "string_type": 'must be text in quotes, for example "a"',
    "bool_parsing": "must be true or false",
    "string_pattern_mismatch": "may hold letters, digits, dots, dashes and underscores only, and not only dots",
    "string_unicode": "is not UTF-8",
}


def _first_problem(error: ValidationError) -> str:
    first = _telling(error)
    key = ".".join(part for part in first["loc"] if isinstance(part, str))
    if first["type"] == "extra_forbidden":
        return f"there is no key `{key}`"
    if first["type"] == "missing":
        return f"the key `{key}` is missing"
    plain = _PLAIN_WORDS.get(first["type"])
    message = plain.format(**first.get("ctx", {})) if plain else first["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


def _what_to_do(error: ValidationError) -> str:
    first = _telling(error)
    if first["type"] == "extra_forbidden":
        table = _table_at(first["loc"][:-1])
        if table is None:
            return "remove it"
        close = difflib.get_close_matches(str(first["loc"][-1]), table.model_fields, n=1)
        meant = f"did you mean `{close[0]}`? " if close else ""
        return f"{meant}The keys there are {', '.join(table.model_fields)}"
    return "correct it in the file, or with --set key=value"


def _telling(error: ValidationError) -> "ErrorDetails":
    # A misspelt key is the cause of a missing one, so it is told first.
    problems = error.errors()
    return next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])


def _table_at(loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    table: type[BaseModel] = Pipeline
    for part in loc:
        if isinstance(part, int):  # the place in a list of tables
            continue
        annotation = table.model_fields[part].annotation if part in table.model_fields else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        tables = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not tables:
            return None
        table = tables[0]
    return table
