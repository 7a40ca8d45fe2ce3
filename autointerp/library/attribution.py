"""What pushes one token, with the features' labels, and what remains beside them; `live.attribution` says how."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, get_args

import numpy as np
from jaxtyping import Float64, Int64

from autointerp.errors import SearchError
from autointerp.library.feature import Feature, FeatureGroup
from autointerp.records.attribution import AskedToken, Shares, TokenAttribution
from autointerp.store.known import check_count, check_name
from autointerp.text_table import shorten, table

if TYPE_CHECKING:
    import pandas as pd

PushedBy = Literal["gradient", "integrated", "direct", "removed"]
_SHOWN = 15
_LABEL_WIDTH = 40
_MOST_STEPS = 256
_MEASURES: dict[str, Literal["log_prob", "logit"]] = {"log_prob": "log_prob", "logit": "logit"}


@dataclass(frozen=True, slots=True)
class AttributedFiring:
    """What one feature at one token does to the token asked about. Above 0 it pushes it, below 0 it holds it back.

    Attributes:
        feature: The feature, with its label.
        position: Place of the token on which it fires.
        token: That token.
        activation: In the coder's own units.
        direct: Its direct effect; 0 before the last token, None where there is none to be told.
        gradient: Gradient times activation.
        integrated: Integrated gradient; None where it was not asked for.
        removed: By how much the measure falls without it; None where that was not tried.
    """

    feature: Feature
    position: int
    token: str
    activation: float
    direct: float | None
    gradient: float
    integrated: float | None
    removed: float | None

    def as_plain(self) -> dict[str, Any]:
        """A row of a table, or what JSON can hold of it."""
        return {
            "id": self.feature.id,
            "index": self.feature.index,
            "label": self.feature.label,
            "position": self.position,
            "token": self.token,
            "activation": self.activation,
            "direct": self.direct,
            "gradient": self.gradient,
            "integrated": self.integrated,
            "removed": self.removed,
        }


@dataclass(frozen=True, slots=True)
class AttributedFeature:
    """What one feature does to the token asked about, at all tokens together.

    Attributes:
        feature: The feature, with its label.
        direct: Its direct effects' sum; None where there is none to be told.
        gradient: The sum of its gradients times activations.
        integrated: The sum of its integrated gradients; None where they were not asked for.
        positions: Places of the tokens on which it fires.
        activations: Its activation on each.
    """

    feature: Feature
    direct: float | None
    gradient: float
    integrated: float | None
    positions: tuple[int, ...]
    activations: tuple[float, ...]


class Attribution:
    """Which features, at which tokens, push one token of a text, and what remains unexplained.

    Printed, it is a table of the firings that push most, and of where the measure comes from.

    Attributes:
        record: Every firing, and what remains, as numbers.

    Args:
        record: From `Run.attribution`.
        lookup: Gives features by their indices.

    Example:
        >>> pushed = client.features.attribute("we saw the ship on the river")
        >>> pushed.token, pushed.measure, pushed.value == pushed.record.log_prob
        (' river', 'log_prob', True)
        >>> frame = pushed.to_pandas()
        >>> bool(abs(frame.gradient.sum() - pushed.of_gradient.features) < 1e-9)
        True
    """

    def __init__(self, record: TokenAttribution, lookup: Callable[[Sequence[int]], FeatureGroup]) -> None:
        self.record = record
        self._lookup = lookup
        self._known: dict[int, Feature] = {}

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens before the one asked about, and it as the last."""
        return self.record.tokens

    @property
    def token(self) -> str:
        """The token asked about."""
        return self.record.tokens[-1]

    @property
    def index(self) -> int:
        """Its place in the text."""
        return self.record.index

    @property
    def measure(self) -> str:
        """What is pushed: the token's `log_prob`, its `logit`, or the `difference` to another's logit."""
        return self.record.measure

    @property
    def value(self) -> float:
        """What it is, plain."""
        return self.record.value

    @property
    def of_direct(self) -> Shares | None:
        """Where the logits come from, directly: features, the coder's bias and error, the rest of the model."""
        return self.record.of_direct

    @property
    def of_gradient(self) -> Shares:
        """The same by gradient: features, the coder's bias and error, and tokens on which no feature is read."""
        return self.record.of_gradient

    @property
    def fall_without_features(self) -> float:
        """By how much the measure falls where all features are taken out at once.

        First order says that it is `of_gradient.features`: the further apart, the less single gradients say.
        """
        return self.record.value - self.record.value_removed

    @cached_property
    def rows(self) -> tuple[AttributedFiring, ...]:
        """Every firing, those with the largest gradient times activation first."""
        return tuple(self.top(max(1, len(self.record.gradient))))

    def top(self, k: int = 10, by: PushedBy = "gradient") -> list[AttributedFiring]:
        """The firings that push the token most, or hold it back most: by size, whatever the sign.

        Args:
            k: At most so many.
            by: `gradient`, `direct`, `integrated` where it was asked for, or `removed`, for which so many have to have
                been taken out.

        Raises:
            SearchError: If `k` or `by` makes no sense, or nothing is known of it.
        """
        values = self._values(by)
        known = np.flatnonzero(np.isfinite(values))
        order = known[np.lexsort((known, -np.abs(values[known])))][: check_count("k", k)].tolist()
        found = self._features(self.record.feature[order].tolist())
        return [self._row(place, feature) for place, feature in zip(order, found, strict=True)]

    def by_feature(
        self, k: int | None = 10, by: Literal["gradient", "integrated", "direct"] = "gradient"
    ) -> list[AttributedFeature]:
        """The features that push most at all tokens together, or hold back most.

        Args:
            k: At most so many; all where None.
            by: `gradient` or `direct`, or `integrated` where it was asked for.

        Raises:
            SearchError: As `top`.
        """
        if k is not None:
            check_count("k", k)
        of = self.record
        values = self._values(by)
        fired, place = np.unique(of.feature, return_inverse=True)
        summed = np.bincount(place, values, minlength=len(fired))
        order: Int64[np.ndarray, " fired"] = np.lexsort((fired, -np.abs(summed)))[:k]
        found = []
        for number, feature in zip(order.tolist(), self._features(fired[order].tolist()), strict=True):
            own = np.flatnonzero(place == number)
            found.append(
                AttributedFeature(
                    feature=feature,
                    direct=None if of.of_direct is None else float(of.direct[own].sum()),
                    gradient=float(of.gradient[own].sum()),
                    integrated=float(of.integrated[own].sum()) if of.n_steps else None,
                    positions=tuple(of.token[own].tolist()),
                    activations=tuple(of.activation[own].tolist()),
                )
            )
        return found

    def to_pandas(self) -> "pd.DataFrame":
        """A row a firing, as `rows`."""
        import pandas as pd  # slow to import

        return pd.DataFrame([row.as_plain() for row in self.rows], columns=_COLUMNS)

    def as_plain(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        of = self.record
        return {
            "source_id": of.source_id,
            "tokens": list(of.tokens),
            "index": of.index,
            "token": self.token,
            "token_id": of.token_ids[-1],
            "instead_of": of.instead_of_text,
            "measure": of.measure,
            "value": of.value,
            "value_without_features": of.value_removed,
            "log_prob": of.log_prob,
            "n_steps": of.n_steps,
            "completeness_gap": of.completeness_gap,
            "of_direct": None if of.of_direct is None else _plain(of.of_direct),
            "of_gradient": _plain(of.of_gradient),
            "why_no_direct": of.why_no_direct,
            "rows": [row.as_plain() for row in self.rows],
        }

    def to_json(self) -> str:
        """It as JSON."""
        return json.dumps(self.as_plain(), ensure_ascii=False, allow_nan=False)

    def _values(self, by: str) -> Float64[np.ndarray, " firing"]:
        check_name(by, get_args(PushedBy), "order", SearchError)
        of = self.record
        if by == "direct" and of.why_no_direct is not None:
            raise SearchError(f"there is no direct effect: {of.why_no_direct}", "go by the gradient")
        values: Float64[np.ndarray, " firing"] = getattr(of, by)
        if by == "integrated" and not of.n_steps:
            raise SearchError("there are no integrated gradients", "ask for them: attribute(…, n_steps=8)")
        if by == "removed" and len(values) and np.isnan(values).all():
            raise SearchError("no firing was taken out", "ask for it: attribute(…, n_removed=20)")
        return values

    def _row(self, place: int, feature: Feature) -> AttributedFiring:
        of = self.record
        position, removed = int(of.token[place]), float(of.removed[place])
        return AttributedFiring(
            feature=feature,
            position=position,
            token=of.tokens[position],
            activation=float(of.activation[place]),
            direct=None if of.of_direct is None else float(of.direct[place]),
            gradient=float(of.gradient[place]),
            integrated=float(of.integrated[place]) if of.n_steps else None,
            removed=None if np.isnan(removed) else removed,
        )

    def _features(self, indices: Sequence[int]) -> list[Feature]:
        if missing := [index for index in dict.fromkeys(indices) if index not in self._known]:
            self._known |= {feature.index: feature for feature in self._lookup(missing)}
        return [self._known[index] for index in indices]

    def __repr__(self) -> str:
        of, n = self.record, len(self.record.gradient)
        told = {
            "log_prob": f"log-probability of {self.token!r}, in nats",
            "logit": f"logit of {self.token!r}, less the mean of the vocabulary's",
            "difference": f"logit of {self.token!r} less that of {of.instead_of_text!r}",
        }[of.measure]
        lines = [f"{told}: {of.value:.3f} at token {of.index}; {n:,} firings of {of.source_id} before it"]
        shown = self.top(_SHOWN) if n else []
        has_removed, has_integrated = any(row.removed is not None for row in shown), of.n_steps > 0
        rows = [
            [
                str(row.feature.index),
                shorten(row.feature.told, _LABEL_WIDTH),
                f"{row.position} {row.token}",
                f"{row.activation:.3g}",
                _signed(row.direct),
                _signed(row.gradient),
                *([_signed(row.integrated)] if has_integrated else []),
                *([_signed(row.removed)] if has_removed else []),
            ]
            for row in shown
        ]
        header = ["feature", "label", "token", "activation", "direct", "gradient"]
        header += ["integrated"] * has_integrated + ["removed"] * has_removed
        lines += table(header, rows, left=(0, 1, 2)) if rows else []
        lines += [f"… and {n - _SHOWN:,} more"] if n > _SHOWN else []
        lines += self._told_shares()
        lines.append(
            f"without any feature it would be {of.value_removed:.3f}, lower by {self.fall_without_features:.3f};"
            f" the gradients' sum says by {of.of_gradient.features:.3f}"
            + (f", integrated by {of.integrated.sum():.3f} in {of.n_steps} steps" if has_integrated else "")
        )
        return "\n".join([*lines, *([f"no direct effect: {of.why_no_direct}"] if of.why_no_direct else [])])

    def _told_shares(self) -> list[str]:
        direct, gradient = self.of_direct, self.of_gradient
        names = {
            "features": "the features",
            "bias": "the coder's bias",
            "error": "the coder's error",
            "special": "special tokens",
            "rest": "all else in the model",
        }
        rows = [
            [told, _signed(None if direct is None else getattr(direct, name)), _signed(getattr(gradient, name))]
            for name, told in names.items()
        ]
        return table(["comes from", "direct", "gradient"], rows)


_COLUMNS = ["id", "index", "label", "position", "token", "activation", "direct", "gradient", "integrated", "removed"]


def asked_token(
    index: SupportsIndex | str, instead_of: str | int | None, measure: str, n_removed: int, n_steps: int = 0
) -> AskedToken:
    """What is asked of a text, checked as far as it can be without the model.

    Raises:
        SearchError: If there is no such measure, `n_removed` is no count, or `n_steps` is none or too many.
    """
    check_name(measure, _MEASURES, "measure", SearchError)
    if n_removed != 0 or isinstance(n_removed, bool):
        n_removed = check_count("n_removed", n_removed)
    if n_steps != 0 or isinstance(n_steps, bool):
        n_steps = check_count("n_steps", n_steps, _MOST_STEPS)
    return AskedToken(index, instead_of, _MEASURES[measure], n_removed, n_steps)


def _plain(shares: Shares) -> dict[str, float | None]:
    return {name: getattr(shares, name) for name in ("features", "bias", "error", "special", "rest")}


def _signed(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:+.3f}"
