"""Tables as plain text, which survive pipes, logs and narrow terminals, and the numbers in them."""

import shutil
from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest

from rich.cells import cell_len, chop_cells, set_cell_size

from autointerp.valid_text import visible

_LABEL_WIDTH = 40
_GAP = "  "
_LEAST_TEXT = 12
_WIDEST_CELL = 2


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[int] = (0,)) -> list[str]:
    """Lines of a table, in the width of the terminal where there is one.

    What is too wide has its columns of text folded. Where the numbers alone are too wide, each row is put into lines of
    its own, its texts first and then each number behind its name.

    Args:
        header: Name of each column.
        rows: Cells.
        left: The columns that are flush left: the first, which names the row, and those of text; others are numbers.
    """
    cells = [[visible(cell.replace("\t", " ")) for cell in row] for row in (header, *rows)]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(header))]
    columns = shutil.get_terminal_size(fallback=(0, 0)).columns  # 0 in a pipe or a file: lines may be of any length
    if columns > 0:
        texts = [column for column in left if column > 0]
        spare = columns - sum(widths) - len(_GAP) * (len(widths) - 1)
        while spare < 0 and texts and max(widths[column] for column in texts) > _LEAST_TEXT:
            widest = max(texts, key=lambda column: widths[column])
            widths[widest] -= 1
            spare += 1
        if spare < 0:
            return [line for row in cells[1:] for line in _stacked(cells[0], row, left, columns)]
    lines = []
    for row in cells:
        folded = [
            _folded(cell.split(" ") if place in left else [cell], widths[place]) for place, cell in enumerate(row)
        ]
        for parts in zip_longest(*folded, fillvalue=""):
            padded = (_pad(part, widths[place], place in left) for place, part in enumerate(parts))
            lines.append(_GAP.join(padded).rstrip())
    return lines


def _stacked(header: Sequence[str], row: Sequence[str], left: Collection[int], columns: int) -> list[str]:
    named = (
        f"{name} {cell.strip()}"
        for place, (name, cell) in enumerate(zip(header, row, strict=True))
        if place not in left and cell.strip()
    )
    texts = _GAP.join(row[place] for place in sorted(left) if row[place])
    lines = [*_folded(texts.split(" "), columns), *(f"  {line}" for line in _folded([*named], columns - 2, _GAP))]
    return [line.rstrip() for line in lines]


def _folded(words: Sequence[str], width: int, between: str = " ") -> list[str]:
    """Words in lines of a width; a word that is wider is cut."""
    lines: list[str] = []
    for word in words:
        if lines and cell_len(lines[-1]) + len(between) + cell_len(word) <= width:
            lines[-1] += between + word
        elif " " in word and cell_len(word) > width:
            lines += _folded(word.split(" "), width)
        else:
            lines += chop_cells(word, max(width, _WIDEST_CELL)) or [""]
    return lines


def number(value: float | None) -> str:
    """A share to two places without its leading zero; a dash where it is undefined."""
    if value is None:
        return "-"
    text = f"{value:.2f}"
    return text.removeprefix("0") if text != "0.00" else ".00"


def percent(share: float) -> str:
    """A share as a percentage with two significant digits or two places."""
    return f"{100 * share:.2f} %" if share >= 0.001 else f"{100 * share:.2g} %"


def shorten(text: str, width: int = _LABEL_WIDTH) -> str:
    """A text on one line, cut to a width with an ellipsis."""
    line = " ".join(text.split())
    return line if cell_len(line) <= width else set_cell_size(line, width - 1).rstrip() + "…"


def _pad(text: str, width: int, left: bool) -> str:
    space = " " * (width - cell_len(text))
    return text + space if left else space + text
