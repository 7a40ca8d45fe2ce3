"""Features as one file of HTML that needs nothing else: it works from disk, in a mail, beside a paper.

It is the features' pages without what asks the server for something; it has no script, and a policy of its own that
lets none run.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from markupsafe import Markup

from autointerp.errors import FileError, SearchError, file_error
from autointerp.identity import FeatureKey
from autointerp.library.run import Run
from autointerp.serve.pages.rendering import Frame, PageFacts
from autointerp.serve.views.feature import FeatureView, feature_view
from autointerp.whole_file import whole_file


@dataclass(frozen=True, slots=True)
class FileView:
    """What the file says.

    Attributes:
        features: In the order in which they were named, each once.
        run: Name of their run.
        version: Of the program.
    """

    features: tuple[FeatureView, ...]
    run: str
    version: str


def write_features(run: Run, features: Sequence[FeatureKey], path: Path) -> int:
    """Write features of one source into a file.

    Args:
        run: Their run.
        features: Indices, or `model@source:index`.
        path: The file, which is replaced; its name ends in `.html`.

    Returns:
        How many it has.

    Raises:
        UnknownFeatureError: If there is no such feature.
        SearchError: If none is named, or they are of several sources.
        FileError: If the name ends otherwise, or the file can't be written.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise FileError(f"{path} does not end in .html, as a page does", "name it features.html")
    with run.reader.session() as reader:
        named = list(dict.fromkeys((of.source_id, of.feature_index) for of in map(reader.feature, features)))
    sources = sorted({source for source, _ in named})
    if len(sources) != 1:
        raise SearchError(
            f"a file has features of one source, not of {', '.join(sources) or 'none'}", "name some of one"
        )
    views = tuple(feature_view(run, source, index) for source, index in named)
    text = _text(FileView(views, Path(run.name).resolve().name, version("autointerp")))
    try:
        with whole_file(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    except OSError as error:
        raise file_error(error, path) from error
    return len(views)


def _text(view: FileView) -> str:
    frame = Frame()
    style = frame.static.text("style.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    facts = PageFacts("", "", "", in_file=frozenset(of.index for of in view.features))
    return frame.text("file.html", facts, view, style=Markup(style), style_hash=digest)
