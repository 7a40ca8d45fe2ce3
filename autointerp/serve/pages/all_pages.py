"""Which pages there are. Their order decides where the paths of two fit: those of features and sources come last."""

from autointerp.serve.pages import around, feature, finding, key, lists, maps, sources
from autointerp.serve.pages.frame import Pages, add_page
from autointerp.serve.serving import Serving
from autointerp.serve.views.home import home


def make_pages(serving: Serving, server_key: str | None = None) -> Pages:
    """The pages of a server.

    Args:
        serving: What they ask.
        server_key: What requests need that change something or run the model; None where they need none.
    """
    pages = Pages(serving)
    key.add(pages, server_key)
    add_page(pages, "/", "home.html", home)
    finding.add(pages)
    lists.add(pages)
    around.add(pages)
    maps.add(pages)
    feature.add(pages)
    sources.add(pages)
    return pages
