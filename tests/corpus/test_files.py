"""Files of text, compressed or not: what is read, and what is said of one that can't be."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from autointerp.config import CorpusConfig
from autointerp.corpus import iter_documents
from autointerp.errors import CorpusError

PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
ROWS = "".join(json.dumps({"text": f"Zeile {number} über Köln"}, ensure_ascii=False) + "\n" for number in range(2000))


def texts(path: Path, kind: str = "text") -> list[str]:
    return [d.text for d in iter_documents(CorpusConfig.model_validate({"kind": kind, "path": str(path)}))]


@pytest.mark.parametrize("suffix", PACK)
def test_a_packed_file_reads_as_the_file_does_by_whatever_kind(tmp_path: Path, suffix: str) -> None:
    packed = tmp_path / f"a.jsonl{suffix}"
    packed.write_bytes(PACK[suffix](ROWS.encode()))
    expected = [json.loads(row)["text"] for row in ROWS.splitlines()]
    assert texts(packed, "jsonl") == texts(packed, "text") == expected
    assert texts(tmp_path, "jsonl") == expected


@pytest.mark.parametrize("suffix", PACK)
def test_a_folder_may_hold_packed_files_of_each_kind(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.TXT{suffix}").write_bytes(PACK[suffix](b"one"))
    (tmp_path / "b.md").write_text("two")
    (tmp_path / f"c.jsonl{suffix}").write_bytes(PACK[suffix](b'{"text": "three"}\n'))
    (tmp_path / f"d.bin{suffix}").write_bytes(PACK[suffix](b"\0\1\2"))
    assert texts(tmp_path) == ["one", "two", "three"]


def test_files_named_ndjson_are_lines_of_json_too(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b'{"text": "one"}\n')
    (tmp_path / "b.ndjson.gz").write_bytes(gzip.compress(b'{"text": "two"}\n'))
    assert texts(tmp_path, "text") == texts(tmp_path, "jsonl") == ["one", "two"]


def test_a_packed_file_is_told_by_its_bytes_where_its_name_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(gzip.compress(b"one"))
    assert texts(tmp_path) == ["one"]


def test_a_packed_file_may_be_several_one_after_another(tmp_path: Path) -> None:
    pack = zstandard.ZstdCompressor().compress
    (tmp_path / "a.jsonl.zst").write_bytes(pack(b'{"text": "one"}\n') + pack(b'{"text": "two"}\n'))
    assert texts(tmp_path) == ["one", "two"]


@pytest.mark.parametrize("suffix", PACK)
def test_a_packed_file_that_breaks_off_or_goes_wrong_is_one_line(tmp_path: Path, suffix: str) -> None:
    packed = PACK[suffix](ROWS.encode())
    for name, damaged in {"short": packed[: len(packed) // 2], "long": packed + b"more"}.items():
        path = tmp_path / f"{name}.jsonl{suffix}"
        path.write_bytes(damaged)
        with pytest.raises(CorpusError, match=rf"{name}\.jsonl{suffix} is damaged or not whole .*: fetch or write"):
            texts(path, "jsonl")


@pytest.mark.parametrize("text", ["BZh9 is how a file of bzip2 begins", "BZh", "x" * 257 + "ustar, a kind of tar"])
def test_text_that_begins_with_the_letters_of_a_format_is_text(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert texts(tmp_path) == [text]


def test_an_empty_packed_file_among_others_is_an_empty_document(tmp_path: Path) -> None:
    for suffix, pack in PACK.items():
        (tmp_path / f"a.txt{suffix}").write_bytes(pack(b""))
    (tmp_path / "b.txt").write_text("one")
    assert texts(tmp_path) == ["one"]


def test_archives_of_several_files_are_not_taken_for_text(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "one")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("a.txt")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"one"))
    for name in ("a.zip", "a.tar.gz"):
        with pytest.raises(CorpusError, match="is an archive of files, not a text: unpack it"):
            texts(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding_and_is_no_part_of_the_text(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("Grüße\r\naus Köln".encode(encoding))
    (tmp_path / "b.jsonl").write_bytes('{"text": "Köln"}\r\n'.encode(encoding))
    assert texts(tmp_path) == ["Grüße\naus Köln", "Köln"]


def test_another_encoding_is_told_with_the_line_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\n" * 50_000 + "Grüße\n".encode("latin-1"))
    with pytest.raises(CorpusError) as raised:
        texts(tmp_path)
    assert "a.txt is not UTF-8 text (line 50001 has the byte 0xFC): convert it to UTF-8" in str(raised.value)
    assert "iconv -f WINDOWS-1252" in str(raised.value)


def test_utf16_without_a_mark_is_not_taken_for_text_full_of_zeros(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("one and two".encode("utf-16-le"))
    with pytest.raises(CorpusError, match="zero bytes, as UTF-16 and binary files have"):
        texts(tmp_path)


def test_utf16_that_breaks_off_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("one".encode("utf-16")[:-1])
    with pytest.raises(CorpusError, match=r"is not UTF-16.* text, as its byte order mark says"):
        texts(tmp_path)


def test_a_line_of_json_ends_at_line_feeds_only(tmp_path: Path) -> None:
    text = "one\u2028two\x85three\x0bfour\x1cfive"
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}, ensure_ascii=False) + "\r\n", encoding="utf-8")
    assert texts(tmp_path) == [text]


def test_a_hugging_face_folder_of_zstandard_files_is_read(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl.zst").write_bytes(PACK[".zst"](b'{"text": "one"}\n{"text": "two"}\n'))
    assert texts(tmp_path, "huggingface") == ["one", "two"]
