"""What a run answers beyond what it knows of its features: steering to order, and SQL."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autointerp.library.backend import LocalBackend
    from autointerp.library.features import Features
    from autointerp.library.steer.auto import Steering
    from autointerp.library.steer.bench import Examples
    from autointerp.library.steer.settings import Settings
    from autointerp.store.reader import Reader
    from autointerp.store.sql import Table


class AnsweringRun:
    """A run that answers what takes more than a look."""

    reader: "Reader"

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> "Table":
        """Ask the run's store a query in DuckDB's SQL; see `Client.sql`."""
        return self.reader.sql(query, parameters)

    def sql_confined(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> bytes:
        """A stranger's query, in a process that sees nothing but the store; see `store.confined`.

        Returns:
            A table in Arrow's stream format.
        """
        from autointerp.store.confined import ask_confined

        return ask_confined(self.reader.path, query, parameters)

    def auto_steer(
        self: "LocalBackend",
        features: "Features",
        source_id: str,
        specification: str,
        examples: "Examples | None",
        settings: "Settings",
        tell: Callable[[str], None] | None = None,
    ) -> "Steering":
        """Features that steer to a specification, with a receipt; see `library.steer.auto`.

        Args:
            features: Finds features.
            source_id: Whose features.
            specification: In words.
            examples: Texts with it and without it.
            settings: How features are chosen and measured.
            tell: Told of each step.

        Raises:
            As `SteeredFeatures.AutoSteer`.
        """
        from autointerp.library.steer.auto import auto_steer  # finding features needs no torch

        return auto_steer(features, self, source_id, specification, examples, settings, tell)
