"""Which prompts are read in one pass: what fills up the shorter ones is read too, and must cost less than it saves."""

from collections.abc import Sequence

# A pass may be of this many times the tokens of its prompts: a fifth of it fills up the shorter ones.
_MOST_PADDED = 1.25


def together(lengths: Sequence[int], most: int) -> list[int]:
    """Choose which prompts are read with the first one.

    Those that are nearest to it in length come first, ties to the earlier, as long as the pass is not too long and not
    too much of it fills up shorter ones.

    Args:
        lengths: Tokens of each prompt, 1 or more; those that have waited longest first.
        most: Tokens of the pass; the first prompt is read even if it alone has more.

    Returns:
        Their places, rising; the first is always there.
    """
    chosen, longest, n_tokens = [0], lengths[0], lengths[0]
    for place in sorted(range(1, len(lengths)), key=lambda place: abs(lengths[place] - lengths[0])):
        longest_then, n_then = max(longest, lengths[place]), n_tokens + lengths[place]
        n_padded = longest_then * (len(chosen) + 1)
        if n_padded <= most and n_padded <= _MOST_PADDED * n_then:
            chosen.append(place)
            longest, n_tokens = longest_then, n_then
    return sorted(chosen)
