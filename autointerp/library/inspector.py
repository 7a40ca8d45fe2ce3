"""What features do on one text, and which of it is worth a look.

Raw activations put line breaks and first tokens on top: some features are large wherever they fire. So features are
ranked by surprise unless asked otherwise (`library.scales`), of a text by the aggregate that is asked for
(`library.aggregate`): those that rank highest are chosen by it, not first by something else.

| `rank_by`  | frequency                     | max             | sum, mean                                       |
|------------|-------------------------------|-----------------|-------------------------------------------------|
| surprise   | of firing on so many tokens   | of the largest  | over the tokens, less what a text mostly brings |
| percentile | (there is none)               | of the largest  | over the tokens, 0 where it is silent           |
| activation | share of tokens               | the largest     | over the tokens                                 |
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from jaxtyping import Float32, Float64, Int64

from autointerp.errors import SearchError
from autointerp.library.activations import check_finite, token_matrix
from autointerp.library.aggregate import Aggregate, by_feature, check_aggregate
from autointerp.library.feature import Feature, FeatureGroup
from autointerp.library.html import tokens_html
from autointerp.library.scales import Scales
from autointerp.records.live import TextFirings
from autointerp.store.known import check_count, check_name
from autointerp.text_table import shorten, table

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RankBy = Literal["surprise", "percentile", "activation"]
_ROWS = 30
_SHOWN_TOKENS = 500
_SHOWN_EACH = 3
_LABEL_WIDTH = 48


@dataclass(frozen=True, slots=True)
class FeatureActivation:
    """What one feature does on a token, or on a text.

    Attributes:
        feature: The feature, with its label.
        activation: On the token; of a text, the aggregate that was asked for.
        percentile: Share of the feature's firings in the corpus that are below its (largest) activation, times 100.
        surprise: By which it ranks where surprise is asked for; see `library.inspector`.
        n_tokens: Tokens on which it fires, of those that were looked at.
        peak: Place of the token on which it is largest.
    """

    feature: Feature
    activation: float
    percentile: float
    surprise: float
    n_tokens: int
    peak: int

    def __repr__(self) -> str:
        label = self.feature.told if self.feature.label is None else repr(self.feature.label)
        return (
            f"<FeatureActivation {self.feature.id} {label}: {self.activation:.3g}, percentile {self.percentile:.1f}, "
            f"surprise {self.surprise:.2f}>"
        )


@dataclass(frozen=True, slots=True, repr=False)
class InspectedToken:
    """One token of an inspected text.

    Attributes:
        context: The text.
        position: The token's place in it.
    """

    context: "ContextInspector"
    position: int

    @property
    def text(self) -> str:
        """Its piece of the text."""
        return self.context.firings.tokens[self.position]

    @property
    def token_id(self) -> int:
        """Its place in the vocabulary."""
        return int(self.context.firings.token_ids[self.position])

    @property
    def role(self) -> str | None:
        """Whose word it is in a conversation; None for what the template adds, and in a plain text."""
        roles = self.context.firings.roles
        return None if roles is None else roles[self.position]

    @property
    def is_counted(self) -> bool:
        """Whether features are read on it: not on special tokens, as in the corpus."""
        return bool(self.context.firings.counted[self.position])

    def inspect(self, k: int = 5, rank_by: RankBy = "surprise") -> list[FeatureActivation]:
        """The features that fire on it, those that rank highest first.

        Args:
            k: At most so many.
            rank_by: As of `ContextInspector.top`.

        Raises:
            SearchError: If `k` or `rank_by` makes no sense.
        """
        return self.context.on_token(self.position, check_count("k", k), rank_by)

    def vector(self) -> Float32[np.ndarray, " feature"]:
        """The activation of every feature on it: of the source, or of those that were asked for, in their order."""
        vector: Float32[np.ndarray, " feature"] = self.context.matrix()[[self.position]].toarray()[0]
        return vector

    def lookup(self) -> FeatureGroup:
        """All features that fire on it, the most surprising first."""
        return FeatureGroup(fired.feature for fired in self.context.on_token(self.position, None, "surprise"))

    def __repr__(self) -> str:
        role = "" if self.role is None else f" of {self.role}"
        special = "" if self.is_counted else ", special"
        fired = "; ".join(map(repr, self.inspect(_SHOWN_EACH)))
        return f"<InspectedToken {self.position}{role} {self.text!r}{special}{': ' * bool(fired)}{fired}>"


class ContextInspector:
    """What the features of one source do on one text.

    Printed, it is a table of tokens with what fires most surprisingly on each; in a notebook, the text in colours.

    Attributes:
        firings: Tokens, roles and activations as they are.
        aggregate_by: What `top` goes by where it is not told.

    Args:
        firings: Of the text.
        scales: Of every feature that fires on it.
        lookup: Gives features by their indices.
        features: Only these, in this order; all of the source where None.
        aggregate_by: One of `frequency`, `mean`, `max`, `sum`.

    Raises:
        ActivationRangeError: If an activation is not finite.
        SearchError: If there is no such aggregate, no feature is asked for, or the text has no token.
    """

    def __init__(
        self,
        firings: TextFirings,
        scales: Scales,
        lookup: Callable[[Sequence[int]], FeatureGroup],
        features: Sequence[int] | None = None,
        aggregate_by: str = "frequency",
    ) -> None:
        self.firings = firings
        self.aggregate_by: Aggregate = check_aggregate(aggregate_by)
        self._scales = scales
        self._lookup = lookup
        if not firings.tokens:
            raise SearchError(f"the text has no token for {firings.source_id}", "give it another")
        if features is not None and not len(features):
            raise SearchError("no feature to look at", "name some, or leave `features` out for all")
        self._columns = None if features is None else list(dict.fromkeys(features))
        kept = slice(None) if self._columns is None else np.isin(firings.feature, self._columns)
        self._token, self._feature = firings.token[kept], firings.feature[kept].astype(np.int64)
        self._activation = firings.activation[kept]
        check_finite(firings, "the text")
        self._known: dict[int, Feature] = {}

    @cached_property
    def tokens(self) -> tuple[InspectedToken, ...]:
        """The text's tokens."""
        return tuple(InspectedToken(self, position) for position in range(len(self.firings.tokens)))

    @property
    def text(self) -> str:
        """The text as the subject read it."""
        return "".join(self.firings.tokens)

    def top(self, k: int = 5, aggregate_by: str | None = None, rank_by: RankBy = "surprise") -> list[FeatureActivation]:
        """The features that rank highest on the text, by the aggregate that is asked for.

        Args:
            k: At most so many; a feature that does not fire is not among them.
            aggregate_by: One of `frequency`, `mean`, `max`, `sum`; as the inspector was made where None.
            rank_by: `surprise`: against how often the corpus has the like; `percentile`: against the feature's own
                activations; `activation`: as it is. The table of `library.inspector` says of what.

        Raises:
            SearchError: If an argument makes no sense, or a frequency is to be ranked by percentile.
        """
        return self._top(check_count("k", k), check_aggregate(aggregate_by or self.aggregate_by), check_rank(rank_by))

    @property
    def n_firing(self) -> int:
        """Features that fire anywhere on the text."""
        return len(self._n_fired)

    def lookup(self) -> FeatureGroup:
        """All features that fire on the text, with their labels, those that rank highest first."""
        return FeatureGroup(fired.feature for fired in self._top(None, self.aggregate_by, "surprise"))

    def matrix(self) -> "csr_array":
        """Activations as a sparse matrix (token, feature): of all features of the source, or of those asked for."""
        return token_matrix(self.firings, self._columns)

    def on_token(self, position: int, k: int | None, rank_by: RankBy) -> list[FeatureActivation]:
        """As `InspectedToken.inspect`; all features where `k` is None."""
        ranked = check_rank(rank_by)
        first, last = np.searchsorted(self._token, [position, position + 1])
        of = slice(first, last)
        value = self._on_scale(ranked)[of]
        order = np.lexsort((self._feature[of], -value))[:k] + first
        found = self._features(self._feature[order].tolist())
        return [
            FeatureActivation(
                feature=feature,
                activation=float(self._activation[i]),
                percentile=float(self._percentile[i]),
                surprise=float(self._surprise[i]),
                n_tokens=1,
                peak=position,
            )
            for i, feature in zip(order.tolist(), found, strict=True)
        ]

    def _top(self, k: int | None, aggregate: Aggregate, rank_by: RankBy) -> list[FeatureActivation]:
        if aggregate == "frequency" and rank_by == "percentile":
            raise SearchError(
                "a feature's frequency on a text has no percentile", "rank it by surprise, or by activation"
            )
        fired, surprise = self._aggregated(aggregate, "surprise")
        rank = surprise if rank_by == "surprise" else self._aggregated(aggregate, rank_by)[1]
        values = self._aggregated(aggregate, "activation")[1]
        chosen = np.lexsort((fired, -rank))[:k]
        peaks = self._peaks
        features = self._features(fired[chosen].tolist())
        return [
            FeatureActivation(
                feature=feature,
                activation=float(values[i]),
                percentile=float(self._percentile[peaks[i]]),
                surprise=float(surprise[i]),
                n_tokens=int(self._n_fired[i]),
                peak=int(self._token[peaks[i]]),
            )
            for i, feature in zip(chosen.tolist(), features, strict=True)
        ]

    def _aggregated(
        self, aggregate: Aggregate, rank_by: RankBy
    ) -> tuple[Int64[np.ndarray, " fired"], Float64[np.ndarray, " fired"]]:
        """The features that fire, ascending, and each one's aggregate on a scale."""
        n_counted = self.firings.n_counted
        fired, values = by_feature(self._feature, self._on_scale(rank_by), n_counted, aggregate)
        if rank_by != "surprise":
            return fired, values
        if aggregate == "frequency":
            return fired, self._scales.count_surprise(fired, self._n_fired, n_counted)
        if aggregate == "max":
            return fired, values
        expected = self._scales.expected_surprise(fired)
        return fired, values - expected * (n_counted if aggregate == "sum" else 1)

    def _on_scale(self, rank_by: RankBy) -> Float64[np.ndarray, " firing"] | Float32[np.ndarray, " firing"]:
        match rank_by:
            case "surprise":
                return self._surprise
            case "percentile":
                return self._percentile
            case "activation":
                return self._activation

    @cached_property
    def _percentile(self) -> Float64[np.ndarray, " firing"]:
        return self._scales.percentile(self._feature, self._activation)

    @cached_property
    def _surprise(self) -> Float64[np.ndarray, " firing"]:
        return self._scales.surprise(self._feature, self._activation)

    @cached_property
    def _n_fired(self) -> Int64[np.ndarray, " fired"]:
        return np.unique(self._feature, return_counts=True)[1].astype(np.int64)

    @cached_property
    def _peaks(self) -> Int64[np.ndarray, " fired"]:
        """The firing of each feature that is largest, the first of several."""
        order = np.lexsort((self._token, -self._activation, self._feature))
        return order[np.cumsum([0, *self._n_fired[:-1]])] if len(order) else order

    def _features(self, indices: Sequence[int]) -> list[Feature]:
        if missing := [index for index in dict.fromkeys(indices) if index not in self._known]:
            self._known |= {feature.index: feature for feature in self._lookup(missing)}
        return [self._known[index] for index in indices]

    def each(
        self, k: int, rank_by: RankBy = "surprise", n_tokens: int | None = None
    ) -> Iterator[tuple[int, list[FeatureActivation]]]:
        """The tokens' places, each with the features that rank highest on it; all are looked up together.

        Args:
            k: At most so many of each.
            rank_by: As of `top`.
            n_tokens: Only the first so many tokens; all where None.
        """
        value = self._on_scale(check_rank(rank_by))
        n_shown = min(len(self.firings.tokens), len(self.firings.tokens) if n_tokens is None else n_tokens)
        shown = np.flatnonzero(self._token < n_shown)
        order = shown[np.lexsort((self._feature[shown], -value[shown], self._token[shown]))]
        rank = np.arange(len(order)) - np.searchsorted(self._token[order], self._token[order])
        self._features(self._feature[order[rank < k]].tolist())
        for position in range(n_shown):
            yield position, self.on_token(position, k, rank_by)

    def on_tokens(self, rank_by: RankBy = "surprise", feature: int | None = None) -> Float64[np.ndarray, " token"]:
        """The largest value on each token, 0 where nothing is above it.

        Args:
            rank_by: Which value; as of `top`.
            feature: Of this feature only; of all where None.
        """
        kept = slice(None) if feature is None else self._feature == feature
        values: Float64[np.ndarray, " token"] = np.zeros(len(self.firings.tokens))
        np.maximum.at(values, self._token[kept], self._on_scale(check_rank(rank_by))[kept])
        return values

    def notes(self) -> list[str]:
        """What is to be known of how the text was read: where it was cut, and whether any token counts."""
        notes = []
        if (n := len(self.firings.windows)) > 1:
            notes.append(
                f"read in {n} windows, of which none sees another: they begin at tokens "
                f"{', '.join(map(str, islice(self.firings.windows, 8)))}{', …' * (n > 8)}"
            )
        if not self.firings.n_counted:
            notes.append("no token counts: all are special")
        return notes

    def __repr__(self) -> str:
        of = "" if self._columns is None else f" of {len(self._columns):,}"
        n = len(self.firings.tokens)
        lines = [
            f"{n:,} tokens, on which {self.n_firing:,}{of} features of {self.firings.source_id} fire",
            *self.notes(),
        ]
        has_roles = self.firings.roles is not None
        rows = []
        for position, fired in self.each(_SHOWN_EACH, n_tokens=_ROWS):
            token = self.tokens[position]
            row = [str(position), token.text or "(part of a character)"]
            row += [token.role or "-"] if has_roles else []
            if fired:
                feature, first = fired[0].feature, fired[0]
                label = shorten(feature.told, _LABEL_WIDTH)
                row += [f"{feature.index} {label}", f"{first.activation:.3g}", f"{first.percentile:.1f}"]
                row += [f"{first.surprise:.2f}"]
            else:
                row += ["-" if token.is_counted else "(special)", "", "", ""]
            rows.append(row)
        header = ["", "token", *(["role"] if has_roles else []), "fires most surprisingly", "activation", "pct"]
        header += ["surprise"]
        lines += table(header, rows, left=(1, 2, 3) if has_roles else (1, 2))
        return "\n".join([*lines, *([f"… and {n - _ROWS:,} more tokens"] if n > _ROWS else [])])

    def _repr_html_(self) -> str:
        shown: list[Any] = list(self.each(_SHOWN_EACH, n_tokens=_SHOWN_TOKENS))
        n_more = len(self.firings.tokens) - len(shown)
        return tokens_html(
            [self.firings.tokens[position] for position, _ in shown],
            [fired[0].surprise if fired else 0.0 for _, fired in shown],
            [_told(fired) for _, fired in shown],
            [*self.notes(), *([f"… and {n_more:,} more tokens"] if n_more > 0 else [])],
        )


def _told(fired: Sequence[FeatureActivation]) -> str:
    """What stands beside a token when it is pointed at."""
    return "\n".join(
        f"{of.feature.index} {of.feature.told}: {of.activation:.3g}, percentile {of.percentile:.1f}, "
        f"surprise {of.surprise:.2f}"
        for of in fired
    )


def check_rank(rank_by: str) -> RankBy:
    """See that there is such a ranking.

    Raises:
        SearchError: If there is none.
    """
    check_name(rank_by, get_args(RankBy), "ranking", SearchError)
    known: dict[str, RankBy] = {name: name for name in get_args(RankBy)}
    return known[rank_by]
