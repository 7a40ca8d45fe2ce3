"""The manifest of a run's corpus: written last, so that a corpus with one is whole."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from autointerp.errors import RunError


@dataclass(frozen=True, slots=True)
class CorpusManifest:
    """What the corpus stage made.

    Attributes:
        digest: SHA-256 of every block's tokens and document, so that changed text is another corpus.
        n_tokens: Counted tokens.
        n_blocks: Blocks.
        shards: File names, in corpus order.
    """

    digest: str
    n_tokens: int
    n_blocks: int
    shards: tuple[str, ...]

    def paths(self, folder: Path) -> list[Path]:
        """The shard files."""
        return [folder / name for name in self.shards]


def write_manifest(manifest: CorpusManifest, folder: Path) -> None:
    """Write the manifest into the corpus folder; it has its name only once it is whole."""
    temporary = folder / "manifest.json.part"
    temporary.write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / "manifest.json")


def has_manifest(folder: Path) -> bool:
    """Whether the corpus in this folder is whole: every shard that the manifest names is there."""
    if not (folder / "manifest.json").exists():
        return False
    return all(path.exists() for path in read_manifest(folder).paths(folder))


def read_manifest(folder: Path) -> CorpusManifest:
    """What the corpus stage made.

    Raises:
        RunError: If it has not finished in this folder.
    """
    try:
        content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"the corpus stage has not finished in {folder.parent}",
            "run `autointerp collect` with the same pipeline first",
        ) from error
    return CorpusManifest(content["digest"], content["n_tokens"], content["n_blocks"], tuple(content["shards"]))
