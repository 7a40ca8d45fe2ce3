"""Headers by which a browser keeps a page from what no page of ours does, should markup ever slip in from a text."""

from collections.abc import Mapping

_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
)


def page_headers(*, is_embed: bool = False) -> Mapping[str, str]:
    """Of a page.

    Args:
        is_embed: Whether it is made to stand in a frame of another site's page; others may stand in none.
    """
    ancestors = "*" if is_embed else "'none'"
    return {
        "Content-Security-Policy": "; ".join((*_POLICY, f"frame-ancestors {ancestors}")),
        "X-Content-Type-Options": "nosniff",
        # Not `no-referrer`: with that, browsers send a form of ours with the origin `null`, which the guard refuses.
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "cross-origin" if is_embed else "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "Cache-Control": "no-cache",
        "Vary": "Cookie",
    }


def data_headers() -> Mapping[str, str]:
    """Of JSON and of files to keep: nothing in them is ever run."""
    return {
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
