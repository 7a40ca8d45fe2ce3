"""The embedded corpus: order, ids and deduplication, on the standard library and on small packages made here."""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path

import pytest

from autointerp.corpus.sources import docstrings
from autointerp.corpus.sources.docstrings import iter_docstring_documents, list_source_files

PROSE = "This is what the {} of the package is for, and it is told in one sentence of plain words."
CIRCLE = "A shape with the same distance to its centre at each of the points on it."


@pytest.fixture
def tiny_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package `tiny_corpus_package` that is the whole corpus."""
    folder = tmp_path / "site" / "tiny_corpus_package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(docstrings, "PACKAGES", ("tiny_corpus_package",))
    empty = tmp_path / "stdlib"
    empty.mkdir()
    monkeypatch.setattr("autointerp.corpus.sources.docstrings.sysconfig.get_path", lambda _: str(empty))
    yield folder
    assert "tiny_corpus_package" not in sys.modules, "the corpus must be read without importing it"


def test_a_class_and_its_methods_are_one_document(tiny_package: Path) -> None:
    (tiny_package / "shapes.py").write_text(
        f'"""{PROSE.format("module")}"""\n'
        f'class Circle:\n    """{CIRCLE}"""\n'
        f'    def area(self):\n        """The area is the square of the radius multiplied by a number called pi."""\n'
        f'def scale():\n    """Every one of the lengths grows by a factor that is given by the caller of it."""\n'
    )
    documents = {document.document_id: document.text for document in iter_docstring_documents()}
    assert documents == {
        "tiny_corpus_package.shapes": PROSE.format("module"),
        "tiny_corpus_package.shapes:Circle": (
            CIRCLE + "\nThe area is the square of the radius multiplied by a number called pi."
        ),
        "tiny_corpus_package.shapes:scale": (
            "Every one of the lengths grows by a factor that is given by the caller of it."
        ),
    }


def test_a_docstring_copied_with_small_changes_is_read_once(tiny_package: Path) -> None:
    for name in ("alpha", "beta", "gamma"):
        (tiny_package / f"{name}.py").write_text(f'"""{PROSE.format(name)}"""\n')
    assert len(list(iter_docstring_documents())) == 1


def test_a_docstring_of_a_few_words_is_left_out(tiny_package: Path) -> None:
    (tiny_package / "short.py").write_text('"""It is as short as can be."""\n')
    assert list(iter_docstring_documents()) == []


def test_files_that_python_cannot_parse_are_passed_over(tiny_package: Path) -> None:
    (tiny_package / "template.py").write_text('"""{{ license }}"""\nclass {{ name }}:\n')
    (tiny_package / "latin.py").write_bytes('"""café"""'.encode("latin-1"))
    (tiny_package / "good.py").write_text(f'"""{PROSE.format("module")}"""\n')
    assert [document.document_id for document in iter_docstring_documents()] == ["tiny_corpus_package.good"]


def test_a_folder_that_may_not_be_read_is_passed_over(tiny_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refusing(folder: str) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        if Path(folder).name == "private":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)  # root, who runs tests too, may read any folder
    for name in ("private", "public"):
        (tiny_package / name).mkdir()
        (tiny_package / name / "shapes.py").write_text(f'"""{PROSE.format(name)}"""\n')
    assert [document.document_id for document in iter_docstring_documents()] == ["tiny_corpus_package.public.shapes"]


def test_a_package_that_is_not_installed_is_logged_and_skipped(
    tiny_package: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(docstrings, "PACKAGES", ("no_such_package_here", "tiny_corpus_package"))
    with caplog.at_level(logging.INFO):
        files = list_source_files()
    assert [file.module for file in files] == ["tiny_corpus_package"]
    assert "no_such_package_here is not installed" in caplog.text


def test_the_order_is_fixed_and_any_prefix_mixes_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docstrings, "PACKAGES", ("click", "jinja2"))
    first = list(islice(iter_docstring_documents(), 100))
    assert first == list(islice(iter_docstring_documents(), 100))
    assert len({document.document_id.split(".")[0].split(":")[0] for document in first}) > 5
    assert len({document.document_id for document in first}) == 100
