"""What calls through the two SDKs have in common; they are generated from one template.

An SDK signs, sends and receives; its own retries are off, and no redirection is followed. What it raises becomes a
value; what came in place of an answer, without the key. Answers are not touched. Only the providers' clients import
this, as aiohttp comes with the SDKs.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, TypeVar, cast

import pydantic
from aiohttp import ClientConnectorDNSError, ClientConnectorError, ClientError, ClientSSLError
from httpx2 import ConnectError, HTTPError, InvalidURL, Limits, Response, Timeout, TimeoutException

from autointerp.config import ModelConfig
from autointerp.errors import LanguageModelError
from autointerp.llm.protocol import AnswerT, RawAnswer, Repair, Request, Sent, ServerLimits, Trouble
from autointerp.llm.providers.address import Address, find_address
from autointerp.llm.providers.body import read_objects
from autointerp.llm.providers.errors import read_problem
from autointerp.llm.providers.keys import blotted
from autointerp.llm.providers.manner import Learned, Manner
from autointerp.llm.providers.problem import HttpProblem, Posted, not_an_answer, rejected_answer

_OutcomeT = TypeVar("_OutcomeT")
_ModelT = TypeVar("_ModelT", bound=pydantic.BaseModel)
# What aiohttp raises and an SDK may let through: an answer that is no HTTP, a header that is too long.
_UNWRAPPED = (ClientError, OSError, ValueError)
# No limit of its own: how many calls are in flight is the gate's to say, which several models may share.
_MOST_CONNECTIONS = 10_000
_UPLOAD_TIMEOUT_S = 600.0
_MOST_FORMS = 12  # in which one call is asked
_STAY = {"follow_redirects": False}
_CUSTOM_HEADERS = {"openai": "OPENAI_CUSTOM_HEADERS", "anthropic": "ANTHROPIC_CUSTOM_HEADERS"}
_ACCOUNT_HEADERS = ("OpenAI-Organization", "OpenAI-Project")


class SdkClient:
    """An SDK's client, whose errors are values.

    Args:
        dialect: The provider's.
        config: The model.
        key: The API key.
        is_for_single_calls: Whether many short calls are made at once.

    Raises:
        LanguageModelError: If the environment names a proxy or certificates that can't be used.
    """

    def __init__(self, dialect: "Dialect", config: ModelConfig, key: str, *, is_for_single_calls: bool) -> None:
        self._sdk = dialect.sdk
        self._timeout_s = config.timeout_s
        # A batch that could not be connected to may be waited for: its address is that of single calls.
        self._was_reached = not is_for_single_calls
        address = find_address(config)
        self._secrets = (key, address.login, address.login.partition(":")[2], address.basic)
        headers = _headers(address, key, dialect)
        if is_for_single_calls:
            # An answer that a gateway has packed badly is lost though it was paid, and there is little to pack.
            headers["Accept-Encoding"] = "identity"
        try:
            # httpx's pool looks at every connection at each request; aiohttp's does not.
            limits = Limits(max_connections=_MOST_CONNECTIONS)
            fast = self._sdk.DefaultAioHttpClient
            self._client = dialect.client(
                api_key=key,
                base_url=address.url,
                max_retries=0,
                timeout=config.timeout_s,
                http_client=fast(limits=limits, timeout=config.timeout_s) if is_for_single_calls else None,
                default_headers=headers,
            )
        except (InvalidURL, ValueError, OSError, ImportError) as error:
            # What it says may hold a proxy's password.
            raise LanguageModelError(
                f"the environment's proxy or certificates can't be used ({type(error).__name__})",
                "correct or unset HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE",
            ) from None

    @property
    def base_url(self) -> str:
        """Where the calls go."""
        return str(self._client.base_url)

    def blot(self, outcome: _OutcomeT) -> _OutcomeT:
        """What came in place of an answer, without key and password: servers repeat them in their errors."""
        if isinstance(outcome, HttpProblem):
            return replace(outcome, body=blotted(outcome.body, self._secrets))
        if isinstance(outcome, Trouble):
            raw = None if outcome.raw is None else blotted(outcome.raw, self._secrets)
            return replace(outcome, message=blotted(outcome.message, self._secrets), raw=raw)
        return outcome

    async def post_json(self, path: str, body: dict[str, Any]) -> Response | Trouble | HttpProblem:
        """Post one call."""
        # The SDKs' own methods check and copy what they are given: see sdk and sdk-post in benchmarks/llm.md.
        return await self._response(self._client.post(path, body=body, cast_to=Response, options=dict(_STAY)))

    async def upload(self, path: str, content_type: str, **what: Any) -> str | Trouble | HttpProblem:
        """Post what is large, given as the SDK's `post` takes it."""
        options = {
            **_STAY,
            "headers": {"Content-Type": content_type},
            "timeout": Timeout(max(_UPLOAD_TIMEOUT_S, self._timeout_s)),
        }
        return self.text(await self._response(self._client.post(path, options=options, cast_to=Response, **what)))

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> str | Trouble | HttpProblem:
        """Get a text."""
        options = {**_STAY, "params": query or {}}
        return self.text(await self._response(self._client.get(path, options=options, cast_to=Response)))

    async def lines(self, path: str) -> AsyncGenerator[str | Trouble | HttpProblem, None]:
        """Get a JSONL stream line by line; trouble ends it."""
        stream = self._sdk.AsyncStream[object]
        opening = self._client.get(path, cast_to=Response, stream=True, stream_cls=stream, options=dict(_STAY))
        opened = await self._response(opening)
        if not isinstance(opened, Response):
            yield opened
            return
        try:
            async for line in split_lines(opened.aiter_bytes()):
                yield line.decode("utf-8", "replace")
        except (HTTPError, OSError) as error:
            yield Trouble("ConnectionDropped", f"the connection failed ({type(error).__name__})", retriable=True)
        finally:
            await opened.aclose()

    def text(self, response: Response | Trouble | HttpProblem) -> str | Trouble | HttpProblem:
        """The body of a response."""
        return _text_of(response) if isinstance(response, Response) else response

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _response(self, sending: Awaitable[Any]) -> Response | Trouble | HttpProblem:
        try:
            response = cast(Response, await sending)
        except self._sdk.APIStatusError as error:
            self._was_reached = True
            return self.blot(HttpProblem(error.status_code, error.response.text, dict(error.response.headers)))
        except (self._sdk.APIConnectionError, *_UNWRAPPED) as error:
            return _broken_connection(error, self._timeout_s, was_reached=self._was_reached)
        self._was_reached = True
        return response


