"""Commands that run the subject on texts: inspect, contrast.

As in `look`, what a command needs is imported inside it.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from autointerp.cli.printing import print_result
from autointerp.errors import FileError

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", readable=False, help="a run folder, for example runs/demo")]
OneSource = Annotated[str | None, typer.Option("--source", metavar="SOURCE", help="which, in a run of several")]
AggregateOption = Annotated[
    str, typer.Option("--aggregate", help="what a feature does on a text: frequency, mean, max or sum over its tokens")
]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]
_TEXTS = "a folder of texts, or a file of many: .jsonl or .parquet with a column `text`"


def inspect(
    run: RunArgument,
    text: Annotated[str, typer.Argument(help="any text")],
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="features of the text to print")] = 10,
    aggregate: AggregateOption = "frequency",
    rank_by: Annotated[str, typer.Option(help="surprise, percentile or activation")] = "surprise",
    source: OneSource = None,
    as_json: JsonOption = False,
) -> None:
    """Show what features do on a text: on each of its tokens, and which stand out on the whole."""
    from autointerp.library.client import open
    from autointerp.library.inspector import check_rank
    from autointerp.text_table import shorten, table

    context = open(run).features.inspect(text, source=source, aggregate_by=aggregate)
    top = context.top(top_k, rank_by=check_rank(rank_by))
    names = [(str(of.feature.index), shorten(of.feature.told)) for of in top]
    values = [(f"{of.activation:.3g}", f"{of.surprise:.2f}", str(of.n_tokens)) for of in top]
    rows = [[*name, *value] for name, value in zip(names, values, strict=True)]
    lines = [*repr(context).splitlines(), "", f"on the whole text, by {rank_by} of the {aggregate}:"]
    lines += table(["feature", "label", aggregate, "surprise", "tokens"], rows, left=(0, 1))
    content: dict[str, Any] = {"tokens": [], "top": [_plain(of) for of in top]}
    if as_json:
        content["tokens"] = [
            {"text": of.text, "is_counted": of.is_counted, "features": [_plain(fired) for fired in of.inspect(top_k)]}
            for of in context.tokens
        ]
    print_result(content, lines, as_json=as_json)


def contrast(
    run: RunArgument,
    first: Annotated[Path, typer.Argument(readable=False, help=_TEXTS)],
    second: Annotated[Path, typer.Argument(readable=False, help="another")],
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="features of either side to print")] = 10,
    aggregate: AggregateOption = "mean",
    source: OneSource = None,
    as_json: JsonOption = False,
) -> None:
    """Find the features that tell two sets of texts apart, corrected for how many are compared."""
    from autointerp.config import CorpusConfig
    from autointerp.corpus.sources.documents import iter_documents
    from autointerp.library.client import open

    client = open(run)
    for path in (first, second):
        if not path.exists():
            raise FileError(f"there is no {path}", f"give {_TEXTS}")
    sets = [list(iter_documents(CorpusConfig(kind="text", path=str(path)))) for path in (first, second)]
    texts_1, texts_2 = ([document.text for document in of] for of in sets)
    names_1, names_2 = ([f"{number}:{document.group_id}" for document in of] for number, of in enumerate(sets))
    has_groups = any(len(set(names)) < len(names) for names in (names_1, names_2))
    groups = (names_1, names_2) if has_groups else None  # else texts that are the same are one group
    found = client.features.contrast(texts_1, texts_2, top_k, groups=groups, source=source, aggregate_by=aggregate)
    sides = {"n_1": found.n_1, "n_2": found.n_2, "n_compared": found.n_compared, "n_left_out": found.n_left_out}
    features = [of.as_plain() for of in (*found.leading_1, *found.leading_2)]
    print_result({**sides, "notes": found.notes, "features": features}, repr(found).splitlines(), as_json=as_json)


def _plain(fired: Any) -> dict[str, Any]:
    return {
        "feature": fired.feature.id,
        "label": fired.feature.label,
        "scores": fired.feature.scores,
        "intervals": fired.feature.intervals,
        "activation": fired.activation,
        "percentile": fired.percentile,
        "surprise": fired.surprise,
        "n_tokens": fired.n_tokens,
        "peak": fired.peak,
    }


COMMANDS = (inspect, contrast)
