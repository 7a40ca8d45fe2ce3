"""What is had by name from the Hugging Face hub: from the cache if there is no connection, and by a few attempts.

1. Where HF_HUB_OFFLINE is set, or the hub can't be asked at all (no such host, refused, no answer), the libraries are
   told to look into the cache alone. Else they would try for half a minute, or minutes, a file at a time. That there is
   no connection is remembered for a minute, so that not every name waits for it anew.
2. An attempt that breaks off (a lost connection, a timeout, 429, 5xx) is made again after a second, and once more after
   five, if no more than a minute has passed: the libraries try single requests again themselves.
3. What the libraries print of it is dropped. What went wrong in the end is one line with the address.

An error that has nothing to do with the hub goes through as it is. A data set that is streamed goes on at its next row,
also where the connection is away for some time: the cache has nothing to go on with.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from autointerp.errors import AutointerpError, in_one_line
from autointerp.quiet import quiet_libraries

logger = logging.getLogger(__name__)

T = TypeVar("T")

_WAITS_S = (1.0, 5.0)
_PATIENCE_S = 60.0
# datasets has tried a minute or more before it gives up a file.
_STREAM_WAITS_S = (1.0, 5.0, 20.0, 60.0)
_PROBE_TIMEOUT_S = 10.0
_REMEMBERED_S = 60.0
# By the address: when it could not be reached, and why.
_unreached: dict[str, tuple[float, str]] = {}
# The packages whose errors are about a connection; huggingface_hub and datasets have used one and another.
_HTTP_PACKAGES = frozenset({"httpx", "httpx2", "requests", "urllib3", "aiohttp", "socket"})
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_CLOSED_STATUS = frozenset({401, 403})


def load_from_hub(load: Callable[[], T], what: str, remedy: str, error_type: type[AutointerpError]) -> T:
    """Load what may have to come from the hub.

    Args:
        load: Loads it by the libraries; called again after an attempt that broke off.
        what: What it is, to begin a sentence: `the model owner/name`.
        remedy: What a user can do beside checking the connection: `check subject.model, or give a folder`.
        error_type: Raised if it can't be had.

    Raises:
        AutointerpError: Of `error_type`, if it is not on the hub, or neither hub nor cache gives it.
    """
    no_connection = _why_no_connection()
    started = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(quiet_libraries())
        if no_connection is not None:
            stack.enter_context(_cache_alone())
        for wait_s in (*_WAITS_S, None):
            try:
                return load()
            except _errors_of_loading() as error:
                reason = _hubs_reason(error)
                if reason is None:
                    raise
                is_over = wait_s is None or time.monotonic() - started > _PATIENCE_S
                if no_connection is not None or is_over or not is_transient(error):
                    raise _told(what, remedy, reason, no_connection, error_type) from error
                logger.warning("%s: the Hugging Face hub broke off (%s); trying again", what, reason)
                time.sleep(wait_s or 0.0)
    raise AssertionError("the last attempt returns or raises")


def stream_from_hub(
    open_rows: Callable[[], Any], what: str, remedy: str, error_type: type[AutointerpError]
) -> Iterator[Any]:
    """Yield the rows of a streamed data set, and go on where it was when the connection is lost.

    Args:
        open_rows: Opens it, as an `IterableDataset`; called again after a loss.
        what: As for `load_from_hub`.
        remedy: The same.
        error_type: The same; also raised where the connection is lost again and again at one row.
    """
    rows: Any = load_from_hub(open_rows, what, remedy, error_type)
    state, n_losses = None, 0
    while True:
        try:
            with quiet_libraries():
                if rows is None:
                    rows = open_rows()
                    rows.load_state_dict(state)
                for row in rows:
                    n_losses = 0
                    yield row
            return
        except _errors_of_loading() as error:
            reason = _hubs_reason(error)
            if reason is None:
                raise
            if n_losses == len(_STREAM_WAITS_S) or not is_transient(error):
                raise _told(what, remedy, reason, None, error_type) from error
            logger.warning("%s: the Hugging Face hub broke off (%s); going on where it was", what, reason)
            if rows is not None:
                state = rows.state_dict()
                rows = None
            time.sleep(_STREAM_WAITS_S[n_losses])
            n_losses += 1


def _errors_of_loading() -> tuple[type[Exception], ...]:
    """What the libraries raise: errors of their own, around that of an HTTP client, around a socket's."""
    from huggingface_hub.errors import HfHubHTTPError

    # Of whichever client huggingface_hub uses; its errors are neither OSError nor ValueError.
    client = next(kind for kind in HfHubHTTPError.__mro__ if kind.__module__.partition(".")[0] in _HTTP_PACKAGES)
    return (OSError, ValueError, RuntimeError, KeyError, client)


