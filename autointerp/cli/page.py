"""The command that writes features as one page.

As in `main`, what a command needs is imported inside it.
"""

from pathlib import Path
from typing import Annotated

import typer


def page(
    run: Annotated[Path, typer.Argument(metavar="RUN", readable=False, help="a run folder, for example runs/demo")],
    features: Annotated[list[str], typer.Argument(metavar="FEATURE…", help="indices, or model@source:index")],
    file: Annotated[Path, typer.Option("--output", "-o", help="the page to write")] = Path("features.html"),
) -> None:
    """Write one self-contained HTML page on features: labels, scores, tokens, contexts, what is near."""
    from autointerp.library.run import open_run
    from autointerp.serve.pages.feature_file import write_features

    n_written = write_features(open_run(run), features, file)
    typer.echo(f"Wrote {file}: {n_written} feature{'s' if n_written != 1 else ''}")
