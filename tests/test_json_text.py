import json

import pytest

from autointerp.json_text import parse_json


def test_what_is_json_is_read_whatever_its_kind() -> None:
    assert parse_json('{"a": [1, null, "é"]}') == {"a": [1, None, "é"]}
    assert parse_json('"é"'.encode()) == "é"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a":', "Expecting value"),
        ("", "Expecting value"),
        ("[" * 100_000, r"nested more than [\d,]+ deep"),
        ('{"a":' * 100_000, r"nested more than [\d,]+ deep"),
        ("9" * 5_000, "Exceeds the limit"),
    ],
)
def test_what_can_not_be_read_is_said_to_be_no_json(text: str, reason: str) -> None:
    with pytest.raises(json.JSONDecodeError, match=reason) as caught:
        parse_json(text)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_told_apart_from_text_that_is_no_json() -> None:
    with pytest.raises(UnicodeDecodeError):
        parse_json(b"\xff\xfe\x00")
