"""The subject of features that were uploaded: there is none to run."""

from typing import NoReturn

from autointerp.errors import SubjectError
from autointerp.records import SourceRecord
from autointerp.run.live import LiveRun


class NoCoder(LiveRun):
    """What stands where a run has its subject."""

    def of_source(self, source: SourceRecord) -> NoReturn:
        """Say that there is none.

        Raises:
            SubjectError: Always.
        """
        raise SubjectError(
            f"the features of {source.source_id} were uploaded, without a coder that could be run",
            "ask about those of a run",
        )
