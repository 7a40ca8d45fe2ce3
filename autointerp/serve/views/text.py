"""The page of a text: which features fire on which of its tokens.

A text, or a conversation, is read by the run's model. Features come by surprise, by the percentile of their own
activations in the corpus, or by activation (`library.inspector`); a token that is chosen tells what fires on it, and a
feature that is chosen shades the tokens on which it fires.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Annotated, Any, Literal
from weakref import WeakKeyDictionary

from pydantic import Field

from autointerp.errors import ServeError
from autointerp.library.client import Client
from autointerp.library.inspector import ContextInspector, FeatureActivation
from autointerp.serve.knows import Knows
from autointerp.serve.views.asked import Asked, OneOf, Place, Written
from autointerp.serve.views.shown import FeatureLine, View, feature_line

LONGEST_TEXT = 20_000
"""In characters, of all messages together: what one page can show."""
_LINES = 300
_ON_TOKEN = 12
_KEPT = 8

Role = Literal["user", "assistant", "system"]
ROLES: tuple[Role, ...] = ("user", "assistant", "system")


class TextAsked(Asked):
    """What is read, as it stands in the page's address or in what the page sends.

    Attributes:
        text: The text; where there are messages it is not looked at.
        chat: Whether there are to be messages.
        role: Whose word each message is.
        content: The messages; empty ones are passed over.
        source: Whose features; the only one's where None.
        by: What features are ranked by.
        over: What of the tokens counts for the whole text.
        token: A place whose features are told; one that the text does not have is passed over.
        feature: A feature whose tokens are shaded.
        n: Features told of the whole text.
    """

    text: Written = ""
    chat: bool = False
    role: tuple[Role, ...] = ()
    content: tuple[Written, ...] = ()
    source: OneOf = None
    by: Literal["surprise", "percentile", "activation"] = "surprise"
    over: Literal["max", "mean", "sum", "frequency"] = "max"
    token: Place = None
    feature: Place = None
    n: Annotated[int, Field(ge=1, le=200)] = 30

    @property
    def is_any(self) -> bool:
        """Whether there is anything to read."""
        return bool(self.messages or self.text.strip())

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation, without the messages that say nothing."""
        roles = (*self.role, *(["user"] * len(self.content)))
        return [
            {"role": role, "content": content}
            for role, content in zip(roles, self.content, strict=False)
            if content.strip()
        ]


class Fired(View):
    """A feature on a text, or on a token of it.

    Attributes:
        feature: The feature.
        activation: On the token; of a text, what counts of it.
        percentile: Share of its firings in the corpus that are below its (largest) activation, times 100.
        surprise: -log10 of how often the corpus has the like.
        n_tokens: Tokens on which it fires.
        peak: Place of the token on which it is largest.
        peak_text: That token.
    """

    feature: FeatureLine
    activation: float
    percentile: float
    surprise: float
    n_tokens: int
    peak: int
    peak_text: str


class Passage(View):
    """Tokens in a row that are of one message.

    Attributes:
        role: Whose word it is; None for what the template adds, and in a plain text.
        first: Place of the first token.
        tokens: Their pieces of the text.
        values: By which each is shaded: of all features the largest, or that of the feature that is chosen.
    """

    role: str | None
    first: int
    tokens: tuple[str, ...]
    values: tuple[float, ...]


class TokenLine(View):
    """A token with the feature that ranks highest on it.

    Attributes:
        position: Its place.
        text: Its piece of the text.
        is_counted: Whether features are read on it: not on special tokens.
        leading: That feature; None where nothing fires.
    """

    position: int
    text: str
    is_counted: bool
    leading: Fired | None


class OnToken(View):
    """A token that was chosen.

    Attributes:
        position: Its place.
        text: Its piece of the text.
        role: Whose word it is.
        is_counted: Whether features are read on it.
        fired: What fires on it, highest first.
    """

    position: int
    text: str
    role: str | None
    is_counted: bool
    fired: tuple[Fired, ...]


class TextRead(View):
    """What the features of a source do on a text.

    Attributes:
        source_id: The source.
        n_tokens: Of the text.
        n_firing: Features that fire anywhere on it.
        notes: What is to be known of how it was read.
        passages: All of its tokens.
        largest: The largest value by which a token is shaded.
        features: What ranks highest on the whole text.
        lines: Its first tokens, one by one.
        on_token: The token that was chosen.
        shaded_by: The feature that was chosen; None where the largest of all shades a token.
    """

    source_id: str
    n_tokens: int
    n_firing: int
    notes: tuple[str, ...]
    passages: tuple[Passage, ...]
    largest: float
    features: tuple[Fired, ...]
    lines: tuple[TokenLine, ...]
    on_token: OnToken | None
    shaded_by: FeatureLine | None


