"""Tokens with their activations, shaded in nine steps.

A step is a class, `a1` to `a9`: the stylesheet gives it a background and an underline that grows with it, so that it
can be read without colour, in print and in forced colours too. The value stands in `title`.
"""

from collections.abc import Sequence
from math import ceil

from markupsafe import Markup, escape

from autointerp.valid_text import visible

_STEPS = 9
# Marks of ChatML (SmolLM2, Qwen), Llama 3 and Gemma.
_BEGINS = frozenset({"<|im_start|>", "<|start_header_id|>", "<start_of_turn>"})
_ENDS = frozenset({"<|im_end|>", "<|eot_id|>", "<end_of_turn>"})
_ROLE_ENDS = frozenset({"\n", "\n\n", "<|end_header_id|>"})


def token_text(token: str) -> str:
    """A token as it is shown: what steers a terminal or the direction of a line is written out, line breaks as ↵."""
    return visible(token.replace("\r\n", "\n").replace("\n", "↵")) if not token.isalnum() else token


def step(activation: float, largest: float) -> int:
    """The step of an activation, 1 to 9 in equal parts of the largest; 0 of none."""
    if not (activation > 0 and largest > 0):
        return 0
    return min(_STEPS, max(1, ceil(_STEPS * activation / largest)))


def has_turns(tokens: Sequence[str]) -> bool:
    """Whether a text holds the beginning of a message, by the marks of a chat template that is known here."""
    return any(token in _BEGINS for token in tokens)


def as_chat(tokens: Sequence[str], activations: Sequence[float], largest: float, peak: int | None = None) -> Markup:
    """Tokens as `shaded`, a message a block behind its role; marks of the template go, unless the feature fires there.

    Args:
        tokens: Their texts.
        activations: Of each.
        largest: What the highest step stands for.
        peak: The token that is shown as the strongest; None for none.
    """
    parts: list[Markup] = []
    role: list[str] | None = None
    begun, is_first = 0, False
    for place, token in enumerate([*tokens, ""]):
        is_end = place == len(tokens)
        is_mark = token in _BEGINS or token in _ENDS
        if role is not None and not (token in _ROLE_ENDS or is_mark or is_end):
            role.append(token)
            continue
        if role is not None:
            parts.append(Markup('<b class="role">{}</b>').format(token_text("".join(role).strip()) or "…"))
            if any(activation > 0 for activation in activations[begun:place]):
                parts.append(shaded(tokens[begun:place], activations[begun:place], largest))
            role = None
        if is_end:
            break
        if token in _BEGINS:
            role, begun, is_first = [], place + 1, True
        elif token in _ENDS:
            is_first = True
        elif not (is_first and token in _ROLE_ENDS):
            of = slice(place, place + 1)
            parts.append(shaded(tokens[of], activations[of], largest, 0 if place == peak else None))
            is_first = False
            continue
        else:
            is_first = False
        if activations[place] > 0:
            of = slice(place, place + 1)
            parts.append(shaded(tokens[of], activations[of], largest, 0 if place == peak else None))
    return Markup("").join(parts)


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
