"""What a connection's failure means. Only the providers' clients import this, as aiohttp comes with their SDKs."""

from collections.abc import Iterator

from aiohttp import ClientConnectorDNSError, ClientConnectorError, ClientError, ClientSSLError
from httpx2 import ConnectError, TimeoutException

from autointerp.llm.protocol import Trouble

UNWRAPPED = (ClientError, OSError, ValueError)
"""What aiohttp raises and an SDK may let through: an answer that is no HTTP, a header that is too long."""


def broken_connection(error: Exception, timeout_s: float, *, was_reached: bool) -> Trouble:
    """A connection that was lost or timed out, or never came to be: then the server is out of reach for any call.

    What happened is told by aiohttp's own error: the SDKs call a lost connection a timeout, or one that was never made.

    Args:
        error: The SDK's, or aiohttp's where the SDK lets it through.
        timeout_s: The limit that a timeout has passed.
        was_reached: Whether the server has answered before: else a name or a certificate that is wrong will stay so.
    """
    cause = next((c for c in _causes(error) if isinstance(c, ClientError)), error.__cause__ or error)
    if isinstance(cause, TimeoutError | TimeoutException):
        return Trouble("Timeout", f"no answer within {timeout_s:g} s", retriable=True)
    is_out_of_reach = isinstance(cause, ClientConnectorError | ConnectError)
    if isinstance(cause, ClientConnectorDNSError | ClientSSLError) and not was_reached:
        is_out_of_reach = False
    where = f" to {cause.host}:{cause.port}" if isinstance(cause, ClientConnectorError) else ""
    message = f"the connection{where} failed ({type(cause).__name__})"
    return Trouble("ConnectionDropped", message, retriable=True, is_overload=is_out_of_reach)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
