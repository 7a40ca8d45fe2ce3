r"""Text that UTF-8 can hold, and lines that a terminal shows as they are.

Python's strings may hold half of a surrogate pair: JSON writes the half of an emoji that was cut through as a lone
`\ud83d`, and bytes of a file name or an argument that are not UTF-8 become lone surrogates too. Tokenizers, DuckDB,
Parquet and files refuse them. So text from outside goes through `valid_text` at the door, and `visible` on the way out.
"""

import re

_SURROGATE = re.compile("[\ud800-\udfff]")
# What a terminal obeys instead of showing it: control characters, and marks that turn the direction of a line.
_UNSEEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def valid_text(text: str) -> str:
    """Join surrogates that are a pair, and put U+FFFD in place of each that is none; other text is given back as is."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def visible(line: str) -> str:
    r"""A line with what a terminal would obey written as its escape: text of a corpus or a label may say `\x1b[2J`."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), line)
