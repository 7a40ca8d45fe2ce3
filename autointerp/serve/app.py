"""The application: every wire format over one client."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version

from fastapi import FastAPI

from autointerp.serve import ember, openai
from autointerp.serve.described import DescribedApp
from autointerp.serve.errors import add_handlers
from autointerp.serve.guard import Guard
from autointerp.serve.library import routes as library
from autointerp.serve.neuronpedia import routes as neuronpedia
from autointerp.serve.notes import routes as notes
from autointerp.serve.pages.all_pages import make_pages
from autointerp.serve.pages.errors import teller
from autointerp.serve.serving import Serving


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask.

    Attributes:
        hosts: Names by which the server may be called; None for any.
        key: What each request has to have; None where none needs one.
    """

    hosts: Iterable[str] | None = ("127.0.0.1", "::1", "localhost")
    key: str | None = field(default=None, repr=False)


def make_app(serving: Serving, access: Access | None = None) -> FastAPI:
    """An application that answers for what is served.

    Args:
        serving: What answers, within its limits.
        access: Who may ask.
    """
    access = access or Access()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        serving.close()

    app = DescribedApp(
        title="autointerp",
        version=version("autointerp"),
        lifespan=lifespan,
        docs_url=None,  # it would load scripts from elsewhere
        redoc_url=None,
    )
    pages = make_pages(serving, access.key)
    told = teller(pages.frame)
    add_handlers(app, told)
    app.add_middleware(Guard, body_bytes=serving.limits.body_bytes, key=access.key, hosts=access.hosts, told=told)
    app.include_router(ember.router(serving))
    app.include_router(openai.router(serving))
    app.include_router(notes.router(serving))
    app.include_router(library.router(serving))
    app.include_router(neuronpedia.router(serving))
    app.include_router(pages.programs)
    app.include_router(pages.routes)  # last: their paths have places for any names
    return app