def is_transient(error: BaseException) -> bool:
    """Whether another attempt may go well: a connection that was lost or timed out, or a server that is too busy."""
    for cause in _causes(error):
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if status is not None:
            return status in _TRANSIENT_STATUS
        if _is_about_a_connection(cause):
            return True
    return False


def _told(
    what: str, remedy: str, reason: str, no_connection: str | None, error_type: type[AutointerpError]
) -> AutointerpError:
    from huggingface_hub import constants

    if no_connection is None:
        return error_type(f"{what} can't be had from the Hugging Face hub at {constants.ENDPOINT} ({reason})", remedy)
    return error_type(
        f"{what} is not in the cache ({constants.HF_HUB_CACHE}) and can't be had from the Hugging Face hub "
        f"({no_connection})",
        remedy,
    )


def _why_no_connection() -> str | None:
    """Why no request can reach the hub; None if one can, whatever is answered."""
    import huggingface_hub

    if huggingface_hub.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    address = huggingface_hub.constants.ENDPOINT
    found_at, trouble = _unreached.get(address, (-_REMEMBERED_S, ""))
    if time.monotonic() - found_at < _REMEMBERED_S:
        return trouble
    for wait_s in (*_WAITS_S[:1], None):
        try:
            huggingface_hub.get_session().head(address, timeout=_PROBE_TIMEOUT_S)
        except _errors_of_loading() as error:
            if not type(error).__name__.startswith(("Connect", "Proxy", "ReadTimeout")):
                return None  # there is a server, and it breaks off
            trouble = f"no connection to {address}: {in_one_line(error, with_kind=True)}"
        else:
            return None
        if wait_s is not None:
            time.sleep(wait_s)
    _unreached[address] = time.monotonic(), trouble
    return trouble


@contextmanager
def _cache_alone() -> Iterator[None]:
    """Have huggingface_hub and datasets look into the cache alone, as HF_HUB_OFFLINE does at their import."""
    import huggingface_hub.constants

    modules: list[Any] = [huggingface_hub.constants, *filter(None, [sys.modules.get("datasets.config")])]
    before = [module.HF_HUB_OFFLINE for module in modules]
    for module in modules:
        module.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


def _hubs_reason(error: BaseException) -> str | None:
    """What the hub or the way to it has to do with an error, in a few words; None if nothing."""
    from huggingface_hub import errors

    causes = list(_causes(error))
    for kind, said, words in (
        (errors.GatedRepoError, "is a gated dataset", "it is gated: accept its terms on its page, and set HF_TOKEN"),
        (errors.RevisionNotFoundError, "Revision ", "no such revision there"),
        (errors.RepositoryNotFoundError, "", "no such repository there, or a private one and no HF_TOKEN"),
    ):
        if any(isinstance(cause, kind) or _is_datasets_own(cause, said) for cause in causes):
            return words
    for cause in causes:
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if isinstance(cause, errors.HfHubHTTPError) and not isinstance(cause, errors.EntryNotFoundError):
            closed = ", and HF_TOKEN opens what is not for everybody" if status in _CLOSED_STATUS else ""
            return f"it answers with status {status}{closed}"
        if _is_about_a_connection(cause):
            return in_one_line(cause, with_kind=True)
    if any(isinstance(cause, (errors.EntryNotFoundError, errors.OfflineModeIsEnabled)) for cause in causes):
        return in_one_line(error, with_kind=True)
    return None


def _is_datasets_own(error: BaseException, said: str) -> bool:
    """Whether it is the error by which datasets hides the hub's own, and says so much."""
    return type(error).__name__ == "DatasetNotFoundError" and said in str(error)


def _is_about_a_connection(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in _HTTP_PACKAGES or isinstance(
        error, (ConnectionError, TimeoutError)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it was raised from or because of, the last raised first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
