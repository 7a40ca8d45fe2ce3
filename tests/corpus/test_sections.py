"""Long text files to sections."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.config import CorpusConfig
from autointerp.corpus import iter_documents
from autointerp.corpus.sources import sections
from autointerp.corpus.sources.sections import cut_text
from autointerp.records import Document


def read(folder: Path) -> list[Document]:
    return list(iter_documents(CorpusConfig(kind="text", path=str(folder))))


def cut(text: str) -> list[str]:
    return [section.text for section in cut_text("a.txt", io.StringIO(text, newline=""))]


def paragraphs(*sizes: int) -> str:
    return "\n\n".join("x" * size for size in sizes)


def test_a_long_text_file_is_cut_into_sections_at_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "book.md").write_text(paragraphs(20, 900, 500, 400, 1200, 800, 30))
    sections = read(tmp_path)
    assert [section.document_id for section in sections] == ["book.md#1", "book.md#2", "book.md#3"]
    assert [section.text for section in sections] == [
        paragraphs(20, 900, 500) + "\n\n",
        paragraphs(400, 1200) + "\n\n",
        paragraphs(800, 30),
    ]


def test_a_file_just_short_of_long_stays_one_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(paragraphs(1000, 1000, 995))
    (tmp_path / "b.txt").write_text(paragraphs(1000, 1000, 996))
    assert [document.document_id for document in read(tmp_path)] == [
        "a.txt", "b.txt#1", "b.txt#2", "b.txt#3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "end"),
    [
        ("a line of a long paragraph,\n", "\n"),
        ("A sentence of one long line, Mr. X said. ", " said. "),
        ("方程式は線形である。", "。"),
        ("words without any full stop ", " "),
    ],
)
def test_a_long_paragraph_is_cut_at_line_ends_else_at_sentence_ends_else_at_spaces(unit: str, end: str) -> None:
    sections = cut(unit * 400)
    assert "".join(sections) == unit * 400
    assert len(sections) > 2
    assert all(section.endswith(end) for section in sections)


def test_text_without_any_place_to_cut_is_cut_anywhere() -> None:
    assert [len(section) for section in cut("x" * 4000)] == [1500, 1500, 1000]


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "x", "方", "ab ", "A b. ", "cd\n", "  "]), st.integers(1, 2000)), max_size=12
    ),
    st.sampled_from(["\n\n", "\n \t\n\n", "\n", " ", ""]),
)
def test_sections_together_are_the_text_and_none_is_very_long_or_short(
    runs: list[tuple[str, int]], separator: str
) -> None:
    text = separator.join(unit * n for unit, n in runs)
    sections = cut(text)
    assert "".join(sections) == text
    assert (len(sections) == 1) == (len(text) < 3000)
    if len(sections) > 1:
        assert all(750 <= len(section) <= 3000 for section in sections)


@given(
    st.lists(st.tuples(st.sampled_from(["x", "方", "ab ", "A b.  ", "cd\n"]), st.integers(1, 400)), max_size=60),
    st.sampled_from(["\n\n", "\n \t\n\n"]),
    st.integers(1, 5000),
)
def test_sections_are_the_same_in_whatever_parts_a_file_is_read(
    runs: list[tuple[str, int]], separator: str, part_characters: int
) -> None:
    text = separator.join((unit * n)[:1200] for unit, n in runs)
    with pytest.MonkeyPatch.context() as patch:
        whole = cut(text)
        patch.setattr(sections, "_PART_CHARACTERS", part_characters)
        # No part ends inside a paragraph that is shorter than a part.
        assert part_characters < 1300 or cut(text) == whole
        assert "".join(cut(text)) == text


def test_a_paragraph_larger_than_a_part_is_cut_at_the_best_place_in_each() -> None:
    text = "A sentence of one endless line. " * 70_000
    cuts = cut(text)
    assert "".join(cuts) == text
    assert all(section.endswith("line. ") and len(section) <= 3000 for section in cuts)
    assert [len(section) for section in cut("x" * 2**21)][:3] == [1500, 1500, 1500]
