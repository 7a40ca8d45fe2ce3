"""Loading with the libraries of Hugging Face, without what they print."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

# Each says of every attempt that it failed and will be made again, by a handler of its own and by the root's.
_LOGGERS = ("huggingface_hub", "datasets", "sentence_transformers", "sae_lens", "httpx2", "httpx", "fsspec")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Without progress bars, tables of unused heads and single attempts, which say nothing that a user can act on."""
    from transformers.utils import logging as transformers_logging

    verbosity, had_bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if had_bars:
            transformers_logging.enable_progress_bar()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
