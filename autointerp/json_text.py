"""JSON of any origin: whatever is in it, it is read or said to be no JSON."""

import json
import sys
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Args:
        text: A string, or UTF-8.

    Raises:
        json.JSONDecodeError: If it is no JSON, or JSON that Python can't hold: nested thousands deep, or with a number
            of thousands of digits.
        UnicodeDecodeError: If it is bytes and no UTF-8.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise json.JSONDecodeError(f"nested more than {sys.getrecursionlimit():,} deep", text, 0) from error
    except ValueError as error:  # an integer beyond what Python converts
        raise json.JSONDecodeError(str(error).partition(";")[0], text, 0) from error
