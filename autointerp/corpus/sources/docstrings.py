"""The embedded corpus: docstrings that are already on the machine, read from source without importing it.

1. Source files of the standard library and of PACKAGES are put in the order of a keyed hash of their module name, so
   that any prefix of the corpus is a mixture of all topics and a short run need not parse every file.
2. Each file is parsed with `ast`. One document is one top-level definition: a module's docstring, a function's, or a
   class's followed by its methods' (a method's docstring is short and speaks of its class, and documents of a few
   lines would waste most of a block on padding).
3. `extract_prose` thins code, tables and markup out.
4. A paragraph is dropped where most of its five-word shingles were seen before: libraries copy their docstrings by the
   hundred, and near-identical contexts would make every feature look like a feature of that sentence.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import logging
import os
import re
import sysconfig
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from autointerp.corpus.sources.prose import extract_prose
from autointerp.python_parser import PYTHON_PARSER
from autointerp.records import Document

logger = logging.getLogger(__name__)

# All of them are dependencies of this package, direct or not, so any installation has them. Left out: plotly and the
# like, whose docstrings are generated from a schema.
PACKAGES = (
    "numpy", "scipy", "sklearn", "pandas", "statsmodels", "sympy", "mpmath", "networkx", "nltk", "torch",
    "transformers", "datasets", "huggingface_hub", "sentence_transformers", "accelerate", "ray", "pydantic", "fsspec",
    "joblib", "jinja2", "click", "rich", "aiohttp", "openai", "anthropic", "duckdb", "pyarrow", "setuptools",
)  # fmt: skip
# Folders, and files of that name.
_SKIPPED_NAMES = frozenset({
    "__pycache__", "_generated", "_vendor", "_vendored", "dist-packages", "idlelib", "lib2to3", "onnx",
    "site-packages", "test", "test_dynamo", "testing", "tests", "thirdparty_files", "turtledemo",
})  # fmt: skip
_ORDER_KEY = b"autointerp.docstrings.1"
MIN_DOCUMENT_WORDS = 12
_SHINGLE_WORDS = 5
_MAX_SEEN_SHARE = 0.5
_WORD = re.compile(r"[a-z]+")


class SourceFile(NamedTuple):
    """A source file of the corpus."""

    module: str  # dotted name, `json.decoder`
    path: Path


def iter_docstring_documents() -> Iterator[Document]:
    """Yield the embedded corpus, one document a top-level definition, in its fixed order.

    Yields:
        Documents whose id is `module` or `module:QualifiedName`, for example `json.decoder:JSONDecoder`; its
        group is the module, that is, its source file.
    """
    seen = _SeenShingles()
    for file in list_source_files():
        for name, docstrings in _read_definitions(file.path):
            paragraphs = [text for docstring in docstrings for text in extract_prose(docstring)]
            text = "\n".join(paragraph for paragraph in paragraphs if seen.add(paragraph))
            if len(text.split()) >= MIN_DOCUMENT_WORDS:
                yield Document(f"{file.module}:{name}" if name else file.module, text, file.module)


def list_source_files() -> list[SourceFile]:
    """List the corpus's source files in their fixed order; a package that is not installed is logged and skipped."""
    files = [file for root, prefix in _corpus_roots() for file in _walk(root, prefix)]
    return sorted(files, key=lambda file: hashlib.blake2b(file.module.encode(), key=_ORDER_KEY).digest())


def _corpus_roots() -> list[tuple[Path, str]]:
    """Folders to walk, each with the package name that its modules begin with."""
    roots = [(Path(sysconfig.get_path("stdlib")), "")]
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            logger.info("corpus: %s is not installed; its docstrings are left out", package)
            continue
        roots.append((Path(spec.submodule_search_locations[0]), package))
    return roots


def _walk(root: Path, prefix: str) -> Iterator[SourceFile]:
    # By hand and not by `rglob`, which would walk the skipped folders too: more files than all others together.
    folders: list[tuple[str, tuple[str, ...]]] = [(str(root), (prefix,) if prefix else ())]
    while folders:
        folder, names = folders.pop()
        try:
            with os.scandir(folder) as found:
                entries = list(found)
        except PermissionError:
            continue  # as a file that can't be read
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _SKIPPED_NAMES:
                    folders.append((entry.path, (*names, entry.name)))
            elif entry.name.endswith(".py") and (stem := entry.name.removesuffix(".py")) not in _SKIPPED_NAMES:
                yield SourceFile(".".join((*names, stem)).removesuffix(".__init__"), Path(entry.path))


def _read_definitions(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (name, docstrings) of a file: the module itself (name ""), then each top-level class and function."""
    try:
        source = path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError):
        return  # a few files of the standard library are in other encodings, on purpose
    if '"""' not in source and "'''" not in source:
        return
    try:
        with PYTHON_PARSER, warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return  # templates and tests of the parser itself
    if module_docstring := _docstring(tree):
        yield "", [module_docstring]
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if docstring := _docstring(node):
                yield node.name, [docstring]
        elif isinstance(node, ast.ClassDef):
            docstrings = [_docstring(member) for member in (node, *node.body)]
            yield node.name, [docstring for docstring in docstrings if docstring]


def _docstring(node: ast.AST) -> str | None:
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return ast.get_docstring(node, clean=False)
    return None


class _SeenShingles:
    """The five-word shingles of the paragraphs so far, as 32-bit checksums."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def add(self, paragraph: str) -> bool:
        """Record a paragraph; whether it was new, that is, at most half of its shingles were seen before."""
        words = _WORD.findall(paragraph.lower())
        width = min(_SHINGLE_WORDS, len(words))
        shingles = {
            zlib.crc32(" ".join(words[start : start + width]).encode()) for start in range(len(words) - width + 1)
        }
        n_seen = len(shingles & self._seen)
        self._seen |= shingles
        return n_seen <= _MAX_SEEN_SHARE * len(shingles)
