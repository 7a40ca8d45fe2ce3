"""The embeddings of a pool's tiles on disk: a run embeds its pool once, however many commands ask for it.

What the file holds can always be computed again. So one that is missing, damaged, or made of other texts or by another
embedder is made anew, and where no file can be written a later command embeds again. It is the run's embedder's alone:
of one that a scorer brings along, nothing but its name is known, which does not say what its vectors will be tomorrow.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from autointerp.embedder import TextEmbedder
from autointerp.errors import DiskFullError
from autointerp.identity import fingerprint
from autointerp.json_text import parse_json
from autointerp.whole_file import whole_file

logger = logging.getLogger(__name__)

_HEADER = "autointerp"
_TENSOR = "embeddings"
_RULES = 2  # raised whenever the same embedder comes to give the same texts other vectors


@dataclass(frozen=True, slots=True)
class KeptEmbeddings:
    """A file with the embeddings of one pool by one embedder.

    Attributes:
        file: The file; its folder is made when it is first written.
        made_of: Fingerprint of what decides the embeddings besides the texts, the embedder's weights above all.
        embedder: The one whose embeddings it holds.
    """

    file: Path
    made_of: str
    embedder: TextEmbedder

    def of(self, texts: Sequence[str], embedder: TextEmbedder) -> Float32[np.ndarray, "text dim"]:
        """The embeddings of texts: from the file, or computed and written to it.

        Args:
            texts: The pool's texts.
            embedder: Asked only if the file does not hold its rows of these very texts; always, without a look at the
                file, if it is another than the file's.
        """
        if embedder is not self.embedder:
            return embedder.embed(texts)
        key = fingerprint("pool embeddings", _RULES, self.made_of, embedder.name, list(texts))
        embeddings = self._read(key)
        if embeddings is None:
            embeddings = embedder.embed(texts)
            self._write(embeddings, key)
        return embeddings

    def _read(self, key: str) -> Float32[np.ndarray, "text dim"] | None:
        try:
            with safe_open(self.file, framework="numpy") as file:
                header = parse_json((file.metadata() or {})[_HEADER])
                embeddings: Float32[np.ndarray, "text dim"] = file.get_tensor(_TENSOR)
            if header["fingerprint"] != key:
                logger.info("%s was made of another pool or by another embedder; it is made anew", self.file)
            elif header["checksum"] != _checksum(embeddings):
                logger.warning("%s is damaged: its contents don't match its checksum; it is made anew", self.file)
            else:
                return embeddings
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is cut short or damaged (%s); it is made anew", self.file, error)
        return None

    def _write(self, embeddings: Float32[np.ndarray, "text dim"], key: str) -> None:
        header = {"fingerprint": key, "checksum": _checksum(embeddings)}
        arrays = {_TENSOR: np.ascontiguousarray(embeddings)}
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.file) as unfinished:
                save_file(arrays, unfinished, metadata={_HEADER: json.dumps(header)})
        except (OSError, DiskFullError, SafetensorError) as error:
            logger.warning("%s can't be written (%s); the next command embeds the pool again", self.file, error)


def _checksum(embeddings: Float32[np.ndarray, "text dim"]) -> str:
    digest = hashlib.blake2b(f"{embeddings.dtype} {embeddings.shape}\n".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(embeddings).data)
    return digest.hexdigest()
