"""Models and sets of sources that somebody names before uploading features of them."""

import re

from autointerp.errors import NoteError, UnknownNoteError
from autointerp.records.notes import LONGEST_DESCRIPTION, LONGEST_NAME, checked_line, checked_text
from autointerp.records.uploads import UploadedModel, UploadedSet
from autointerp.store.known import shown
from autointerp.store.notes.base import NotesOfRun, check_room, key, now_text

MOST_LAYERS = 1_024
_MOST = 1_000
# What a path of the server, a file and a name of a source can hold as it is.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class UploadNotes(NotesOfRun):
    """The models and sets among the notes."""

    def new_model(self, model_id: str, layers: int, name: str = "", url: str = "") -> UploadedModel:
        """Name a model; one that is there already is told anew.

        Raises:
            NoteError: If it has no such name, or no such number of layers.
        """
        if not 1 <= layers <= MOST_LAYERS:
            raise NoteError(f"a model can't have {layers:,} layers", f"give 1 to {MOST_LAYERS:,}")
        model = UploadedModel(
            _checked(model_id, "a model"),
            layers,
            checked_line(name, "the model's name", LONGEST_NAME, may_be_empty=True) or model_id,
            checked_line(url, "the address", LONGEST_DESCRIPTION, may_be_empty=True),
        )
        with self._writing() as file:
            file.execute("DELETE FROM models WHERE model_id = ?", (model.model_id,))
            check_room(file, "models", "true", (), "models", _MOST)
            row = (model.model_id, model.layers, model.name, model.url, now_text())
            file.execute("INSERT INTO models VALUES (?, ?, ?, ?, ?)", row)
        return model

    def model(self, model_id: str) -> UploadedModel:
        """A model by its name.

        Raises:
            UnknownNoteError: If nobody has named it.
        """
        with self._reading() as file:
            found = file.execute(
                "SELECT model_id, layers, name, url FROM models WHERE model_id = ?", (key(model_id),)
            ).fetchone()
        if found is None:
            raise UnknownNoteError(f"nobody has named a model {shown(model_id)} here", "name it by model/new first")
        return UploadedModel(*found)

    def new_source_set(self, model_id: str, name: str, description: str = "", url: str = "") -> UploadedSet:
        """Name a set of sources of a model; one that is there already is told anew.

        Raises:
            UnknownNoteError: If nobody has named the model.
            NoteError: If it has no such name.
        """
        made = UploadedSet(
            self.model(model_id).model_id,
            _checked(name, "a source set"),
            checked_text(description, "the description", LONGEST_DESCRIPTION, may_be_empty=True),
            checked_line(url, "the address", LONGEST_DESCRIPTION, may_be_empty=True),
        )
        with self._writing() as file:
            file.execute("DELETE FROM source_sets WHERE model_id = ? AND name = ?", (made.model_id, made.name))
            check_room(file, "source_sets", "true", (), "source sets", _MOST)
            row = (made.model_id, made.name, made.description, made.url, now_text())
            file.execute("INSERT INTO source_sets VALUES (?, ?, ?, ?, ?)", row)
        return made

    def source_set(self, model_id: str, name: str) -> UploadedSet:
        """A set by its name.

        Raises:
            UnknownNoteError: If nobody has named it.
        """
        with self._reading() as file:
            found = file.execute(
                "SELECT model_id, name, description, url FROM source_sets WHERE model_id = ? AND name = ?",
                (key(model_id), key(name)),
            ).fetchone()
        if found is None:
            raise UnknownNoteError(
                f"nobody has named a source set {shown(name)} of {shown(model_id)} here",
                "name it by source-set/new first",
            )
        return UploadedSet(*found)


def _checked(name: str, what: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise NoteError(
            f"{what} can't be called {shown(name)}", "use up to 80 letters, digits, dots, dashes and underscores"
        )
    return name
