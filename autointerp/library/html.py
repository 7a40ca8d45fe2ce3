"""What a notebook shows of features and texts. Labels and tokens are data: nothing in them becomes markup."""

from collections.abc import Iterable, Sequence
from html import escape

from autointerp.contexts.render import shown_activations
from autointerp.library.feature_facts import FeatureFacts
from autointerp.records import Context
from autointerp.text_table import number, percent
from autointerp.valid_text import visible

_BEFORE, _BEHIND = 24, 8
_LEAST_SHADE = 0.15
_SHADE = "rgba(255,140,0,{:.2f})"


def shaded(tokens: Iterable[str], activations: Iterable[float], largest: float) -> str:
    """Tokens, each the darker the more it activates.

    Args:
        tokens: Their texts.
        activations: Of each; 0 leaves it plain.
        largest: What is darkest.
    """
    parts = []
    for token, activation in zip(tokens, activations, strict=True):
        text = escape(visible(token.replace("\n", "↵ ")))
        if activation > 0 and largest > 0:
            shade = _SHADE.format(max(_LEAST_SHADE, min(1.0, activation / largest)))
            text = f'<span style="background:{shade}" title="{activation:.3g}">{text}</span>'
        parts.append(text)
    return "".join(parts)


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already, below a header that is text."""
    heads = "".join(f'<th style="text-align:left">{escape(name)}</th>' for name in header)
    lines = ("".join(f'<td style="text-align:left">{cell}</td>' for cell in row) for row in rows)
    rows_html = "".join(f"<tr>{line}</tr>" for line in lines)
    # Notebooks typeset what stands between dollar signs, unless they are told not to.
    return f'<table class="tex2jax_ignore mathjax_ignore"><tr>{heads}</tr>{rows_html}</table>'


def features_html(features: Sequence[tuple[FeatureFacts, Sequence[Context]]], scorers: Sequence[str]) -> str:
    """Features as a table, each with its contexts."""
    found = any(feature.relevance is not None for feature, _ in features)
    rows = []
    for feature, contexts in features:
        told = escape(visible(feature.told))
        cells = [f'<span title="{escape(feature.id)}">{feature.index}</span>']
        cells.append(f"<i>{told}</i>" if feature.label is None else told)
        cells += [number(feature.relevance)] if found else []
        cells += [_score(feature.scores.get(name), feature.intervals.get(name)) for name in scorers]
        texts = []
        for context in contexts:
            of = slice(max(0, context.peak - _BEFORE), context.peak + _BEHIND)
            text = shaded(context.tokens[of], shown_activations(context)[of], context.max_activation)
            texts.append(f"<small>{text}</small>")
        rows.append([*cells, percent(feature.density), "<br>".join(texts)])
    header = ["feature", "label", *(["relevance"] if found else []), *scorers, "density", "strongest contexts"]
    return html_table(header, rows)


def _score(value: float | None, interval: tuple[float, float] | None) -> str:
    told = "" if interval is None else f"<br><small>{number(interval[0])} to {number(interval[1])}</small>"
    return number(value) + told


def tokens_html(tokens: Sequence[str], values: Sequence[float], told: Sequence[str], notes: Sequence[str] = ()) -> str:
    """A text, each token the darker the larger its value, with what is told of it where one points at it.

    Args:
        tokens: Their texts.
        values: Of each; 0 leaves it plain.
        told: Of each, in lines.
        notes: Lines below the text.
    """
    largest = max(values, default=0.0)
    parts = []
    for token, value, lines in zip(tokens, values, told, strict=True):
        text = escape(visible(token.replace("\n", "↵ ")))
        if value > 0:
            shade = _SHADE.format(max(_LEAST_SHADE, value / largest))
            shown = escape("\n".join(map(visible, lines.split("\n"))))
            text = f'<span style="background:{shade}" title="{shown}">{text}</span>'
        parts.append(text)
    below = "".join(f"<p><small>{escape(visible(note))}</small></p>" for note in notes)
    return f'<div style="white-space:pre-wrap">{"".join(parts)}</div>{below}'
