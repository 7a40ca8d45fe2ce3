"""The command that lays a run's labels out as a map.

As in `main`, what a command needs is imported inside it.
"""

from pathlib import Path
from typing import Annotated

import typer

from autointerp.valid_text import visible

_SHOWN = 10


def map(
    run: Annotated[Path, typer.Argument(metavar="RUN", readable=False, help="a run folder, for example runs/demo")],
    source: Annotated[str | None, typer.Option(help="only of this source; of each where unset")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="of the layout")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="take no account of an earlier map")] = False,
) -> None:
    """Lay labels out in the plane by their meaning: the map of `serve`'s pages."""
    from autointerp.library.run import open_run

    opened = open_run(run)
    for source_id in [source] if source is not None else [of.source_id for of in opened.sources()]:
        made = opened.make_label_map(source_id, seed, fresh=fresh)
        typer.echo(f"{made.plan.source_id}: {len(made):,} labels, {len(made.clusters):,} clusters")
        for cluster in sorted(made.clusters, key=lambda of: -of.n)[:_SHOWN]:
            typer.echo(f"  {cluster.n:6,}  {visible(cluster.name)}")
        if len(made.clusters) > _SHOWN:
            typer.echo(f"  … and {len(made.clusters) - _SHOWN:,} more")
        model, _, rest = made.plan.source_id.partition("@")
        typer.echo(f"`autointerp serve {run}` shows it at /{model}/{rest}/map")
