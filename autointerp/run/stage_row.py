"""A stage's row in the store: how far it is, and what it has used in this process and in those before."""

from collections.abc import Collection

from autointerp.records import Usage
from autointerp.store.reader import Reader
from autointerp.store.results import StageState
from autointerp.store.writer import Writer


class StageRow:
    """Writes a stage's state and its spending; what earlier processes used under the same fingerprint counts in.

    Args:
        writer: Of the run's store.
        reader: Of the same.
        stage: For example `explain`.
        fingerprint: Of the stage's records.
        n_asked: Features or explanations that the stage was asked for.
        also: Of other records of the stage, what was used for which counts in.
    """

    def __init__(
        self, writer: Writer, reader: Reader, stage: str, fingerprint: str, n_asked: int, also: Collection[str] = ()
    ) -> None:
        self._writer = writer
        self._stage = stage
        self._fingerprint = fingerprint
        self._n_asked = n_asked
        known = {fingerprint, *also}
        found = next((s for s in reader.stages() if s.stage == stage and s.fingerprint in known), None)
        self._before = (found.usage if found is not None else None) or Usage()
        self._written: tuple[StageState, Usage] | None = None
        self.record("running", Usage())

    def go_on_as(self, fingerprint: str, now: Usage) -> None:
        """Have the stage's records be those of another fingerprint from here on."""
        if fingerprint != self._fingerprint:
            self._fingerprint, self._written = fingerprint, None
            self.record("running", now)

    def record(self, status: StageState, now: Usage) -> None:
        """Write the stage's row where it has changed: `now` is what this process has used."""
        if self._written == (status, now):
            return  # to open the store and write costs more than what a local judge does between two calls
        usage = self._before + now
        self._writer.set_stage(self._stage, self._fingerprint, status, n_asked=self._n_asked, usage=usage)
        self._written = status, now
