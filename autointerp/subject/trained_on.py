"""What a coder says that it was trained on, against what it is put on: told where they differ.

A coder may well be read at another model than its own, a finetuned one for example, so this is no error. Names are
compared as TransformerLens and the hub have them: without owner, folder and case, and with TransformerLens' aliases, so
that `gpt2-small`, `openai-community/gpt2` and `/models/GPT2` are one.
"""

import logging
import re
from pathlib import PurePath
from typing import Any

from autointerp.subject.coder import Coder
from autointerp.subject.model import Subject

logger = logging.getLogger(__name__)

# A snapshot in the hub's cache is called after its commit, and the folder above after the repository.
_CACHED = re.compile(r"models--([^/\\]+)[/\\]snapshots[/\\]")


def tell_of_other_model(subject: Subject, coder: Coder) -> None:
    """Say that a coder was trained on another model, if it says so."""
    model: Any = subject.model
    here = _names(subject.name) | _names(str(model.name_or_path))
    if coder.model_name is not None and not here & _names(coder.model_name):
        logger.warning(
            "the coder %s was trained on %s, and reads %s here; if that is the same model, set subject.name to %s",
            coder.origin,
            coder.model_name,
            subject.name,
            _last_part(coder.model_name).lower(),
        )


def _names(name: str) -> set[str]:
    """What a model may be called that goes by a name, an alias, a repository or a folder."""
    if cached := _CACHED.search(name):
        name = cached[1].rpartition("--")[2]
    own = _last_part(name)
    known = (own, _official_name(name), _official_name(own))
    return {re.sub(r"[._]", "-", _last_part(each).casefold()) for each in known} - {""}


def _last_part(name: str) -> str:
    return PurePath(name.replace("\\", "/")).name


def _official_name(name: str) -> str:
    from transformer_lens.loading_from_pretrained import get_official_model_name

    try:
        return str(get_official_model_name(name))
    except ValueError:
        return ""
