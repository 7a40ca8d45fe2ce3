"""Uploaded features, as a run like any other; only their coder can't be run."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autointerp.library.run import Run
from autointerp.library.search_settings import SearchSettings
from autointerp.records import EVERY_FEATURE, FeatureFilter, SearchHit
from autointerp.run.uploads import uploads_folder
from autointerp.store.connection import STORE_FILE

if TYPE_CHECKING:
    from autointerp.run.live import LiveRun


class UploadedRun(Run):
    """What was uploaded beside a run.

    Attributes:
        home: That run, whose settings search has.

    Raises:
        StoreError: If nothing was uploaded beside it.
    """

    can_run = False

    def __init__(self, home: Run) -> None:
        self.home = home
        super().__init__(uploads_folder(home.reader.path.parent), home._embedder)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.home,)

    def search(
        self,
        query: str,
        top_k: int = 10,
        where: FeatureFilter = EVERY_FEATURE,
        min_relevance: float | None = None,
    ) -> list[SearchHit]:
        """As `Run.search`; nothing is found where nothing has a label."""
        return super().search(query, top_k, where, min_relevance) if self.reader.n_labels() else []

    @cached_property
    def search_settings(self) -> SearchSettings:
        """What the home's pipeline says of search."""
        return SearchSettings(self.reader.path, self.home.search_settings.pipeline)

    @cached_property
    def live(self) -> "LiveRun":
        """What says that there is no coder."""
        from autointerp.run.no_coder import NoCoder  # looking a feature up needs no torch

        return NoCoder(self.reader.path.parent)


def uploaded_beside(home: Run) -> UploadedRun | None:
    """What was uploaded beside a run, if anything was."""
    folder: Path = uploads_folder(home.reader.path.parent)
    return UploadedRun(home) if (folder / STORE_FILE).is_file() else None
