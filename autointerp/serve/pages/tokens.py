"""Tokens with their activations, shaded in nine steps.

A step is a class, `a1` to `a9`: the stylesheet gives it a background and an underline that grows with it, so that it
can be read without colour, in print and in forced colours too. The value stands in `title`.
"""

from collections.abc import Sequence
from math import ceil

from markupsafe import Markup, escape

from autointerp.valid_text import visible

_STEPS = 9


def token_text(token: str) -> str:
    """A token as it is shown: what steers a terminal or the direction of a line is written out, line breaks as ↵."""
    return visible(token.replace("\r\n", "\n").replace("\n", "↵")) if not token.isalnum() else token


def step(activation: float, largest: float) -> int:
    """The step of an activation, 1 to 9 in equal parts of the largest; 0 of none."""
    if not (activation > 0 and largest > 0):
        return 0
    return min(_STEPS, max(1, ceil(_STEPS * activation / largest)))


def shaded(
    tokens: Sequence[str],
    activations: Sequence[float],
    largest: float,
    peak: int | None = None,
    marked: Sequence[int] = (),
) -> Markup:
    """Tokens, those that a feature fires on shaded by how much.

    Args:
        tokens: Their texts.
        activations: Of each; 0 leaves it plain.
        largest: What the highest step stands for.
        peak: The token that is shown as the strongest; None for none.
        marked: Tokens that stand between marks.
    """
    parts = []
    between = frozenset(marked)
    for place, (token, activation) in enumerate(zip(tokens, activations, strict=True)):
        text = escape(token_text(token))
        word = text.lstrip(" ") or text
        space = text[: len(text) - len(word)]
        if of := step(activation, largest):
            name = f"a{of} peak" if place == peak else f"a{of}"
            word = Markup(f'<span class="{name}" title="{activation:.3g}">{word}</span>')
        if place in between:
            word = Markup(f"<mark>{word}</mark>")
        parts.append(space + word)
    return Markup("".join(parts))
