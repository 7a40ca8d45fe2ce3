"""The client: one or several runs, asked by name.

import autointerp

client = autointerp.open("runs/demo")
print(client.features.search("error handling", top_k=5))
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autointerp.embedder import TextEmbedder
from autointerp.errors import NoteError, SearchError, UnknownNoteError
from autointerp.library.chat.chat import Chat
from autointerp.library.feature import Feature, FeatureGroup
from autointerp.library.lists import Lists, starred
from autointerp.library.run import Run
from autointerp.library.steered import SteeredFeatures
from autointerp.library.uploaded_run import UploadedRun, uploaded_beside
from autointerp.library.variant import Variant
from autointerp.records import SourceRecord
from autointerp.records.uploads import UploadedFeature
from autointerp.store.known import shown
from autointerp.store.sql import Table

if TYPE_CHECKING:
    import pandas as pd


class Client:
    """What is asked of runs: `client.features`, `client.chat`, `client.sql`, `client.to_pandas`.

    Attributes:
        features: Search, neighbors, look-ups, and what features do on texts.
        chat: Answers of the runs' models, plain or as variants.
        lists: Lists of features that people have made.

    Args:
        runs: One or more.
        chat: Asks their models, where that is done elsewhere.

    Example:
        >>> client = autointerp.open("runs/demo")
        >>> client.features.search("river", top_k=1)[0].label
        'river'
    """

    def __init__(self, runs: Sequence[Run], chat: Chat | None = None) -> None:
        self._runs = list(runs)  # what is uploaded comes to it
        self.features = SteeredFeatures(self._runs)
        self.chat = chat or Chat(self._runs)
        self.lists = Lists(self._runs, self.features.lookup)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs, each with its status, its typed queries and more; what was uploaded beside them is one too."""
        return tuple(self._runs)

    @property
    def run(self) -> Run:
        """The run, where it is only one.

        Raises:
            SearchError: If there are several.

        Example:
            >>> client.run.status()[0].stage
            'collect'
        """
        runs = [run for run in self._runs if not isinstance(run, UploadedRun)]
        if len(runs) != 1:
            names = ", ".join(run.name for run in runs)
            raise SearchError(f"the client has several runs: {names}", "take one of client.runs")
        return runs[0]

    def variant(self, source: str | None = None) -> Variant:
        """A variant of a model, of which nothing is edited yet.

        Args:
            source: Whose model; the only one where None.

        Raises:
            StoreError: If there is no such source, or several and none is named.

        Example:
            >>> client.variant().set(client.features.get(1), 2.0, unit="max")
            Variant of planted@0-res-12, at all tokens
              planted@0-res-12:1 'river' + 2 max
        """
        return Variant(self, source)

    def upload(self, source_id: str, features: Sequence[UploadedFeature]) -> int:
        """Keep features that somebody brings along beside the first run, where they are found like any others.

        What the same features were before is replaced. There is no coder to run on a text.

        Args:
            source_id: `model@source`; none of a run's.
            features: Of this source.

        Returns:
            How many features the source has then.

        Raises:
            NoteError: If the source is of a run, or a feature, a label or a context makes no sense.
            StoreError: If the run's folder can't be written.

        Example:
            >>> import shutil, tempfile
            >>> from autointerp.records.uploads import UploadedFeature, UploadedLabel
            >>> client = autointerp.open(shutil.copytree("runs/demo", tempfile.mkdtemp(), dirs_exist_ok=True))
            >>> said = UploadedLabel("birds", "by-hand", "nobody")
            >>> client.upload("mine@0-res", [UploadedFeature(0, 0.01, (), (), (said,), ())])
            1
            >>> client.features.search("birds", source="mine@0-res")[0].id
            'mine@0-res:0'
        """
        from autointerp.run.uploads import keep_uploaded

        given = [run for run in self._runs if not isinstance(run, UploadedRun)]
        if any(of.source_id == source_id for run in given for of in run.sources()):
            raise NoteError(f"{shown(source_id)} is a source of a run", "upload to another source")
        home = given[0]
        n_features = keep_uploaded(home.reader.path.parent, source_id, features, home.embedder)
        if not any(isinstance(run, UploadedRun) and run.home is home for run in self._runs):
            self._runs += filter(None, [uploaded_beside(home)])
        return n_features

    def feature_of_label(self, explanation_id: str) -> Feature:
        """The feature that a label is of.

        Raises:
            UnknownNoteError: If there is no such label.

        Example:
            >>> client.feature_of_label(client.features.get(1).explanation_id).label
            'river'
        """
        for run in self.runs:
            if (named := run.feature_of_label(explanation_id)) is not None:
                return self.features.get(named[1], named[0])
        raise UnknownNoteError(f"there is no label {shown(explanation_id)} here", "look at a feature's labels")

    def starred(self) -> FeatureGroup:
        """The features with a star, the one that got it last first.

        Example:
            >>> client.starred()
            <FeatureGroup of no feature>
        """
        return starred(self.runs, self.features.lookup)

    def delete_comment(self, comment_id: str) -> None:
        """Take a comment away, beside whichever run it is kept.

        Raises:
            UnknownNoteError: If there is none of this id.

        Example:
            >>> client.delete_comment(client.features.get(1).comment("Not sure.").comment_id)
        """
        self._of_any(lambda run: run.notes.delete_comment(comment_id))

    def delete_label(self, explanation_id: str) -> None:
        """Take a label of one's own away, beside whichever run it is kept.

        Raises:
            UnknownNoteError: If nobody wrote a label of this id here.

        Example:
            >>> client.delete_label(client.features.get(1).write_label("brooks").explanation_id)
        """
        self._of_any(lambda run: run.notes.delete_label(explanation_id))

    def _of_any(self, change: Callable[[Run], None]) -> None:
        """Change a note that one of the runs has.

        Raises:
            UnknownNoteError: If none has it.
        """
        unknown = []
        for run in self.runs:
            try:
                return change(run)
            except UnknownNoteError as error:
                unknown.append(error)
        raise unknown[0]

    def sources(self) -> list[SourceRecord]:
        """The coders that the runs are about, each once.

        Example:
            >>> [source.n_features for source in client.sources()]
            [12]
        """
        found = {source.source_id: source for run in reversed(self.runs) for source in run.sources()}
        return [found[name] for name in sorted(found)]

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Table:
        """Ask the run's store a query in DuckDB's SQL; docs/store.md has its tables and views, and ten useful queries.

        Args:
            query: One statement, which reads.
            parameters: In the places of its `?`, or of its `$name`.

        Raises:
            SearchError: If it is no such statement, or DuckDB can't answer it.

        Example:
            >>> client.sql("SELECT status FROM features WHERE feature_index = ?", [1]).rows
            [('ok',)]
        """
        return self.run.sql(query, parameters)

    def to_pandas(self) -> "pd.DataFrame":
        """All features with their labels and scores, a row a label, of all runs; see `Run.to_pandas`.

        Example:
            >>> frame = client.to_pandas()
            >>> frame[frame.feature_index == 1].label.tolist()
            ['river']
        """
        import pandas as pd  # slow to import

        return pd.concat([run.to_pandas() for run in self.runs], ignore_index=True)

    def __repr__(self) -> str:
        runs = [repr(run) for run in self.runs]
        return f"Client of {runs[0]}" if len(runs) == 1 else "\n  ".join(["Client of", *runs])


