"""Thin a docstring out to its flowing prose.

Docstrings mix prose with code, tables and markup. Features learnt on markup are features of markup, so only prose is
kept:

1. Blocks go: doctests with their output, fenced and literal blocks, directives with code, mathematics or version notes.
2. Lines go: headings with their underline, table rows, `name : type` lines of a parameter list.
3. What is left is unwrapped into paragraphs; markup inside a line is replaced by the words it carries.
4. A paragraph is kept if it reads as English: enough plain words, enough of them function words.
"""

from __future__ import annotations

import inspect
import re

from autointerp.words import FUNCTION_WORDS

MIN_PARAGRAPH_WORDS = 6
MIN_PLAIN_WORD_SHARE = 0.7
MIN_FUNCTION_WORD_SHARE = 0.15

# Their indented body is not prose, or (version notes) the same few words thousands of times.
_DROPPED_DIRECTIVES = frozenset(
    [
        "autoattribute",
        "autoclass",
        "autofunction",
        "automethod",
        "automodule",
        "autosummary",
        "code",
        "code-block",
        "csv-table",
        "currentmodule",
        "deprecated",
        "doctest",
        "figure",
        "highlight",
        "image",
        "index",
        "ipython",
        "list-table",
        "literalinclude",
        "math",
        "module",
        "only",
        "parsed-literal",
        "plot",
        "productionlist",
        "raw",
        "sourcecode",
        "table",
        "testcode",
        "testoutput",
        "testsetup",
        "toctree",
        "versionadded",
        "versionchanged",
    ]
)
_DROPPED_SECTIONS = frozenset({"references", "see also", "example", "examples", "methods", "attributes", "license"})
_LICENSE = re.compile(
    r"licen[sc]ed? under|copyright (\(c\)|\d{4})|permission is hereby|all rights reserved|without warrant", re.I
)

_DOCTEST = re.compile(r"\s*(>>>|In \[\d+\]:|\$ )")
_FENCE = re.compile(r"\s*(```|~~~)")
_DIRECTIVE = re.compile(r"(\s*)\.\. +([\w:-]+?)::(.*)")
_COMMENT_OR_TARGET = re.compile(r"\s*\.\.( |$)")
_UNDERLINE = re.compile(r"\s*([=\-~^*#+\"'`_.:])\1{2,}\s*$")
_TABLE_ROW = re.compile(r"\s*[|+].*[|+]\s*$|.*\S {3,}\S.* {3,}\S|\s*=+( +=+)+\s*$")
_GOOGLE_HEADING = re.compile(
    r"\s*(Args|Arguments|Attributes|Examples?|Keyword Args|Note|Notes|Output|Parameters|Params|Raises|Returns?|Shape|"
    r"Inputs?|Outputs?|Usage|Warnings?|Yields|Todo|Tip|See also)s?:*\s*$",
    re.I,
)
_NUMPY_PARAMETER = re.compile(r"\s*[\w*`.\[\], ()/-]{1,60}? ?: ?\S.*|\s*\*{0,2}[\w.]+(, \*{0,2}[\w.]+)*\s*:?\s*$")
_GOOGLE_PARAMETER = re.compile(
    r"\s*(?:[-*] )?\*{0,2}`{0,2}\*{0,2}[\w.]+`{0,2}\*{0,2}(?: ?\([^()]*(?:\([^()]*\)[^()]*)*\))?\s*:\s+(?=\S)"
)
_SPHINX_DROPPED = re.compile(r"\s*:(rtype|type|vartype|class|copyright|license)\b[^:]*:.*")
_SPHINX_FIELD = re.compile(
    r"\s*:(param|parameter|arg|argument|key|keyword|raises?|except|returns?|var|ivar|cvar)\b[^:]*:\s*"
)
_BULLET = re.compile(r"\s*(?:[-*+•] |\(?\d{1,2}[.)] )\s*")

_ROLE = re.compile(r":[\w:.+-]+:`([^`]*)`")
_ROLE_TITLE = re.compile(r"^(.*?)\s*<[^<>]*>$")
_MARKDOWN_LINK = re.compile(r"\[([^\]\[]+)\]\([^()\s]+\)")
_URL = re.compile(r"<?(?:https?|ftp)://\S+>?")
_CITATION = re.compile(r"\s*\[[\w, ]{1,12}\]_")
_HTML_TAG = re.compile(r"</?[a-zA-Z]+[^<>]{0,80}>")
_SPACES = re.compile(r"\s+")
_PLAIN_WORD = re.compile(r"[(\"']*[A-Za-z][a-z]*(?:['-][A-Za-z]?[a-z]+)*[)\"']*[.,;:!?]*[)\"']*")


