"""Feature indices as a person writes them: "0-99,650"."""

_MOST_DIGITS = 18
_SHOWN = 60


def parse_indices(text: str) -> tuple[range, ...]:
    """Read "0-99,650" as ascending ranges of feature indices that don't touch, none of them empty.

    Raises:
        ValueError: If a part is neither an index nor an ascending range.
    """
    parts: list[range] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{_excerpt(part)!r} is not a feature index or a range such as 0-99")
        if max(len(first), len(last)) > _MOST_DIGITS:
            raise ValueError(f"{_excerpt(part)!r} is beyond the index of any feature")
        if dash and int(last) < int(first):
            raise ValueError(f"the range {_excerpt(part)!r} ends before it begins")
        parts.append(range(int(first), int(last or first) + 1))
    merged: list[range] = []
    for indices in sorted(parts, key=lambda indices: indices.start):
        if merged and indices.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, indices.stop))
        else:
            merged.append(indices)
    return tuple(merged)


def _excerpt(part: str) -> str:
    shown = part.strip()
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
