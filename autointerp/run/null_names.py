"""What null runs there are (`run.null_run` makes them), and how a source tells that it is of one: by its name."""

from collections.abc import Iterable
from typing import Literal, get_args

NullRun = Literal["random-coder", "random-model"]
NULL_RUNS: dict[NullRun, str] = {
    "random-coder": "a coder of random directions, which learned nothing",
    "random-model": "a model of shuffled weights, which learned nothing",
}


def null_source(name: str, kind: NullRun) -> str:
    """The name of a null run's model or source, made of the true one's."""
    return f"{name}-{kind}"


def null_of(source_id: str) -> NullRun | None:
    """Which null run a source is of; None of a true one."""
    model, _, source = source_id.partition("@")
    kinds: tuple[NullRun, ...] = get_args(NullRun)
    return next((kind for kind in kinds if model.endswith(f"-{kind}") or source.endswith(f"-{kind}")), None)


def null_lines(source_ids: Iterable[str]) -> list[str]:
    """A line for each null run that sources are of."""
    kinds = {kind for source_id in source_ids if (kind := null_of(source_id)) is not None}
    return [f"null run: {NULL_RUNS[kind]}" for kind in sorted(kinds)]
