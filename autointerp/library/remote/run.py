"""A run that a server answers for."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cached_property
from operator import index
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from autointerp.errors import AutointerpError, FilterError, NoteError, SearchError, SubjectError, VariantError
from autointerp.identity import FeatureKey
from autointerp.library.feature_edits import FeatureEdits
from autointerp.library.feature_view import FeatureView
from autointerp.library.remote import calls, shapes
from autointerp.library.remote.asking import asked_as
from autointerp.library.remote.calls import Call
from autointerp.library.remote.connection import Connection
from autointerp.library.remote.notes import RemoteNotes
from autointerp.library.run import Run
from autointerp.library.trials import EVERY_TRIAL, LabelTrials, TrialChoice
from autointerp.records import EVERY_FEATURE, Context, ContextKind, FeatureFilter, SearchHit, SourceRecord, Split
from autointerp.records.dose import Dose
from autointerp.records.live import EVERY_TOKEN, Edit, EditScope, SourceEdits
from autointerp.records.notes import OwnLabel
from autointerp.store.known import check_context_names, check_count, feature_keys, shown
from autointerp.store.neighbors import LABEL_SPACE
from autointerp.store.notes.notes import Notes
from autointerp.store.results import ScorerSummary, StageStatus
from autointerp.store.sql import Table

if TYPE_CHECKING:
    import pandas as pd

    from autointerp.library.features import Features
    from autointerp.library.steer.auto import Steering
    from autointerp.library.steer.bench import Examples
    from autointerp.library.steer.settings import Settings
    from autointerp.live.read import Readable
    from autointerp.records.attribution import AskedToken, TokenAttribution
    from autointerp.records.live import ActivationHistograms, TextFirings
    from autointerp.records.on_texts import OnTexts

R = TypeVar("R")
_FACTS_FOR_S = 1.0
_TEXTS_AT_ONCE = 64
_CHARACTERS_AT_ONCE = 100_000
_ONLY_THERE = ("reader", "_record", "_embedder")


class RemoteRun(Run):
    """One run of a server. It answers as a `Run` does; what only the run's folder has, it can't give, and says so.

    Attributes:
        connection: The server.

    Args:
        connection: The server.
        served: The run, as it is served.
    """

    can_run = True

    def __init__(self, connection: Connection, served: shapes.ServedRun) -> None:
        self.connection = connection
        self._served = served
        self._lock = threading.Lock()
        self._known: tuple[float, shapes.RunFacts] | None = None

    def __getattr__(self, name: str) -> NoReturn:
        if name in _ONLY_THERE:
            raise SearchError(
                f"the run {self.name} is answered for by a server, and this needs its folder",
                "use what client.features, client.chat and client.sql offer, or open the folder where it lies",
            )
        raise AttributeError(name)

    def __reduce__(self) -> tuple[Any, ...]:
        # The key does not travel: a copy takes it from the environment.
        return _again, (self.connection.address, self._served.name)

    @property
    def name(self) -> str:
        """The server's address, with the run's name."""
        return f"{self.connection.address}#{self._served.name}"

    @property
    def served_name(self) -> str:
        """The run's name there."""
        return self._served.name

    @property
    def told(self) -> str:
        """What it held when it was opened, in words."""
        return self._served.told

    def _ask(self, call: Call[Any, R], error: type[AutointerpError] = SearchError, /, **asked: Any) -> R:
        return self.connection.ask(call, asked_as(call.asked, error, **asked), self._served.name)

    @property
    def _facts(self) -> shapes.RunFacts:
        """Asked again after a second: a growing run gets scorers, and sources."""
        with self._lock:
            if self._known is None or time.monotonic() - self._known[0] > _FACTS_FOR_S:
                self._known = time.monotonic(), self._ask(calls.FACTS)
            return self._known[1]

    @property
    def embedder_name(self) -> str:
        """The model that queries are embedded by, and labels have to be."""
        return self._facts.embedder

    @cached_property
    def notes(self) -> Notes:
        """What people have written about its features, kept by the server."""
        return RemoteNotes(self._ask)

    def feature_of_label(self, explanation_id: str) -> tuple[str, int] | None:
        """The source and index of the feature that a label is of; None where there is no such label here."""
        return self.notes.feature_of_label(explanation_id)

    def write_label(self, feature: FeatureKey, label: str, author: str = "", source_id: str | None = None) -> OwnLabel:
        """Write a label of one's own: the server scores it at once, and keeps it; see `NotedRun.write_label`."""
        source, (one,) = feature_keys(feature, source_id)
        return self._ask(calls.WRITE_LABEL, NoteError, feature=one, label=label, author=author, source=source)

    def sources(self) -> list[SourceRecord]:
        """The coders that the run is about."""
        return list(self._facts.sources)

    def scorers(self) -> list[str]:
        """The scorers by which current labels have scores, ascending."""
        return list(self._facts.scorers)

    def status(self) -> list[StageStatus]:
        """How far each stage is."""
        return self._ask(calls.STATUS)

    def score_summary(self) -> list[ScorerSummary]:
        """Each scorer over all labels, beside shuffled labels."""
        return self._ask(calls.SUMMARY)

    def search(
        self,
        query: str,
        top_k: int = 10,
        where: FeatureFilter = EVERY_FEATURE,
        min_relevance: float | None = None,
    ) -> list[SearchHit]:
        """Find features by meaning and words; see `SearchEngine.search`."""
        return self._ask(
            calls.SEARCH,
            query=query,
            top_k=check_count("top_k", top_k),
            where=_filter(where),
            min_relevance=None if min_relevance is None else float(min_relevance),
        )

    def rerank(
        self,
        features: Sequence[FeatureKey],
        query: str,
        source_id: str | None = None,
        where: FeatureFilter = EVERY_FEATURE,
        reranker: str | None = None,
    ) -> list[SearchHit]:
        """Order features by a closer look at labels and contexts, by the run's own reranker."""
        if reranker is not None:
            raise SearchError("rerankers are not chosen over a server", "leave `reranker` out")
        source, indices = feature_keys(features, source_id)
        return self._ask(calls.RERANK, features=indices, query=query, source=source, where=_filter(where))

    def neighbors(
        self,
        features: FeatureKey | Sequence[FeatureKey],
        space: str = LABEL_SPACE,
        top_k: int = 10,
        source_id: str | None = None,
        where: FeatureFilter = EVERY_FEATURE,
    ) -> list[SearchHit]:
        """Find features close to one or several; see `SearchEngine.neighbors`."""
        source, indices = feature_keys(features, source_id)
        top_k = check_count("top_k", top_k)
        return self._ask(
            calls.NEIGHBORS, features=indices, space=space, top_k=top_k, source=source, where=_filter(where)
        )

    def describe(self, features: Sequence[FeatureKey], source_id: str | None = None) -> list[SearchHit]:
        """Features of one source with their best labels, ascending; see `search.describe`."""
        source, indices = feature_keys(features, source_id)
        return self._ask(calls.DESCRIBE, features=indices, source=source) if indices else []

    def strongest(self, features: Sequence[int], source_id: str, n: int) -> dict[int, list[Context]]:
        """Of features of one source, the `n` contexts in which each fires most, as far as any were built."""
        return self._ask(calls.STRONGEST, features=[int(of) for of in features], source=source_id, n=n)

    def feature(self, feature: FeatureKey, source_id: str | None = None) -> FeatureView:
        """All that is known of one feature; see `Run.feature`."""
        source, (one,) = feature_keys(feature, source_id)
        return self._ask(calls.FEATURE, feature=one, source=source)

    def contexts(
        self,
        feature: FeatureKey,
        n: int | None = None,
        *,
        kind: ContextKind | None = None,
        split: Split | None = None,
        quantile: int | None = None,
        source_id: str | None = None,
    ) -> list[Context]:
        """A feature's contexts with their tokens and activations, strongest first; see `Run.contexts`."""
        n = None if n is None else check_count("n", n)
        check_context_names(split, kind)
        source, (one,) = feature_keys(feature, source_id)
        return self._ask(calls.CONTEXTS, feature=one, n=n, kind=kind, split=split, quantile=quantile, source=source)

    def trials(
        self, feature: FeatureKey, choice: TrialChoice = EVERY_TRIAL, source_id: str | None = None
    ) -> tuple[LabelTrials, ...]:
        """What each label of a feature was tried on: asked, answered and true."""
        source, (one,) = feature_keys(feature, source_id)
        return self._ask(calls.TRIALS, feature=one, scorer=choice.scorer, errors=choice.errors, source=source)

    def activation_histograms(
        self, features: Sequence[FeatureKey] | None = None, source_id: str | None = None
    ) -> "ActivationHistograms":
        """How active features of one source are over the corpus; see `Reader.activation_histograms`."""
        source, indices = (source_id, None) if features is None else feature_keys(features, source_id)
        return self._ask(calls.HISTOGRAMS, features=indices, source=source).record()

    def doses(self, features: Sequence[FeatureKey], source: str | None = None, *, roughly: bool = False) -> list[Dose]:
        """What strength 1 is for features of one source, in their order; see `DosedRun.doses`. Never rough ones."""
        of, indices = feature_keys(features, source)
        return self._ask(calls.DOSES, features=indices, source=of) if indices else []

    def on_own_texts(self, features: Sequence[int], n: int, seed: int = 0, source_id: str | None = None) -> "OnTexts":
        """What some features do on blocks of different documents of the run's corpus; see `ConditioningRun`."""
        indices = [int(of) for of in features]
        return self._ask(calls.ON_OWN_TEXTS, features=indices, n=n, seed=seed, source=source_id).record()

    def attribution(self, text: "Readable", asked: "AskedToken", source_id: str | None = None) -> "TokenAttribution":
        """What the features of one source do to one token's chance of being the next; see `live.attribution`."""
        return self._ask(
            calls.ATTRIBUTION,
            SubjectError,
            text=_as_list(text),
            source=source_id,
            index=asked.index if isinstance(asked.index, str) else index(asked.index),
            **{of.name: getattr(asked, of.name) for of in fields(asked) if of.name != "index"},
        ).record()

    def firings(
        self,
        texts: "Iterable[Readable]",
        source_id: str | None = None,
        on_progress: Callable[[int], None] | None = None,
        edits: Sequence[SourceEdits] = (),
        scope: EditScope = EVERY_TOKEN,
    ) -> "Iterator[TextFirings]":
        """What the features of one source do on texts and conversations, in order, lazily; see `Run.firings`."""
        how = {"source": source_id, "edits": [_edits(of) for of in edits], "scope": asdict(scope)}
        n_done = 0
        for some in _batches(texts):
            try:
                found = self._ask(calls.FIRINGS, SubjectError, texts=[_as_list(text) for text in some], **how)
            except SubjectError as error:
                if n_done:
                    error = type(error)(f"of the texts from {n_done} on: {error.problem}", error.remedy)
                raise error from None
            for firings in found:
                n_done += 1
                if on_progress is not None:
                    on_progress(n_done)
                yield firings.record()

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Table:
        """Ask the run's store a query in DuckDB's SQL: one that reads nothing else, within the server's bounds.

        Raises:
            SearchError: As of `Client.sql`, and if it finds too many rows or takes too much memory.
            TimeLimitError: If it takes too long.
        """
        if not isinstance(query, str):
            raise SearchError(f"{query!r} is no query", "give SQL as text")
        if isinstance(parameters, str) or not isinstance(parameters, Mapping | Sequence):
            raise SearchError(f"{parameters!r} are no parameters", "give them in a list, or by name")
        given = dict(parameters) if isinstance(parameters, Mapping) else list(parameters)
        return Table(self._table(shapes.SQL, asked_as(shapes.Query, SearchError, query=query, parameters=given)))

    def to_pandas(self, where: FeatureFilter = EVERY_FEATURE) -> "pd.DataFrame":
        """Features with their labels and scores: a row a label, and one a feature without a label."""
        return self._table(shapes.FRAME, shapes.Frame(where=_filter(where))).to_pandas()

    def _table(self, path: str, asked: shapes.Asked) -> Any:
        return self.connection.table(path, asked, self._served.name)

    def auto_steer(
        self,
        features: "Features",
        source_id: str,
        specification: str,
        examples: "Examples | None",
        settings: "Settings",
        tell: Callable[[str], None] | None = None,
    ) -> "Steering":
        """Features that steer to a specification, with a receipt; see `AnsweringRun.auto_steer`."""
        from autointerp.library.steer.auto import Steering, check_asked

        check_asked(specification, examples, settings)
        if tell is not None:
            tell(f"asking {self.connection.address}")
        asked = asked_as(
            calls.AUTO_STEER.asked,
            SearchError,
            specification=specification,
            examples=None if examples is None else tuple(map(list, examples)),
            source=source_id,
            n_prompts=settings.n_prompts,
            max_tokens=settings.sampling.max_tokens,
            seed=settings.seed,
        )
        found = self.connection.ask(calls.AUTO_STEER, asked)
        return Steering(found.receipt, FeatureEdits(found.edits))


