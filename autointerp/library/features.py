"""`client.features`: finding features, and what they are close to."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from autointerp.errors import FilterError, SearchError
from autointerp.library.backend import Backend
from autointerp.library.chat.steering import Model, Steerer
from autointerp.library.conditioning import ConditioningFeatures
from autointerp.library.feature import Feature, FeatureGroup
from autointerp.library.filtering import feature_filter
from autointerp.library.inspector import ContextInspector
from autointerp.library.names import AnyFeature, Names, SomeFeatures, by_source
from autointerp.library.on_texts import Groups, Progress, activations, inspect
from autointerp.records import FeatureFilter, SearchHit
from autointerp.store.known import check_count
from autointerp.store.neighbors import LABEL_SPACE

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from autointerp.library.contrast.result import Contrast
    from autointerp.live.read import Readable


class Features(ConditioningFeatures):
    """Finds features in one run, or in several.

    Of several runs with the same source, the one that was named first tells of a feature that is looked up; a search
    finds each feature once, in the run where it is most relevant.

    Args:
        runs: What answers.
    """

    def __init__(self, runs: Sequence[Backend]) -> None:
        self._runs = runs
        self._names = Names(runs)
        self._steerer = Steerer(runs)

    def __repr__(self) -> str:
        return f"<Features of {', '.join(run.name for run in self._runs)}>"

    def search(
        self,
        query: str,
        top_k: int = 10,
        *,
        min_score: float | Mapping[str, float] | None = None,
        density: float | tuple[float, float] | None = None,
        source: str | Iterable[str] | None = None,
        explainer: str | None = None,
        min_relevance: float | None = None,
    ) -> FeatureGroup:
        """Find the features whose labels are about something, most relevant first, each once.

        Every filter comes before the limit: as many are found as were asked for, if so many pass.

        Args:
            query: Any text.
            top_k: Features wanted.
            min_score: Least score: by scorer, or one number for every scorer that the run has.
            density: Largest share of tokens on which the feature fires; or least and largest.
            source: Only of this source, or of these.
            explainer: Only labels that it wrote.
            min_relevance: Where not even the best label has so much, none is about the query, and the group is empty;
                None for the run's setting, 0 for the nearest in any case.

        Raises:
            SearchError: If the query is empty, `top_k` is out of range, or no label is indexed.
            FilterError: If a filter asks for what no run knows, or makes no sense.

        Example:
            >>> client.features.search("river", top_k=3)[0].label
            'river'
            >>> found = client.features.search("river", min_score={"detection": 0.8}, density=0.05)
            >>> all(feature.scores["detection"] >= 0.8 and feature.density <= 0.05 for feature in found)
            True
        """
        top_k = check_count("top_k", top_k)
        embedders = {run.embedder_name: run.name for run in self._runs}
        if len(embedders) > 1:
            told = ", ".join(f"{name} by {embedder}" for embedder, name in embedders.items())
            raise SearchError(f"the runs are embedded by different models: {told}", "search them one by one")

        def ask(run: Backend) -> list[SearchHit]:
            return run.search(query, top_k, feature_filter(run, min_score, density, source, explainer), min_relevance)

        return self._best(self._each(ask), top_k)

    def rerank(self, features: SomeFeatures, query: str, top_k: int | None = None) -> FeatureGroup:
        """Order features by a closer look at their labels and at what they fire on, most relevant first.

        Args:
            features: The features; those without a label come last, without a relevance.
            query: Any text.
            top_k: At most so many; all where None.

        Raises:
            SearchError: If the query is empty.
            UnknownFeatureError: If there is no such feature.

        Example:
            >>> found = client.features.lookup([0, 1, 7])
            >>> client.features.rerank(found, "river", top_k=1)[0].label
            'river'
        """
        if top_k is not None:
            check_count("top_k", top_k)
        given = self.lookup(features)
        labelled = FeatureGroup(feature for feature in given if feature.label is not None)
        hits = [
            (hit, run)
            for run, source, indices in by_source(self._names.all(labelled))
            for hit in run.rerank(indices, query, source, FeatureFilter())
        ]
        return (self._best(hits, None) | given)[:top_k]

    def neighbors(
        self,
        features: AnyFeature | SomeFeatures,
        space: str = LABEL_SPACE,
        top_k: int = 10,
        *,
        min_score: float | Mapping[str, float] | None = None,
        density: float | tuple[float, float] | None = None,
        explainer: str | None = None,
    ) -> FeatureGroup:
        """Find the features closest to one, or to a group, in a space with a name; they are left out themselves.

        Args:
            features: One feature, or several of one source.
            space: `label` (labels that mean the like; of a group, those closest to its centroid), `decoder` (directions
                that are close), or `coactivation` (firing on the same tokens).
            top_k: Features wanted.
            min_score: As for `search`.
            density: As for `search`.
            explainer: As for `search`.

        Raises:
            SearchError: If there are no neighbors in this space, or a feature has no label.
            UnknownFeatureError: If there is no such feature.

        Example:
            >>> near = client.features.neighbors(client.features.get(1), space="decoder", top_k=2)
            >>> 1 in [feature.index for feature in near]
            False
        """
        asked = by_source(self._names.all(features))
        if not asked:
            raise SearchError("no feature to find neighbors of", "name one")
        if len(asked) > 1:
            sources = ", ".join(source for _, source, _ in asked)
            raise SearchError(f"features of several sources are named ({sources})", "ask for one source at a time")
        ((run, source, indices),) = asked
        where = feature_filter(run, min_score, density, None, explainer)
        hits = run.neighbors(indices, space, top_k, source, where)
        return FeatureGroup(feature_of(hit, run) for hit in hits)

    def lookup(self, features: SomeFeatures, source: str | None = None) -> FeatureGroup:
        """Features by their names, in the order in which they are named, with a label or without.

        Args:
            features: Indices, or `model@source:index`.
            source: Their source, where they don't name it; the only one where None.

        Raises:
            UnknownFeatureError: If there is no such feature.
            StoreError: If there are several sources and none is named.

        Example:
            >>> [feature.label for feature in client.features.lookup([7, 3])]
            ['piano', None]
        """
        named = self._names.all(features, source)
        found = {
            (hit.source_id, hit.feature_index): feature_of(hit, run)
            for run, of, indices in by_source(named)
            for hit in run.describe(indices, of)
        }
        return FeatureGroup(found[of, index] for _, of, index in named)

    def get(self, feature: AnyFeature, source: str | None = None) -> Feature:
        """One feature by its name; see `lookup`.

        Example:
            >>> client.features.get(1).label
            'river'
        """
        return self.lookup([feature], source)[0]

    def inspect(
        self,
        text: "Readable",
        features: SomeFeatures | None = None,
        *,
        source: str | None = None,
        aggregate_by: str = "frequency",
        model: Model = None,
    ) -> ContextInspector:
        """What features do on a text or a conversation, token by token; docs/inspect.md goes on from here.

        The run's model and coders are loaded at the first call.

        Args:
            text: A text, or a list of messages such as `{"role": "user", "content": "…"}`.
            features: Only these, of one source; all of the source where None.
            source: The source; that of the features, or the only one, where None.
            aggregate_by: What `.top` goes by: `frequency`, `mean`, `max` or `sum` over the tokens.
            model: A variant, whose edits are made while the text is read, those where conditions hold too: what
                features do is what they do as edited. Conditions that end an answer, or are told of, do nothing here.

        Raises:
            VariantError: If the variant is of another model.
            SubjectError: If the model or a coder can't be loaded any more, or the text can't be read.
            SearchError: If there is no such aggregate, or features are of several sources.
            UnknownFeatureError: If there is no such feature.

        Example:
            >>> text = client.features.inspect("a ship on the river")
            >>> [fired.feature.label for fired in text.top(2, aggregate_by="max")]
            ['ship', 'river']
            >>> text.tokens[1].inspect(1)[0].feature.label
            'ship'
            >>> text.matrix().shape
            (5, 12)
            >>> pinned = client.variant().set(7, 1, mode="pin", unit="activation")
            >>> client.features.inspect("a ship", [7], model=pinned).matrix().nnz
            2
        """
        steering = None if model is None else self._steerer.read(model, tells_events=False)
        if source is None and features is None and steering is not None:
            source = steering.source.source_id
        run, of, indices = self._columns(features, source)
        if steering is not None:
            steering.check_text(of)
        steered = None if steering is None else (self._steerer, steering)
        return inspect(run, of, text, indices, aggregate_by, lambda some: self._described(run, of, some), steered)

    def activations(
        self,
        texts: "Iterable[Readable]",
        features: SomeFeatures | None = None,
        *,
        source: str | None = None,
        aggregate_by: str | None = "mean",
        on_progress: Progress | None = None,
    ) -> "csr_array":
        """What features do on many texts, as a sparse matrix for statistics and machine learning.

        Args:
            texts: Texts and conversations; they may come one by one, and are read in batches.
            features: The columns, of one source; all features of the source where None.
            source: The source; that of the features, or the only one, where None.
            aggregate_by: A row a text, with the `mean`, `max`, `sum` or `frequency` over its tokens; where None, a row
                a token, those of each text behind those of the text before.
            on_progress: Told how many texts are done.

        Returns:
            Numbers in float32, (text or token, feature).

        Raises:
            As `inspect`.

        Example:
            >>> client.features.activations(["a ship", "the river"], [0, 1], aggregate_by="max").toarray() > 0
            array([[ True, False],
                   [False,  True]])
        """
        run, of, indices = self._columns(features, source)
        return activations(run, of, texts, indices, aggregate_by, on_progress)

    def contrast(
        self,
        dataset_1: "Iterable[Readable]",
        dataset_2: "Iterable[Readable]",
        top_k: int | None = 10,
        *,
        paired: bool = False,
        groups: Groups | None = None,
        source: str | None = None,
        aggregate_by: str = "mean",
        seed: int = 0,
        on_progress: Progress | None = None,
    ) -> "Contrast":
        """Find the features that tell two sets of texts apart; docs/contrast.md goes on from here.

        What is found, is found for all features that are compared at once: of two sets of the same kind nothing, in at
        least 19 of 20 contrasts.

        Args:
            dataset_1: Texts and conversations.
            dataset_2: Others; as many where they are pairs.
            top_k: Features wanted that are stronger in the one, and in the other; all that are found where None.
            paired: Whether text i of one belongs to text i of the other.
            groups: Of each set's texts the group (document, author) that each is of: texts of one group count as one.
                By default those that are the same word for word.
            source: The source; all where None.
            aggregate_by: What a feature does on a text: its `mean`, `max`, `sum` or `frequency` over the tokens.
            seed: Of the divisions of the texts that are tried.
            on_progress: Told how many texts are done, of both sets and for each source.

        Returns:
            The features with their effects, intervals and n; unpacked, two groups: stronger in `dataset_1`, and in
            `dataset_2`.

        Raises:
            CompareError: If a set is empty, or pairs or groups don't fit.
            As `inspect`.

        Example:
            >>> seen = "down out up back now also more some then well way years".split()
            >>> first, second = client.features.contrast([f"ship {of}" for of in seen], [f"bread {of}" for of in seen])
            >>> first.pop(0).label, second.pop(0).label
            ('ship', 'bread')
        """
        from autointerp.library.contrast.texts import contrast_texts  # scipy is slow to import

        return contrast_texts(
            {of: run for of, run in self._names.homes.items() if run.can_run}
            if source is None
            else {source: self._names.one("0", source)[0]},
            dataset_1,
            dataset_2,
            top_k,
            paired=paired,
            groups=groups,
            aggregate_by=aggregate_by,
            lookup=self.lookup,
            seed=seed,
            on_progress=on_progress,
        )

    def _columns(self, features: SomeFeatures | None, source: str | None) -> tuple[Backend, str, list[int] | None]:
        """The run and the source that are meant, and which of its features."""
        if features is None:
            return *self._names.one("0", source)[:2], None
        asked = by_source(self._names.all(features, source))
        if len(asked) != 1:
            told = ", ".join(of for _, of, _ in asked) or "none"
            raise SearchError(f"features of one source are needed, and of {told} are named", "name those of one")
        ((run, of, indices),) = asked
        run.describe(indices, of)  # tells of one that is not there before the model is loaded
        return run, of, list(dict.fromkeys(indices))

    @staticmethod
    def _described(run: Backend, source: str, indices: Sequence[int]) -> FeatureGroup:
        found = {hit.feature_index: feature_of(hit, run) for hit in run.describe(indices, source)}
        return FeatureGroup(found[index] for index in indices)

    def _each(self, ask: Callable[[Backend], list[SearchHit]]) -> list[tuple[SearchHit, Backend]]:
        """What all runs answer; what one does not know, another may."""
        hits, unknown = [], []
        for run in self._runs:
            try:
                hits += [(hit, run) for hit in ask(run)]
            except FilterError as error:
                unknown.append(error)
        if len(unknown) == len(self._runs):
            raise unknown[0]
        return hits

    @staticmethod
    def _best(hits: Iterable[tuple[SearchHit, Backend]], top_k: int | None) -> FeatureGroup:
        """The most relevant hits, each feature once; ties in the order in which they were found."""
        ordered = sorted(hits, key=lambda hit: -hit[0].relevance)
        return FeatureGroup(feature_of(hit, run) for hit, run in ordered)[:top_k]


def feature_of(hit: SearchHit, run: Backend) -> Feature:
    """A hit with the run that it is of."""
    return Feature(
        source_id=hit.source_id,
        index=hit.feature_index,
        label=hit.label or None,
        explanation_id=hit.explanation_id or None,
        explainer=hit.explainer or None,
        scores=dict(hit.scores),
        intervals=dict(hit.intervals),
        density=hit.density,
        relevance=None if math.isnan(hit.relevance) else hit.relevance,
        n_alike=hit.n_alike,
        tokens=hit.tokens,
        run=run.name,
        backend=run,
    )
