"""What inline code in a page may name: commands, options, keys of a pipeline, files, and what can be imported."""

import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from autointerp import Pipeline, Run
from autointerp.store.reader import Reader
from tests.docs.pages import ROOT, Span, WrongPageError
from tests.docs.world import COMMANDS, PROBLEMS, World

_COMMAND = re.compile(r"(autointerp|make|apt-get install|pip install) ")
_PATH = re.compile(r"(autointerp|benchmarks|data|docs|pipelines|prompts|tests)/[\w./-]*")
_TABLE = re.compile(r"\[{1,2}([a-z_.]+)\]{1,2}")
_KEY = re.compile(r"([a-z]+)((?:\.[a-z_]+)+)(?: = .+)?")
_SETTING = re.compile(r"([a-z_]+) = (.+)")
_OPTION = re.compile(r"(--[a-z][a-z-]+)\b.*")
_RUN = re.compile(r"run\.(?!json$)(reader\.)?(\w+)")
_IMPORT = re.compile(r"(autointerp(?:\.[a-z_]+)+)(?:\.([A-Z]\w+))?")


def check_span(span: Span, world: World) -> None:
    """Check what a piece of inline code names, where it is of a kind that is known here.

    Raises:
        WrongPageError: If there is no such thing.
    """
    try:
        _check(span, world)
    except PROBLEMS as error:
        raise WrongPageError(f"{span.place}: `{span.text}`: {error}") from error


def _check(span: Span, world: World) -> None:
    text = span.text
    if _COMMAND.match(text):
        world.command(shlex.split(text), run=False)
    elif _PATH.fullmatch(text):
        _need((ROOT / text).exists(), "there is no such file")
    elif found := _TABLE.fullmatch(text):
        _need(_at(found[1]) is not None, "a pipeline has no such table")
    elif found := _OPTION.fullmatch(text):
        _need(found[1] in _options(), "no command has this option")
    elif found := _RUN.match(text):
        home = Reader if found[1] else Run
        _need(hasattr(home, found[2]) or found[2] == "reader", f"{home.__name__} has no such attribute")
    elif found := _IMPORT.fullmatch(text):
        module = importlib.import_module(found[1])
        _need(found[2] is None or hasattr(module, found[2]), "there is no such name to import")
    elif (found := _KEY.fullmatch(text)) and found[1] in Pipeline.model_fields:
        _need(_at(found[1] + found[2]) is not None, "a pipeline has no such key")
        if " = " in text:
            world.fragment(tomllib.loads(text))
    elif found := _SETTING.fullmatch(text):
        tomllib.loads(text)
        _need(any(found[1] in table.model_fields for table in _tables(Pipeline)), "no table has such a key")


def _need(holds: bool, complaint: str) -> None:
    if not holds:
        raise WrongPageError(complaint)


def _options() -> set[str]:
    return {option for command in COMMANDS.values() for param in command.params for option in param.opts}


def _at(dotted: str) -> Any:
    """The field of a pipeline at a dotted name; None where there is none."""
    tables: list[type[BaseModel]] = [Pipeline]
    field = None
    for part in dotted.split("."):
        field = next((table.model_fields[part] for table in tables if part in table.model_fields), None)
        if field is None:
            return None
        tables = list(_models_in(field.annotation))
    return field


def _tables(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for inner in _models_in(field.annotation):
            yield from _tables(inner)


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
