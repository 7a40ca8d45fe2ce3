"""What an index folder says of itself: written last, so that a folder that was left half-made or half-copied shows.

A digest over pages spread through each file that only grows finds a file whose end never arrived, or arrived empty,
without reading ten million vectors.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autointerp.errors import SearchError
from autointerp.store.label_rows import LabelState
from autointerp.whole_file import whole_file

FORMAT = 1
MANIFEST = "manifest.json"
_PAGE = 4096
_PAGES = 32


class UnusableIndexError(SearchError):
    """An index folder can't be used as it is: it is damaged, half-copied, of another store or of another format."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """An index folder, in one of its states.

    Attributes:
        format: Of the folder, as this program writes it.
        embedder: Name of the embedder.
        dim: Numbers in a vector.
        n_rows: Labels, current or not.
        n_current: Labels that are current.
        n_trained: Labels that the centroids were made from.
        n_coded: Labels that have a code, the first ones.
        codes: Name of the file of codes.
        scorers: Names of scorers, in the order of their columns.
        explainers: Names of explainers, by their numbers.
        sources: Sources, by their numbers.
        state: Of the store, at the time.
        sizes: Bytes of each file that only grows, at the time.
        digest: Of pages of these files.
    """

    format: int
    embedder: str
    dim: int
    n_rows: int
    n_current: int
    n_trained: int
    n_coded: int
    codes: str
    scorers: tuple[str, ...]
    explainers: tuple[str, ...]
    sources: tuple[str, ...]
    state: LabelState
    sizes: dict[str, int]
    digest: str


def read_manifest(folder: Path) -> Manifest:
    """What a folder says of itself, held against its files.

    Raises:
        UnusableIndexError: If it is of another format, or its files are not those that it names.
        FileNotFoundError: If there is no index in the folder.
    """
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    try:
        kept = json.loads(text)
        if kept["format"] != FORMAT:
            raise UnusableIndexError(f"{folder} is of another version of this program", "delete it: it is made anew")
        manifest = _manifest_of(kept)
    except (ValueError, KeyError, TypeError) as error:
        raise UnusableIndexError(f"{folder / MANIFEST} can't be read", "delete the folder: it is made anew") from error
    for name, size in manifest.sizes.items():
        file = folder / name
        there = file.stat().st_size if file.is_file() else 0
        if there < size:
            raise UnusableIndexError(
                f"{file} holds {there:,} of {size:,} bytes", "copy it again, or delete the folder: it is made anew"
            )
    if digest_of_pages(folder, manifest.sizes) != manifest.digest:
        raise UnusableIndexError(f"{folder} is not as it was written", "copy it again, or delete it: it is made anew")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make a state of a folder the one that counts."""
    with whole_file(folder / MANIFEST) as path:
        path.write_text(json.dumps(asdict(manifest), indent=1), encoding="utf-8")


def sizes_of(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Bytes of files of a folder."""
    return {name: (folder / name).stat().st_size for name in names}


def digest_of_pages(folder: Path, sizes: dict[str, int]) -> str:
    """SHA-256, in hexadecimal, of pages spread evenly over each file, the first and the last of its size among them."""
    digest = hashlib.sha256()
    for name, size in sorted(sizes.items()):
        digest.update(f"{name}:{size}\n".encode())
        with (folder / name).open("rb") as file:
            last = max(0, size - _PAGE)
            for start in sorted({last * page // (_PAGES - 1) for page in range(_PAGES)}):
                file.seek(start)
                digest.update(file.read(min(_PAGE, size - start)))
    return digest.hexdigest()


def _manifest_of(kept: dict[str, Any]) -> Manifest:
    names = {name: tuple(kept[name]) for name in ("scorers", "explainers", "sources")}
    return Manifest(**{**kept, **names, "state": LabelState(**kept["state"])})
