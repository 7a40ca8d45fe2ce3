"""The pages of the documentation, taken apart: blocks in order, inline code, links, headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


class WrongPageError(Exception):
    """Something in a page is wrong, or nothing checks it."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code.

    Attributes:
        language: As it stands behind the fence.
        text: What is in it.
        file: The file that it is, where the paragraph before it holds nothing but a file's name; else None.
        place: `PAGE:LINE`, of its first line.
    """

    language: str
    text: str
    file: str | None
    place: str


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of inline code, and `PAGE:LINE` of the paragraph where it stands."""

    text: str
    place: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes:
        path: Where it lies; links are relative to it.
        blocks: In order.
        spans: Inline code, in order.
        links: Targets, as they are written.
        anchors: What a link may name behind `#`.
    """

    path: Path
    blocks: tuple[Block, ...]
    spans: tuple[Span, ...]
    links: tuple[Span, ...]
    anchors: frozenset[str]


def read_page(path: Path) -> Page:
    """Take a page apart.

    Raises:
        WrongPageError: If a block of code has no fence or no language, so that nobody knows what it is.
    """
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    blocks, spans, links, anchors = [], [], [], set()
    file: str | None = None
    line = 0
    for before, token in zip([None, *tokens], tokens, strict=False):
        line = token.map[0] + 1 if token.map else line
        place = f"{name}:{line}"
        if token.type == "code_block" or (token.type == "fence" and not token.info.strip()):
            raise WrongPageError(f"{place}: a block of code without a language")
        if token.type == "fence":
            blocks.append(Block(token.info.strip(), token.content, file, f"{name}:{line + 1}"))
        if token.type == "inline":
            file = _only_code(token)
            spans += [Span(child.content, place) for child in _children(token, "code_inline")]
            links += [Span(str(child.attrs["href"]), place) for child in _children(token, "link_open")]
            if before is not None and before.type == "heading_open":
                anchors.add(_anchor(token.content))
        elif token.type != "paragraph_close":
            file = None
    return Page(path, tuple(blocks), tuple(spans), tuple(links), frozenset(anchors))


def _children(token: Token, kind: str) -> Iterator[Token]:
    return (child for child in token.children or () if child.type == kind)


def _only_code(token: Token) -> str | None:
    children = token.children or []
    return children[0].content if len(children) == 1 and children[0].type == "code_inline" else None


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
