"""A commented starting file for `autointerp new`: every key there is, set or with its default behind a comment sign."""

import re
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from autointerp.config import Pipeline
from autointerp.config.file import as_toml, pipeline_path, read_toml
from autointerp.errors import PipelineError, file_error
from autointerp.explain.registry import BUILT_IN as EXPLAINERS
from autointerp.score.registry import BUILT_IN as SCORERS

_CHOICES = {"explainer": EXPLAINERS, "scorers": SCORERS}
_HEADER = """\
# A pipeline of autointerp, begun from `{origin}`.
# Lines behind a comment sign show the other keys with their defaults. Run it with
#   autointerp run {file}
# `--set key=value` overrides a key for one run. API keys come from the environment only.
"""


def write_starting_file(path: Path, origin: str) -> None:
    """Write a starting file that has what the ready-made pipeline `origin` sets, and shows the rest.

    Raises:
        PipelineError: If the file exists already, or its folder does not.
    """
    text = starting_file(pipeline_path(origin), path)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise PipelineError(f"{path} exists already", "give another name") from error
    except OSError as error:
        raise file_error(error, path, PipelineError) from error


def starting_file(origin: Path, path: Path) -> str:
    """The text of a starting file, valid TOML that loads to the same pipeline but for its name."""
    content = read_toml(origin)
    content["name"] = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)
    parts = [_HEADER.format(origin=origin.stem, file=path), *_lines(Pipeline, content, prefix="")]
    return "\n".join(parts) + "\n"


def _lines(model: type[BaseModel], content: dict[str, Any], prefix: str) -> list[str]:
    plain, tables = [], []
    for name, field in model.model_fields.items():
        table = _table_of(field)
        if table is None:
            plain.append(_key_line(name, field, content))
        else:
            is_set = name in content
            marker = "" if is_set or not _is_optional(field) else "# "
            title = f"{prefix}{name}"
            inside = _lines(table, content.get(name, {}), prefix=f"{title}.")
            shown = [line if not marker or line.startswith("#") or not line else f"# {line}" for line in inside]
            tables += ["", f"{marker}[{title}]", *shown]
    return [*plain, *tables]


def _key_line(name: str, field: FieldInfo, content: dict[str, Any]) -> str:
    said = "; ".join(filter(None, (", ".join(_CHOICES.get(name, ())), field.description)))
    remark = f"  # {said}" if said else ""
    if name in content:
        return f"{name} = {as_toml(content[name])}{remark}"
    default = field.get_default()
    return f"# {name} = {'…' if default is None else as_toml(default)}{remark}"


def _table_of(field: FieldInfo) -> type[BaseModel] | None:
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _is_optional(field: FieldInfo) -> bool:
    return NoneType in get_args(field.annotation)
