"""The manifest of a run's corpus: written last, so that a corpus with one is whole."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autointerp.errors import RunError, file_error
from autointerp.json_text import parse_json
from autointerp.records.corpus import Rejection, SpecialToken, SpecialTokenRule
from autointerp.whole_file import whole_file


@dataclass(frozen=True, slots=True)
class CorpusManifest:
    """What the corpus stage made.

    Manifests of earlier versions lack what has a default here; such a corpus is used as it is.

    Attributes:
        digest: SHA-256 of every block's tokens and document, so that changed text is another corpus.
        n_tokens: Counted tokens.
        n_blocks: Blocks.
        shards: File names, in corpus order.
        n_documents: Documents that gave a block; None where it was not recorded.
        n_tails: Ends of such documents that were too short for a block; None where it was not recorded.
        n_mended: Documents with U+FFFD where half a surrogate pair stood; None where it was not recorded.
        rejections: Why other documents were left out, as far as the source was read; None where it was not recorded.
        special_tokens: The rule for BOS and special tokens; None where it was not recorded.
    """

    digest: str
    n_tokens: int
    n_blocks: int
    shards: tuple[str, ...]
    n_documents: int | None = None
    n_tails: int | None = None
    n_mended: int | None = None
    rejections: tuple[Rejection, ...] | None = None
    special_tokens: SpecialTokenRule | None = None

    def paths(self, folder: Path) -> list[Path]:
        """The shard files."""
        return [folder / name for name in self.shards]


def write_manifest(manifest: CorpusManifest, folder: Path) -> None:
    """Write the manifest into the corpus folder; it has its name only once it is whole."""
    with whole_file(folder / "manifest.json") as unfinished:
        unfinished.write_text(json.dumps(asdict(manifest), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def has_manifest(folder: Path) -> bool:
    """Whether the corpus in this folder is whole: every shard that the manifest names is there."""
    if not (folder / "manifest.json").exists():
        return False
    return all(path.exists() for path in read_manifest(folder).paths(folder))


def read_manifest(folder: Path) -> CorpusManifest:
    """What the corpus stage made.

    Raises:
        RunError: If it has not finished in this folder, or the manifest is damaged.
    """
    try:
        content = parse_json((folder / "manifest.json").read_text(encoding="utf-8"))
        return _manifest_from(content)
    except FileNotFoundError as error:
        raise RunError(
            f"the corpus stage has not finished in {folder.parent}",
            "run `autointerp collect` with the same pipeline first",
        ) from error
    except OSError as error:
        raise file_error(error, folder / "manifest.json", RunError) from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{folder}/manifest.json can't be read", "the run is damaged; start it again with --no-resume"
        ) from error


def _manifest_from(content: dict[str, Any]) -> CorpusManifest:
    digest = content["digest"]
    rejections, rule = content.get("rejections"), content.get("special_tokens")
    return CorpusManifest(
        digest=digest,
        n_tokens=content["n_tokens"],
        n_blocks=content["n_blocks"],
        shards=tuple(content["shards"]),
        n_documents=content.get("n_documents"),
        n_tails=content.get("n_tails"),
        n_mended=content.get("n_mended"),
        rejections=None if rejections is None else tuple(Rejection(**rejection) for rejection in rejections),
        special_tokens=None if rule is None else _rule_from(rule),
    )


def _rule_from(content: dict[str, Any]) -> SpecialTokenRule:
    named = {name: tuple(SpecialToken(**token) for token in content[name]) for name in ("before", "after", "uncounted")}
    return SpecialTokenRule(**{**content, **named})
