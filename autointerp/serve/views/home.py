"""The first page: what is served."""

from dataclasses import dataclass
from pathlib import Path

from autointerp.serve.serving import Serving


@dataclass(frozen=True, slots=True)
class ServedSource:
    """A source that is served.

    Attributes:
        id: `model@source`.
        run: Name of its run.
        model: The subject, as the pipeline names it.
        hook: The hook point.
        coder: The coder.
        n_features: Features of the coder.
        n_tokens: Counted tokens of the corpus.
        n_labelled: Features that have a label.
    """

    id: str
    run: str
    model: str
    hook: str
    coder: str
    n_features: int
    n_tokens: int
    n_labelled: int


@dataclass(frozen=True, slots=True)
class Home:
    """What is served."""

    sources: tuple[ServedSource, ...]


def home(serving: Serving) -> Home:
    """What is served."""
    found = []
    for run in serving.client.runs:
        with run.reader.session() as reader:
            for source in reader.sources():
                found.append(
                    ServedSource(
                        id=source.source_id,
                        run=Path(run.name).name,
                        model=source.model,
                        hook=source.hook,
                        coder=source.coder,
                        n_features=source.n_features,
                        n_tokens=source.n_tokens,
                        n_labelled=len(reader.labelled_indices(source.source_id)),
                    )
                )
    return Home(tuple(found))
