"""How people write the words of a corpus."""

from pathlib import Path

import pytest

from autointerp.corpus import spellings
from autointerp.corpus.spellings import SpellingCounts, Spellings
from autointerp.errors import ShardError
from autointerp.records import Document
from autointerp.records.corpus import TokenizedDocument
from autointerp.words import identifier_parts


@pytest.mark.parametrize(
    ("text", "word", "spelled"),
    [
        ("The sea. The end. See the shore, the bay.", "the", "the"),
        ("salt, Pepper, pepper, Pepper", "pepper", "Pepper"),
        ("we met Ann, and ann was late, and Ann left", "ann", "Ann"),
        ("Hello there. Hello again.", "hello", "hello"),
        ("NASA", "nasa", "NASA"),
        ("on a GPU, of the gpu", "gpu", "gpu"),
        ("DIE straße der Straße, die Straße", "straße", "Straße"),
        ("Python\nPython\nPython\nand of python", "python", "python"),
        ("of iPhones and an iPhone", "iphone", "iPhone"),
        ("", "nowhere", "nowhere"),
        ("a cafe\u0301 in Orle\u0301ans, an Orle\u0301ans", "orléans", "Orléans"),
        ("in Orléans, an Orléans", "orle\u0301ans", "Orléans"),
        ("to İzmir, an I\u0307zmir", "izmir", "İzmir"),
    ],
)
def test_a_word_is_spelled_as_it_mostly_is_inside_of_sentences(text: str, word: str, spelled: str) -> None:
    assert Spellings.counted([text]).of(word) == spelled


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("PythonRandomInterface", ("Python", "Random", "Interface")),
        ("getHTTPResponse", ("get", "HTTP", "Response")),
        ("DataFrame", ("Data", "Frame")),
        ("ÜberMut", ("Über", "Mut")),
        *((name, (name,)) for name in ("NumPy", "LaTeX", "IPv4", "GPUs", "Conv2D", "GPU", "word", "x", "日本")),
    ],
)
def test_identifiers_are_cut_and_names_are_not(word: str, parts: tuple[str, ...]) -> None:
    assert identifier_parts(word) == parts


def test_an_identifier_that_the_tokenizer_glued_is_cut_by_how_the_corpus_writes_it() -> None:
    found = Spellings.counted(["raise LocalEntryNotFoundError(path)"])
    assert found.parts("localentrynotfounderror") == ("Local", "Entry", "Not", "Found", "Error")
    assert found.of("localentrynotfounderror") == "localentrynotfounderror"
    assert found.parts("entry") == ("entry",)


def test_two_parts_that_stand_again_and_again_in_sentences_are_a_name() -> None:
    assert Spellings.counted(["use GitHub"] * 9).parts("github") == ("github",)
    assert Spellings.counted(["use FileManifest"] * 2).parts("filemanifest") == ("File", "Manifest")
    assert Spellings.counted(["x.FileManifest()"] * 9).parts("filemanifest") == ("File", "Manifest")


def test_spellings_are_kept_beside_the_shards(tmp_path: Path) -> None:
    assert Spellings.read(tmp_path) is None
    found = Spellings.counted(["of Ann and of PythonRandomInterface"])
    found.save(tmp_path)
    assert Spellings.read(tmp_path) == found


@pytest.mark.parametrize("kept", ["", "{}", "[]", '{"written": {}, "cut": 3}', "\x00"])
def test_a_damaged_file_of_spellings_says_what_to_do(tmp_path: Path, kept: str) -> None:
    (tmp_path / "spellings.json").write_text(kept, encoding="utf-8")
    with pytest.raises(ShardError, match=r"spellings.json is damaged.* run the corpus stage again"):
        Spellings.read(tmp_path)


def test_documents_are_counted_as_they_pass_and_tokens_without_a_text_are_not() -> None:
    counts = SpellingCounts()
    documents = [Document("a", "of Ann"), Document("b", "to Bob")]
    assert [*counts.passing(documents)] == documents
    assert [*counts.passing([TokenizedDocument("c", (1, 2))])] == [TokenizedDocument("c", (1, 2))]
    assert counts.spellings().written == {"ann": "Ann", "bob": "Bob"}


def test_of_a_large_corpus_the_beginning_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spellings, "MOST_CHARACTERS", 12)
    assert Spellings.counted(["we met Ann. ", "we met Bob."]).written == {"ann": "Ann"}
