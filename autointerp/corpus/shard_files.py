"""The files of shards: each is one `.npz`, in which ids of documents and groups are JSON."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from autointerp.errors import ShardError, file_error, is_of_a_path
from autointerp.python_parser import PYTHON_PARSER
from autointerp.records import BlockShard
from autointerp.whole_file import whole_file


def save_shard(shard: BlockShard, path: Path) -> None:
    """Write a shard to one `.npz` file; the file has its name only once it is whole.

    Raises:
        DiskFullError: If there is no space left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.savez(
            file,
            place=np.array([shard.shard_index, shard.first_block], dtype=np.int64),
            token_ids=shard.token_ids,
            n_tokens=shard.n_tokens,
            counted=shard.counted,
            document_index=shard.document_index,
            document_ids=_as_bytes(shard.document_ids),
            group_ids=_as_bytes(shard.group_ids),
        )


def _as_bytes(ids: tuple[str, ...]) -> UInt8[np.ndarray, " byte"]:
    return np.frombuffer(json.dumps(ids, ensure_ascii=False).encode(), dtype=np.uint8)


def load_shard(path: Path) -> BlockShard:
    """Read a shard back.

    Raises:
        ShardError: If the file is missing or damaged, or can't be read.
    """
    with _arrays(path) as arrays:
        shard_index, first_block = arrays["place"].tolist()
        return BlockShard(
            shard_index=shard_index,
            first_block=first_block,
            token_ids=arrays["token_ids"],
            n_tokens=arrays["n_tokens"],
            counted=arrays["counted"],
            document_index=arrays["document_index"],
            document_ids=tuple(json.loads(arrays["document_ids"].tobytes())),
            group_ids=tuple(json.loads(arrays["group_ids"].tobytes())),
        )


def place_of(path: Path) -> tuple[int, int]:
    """First block and number of blocks of a shard, without reading its tokens.

    Raises:
        ShardError: As `load_shard`.
    """
    with _arrays(path) as arrays:
        return int(arrays["place"][1]), len(arrays["n_tokens"])


@contextmanager
def _arrays(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    try:
        # opened here, because np.load leaves a damaged file open
        with path.open("rb") as file, PYTHON_PARSER, np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except FileNotFoundError as error:
        raise ShardError(f"the shard {path} is missing", "run the corpus stage again") from error
    except (zipfile.BadZipFile, LookupError, ValueError, EOFError, OSError) as error:
        if isinstance(error, OSError) and is_of_a_path(error):
            raise file_error(error, path, ShardError) from error
        raise ShardError(f"the shard {path} is damaged", "remove it and run the corpus stage again") from error