def extract_prose(docstring: str) -> list[str]:
    """Return the prose paragraphs of a docstring, unwrapped, in order.

    Args:
        docstring: As in the source, indentation included.

    Returns:
        Paragraphs of at least MIN_PARAGRAPH_WORDS words, one line each. Empty where there is no prose.
    """
    lines = inspect.cleandoc(docstring).expandtabs(4).splitlines()
    texts = (_flatten_markup(text) for text in _join_paragraphs(_drop_blocks(lines)))
    return [text for text in texts if is_prose(text)]


def is_prose(text: str) -> bool:
    """Whether a paragraph reads as English prose rather than as code, a table, a name list or a license."""
    words = text.split()
    if len(words) < MIN_PARAGRAPH_WORDS or _LICENSE.search(text):
        return False
    n_plain = sum(1 for word in words if _PLAIN_WORD.fullmatch(word))
    n_function = sum(1 for word in words if word.lower().strip(".,;:()") in FUNCTION_WORDS)
    return n_plain >= MIN_PLAIN_WORD_SHARE * len(words) and n_function >= MIN_FUNCTION_WORD_SHARE * len(words)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _drop_blocks(lines: list[str]) -> list[str]:
    """Remove code, tables, headings and dropped sections; a removed line leaves a blank, which ends the paragraph."""
    kept: list[str] = []
    in_doctest = in_fence = in_dropped_section = False
    block_indent: int | None = None  # lines indented deeper than this belong to a block that is being dropped
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if _FENCE.match(line):
            in_fence = not in_fence
            kept.append("")
        elif in_fence:
            continue
        elif not line.strip():
            in_doctest = False
            kept.append("")
        elif block_indent is not None and _indent(line) > block_indent:
            continue
        elif in_doctest or _DOCTEST.match(line):
            block_indent, in_doctest = None, True
        elif _UNDERLINE.match(line):
            block_indent = None
            kept.append("")
        elif _UNDERLINE.match(following) or _GOOGLE_HEADING.match(line):
            block_indent = None
            in_dropped_section = line.strip().strip(":").lower() in _DROPPED_SECTIONS
            kept.append("")
        elif in_dropped_section:
            continue
        else:
            block_indent = None
            kept_line, block_indent = _keep_line(line, following)
            kept.append(kept_line)
    return kept


def _keep_line(line: str, following: str) -> tuple[str, int | None]:
    """Return what a line outside any block leaves, and the indent that opens a dropped block below it."""
    if directive := _DIRECTIVE.match(line):
        indent, name, rest = directive.groups()
        if name in _DROPPED_DIRECTIVES:
            return "", len(indent)
        return rest.strip(), None
    if _COMMENT_OR_TARGET.match(line):
        return "", _indent(line)
    if _TABLE_ROW.match(line) or _SPHINX_DROPPED.match(line):
        return "", None
    if line.rstrip().endswith("::"):
        return line.rstrip()[:-1], _indent(line)
    if _indent(following) > _indent(line) and _NUMPY_PARAMETER.fullmatch(line):
        return "", None
    return line, None


def _join_paragraphs(lines: list[str]) -> list[str]:
    """Unwrap lines into paragraphs: a blank line, a field, a bullet or a change of indent begins another."""
    paragraphs: list[list[str]] = [[]]
    indent = 0
    for line in lines:
        if not line.strip():
            paragraphs.append([])
            continue
        begins = _SPHINX_FIELD.match(line) or _BULLET.match(line)
        if not begins and (match := _GOOGLE_PARAMETER.match(line)) and _indent(line) <= indent:
            begins = match
        if begins:
            paragraphs.append([line[begins.end() :]])
        elif paragraphs[-1] and _indent(line) < indent:
            paragraphs.append([line])
        else:
            paragraphs[-1].append(line)
        indent = _indent(line)
    return [" ".join(part.strip() for part in paragraph) for paragraph in paragraphs if paragraph]


def _role_text(match: re.Match[str]) -> str:
    target = match.group(1)
    if title := _ROLE_TITLE.match(target):
        return title.group(1)
    return target.rsplit(".", 1)[-1] if target.startswith("~") else target


def _flatten_markup(text: str) -> str:
    """Replace roles, links, emphasis and inline code by the words they carry."""
    text = _ROLE.sub(_role_text, text)
    text = _MARKDOWN_LINK.sub(r"\1", text)
    text = _CITATION.sub("", _URL.sub("", text))
    text = _HTML_TAG.sub("", text)
    text = text.replace("**", "").replace("`", "").replace("[~", "[")
    return _SPACES.sub(" ", text).strip()
