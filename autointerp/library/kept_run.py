"""What a run's pass over the corpus kept beside its store, as runs give it."""

from functools import cached_property
from typing import TYPE_CHECKING

from autointerp.identity import FeatureKey
from autointerp.records.firing import FiringTogether
from autointerp.store.known import check_count, wanted_features
from autointerp.store.notes.file import NOTES_FILE
from autointerp.store.reader import Reader
from autointerp.store.store_file import FileState, file_state

if TYPE_CHECKING:
    from autointerp.run.on_disk.kept import KeptWindows


class KeptRun:
    """A run whose folder has more than its store.

    Attributes:
        reader: Of its store.
    """

    reader: Reader

    @property
    def has_folder(self) -> bool:
        """Whether there is more of it than its store."""
        return (self.reader.path.parent / "run.json").is_file()

    def file_state(self) -> FileState | None:
        """By what a later state of its store and its notes is told from this one; see `StoreFile.file_state`."""
        folder, store = self.reader.path.parent, self.reader.path
        notes = folder / NOTES_FILE
        beside = (store.with_name(f"{store.name}.wal"), notes, notes.with_name(f"{NOTES_FILE}-wal"))
        return file_state(store, *beside, folder / "run.json")

    def together(self, feature: FeatureKey, n: int = 10, source_id: str | None = None) -> tuple[FiringTogether, ...]:
        """The features of the same source that fire on the same tokens as one, most alike first.

        They are counted on the pool, a sample of the corpus of which every firing was kept; it is read once.

        Args:
            feature: Its index, or `model@source:index`.
            n: At most so many.
            source_id: Its source; the run's only one where nothing names it.

        Raises:
            UnknownFeatureError: If there is no such feature.
            SearchError: If `n` is no whole number above 0.
            RunError: If the run's folder is not whole.
            ShardError: If a file is damaged.

        Example:
            >>> client.run.together(1)
            ()
        """
        check_count("n", n)
        named = wanted_features([feature], source_id, self.reader.sources(), of_one_source=True)
        (index,) = named["feature_index"]
        return self._kept.together(index, self.reader.source(named["source_id"]), n)

    @cached_property
    def _kept(self) -> "KeptWindows":
        from autointerp.run.on_disk.kept import KeptWindows  # looking a feature up needs no tokenizer

        return KeptWindows(self.reader.path.parent)