def open(
    runs: str | Path | Sequence[str | Path], embedder: TextEmbedder | None = None, *, api_key: str | None = None
) -> Client:
    """Open a run, or several, to search, look features up, and ask what they do.

    Args:
        runs: A run folder, or several; or the address of a server that has them, `http://127.0.0.1:8000`.
        embedder: For queries; by default the one of the runs' pipelines, loaded at the first query. A server has its
            own.
        api_key: What the server wants to be given; that of `AUTOINTERP_API_KEY` where None.

    Raises:
        RemoteError: If nothing answers at the address, or something else.
        StoreError: If there is no run in a folder.
        SearchError: If no run is named, or runs are embedded by different models, whose relevances can't be compared.

    Example:
        >>> autointerp.open("runs/demo").features.get(7).label
        'piano'
    """
    if isinstance(runs, str) and is_address(runs):
        return _remote(runs, embedder, api_key)
    folders = [runs] if isinstance(runs, str | Path) or not isinstance(runs, Iterable) else list(runs)
    if wrong := [folder for folder in folders if not isinstance(folder, str | Path)]:
        raise SearchError(f"{wrong[0]!r} is no run folder", "give its path, or several in a list")
    if not folders:
        raise SearchError("no run is named", "give a run folder, or several")
    if remote := [folder for folder in folders if isinstance(folder, str) and is_address(folder)]:
        raise SearchError(f"{remote[0]} is an address, and stands in a list", "open it alone")
    if api_key is not None:
        raise SearchError("a key is given, and run folders want none", "leave api_key out, or give an address")
    opened = [Run(folder, embedder) for folder in folders]
    return Client([*opened, *filter(None, map(uploaded_beside, opened))])


def is_address(run: str) -> bool:
    """Whether a run is named by a server's address, not by its folder."""
    return run.strip().lower().startswith(("http://", "https://"))


def _remote(address: str, embedder: TextEmbedder | None, key: str | None) -> Client:
    from autointerp.library.remote.chat import RemoteChat  # a run folder needs no HTTP
    from autointerp.library.remote.run import open_runs

    if embedder is not None:
        raise SearchError("an embedder is given, and queries are embedded at the server", "leave it out")
    connection, runs = open_runs(address, key)
    return Client(runs, RemoteChat(connection, runs))