Post = Callable[[dict[str, Any]], Awaitable[Posted]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between the providers.

    Attributes:
        sdk: The package `openai` or `anthropic`.
        client: Its class of asynchronous clients.
        path: Where a call is posted.
        body: Makes the JSON of a call from request, repair, model and the manner in which it is asked.
        read: Reads status and JSON of an answer.
        limits: Reads what the server says of its limits in an answer's headers.
    """

    sdk: ModuleType
    client: type[Any]
    path: str
    body: Callable[[Request[Any], Repair | None, ModelConfig, Manner], dict[str, Any]]
    read: Callable[[int, str], RawAnswer | Trouble | HttpProblem]
    limits: Callable[[Mapping[str, str]], ServerLimits | None]


class SdkProvider:
    """One attempt at a provider; see `protocol.Provider`.

    Args:
        config: The model.
        key: The API key.
        dialect: The provider's.
        learned: How the model is asked, where others ask it too.
    """

    def __init__(self, config: ModelConfig, key: str, dialect: Dialect, learned: Learned | None = None) -> None:
        self._config = config
        self._dialect = dialect
        self._client = SdkClient(dialect, config, key, is_for_single_calls=True)
        self._learned = learned or Learned(config)

    @property
    def base_url(self) -> str:
        """Where the calls go."""
        return self._client.base_url

    async def send(self, request: Request[AnswerT], repair: Repair | None, post: Post | None = None) -> Sent:
        """Make one attempt; where the server refuses the form in which it is asked, at once in another.

        Args:
            request: What is asked.
            repair: The second turn, if this is one.
            post: Posts a call from elsewhere, as `self.post` does from here.
        """
        post = post or self.post
        for n_left in reversed(range(_MOST_FORMS)):
            manner = self._learned.manner
            posted = await post(self._dialect.body(request, repair, self._config, manner))
            outcome = posted.outcome
            if not isinstance(outcome, HttpProblem):
                return Sent(outcome, posted.limits)
            if not self._learned.learn(manner, outcome, request.max_output_tokens) or not n_left:
                return Sent(read_problem(outcome, self._config), posted.limits)
        raise AssertionError("the last form is read as it stands")

    async def post(self, body: dict[str, Any]) -> Posted:
        """Post one call."""
        response = await self._client.post_json(self._dialect.path, body)
        if isinstance(response, Trouble):
            return Posted(response)
        limits = self._dialect.limits(response.headers)
        if isinstance(response, HttpProblem):
            return Posted(rejected_answer(response) or response, limits)
        outcome = self._client.blot(self._dialect.read(response.status_code, _text_of(response)))
        if isinstance(outcome, HttpProblem):
            outcome = replace(outcome, headers=dict(response.headers))
        return Posted(outcome, limits)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def read_json(text: str, kind: type[_ModelT]) -> _ModelT | Trouble:
    """Read what a server said with status 200; trouble if it is something else, as a proxy's page."""
    objects = read_objects(text)
    try:
        return kind.model_validate(objects[0]) if objects else not_an_answer(200, text)
    except pydantic.ValidationError:
        return not_an_answer(200, text)


async def split_lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    r"""The lines of a JSONL stream that are not empty.

    Only `\n` ends a line: a text decoder's idea of a line would also cut at U+2028, which JSON strings may hold.
    """
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
    if rest.strip():
        yield rest


def _text_of(response: Response) -> str:
    """A body's text: JSON is UTF-8, also where a server's framework declares another charset by habit."""
    try:
        return response.content.decode("utf-8")
    except UnicodeDecodeError:
        return response.text


def _broken_connection(error: Exception, timeout_s: float, *, was_reached: bool) -> Trouble:
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


def _headers(address: Address, key: str, dialect: Dialect) -> dict[str, Any]:
    """What a call's header holds beside the SDK's own, and what of the environment's it does not.

    A password of the address's goes here. What the environment holds for the provider (an organisation, a gateway's
    headers) goes to no server that the pipeline file names.
    """
    provider = dialect.sdk.__name__
    headers: dict[str, Any] = {}
    if not address.is_own and address.variable is None:
        custom = os.environ.get(_CUSTOM_HEADERS[provider], "")
        names = {line.partition(":")[0].strip() for line in custom.splitlines()} | set(_ACCOUNT_HEADERS)
        headers = dict.fromkeys(names - {""}, dialect.sdk.Omit())
        signed = {"authorization": f"Bearer {key}", "x-api-key": key}
        headers |= {name: signed[name.lower()] for name in names if name.lower() in signed}
    if address.login:
        headers["Authorization"] = f"Basic {address.basic}"
    return headers
