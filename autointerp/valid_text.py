r"""Text that UTF-8 can hold.

Python's strings may hold half of a surrogate pair: JSON writes the half of an emoji that was cut through as a lone
`\ud83d`, and bytes of a file name or an argument that are not UTF-8 become lone surrogates too. Tokenizers, DuckDB,
Parquet and files refuse them. So text from outside goes through here at the door.
"""

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def valid_text(text: str) -> str:
    """Join surrogates that are a pair, and put U+FFFD in place of each that is none; other text is given back as is."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
