"""Stylesheet, scripts and images of the pages, which browsers keep for good: a change of any changes the URL of all.

All of them share one hash, since modules name one another by relative paths.
"""

import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # a picture has styles
_KEPT = "public, max-age=31536000, immutable"


class StaticFiles:
    """Files that are read once; names that are none of theirs lead nowhere."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._files: Mapping[str, bytes] = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        whole = hashlib.sha256()
        for name, content in self._files.items():
            whole.update(f"{name}\0{len(content)}\0".encode() + content)
        self._hash = whole.hexdigest()[:12]

    def url(self, name: str) -> str:
        """Where a file lies.

        Raises:
            KeyError: If there is none of this name.
        """
        self._files[name]
        return f"/static/{self._hash}/{name}"

    def text(self, name: str) -> str:
        """What stands in a file."""
        return self._files[name].decode()

    def reply(self, asked_hash: str, name: str) -> Response:
        """A file; one that is asked for by the hash of another version is not kept by the browser.

        Raises:
            HTTPException: If there is none of this name.
        """
        if name not in self._files:
            raise HTTPException(404, "there is no such file: the pages name those that there are")
        kind = _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        kept = _KEPT if asked_hash == self._hash else "no-cache"
        headers = {"Content-Security-Policy": _POLICY, "Cache-Control": kept, "X-Content-Type-Options": "nosniff"}
        return Response(self._files[name], media_type=kind, headers=headers)