class TextView(View):
    """What the page says.

    Attributes:
        asked: What is read.
        sources: Whose features can be asked for.
        longest: Characters that are read at most.
        read: What was found; None where there is no text yet.
    """

    asked: TextAsked
    sources: tuple[str, ...]
    longest: int = LONGEST_TEXT
    read: TextRead | None


class KeptTexts:
    """The texts that were read last, since one looks at several tokens and features of each.

    Args:
        n_most: So many are kept.
    """

    def __init__(self, n_most: int = _KEPT) -> None:
        self._n_most = n_most
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], ContextInspector] = OrderedDict()

    def get(self, source: str, text: str, read: Callable[[], ContextInspector]) -> ContextInspector:
        """What was read of a text, or is read now.

        Args:
            source: Whose features.
            text: Names the text.
            read: Reads it.
        """
        with self._lock:
            if (found := self._kept.get((source, text))) is not None:
                self._kept.move_to_end((source, text))
                return found
        found = read()
        with self._lock:
            self._kept[source, text] = found
            while len(self._kept) > self._n_most:
                self._kept.popitem(last=False)
        return found


_KEPT_OF: WeakKeyDictionary[Client, KeptTexts] = WeakKeyDictionary()


def text_view(asked: TextAsked, knows: Knows) -> TextView:
    """Read a text.

    Args:
        asked: The text, and what is asked of it.
        knows: Whose model reads it.

    Raises:
        ServeError: If it is longer than a page can show.
        UnknownModelError: If there is no such source, or several and none is named.
        SubjectError: If the model can't be loaded or has no chat template, or the text can't be read.
        SearchError: If a ranking makes no sense.
        UnknownFeatureError: If there is no such feature.
    """
    messages = asked.messages
    n_characters = sum(len(message["content"]) for message in messages) or len(asked.text)
    if n_characters > LONGEST_TEXT:
        raise ServeError(f"the text has {n_characters:,} characters", f"give at most {LONGEST_TEXT:,}")
    view = TextView(asked=asked, sources=tuple(knows.names.sources), read=None)
    if not asked.is_any:
        return view
    source = knows.names.source(asked.source)
    kept = _KEPT_OF.setdefault(knows.client, KeptTexts())
    name = repr(messages) if messages else asked.text
    found = kept.get(source, name, lambda: knows.client.features.inspect(messages or asked.text, source=source))
    return view.model_copy(update={"read": _read(knows, found, source, asked)})


def _read(knows: Knows, found: ContextInspector, source: str, asked: TextAsked) -> TextRead:
    texts, roles = found.firings.tokens, found.firings.roles or (None,) * len(found.firings.tokens)
    token = asked.token if asked.token is not None and asked.token < len(texts) else None
    top = found.top(asked.n, asked.over, asked.by)
    shading = None if asked.feature is None else knows.client.features.get(asked.feature, source)
    values = found.on_tokens(asked.by, asked.feature).tolist()
    passages, first = [], 0
    for role, several in groupby(zip(roles, texts, values, strict=True), key=lambda of: of[0]):
        own = list(several)
        passages.append(
            Passage(role=role, first=first, tokens=tuple(of[1] for of in own), values=tuple(of[2] for of in own))
        )
        first += len(own)
    return TextRead(
        source_id=source,
        n_tokens=len(texts),
        n_firing=found.n_firing,
        notes=tuple(found.notes()),
        passages=tuple(passages),
        largest=max(values, default=0.0),
        features=_fired(found, top),
        lines=tuple(_lines(found, asked)),
        on_token=None if token is None else _on_token(found, token, asked),
        shaded_by=None if shading is None else feature_line(shading),
    )


def _lines(found: ContextInspector, asked: TextAsked) -> Iterable[TokenLine]:
    for position, fired in found.each(1, asked.by, _LINES):
        token = found.tokens[position]
        yield TokenLine(
            position=position,
            text=token.text,
            is_counted=token.is_counted,
            leading=next(iter(_fired(found, fired)), None),
        )


def _on_token(found: ContextInspector, position: int, asked: TextAsked) -> OnToken:
    token = found.tokens[position]
    return OnToken(
        position=position,
        text=token.text,
        role=token.role,
        is_counted=token.is_counted,
        fired=_fired(found, token.inspect(_ON_TOKEN, asked.by)),
    )


def _fired(found: ContextInspector, several: Iterable[FeatureActivation]) -> tuple[Fired, ...]:
    return tuple(
        Fired(
            feature=feature_line(of.feature),
            activation=of.activation,
            percentile=of.percentile,
            surprise=of.surprise,
            n_tokens=of.n_tokens,
            peak=of.peak,
            peak_text=found.firings.tokens[of.peak],
        )
        for of in several
    )
