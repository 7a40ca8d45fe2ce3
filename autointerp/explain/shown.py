"""Which contexts of a feature a language model is shown, and how they look in a prompt."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, zip_longest

from autointerp.contexts.render import active_offsets, active_tokens, marked_text, plain_text
from autointerp.llm.prompts import quoted
from autointerp.records import Context, ContextKind, Sibling

_MAX_VALUES = 2
_LOOK_ALIKES: tuple[ContextKind, ...] = ("silent_similar", "silent_token", "silent_neighbor", "silent_window")


def choose_contexts(active: Sequence[Context], n_contexts: int) -> tuple[Context, ...]:
    """The active contexts to show, the highest peak first; ties by block and place.

    All of them where they are not more than `n_contexts`; else half from the top, and half evenly over the ranks of
    the rest, the weakest among them, so that weak firings are seen too (Paulo et al. 2024, 2410.13928, found a mixture
    better than the top alone).
    """
    ranked = sorted(active, key=lambda c: (-c.max_activation, c.block_index, c.start))
    n_top = n_contexts - n_contexts // 2
    rest, n_rest = ranked[n_top:], n_contexts // 2
    if len(rest) <= n_rest:
        return tuple(ranked)
    spread = [rest[((i + 1) * len(rest)) // n_rest - 1] for i in range(n_rest)]
    return (*ranked[:n_top], *spread)


def choose_silent(silent: Sequence[Context], n_contexts: int) -> tuple[Context, ...]:
    """The silent contexts to show: of each kind of look-alike in turn its next best, then those chosen at random.

    Args:
        silent: In the order in which they were chosen, the best of each kind first.
        n_contexts: At most so many.
    """
    by_kind = defaultdict(list)
    for context in silent:
        by_kind[context.kind].append(context)
    in_turn = chain.from_iterable(zip_longest(*(by_kind[kind] for kind in _LOOK_ALIKES)))
    ordered = (
        [context for context in in_turn if context is not None] + by_kind["silent_peak"] + by_kind["silent_random"]
    )
    return tuple(ordered[:n_contexts])


def render_contexts(contexts: Sequence[Context], feature_max: float) -> str:
    """Numbered lines: the marked context as a JSON string, and its strongest tokens with their activations.

    Args:
        contexts: In each of them the feature fires.
        feature_max: The feature's largest activation in the corpus, above 0.
    """
    lines = []
    for number, context in enumerate(contexts, start=1):
        text = quoted(marked_text(context, active_offsets(context)))
        lines.append(f"{number}: {text} {_values(context, feature_max)}")
    return "\n".join(lines)


def render_silent(contexts: Sequence[Context]) -> str:
    """Lines of contexts in which the feature is silent, as JSON strings; `none` where there are none."""
    return "\n".join(f"- {quoted(plain_text(context))}" for context in contexts) or "none"


def render_siblings(siblings: Sequence[Sibling], n_each: int) -> str:
    """Lines of contexts of other features, each under the feature's own label; as JSON strings.

    Args:
        siblings: The others, in their order.
        n_each: Contexts of each, at most, strong and weak ones.
    """
    return "\n".join(
        f"- {quoted(of.label)}: {quoted(marked_text(context, active_offsets(context)))}"
        for of in siblings
        for context in choose_contexts(of.active, n_each)
    )


def _values(context: Context, feature_max: float) -> str:
    tokens = active_tokens(context, feature_max)
    strongest = sorted(range(len(tokens)), key=lambda i: (-tokens[i][1], i))[:_MAX_VALUES]
    # without the quotation marks, yet with everything escaped that could end the line
    return ", ".join(f"{quoted(tokens[i][0])[1:-1]} {tokens[i][1]}" for i in sorted(strongest))
