"""What anybody's exception says, in a line of ours."""

import json

import pytest

from autointerp.errors import in_one_line


@pytest.mark.parametrize(
    ("error", "said", "with_kind"),
    [
        (ValueError("two\n  lines.\n"), "two lines", "ValueError: two lines"),
        (KeyError("model"), "'model'", "KeyError: 'model'"),
        (TimeoutError(), "TimeoutError", "TimeoutError"),
        (RuntimeError(" \n"), "RuntimeError", "RuntimeError"),
        (ValueError("what is it:"), "what is it", "ValueError: what is it"),
        (ValueError("a" * 200), "a" * 200, f"ValueError: {'a' * 200}"),
        (ValueError("a" * 201), f"{'a' * 200}…", f"ValueError: {'a' * 200}…"),
        (json.JSONDecodeError("no value", "", 0), "no value: line 1 column 1 (char 0)", None),
    ],
)
def test_what_an_exception_says_is_one_line_of_some_length(error: Exception, said: str, with_kind: str | None) -> None:
    assert in_one_line(error) == said
    if with_kind is not None:
        assert in_one_line(error, with_kind=True) == with_kind
