"""The run folder: where a run lies, whose it is, and the lock that keeps a second process out of it.

runs/NAME/
  run.json          the resolved pipeline and the settings that decide its contexts
  corpus/           token blocks in shards; manifest.json is written last
  collect/SOURCE/   one file a shard, then collected.safetensors
  pool/SOURCE/      embeddings of the pool's windows, and firings on texts that conditions are chosen on, so that they
                    are computed once; made anew if removed
  calibration.json  how often the judge errs, where `autointerp calibrate` counted it
  store.duckdb      everything else
  journal.sqlite    paid answers, by request; beside it journal.sqlite.batches, held by who asks by batches
  run.lock          held by who writes here
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autointerp.config import Pipeline
from autointerp.config.file import as_kept
from autointerp.errors import RunError, RunMismatchError, file_error, is_of_a_path
from autointerp.json_text import parse_json
from autointerp.run.fingerprints import identity_settings
from autointerp.run.on_disk.lock import LOCK_FILE, hold
from autointerp.run.on_disk.manifest import has_manifest
from autointerp.whole_file import whole_file

COLLECTED = "collected.safetensors"
_RUN_FILE = "run.json"
# What a run writes before it has a whole run.json, or leaves when it starts over.
_OWN_FILES = (LOCK_FILE, f".{_RUN_FILE}.*", "journal.sqlite*", "calibration.json")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of one run.

    Attributes:
        path: The run folder.
        settings: What decides its contexts, as in `fingerprints.identity_settings`.
    """

    path: Path
    settings: dict[str, Any] = field(repr=False)

    @property
    def corpus(self) -> Path:
        """Folder of token blocks."""
        return self.path / "corpus"

    @property
    def collect(self) -> Path:
        """Folder of what the pass over the corpus kept."""
        return self.path / "collect"

    def source_folder(self, source_id: str) -> Path:
        """Folder of what the pass kept of one source."""
        return self.collect / source_id.rpartition("@")[2]

    def collected_file(self, source_id: str) -> Path:
        """What the pass over the whole corpus kept of one source."""
        return self.source_folder(source_id) / COLLECTED

    def keeps_pass(self, n_sources: int) -> bool:
        """Whether what a pass over the whole corpus keeps is here for so many sources, whatever the store holds."""
        kept = sum(1 for _ in self.collect.glob(f"*/{COLLECTED}"))
        return (self.collect / "finished").exists() and kept == n_sources

    def pool_file(self, source_id: str, windows: str) -> Path:
        """The embeddings of windows of one source's pool, `tiles` or `peaks`, or what else of it is computed once."""
        return self.path / "pool" / source_id.rpartition("@")[2] / f"{windows}.safetensors"

    @property
    def store(self) -> Path:
        """The DuckDB file."""
        return self.path / "store.duckdb"

    @property
    def calibration(self) -> Path:
        """How often the judge errs on puzzles."""
        return self.path / "calibration.json"

    @property
    def journal(self) -> Path:
        """The journal of paid answers."""
        return self.path / "journal.sqlite"


@contextmanager
def hold_run_folder(pipeline: Pipeline, *, fresh: bool = False) -> Iterator[RunFolder]:
    """Create or reopen the pipeline's run folder, and keep other processes from writing to it meanwhile.

    Args:
        pipeline: The pipeline; its `run_folder` is used.
        fresh: Remove what an earlier run left there first, but for the journal of paid answers.

    Raises:
        RunMismatchError: If the folder belongs to another configuration; names the first key that differs.
        RunError: If another process is running there, or the folder holds something else or can't be used.
        DiskFullError: If the disk fills up, here or in the `with` block.
    """
    path = pipeline.run_folder
    with file_errors_told():
        settings = identity_settings(pipeline)
        _check_folder(path)
        path.mkdir(parents=True, exist_ok=True)
        with (path / LOCK_FILE).open("w") as lock:
            hold(lock, path)
            if fresh:
                _empty(path)
            _claim(path, pipeline, settings)
            yield RunFolder(path, settings)


@contextmanager
def file_errors_told() -> Iterator[None]:
    """Turn what the operating system says of a file or a full disk into errors of ours."""
    try:
        yield
    except OSError as error:
        if error.filename is None and not is_of_a_path(error):
            raise
        raise file_error(error, kind=RunError) from error


def read_run_file(path: Path) -> dict[str, Any]:
    """The content of a run folder's `run.json`.

    Raises:
        RunError: If there is no run in this folder.
    """
    try:
        content: dict[str, Any] = parse_json((path / _RUN_FILE).read_bytes())
        if not (isinstance(content, dict) and isinstance(content.get("settings"), dict)):
            raise ValueError("it holds no settings")
    except FileNotFoundError as error:
        raise RunError(f"there is no run in {path}", "give a run folder, for example runs/demo") from error
    except OSError as error:
        raise file_error(error, path / _RUN_FILE, RunError) from error
    except ValueError as error:
        raise RunError(
            f"{path}/{_RUN_FILE} can't be read", "the run is damaged; start it again with --no-resume"
        ) from error
    return content


def read_pipeline(path: Path) -> Pipeline:
    """The pipeline of a run, as its folder keeps it.

    Raises:
        RunError: If there is no run in this folder, or one whose pipeline has keys that are not known here.
    """
    return as_kept(Pipeline, read_run_file(path).get("pipeline"), path / _RUN_FILE)


def _check_folder(path: Path) -> None:
    if not path.is_dir() or (path / _RUN_FILE).exists():
        return
    if any(not any(file.match(own) for own in _OWN_FILES) for file in path.iterdir()):
        raise RunError(f"{path} holds files but no run", "choose another `name` or `runs` folder")


def _claim(path: Path, pipeline: Pipeline, settings: dict[str, Any]) -> None:
    file = path / _RUN_FILE
    # Before the corpus is whole nothing is finished, and a mended setting may take the folder over.
    if file.exists() and has_manifest(path / "corpus"):
        found = read_run_file(path)["settings"]
        differing = [key for key in settings.keys() | found.keys() if settings.get(key) != found.get(key)]
        tables = {key.partition(".")[0] for key in found}
        later = [key for key in differing if key not in found and key.partition(".")[0] in tables and "(" not in key]
        if later:
            raise RunMismatchError(
                f"{path} was made by an earlier version of autointerp, which had no `{min(later)}`",
                "choose another `name`, go on there with that version, or start over with --no-resume",
            )
        if differing:
            key = min(differing)
            there, now = found.get(key), settings.get(key)
            raise RunMismatchError(
                f"{path} belongs to another configuration ({key} is {there!r} there, {now!r} now)",
                "choose another `name`, restore the setting, or start over with --no-resume",
            )
    content = {"settings": settings, "pipeline": pipeline.model_dump(mode="json")}
    with whole_file(file) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _empty(path: Path) -> None:
    # The journal stays: its answers are paid for, and keyed by whole requests. run.json goes last, so that a folder
    # that was left half empty is still known for a run's.
    for name in ("corpus", "collect", "pool"):
        shutil.rmtree(path / name, ignore_errors=True)
    for pattern in ("store.duckdb*", f".{_RUN_FILE}.*", _RUN_FILE):
        for file in path.glob(pattern):
            file.unlink()
