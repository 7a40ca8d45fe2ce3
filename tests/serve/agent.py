"""An agent's side of the protocol: the SDK's own client over the streams of the command in a process of its own."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import CallToolResult, InitializeResult, TextContent, Tool

COMMAND = (sys.executable, "-c", "from autointerp.cli import main; main()", "mcp")


class Agent:
    """A client that is connected.

    Attributes:
        greeting: What the server said of itself.
    """

    def __init__(self, portal: BlockingPortal, session: ClientSession) -> None:
        self._portal = portal
        self._session = session
        self.greeting: InitializeResult = portal.call(session.initialize)

    def tools(self) -> dict[str, Tool]:
        return {tool.name: tool for tool in self._portal.call(self._session.list_tools).tools}

    def ask(self, tool: str, **arguments: Any) -> CallToolResult:
        result = self._portal.call(self._session.call_tool, tool, arguments)
        assert isinstance(result, CallToolResult)
        return result

    def reply(self, tool: str, **arguments: Any) -> Any:
        """What a call that can be answered replies; the SDK's client has held it against the output schema."""
        result = self.ask(tool, **arguments)
        assert not result.is_error, result.content
        return result.structured_content

    def complaint(self, tool: str, **arguments: Any) -> str:
        """The one line of a call that can't be answered."""
        result = self.ask(tool, **arguments)
        assert result.is_error
        assert result.structured_content is None
        return text_of(result)


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


@asynccontextmanager
async def _session(runs: tuple[Path, ...]) -> AsyncIterator[ClientSession]:
    command, *arguments = (*COMMAND, *map(str, runs))
    asked = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
    async with stdio_client(asked) as (incoming, outgoing), ClientSession(incoming, outgoing) as session:
        yield session


@contextmanager
def connected(*runs: Path) -> Iterator[Agent]:
    """A client of a server of some runs."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_session(runs)) as session:
        yield Agent(portal, session)
