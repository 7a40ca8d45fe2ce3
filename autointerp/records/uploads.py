"""Records of features that somebody brings along: what they do, and what is said of them, without a coder to run."""

from dataclasses import dataclass

from autointerp.records.labels import TokenLogit

MOST_FEATURES = 65_536
"""Features of an uploaded source."""


@dataclass(frozen=True, slots=True)
class UploadedModel:
    """A model whose features somebody brings along.

    Attributes:
        model_id: Its name.
        layers: How many it has.
        name: As people call it.
        url: Where it is told of; may be empty.
    """

    model_id: str
    layers: int
    name: str
    url: str


@dataclass(frozen=True, slots=True)
class UploadedSet:
    """Sources of one kind, one a layer of a model: `LAYER-NAME`.

    Attributes:
        model_id: The model.
        name: Of the set.
        description: What it is.
        url: Where it is told of; may be empty.
    """

    model_id: str
    name: str
    description: str
    url: str


@dataclass(frozen=True, slots=True)
class UploadedLabel:
    """A label that comes with a feature.

    Attributes:
        text: One line.
        method: How it was found; becomes the explainer.
        model: The language model that wrote it.
    """

    text: str
    method: str
    model: str


@dataclass(frozen=True, slots=True)
class UploadedContext:
    """A text with the feature's activation on each token.

    Attributes:
        tokens: Pieces of the text.
        values: Activations, as many; finite.
        least: Lower end of the interval of activations that it was drawn from; None for the strongest ones.
    """

    tokens: tuple[str, ...]
    values: tuple[float, ...]
    least: float | None


@dataclass(frozen=True, slots=True)
class UploadedFeature:
    """A feature.

    Attributes:
        index: Its index in its source.
        density: Share of tokens on which it fires; 0 where nobody says.
        top_logits: Tokens that it raises, highest first.
        bottom_logits: Tokens that it lowers, lowest first.
        labels: What is said of it.
        contexts: Where it fires, or does not.
    """

    index: int
    density: float
    top_logits: tuple[TokenLogit, ...]
    bottom_logits: tuple[TokenLogit, ...]
    labels: tuple[UploadedLabel, ...]
    contexts: tuple[UploadedContext, ...]