def _again(address: str, name: str) -> RemoteRun:
    connection = Connection(address)
    for run in connection.served().runs:
        if run.name == name:
            return RemoteRun(connection, run)
    raise SearchError(f"{address} serves no run {shown(name)} any more", "open it anew")


def _filter(where: FeatureFilter) -> shapes.Filter:
    if not isinstance(where, FeatureFilter):
        raise FilterError(f"{shown(where)} is no filter", "give a FeatureFilter, or leave `where` out")
    return shapes.Filter.of(where)


def _edits(of: SourceEdits) -> Mapping[str, Any]:
    if wrong := [edit for edit in of.edits if not isinstance(edit, Edit)]:
        raise VariantError(f"{shown(wrong[0])} is no edit of a feature", "edit features, or open the folder")
    return {
        "source": of.source_id,
        "edits": [
            {"feature": edit.feature_index, "mode": edit.mode, "value": float(edit.value)}
            for edit in of.edits
            if isinstance(edit, Edit)
        ],
    }


def _as_list(text: object) -> object:
    """A conversation as JSON has it; a text as it is."""
    if isinstance(text, str | Mapping) or not isinstance(text, Iterable):
        return text
    return [dict(message) if isinstance(message, Mapping) else message for message in text]


def _batches(texts: "Iterable[Readable]") -> "Iterator[list[Readable]]":
    """Texts as many at once as make a request of moderate size."""
    some: list[Readable] = []
    n = 0
    for text in texts:
        some.append(text)
        n += len(text) if isinstance(text, str) else len(repr(text))
        if len(some) >= _TEXTS_AT_ONCE or n >= _CHARACTERS_AT_ONCE:
            yield some
            some, n = [], 0
    if some:
        yield some


def open_runs(address: str, key: str | None = None) -> tuple[Connection, list[RemoteRun]]:
    """A server, and its runs.

    Args:
        address: Such as `http://127.0.0.1:8000`.
        key: What the server wants to be given.

    Raises:
        RemoteError: If nothing answers there, or something else.
    """
    connection = Connection(address, key)
    return connection, [RemoteRun(connection, run) for run in connection.served().runs]
