r"""Contexts as text for prompts: one line, active tokens between `<<` and `>>`, activations as integers 0 to 10.

- Neighboring marked tokens share one pair of marks; the space before a marked word stays outside of it.
- A document's own `<<` or `>>` is written `< <` or `> >`, also where its two characters come from two tokens or one of
  them stands beside a mark, so that nothing in the corpus can pose as a mark.
- White space with a line break in it becomes one space. Where nothing but such white space is marked it is written
  `\n`, because a mark around a space says nothing.
- Some vocabularies spread a character over several tokens, of which all but the last have no text of their own; a mark
  on one of those goes to the token that completes the character.
"""

import math
import re
from collections.abc import Collection, Sequence
from itertools import groupby

from autointerp.records import Context

_LINE_BREAK = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
_DOUBLED = re.compile(r"<(?=<)|>(?=>)")


def active_offsets(context: Context) -> tuple[int, ...]:
    """Offsets of the tokens on which the feature fires."""
    return tuple(offset for offset, activation in enumerate(context.activations) if activation > 0.0)


def plain_text(context: Context) -> str:
    """A context without marks, for a judge that must not see where the feature fires."""
    return marked_text(context, ())


def marked_text(context: Context, marked: Collection[int]) -> str:
    """A context with marks around some of its tokens.

    Args:
        context: The context.
        marked: Offsets to mark, for example `active_offsets(context)`.

    Returns:
        One line without leading or trailing space, with one `<<` and one `>>` for each run of marked tokens.

    Raises:
        IndexError: If an offset is outside the context.
    """
    shown = [offset for offset, token in enumerate(context.tokens) if token]
    with_marks = shown_offsets(context, marked)
    line = ""
    for is_marked, run in groupby(shown, key=with_marks.__contains__):
        text = "".join(context.tokens[offset] for offset in run)
        if not is_marked:
            line = _join(line, _one_line(text))
            continue
        word = _visible(text)
        space = text[: len(text) - len(text.lstrip())] if text.strip() else ""
        line = _join(line, _one_line(space))
        for part in ("<<", word, ">>"):
            line = _join(line, part)
    return line.strip()


def activation_values(context: Context, feature_max: float) -> tuple[int, ...]:
    """Activations as integers, for a language model to read.

    Args:
        context: The context.
        feature_max: The feature's largest activation in the corpus, above 0.

    Returns:
        For each token 0 where the feature is silent, else 1 to 10: `10 activation / feature_max`, to the nearest
        integer (halves up), but never 0 for a token that is active.
    """
    assert feature_max > 0.0, "a dead feature has no contexts"
    return tuple(
        0 if activation <= 0.0 else min(max(math.floor(10.0 * activation / feature_max + 0.5), 1), 10)
        for activation in context.activations
    )


def active_tokens(context: Context, feature_max: float) -> tuple[tuple[str, int], ...]:
    """The tokens on which a feature fires, in order, each with its activation as an integer from 1 to 10.

    A token without text of its own appears as the one that completes its character.
    """
    values = activation_values(context, feature_max)
    shown = [offset for offset, token in enumerate(context.tokens) if token]
    return tuple(
        (_visible(context.tokens[_shown_offset(context.tokens, shown, offset)]), values[offset])
        for offset in active_offsets(context)
        if shown
    )


def shown_activations(context: Context) -> tuple[float, ...]:
    """The activation at each token, where the largest of a character's parts stands at the token that completes it."""
    shown = [offset for offset, token in enumerate(context.tokens) if token]
    activations = [0.0] * len(context.tokens)
    for offset in active_offsets(context):
        place = _shown_offset(context.tokens, shown, offset)
        activations[place] = max(activations[place], context.activations[offset])
    return tuple(activations)


def shown_offsets(context: Context, offsets: Collection[int]) -> frozenset[int]:
    """The offsets of the tokens that show the text of some: themselves, or those that complete their characters.

    Raises:
        IndexError: If an offset is outside the context.
    """
    shown = [offset for offset, token in enumerate(context.tokens) if token]
    return frozenset(_shown_offset(context.tokens, shown, offset) for offset in offsets)


def _shown_offset(tokens: Sequence[str], shown: Sequence[int], offset: int) -> int:
    """The offset of the token that shows a token's text: itself, or the next one that has any."""
    if tokens[offset]:
        return offset
    return next((later for later in shown if later > offset), shown[-1] if shown else offset)


def _visible(text: str) -> str:
    """A marked token's own text without the space around it; a line break or space alone can still be seen."""
    if text.strip():
        return _one_line(text.lstrip())
    return "\\n" if _LINE_BREAK.search(text) else text


def _one_line(text: str) -> str:
    return _DOUBLED.sub(lambda match: f"{match.group()} ", _LINE_BREAK.sub(" ", text))


def _join(line: str, part: str) -> str:
    """Append, with a space where two halves of a mark would meet."""
    meets = line[-1:] == part[:1] and part[:1] in ("<", ">")
    return f"{line} {part}" if meets else line + part
