from dataclasses import replace

from autointerp.records import Context

A_WINDOW = Context(
    "id", "m@s", 0, "top", "score", ("a", " b"), (1, 2), (0.0, 1.0), 1.0, 1, 0, "notes/a.txt", 0, 0, group_id="notes"
)


def test_a_context_of_a_known_group_keeps_it() -> None:
    assert A_WINDOW.group_id == "notes"


def test_where_no_group_is_known_a_context_belongs_to_its_document_alone() -> None:
    assert replace(A_WINDOW, group_id="").group_id == "notes/a.txt"
