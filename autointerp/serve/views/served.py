"""Which run tells of what a URL names."""

from autointerp.errors import UnknownModelError
from autointerp.identity import source_id
from autointerp.library.run import Run
from autointerp.serve.serving import Serving
from autointerp.store.known import shown


def run_of(serving: Serving, source: str) -> Run:
    """The run of a source; of several the first.

    Raises:
        UnknownModelError: If none has it.
    """
    for run in serving.client.runs:
        if any(of.source_id == source for of in run.sources()):
            return run
    raise UnknownModelError(
        f"there is no source {shown(source)} here", f"sources are {', '.join(serving.names.sources) or 'none yet'}"
    )


def named_source(serving: Serving, model: str, source: str) -> str:
    """The source, `model@source`, that a URL's two parts name.

    Raises:
        UnknownModelError: If there is none of this name.
    """
    return serving.names.source(source_id(model, source))
