"""Sentence models: token ids of texts in, a unit vector of each text out.

Most sentence models are a BERT whose tokens' vectors are averaged and normalized; the embedded one is. Such a model is
read by `mean_bert`. Any other is left to sentence-transformers, also one that differs in no more than how it is
written: other names of its tensors, other numbers in them, a limit of tokens that is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Float32
from safetensors import SafetensorError
from torch.nn import functional

from autointerp.devices import find_device
from autointerp.errors import SubjectError, in_one_line
from autointerp.hub import load_from_hub
from autointerp.mean_bert import MeanBert
from autointerp.quiet import quiet_libraries
from autointerp.usual_bert import EMBEDDED_MODEL, check_embedded, check_words, model_path, read_usual_bert

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Item = TypeVar("Item")
Result = TypeVar("Result")

# What a folder's files may hold is anything, and sentence-transformers takes it as it is.
_ODD_FILES = (TypeError, LookupError, AttributeError, ArithmeticError)


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Do the same work on many items, as many at a time as torch has threads, each in one thread; in their order.

    Split over threads that wait for each other, a batch of some milliseconds takes twice the CPU time, and on a machine
    that others use too several times the time. Until the last is done torch computes with one thread everywhere.
    """
    n_threads = torch.get_num_threads()
    with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as threads:
        try:
            yield from threads.map(work, items)
        finally:
            torch.set_num_threads(n_threads)


class SentenceModel(Protocol):
    """What gives texts their vectors.

    Attributes:
        dim: Length of a vector.
        is_on_cpu: Whether it computes there.
        prompt: Text that the model wants in front of each.
    """

    @property
    def dim(self) -> int: ...
    @property
    def is_on_cpu(self) -> bool: ...
    @property
    def prompt(self) -> str: ...

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text with the special ones around it, cut at the model's limit."""
        ...

    def vectors(self, token_ids: Sequence[Sequence[int]]) -> Float32[np.ndarray, "text dim"]:
        """Unit vectors of texts of equally many tokens, at least one."""
        ...


def load_sentence_model(model: str, device: str) -> SentenceModel:
    """Load the embedded model, one from a folder, or one that sentence-transformers knows by name.

    Args:
        model: `EMBEDDED_MODEL`, a folder, or a name on the hub.
        device: A device of torch, or `auto`: a GPU if there is one.

    Raises:
        SubjectError: If there is no such model or device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    device = str(find_device(device, "embedder.device"))
    path = model_path(model)
    remedy = f"set embedder.model to {EMBEDDED_MODEL!r}, a folder, or a sentence-transformers name"
    try:
        loaded: SentenceModel
        if bert := read_usual_bert(Path(path)):
            loaded = MeanBert(bert, device)
        elif Path(path).exists():
            loaded = LibraryModel(path, device)
        else:
            named = f"the embedder {model!r}"
            loaded = load_from_hub(lambda: LibraryModel(path, device), named, remedy, SubjectError)
        # Weights of other shapes than the configuration says are told here, not at the first text of hours of work.
        if not np.isfinite(loaded.vectors(loaded.token_ids(["one text"]))).all():
            raise ValueError("its vectors are not finite")
        return loaded
    except (OSError, ValueError, RuntimeError, SafetensorError, *_ODD_FILES) as error:
        said = in_one_line(error, with_kind=isinstance(error, _ODD_FILES))
        raise SubjectError(f"the embedder {model!r} can't be loaded ({said})", remedy) from error


class LibraryModel:
    """A sentence model of any layout, by sentence-transformers.

    Attributes:
        dim: Length of a vector.
        is_on_cpu: Whether it computes there.
        prompt: Text that the model wants in front of each.

    Args:
        path: A folder, or a name on the hub.
        device: A device of torch.

    Raises:
        OSError, ValueError, RuntimeError: If there is no such model or device.
    """

    def __init__(self, path: str, device: str) -> None:
        from sentence_transformers import SentenceTransformer

        with quiet_libraries():
            self._model: SentenceTransformer = SentenceTransformer(path, device=device)
        dim = self._model.get_embedding_dimension()
        assert dim is not None, "a sentence-transformers model names its dimension"
        self.dim: int = dim
        self.is_on_cpu: bool = self._model.device.type == "cpu"
        self.prompt: str = self._model.prompts.get(self._model.default_prompt_name or "", "") or ""
        # A static model is not transformers'; neither has it positions.
        inner = next((module for module in self._model.modules() if hasattr(module, "get_input_embeddings")), None)
        self._n_embedded: int | None = None if inner is None else len(inner.get_input_embeddings().weight)
        limits = [self._model.max_seq_length, None if inner is None else _n_positions(inner)]
        self._max_tokens = min((limit for limit in limits if limit is not None), default=None)
        if self._n_embedded is not None:
            tokenizer = self._model.tokenizer
            added = set(tokenizer.added_tokens_decoder)
            words = {token: i for token, i in tokenizer.get_vocab().items() if i not in added}
            check_words(words, self._n_embedded)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text with the special ones around it, cut at the model's limit."""
        encoded = self._model.tokenizer(list(texts), truncation=True, max_length=self._max_tokens)
        return check_embedded(encoded["input_ids"], self._n_embedded)

    @torch.inference_mode()
    def vectors(self, token_ids: Sequence[Sequence[int]]) -> Float32[np.ndarray, "text dim"]:
        """Unit vectors of texts of equally many tokens, at least one."""
        ids = torch.tensor(token_ids, device=self._model.device)
        features = self._model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        unit: Float32[np.ndarray, "text dim"] = (
            functional.normalize(features["sentence_embedding"].float(), dim=1).cpu().numpy()
        )
        return unit


def _n_positions(model: torch.nn.Module) -> int | None:
    """Tokens that a model has positions for; None where it computes them."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # RoBERTa counts positions from behind the one of its padding.
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None
